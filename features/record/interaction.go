package record

import (
	"cmp"
	"encoding/binary"
	"slices"

	"sluice/internal/vocab"
)

// Interaction is one thing that a person did with one item. An event with several items makes several interactions.
type Interaction struct {
	Event   uint64 // first 8 bytes of the event's pseudonym
	Type    vocab.Type
	Time    int64 // Unix microseconds
	ItemID  string
	Session uint64 // first 8 bytes of the session's pseudonym, 0 = none
}

// Named tells whether an item has an id that none of those before it has.
func Named(before []*vocab.Item, item *vocab.Item) bool {
	return item.GetItemId() != "" && !slices.ContainsFunc(before, func(other *vocab.Item) bool { return other.GetItemId() == item.ItemId })
}

// CompareEvents orders by (time, event).
func CompareEvents(aTime int64, a uint64, bTime int64, b uint64) int {
	return cmp.Or(cmp.Compare(aTime, bTime), cmp.Compare(a, b))
}

// Hash64 is the 64-bit form of a pseudonym: its first 8 bytes, big endian; 0 if there is none.
func Hash64(pseudonym []byte) uint64 {
	if len(pseudonym) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(pseudonym)
}
