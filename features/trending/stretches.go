package trending

import (
	"math"
	"slices"
)

// stretches are the items of one contribution, as the view keeps them. For each record of the changelog (the head, and chunks) they have its number, the number
// of its items, and the items. They are n words at a place of the slab.
type stretches struct{ at, n uint32 }

// headNumber is the head's; chunks count up from zero and never come so far.
const headNumber uint32 = math.MaxUint32

const stretchHead = 2 // words before the items

// find is where the stretch of a record lies in words; empty if it has none.
func find(words []uint32, number uint32) (from, to int) {
	for from < len(words) {
		to = from + stretchHead + int(words[from+1])
		if words[from] == number {
			return from, to
		}
		from = to
	}
	return from, from
}

// stretchItems are the items of a stretch, none of an empty one.
func stretchItems(stretch []uint32) []uint32 {
	return stretch[min(stretchHead, len(stretch)):]
}

// holds tells whether another record than the one with the number has an item.
func holds(words []uint32, number, item uint32) bool {
	for len(words) > 0 {
		end := stretchHead + int(words[1])
		if words[0] != number && slices.Contains(words[stretchHead:end], item) {
			return true
		}
		words = words[end:]
	}
	return false
}
