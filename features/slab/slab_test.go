package slab

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestSlabBlocksDoNotOverlap fills blocks and looks whether they stay as they are.
func TestSlabBlocksDoNotOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type block struct {
			at uint32
			n  int
			by int
		}
		var s Slab[int]
		var blocks []block
		fill := func(b block) {
			for i := range s.At(b.at, b.n) {
				s.At(b.at, b.n)[i] = b.by
			}
		}
		for by := range rapid.IntRange(1, 200).Draw(t, "steps") {
			n := rapid.SampledFrom([]int{1, 2, 5, 7, 30, 300, 5000, 20_000}).Draw(t, "n")
			switch at := rapid.IntRange(0, len(blocks)).Draw(t, "block"); {
			case at == len(blocks):
				blocks = append(blocks, block{s.Alloc(n), n, by})
				fill(blocks[at])
			case rapid.Bool().Draw(t, "resize"):
				b := &blocks[at]
				b.at, b.n = s.Resize(b.at, b.n, n), n
				fill(*b)
			default:
				s.Release(blocks[at].at, blocks[at].n)
				blocks = slices.Delete(blocks, at, at+1)
			}
		}
		for _, b := range blocks {
			for _, x := range s.At(b.at, b.n) {
				if x != b.by {
					t.Fatal("a block was written by another")
				}
			}
		}
	})
}

// TestRoom: blocks are of the sizes 1, 2, 3, 4, 6, 8, 12, 16 …
func TestRoom(t *testing.T) {
	sizes := []int{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128}
	for n := 1; n <= 128; n++ {
		at, _ := slices.BinarySearch(sizes, n)
		if room(n) != sizes[at] {
			t.Errorf("%d elements get a block of %d, want %d", n, room(n), sizes[at])
		}
	}
}

// TestGrowingTogether: of lists that grow side by side no smaller blocks are left.
func TestGrowingTogether(t *testing.T) {
	const lists = 10_000
	for _, most := range []int{1, 5, 24, 200, 300} {
		var s Slab[uint64]
		blocks := make([]uint32, lists)
		for n := 1; n <= most; n++ {
			for i := range blocks {
				blocks[i] = s.Resize(blocks[i], n-1, n)
			}
		}
		if wants, takes := lists*room(most)*8, s.Bytes(); takes > wants+wants/8+classes*pageSize*8 {
			t.Errorf("%d lists of %d take %d bytes, want about %d", lists, most, takes, wants)
		}
		for _, at := range blocks {
			s.Release(at, most)
		}
		if live := len(s.pages) - len(s.empty) - len(s.gone); live != 0 {
			t.Errorf("%d pages are left of nothing", live)
		}
	}
}
