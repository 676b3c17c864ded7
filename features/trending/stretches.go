package trending

import (
	"math"
	"slices"
)

// stretches are the items of one contribution, as the view keeps them. For each record of the changelog (the head, and chunks) they have its number, the number
// of its items with a flag, which tells whether an event of the record makes the person count, and the items. They are n words at a place of the slab.
type stretches struct{ at, n uint32 }

// headNumber is the head's; chunks count up from zero and never come so far.
const headNumber uint32 = math.MaxUint32

// noRecord is the number of none.
const noRecord uint32 = math.MaxUint32 - 1

const (
	stretchHead = 2       // words before the items
	counts      = 1 << 31 // flag of the second word: an event of the record makes the person count
)

// stretchEnd is where the stretch ends that the words begin with.
func stretchEnd(words []uint32) int { return stretchHead + int(words[1]&^counts) }

// appendStretch appends the stretch of a record, none without items.
func appendStretch(words []uint32, number uint32, items []uint32, known bool) []uint32 {
	if len(items) == 0 {
		return words
	}
	n := uint32(len(items))
	if known {
		n |= counts
	}
	return append(append(words, number, n), items...)
}

// isEstablished tells whether the person counts.
func isEstablished(words []uint32) bool {
	for ; len(words) > 0; words = words[stretchEnd(words):] {
		if words[1]&counts != 0 {
			return true
		}
	}
	return false
}

// distinct yields each item once.
func distinct(words []uint32) func(yield func(item uint32) bool) {
	return func(yield func(item uint32) bool) {
		for at := 0; at < len(words); {
			end := at + stretchEnd(words[at:])
			for _, item := range words[at+stretchHead : end] {
				if !holds(words[:at], noRecord, item) && !yield(item) {
					return
				}
			}
			at = end
		}
	}
}

// find is where the stretch of a record lies in words; empty if it has none.
func find(words []uint32, number uint32) (from, to int) {
	for from < len(words) {
		to = from + stretchEnd(words[from:])
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
		end := stretchEnd(words)
		if words[0] != number && slices.Contains(words[stretchHead:end], item) {
			return true
		}
		words = words[end:]
	}
	return false
}
