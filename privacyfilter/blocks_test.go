package privacyfilter

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestBlocksAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		place := rapid.Custom(func(t *rapid.T) Revision {
			return Revision{Generation: rapid.Uint32Range(1, 3).Draw(t, "generation"), Partition: rapid.Int32Range(0, 20).Draw(t, "partition"), Offset: rapid.Int64Range(0, 300).Draw(t, "offset")}
		})
		draw := func(what string) (ids []string, at []Revision) {
			for _, id := range rapid.SliceOfN(rapid.String(), 0, 4).Draw(t, what) {
				ids, at = append(ids, id), append(at, place.Draw(t, "at"))
			}
			return ids, at
		}
		var records BlockRecords
		records.Items, records.ItemsAt = draw("items")
		records.Categories, records.CategoriesAt = draw("categories")
		got, err := ParseBlockRecords(AppendBlockRecords(nil, &records))
		if err != nil || !cmp.Equal(got, &records) {
			t.Fatalf("wrote %v, read %v, %v", records, got, err)
		}
		blocks, err := ParseBlocks(AppendBlocks(nil, records.Blocks))
		if err != nil || !cmp.Equal(blocks, records.Blocks) {
			t.Fatalf("wrote %v, read %v, %v", records.Blocks, blocks, err)
		}
	})
}

// FuzzParseBlocks: whatever comes, reading ends without a panic, and what can be read is written as it came.
func FuzzParseBlocks(f *testing.F) {
	f.Add(AppendBlocks(nil, Blocks{Items: []string{"a"}, Categories: []string{"b", ""}}))
	f.Add(AppendBlockRecords(nil, &BlockRecords{Blocks: Blocks{Items: []string{"a"}}, ItemsAt: []Revision{{Generation: 1, Partition: 2, Offset: 3}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if blocks, err := ParseBlocks(data); err == nil {
			if again, err := ParseBlocks(AppendBlocks(nil, blocks)); err != nil || !cmp.Equal(again, blocks) {
				t.Errorf("%v becomes %v, %v", blocks, again, err)
			}
		}
		if records, err := ParseBlockRecords(data); err == nil {
			written := AppendBlockRecords(nil, records)
			if again, err := ParseBlockRecords(written); err != nil || !cmp.Equal(again, records) || !bytes.Equal(AppendBlockRecords(nil, again), written) {
				t.Errorf("%v becomes %v, %v", records, again, err)
			}
		}
	})
}

func TestChunksAreUsedEvenly(t *testing.T) {
	var sizes [BlockChunks]int
	for i := range 64 * BlockChunks {
		sizes[ChunkOf("item-"+string(rune('a'+i%26))+string(rune(i)))]++
	}
	if least, most := slices.Min(sizes[:]), slices.Max(sizes[:]); least < 16 || most > 160 {
		t.Errorf("chunks of %d to %d blocks, of 64 each", least, most)
	}
}
