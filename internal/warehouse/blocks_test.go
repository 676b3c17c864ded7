package warehouse

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/stream"
)

// testPart is a partition whose records are words: a row, a purge, nothing, or what cannot be decoded.
func testPart(promised ...int64) *part {
	table := &Table{Name: "words", Columns: []Column{{Name: "word", Kind: String}}}
	source := &Source{Topic: "words", Tables: []*Table{table}, Decode: func(rec *stream.Record, out *Rows) error {
		switch word := string(rec.Value); word {
		case "purge":
			out.Purge(Purge{Subject: rec.Key})
			return nil
		case "nothing":
			return nil
		case "broken":
			return errors.New("a word expected")
		default:
			out.Batches[0].String(word)
			return out.Batches[0].End()
		}
	}}
	return newPart(source, 0, 100, 0, promised, nil)
}

func (p *part) read(words ...string) {
	for _, word := range words {
		_ = p.add(&kgo.Record{Offset: p.next, Key: []byte("key"), Value: []byte(word)}, "words", time.Now()) // an error is about a letter
	}
}

func TestLettersTakeMemory(t *testing.T) {
	p := testPart()
	p.read("broken", "row")
	want := held{1, len("keybroken") + len("keyrow")}
	if p.held != want || p.open.held != want || len(p.open.letters) != 1 {
		t.Errorf("held %v, the block %v with %d letters, expected %v", p.held, p.open.held, len(p.open.letters), want)
	}
	if p.take(); p.held != (held{}) {
		t.Errorf("held %v after all was taken", p.held)
	}
	p.read(slices.Repeat([]string{"broken"}, maxBlockBytes/len("keybroken")+1)...)
	if len(p.complete) != 1 {
		t.Errorf("%d blocks of %d bytes", len(p.complete), p.bytes)
	}
}

// TestTakeEndsAtAPurge: what purges delete must not come before them in the same flush, but further purges may.
func TestTakeEndsAtAPurge(t *testing.T) {
	p := testPart()
	p.read("row", "purge", "purge", "nothing", "purge", "row", "row", "purge", "row")
	for _, want := range [][]int64{{2, 3, 5}, {8}, {9}, {}} {
		if got := boundsOf(p.take()); !slices.Equal(got, want) {
			t.Errorf("blocks that end at %v, expected %v", got, want)
		}
	}
	if p.urgent() {
		t.Error("urgent without blocks")
	}
	p.read("purge", "row")
	p.take()
	if p.behind || p.urgent() {
		t.Error("an open block is urgent")
	}
	p.read("purge", "row", "purge")
	if p.take(); !p.urgent() {
		t.Error("a purge that was left is not urgent")
	}
}

func TestRestIsWhatIsPromised(t *testing.T) {
	p := testPart(2, 4, 6, 9)
	p.read("row", "purge", "row", "row", "row")
	for _, want := range []struct{ taken, rest []int64 }{{[]int64{2}, []int64{4, 6, 9}}, {[]int64{4}, []int64{6, 9}}, {nil, []int64{6, 9}}} {
		if taken := boundsOf(p.take()); !slices.Equal(taken, want.taken) || !slices.Equal(p.rest(), want.rest) {
			t.Errorf("taken %v, the rest %v, expected %v", taken, p.rest(), want)
		}
	}
	p.read("row", "row", "row", "row", "row", "purge")
	if taken := boundsOf(p.take()); !slices.Equal(taken, []int64{6, 9, 11}) || len(p.rest()) > 0 {
		t.Errorf("taken %v, the rest %v", taken, p.rest())
	}
}
