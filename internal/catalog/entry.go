package catalog

import (
	"math"
	"slices"

	"sluice/internal/itemid"
)

// Entry is an item of a snapshot with what ranking asks of it, worked out once. It is read-only.
type Entry struct {
	*Item
	Number  uint32 // of the item, as itemid gives it
	Hash    uint32 // of its id
	version uint64 // its part in the catalogue's version
	from    int64  // AvailableFrom, or never: it cannot be ordered
	// In one piece: its paths, each its length and the numbers of its categories; then hashes of the narrowest categories, the brand and the seller.
	parts []uint32
	cuts  [3]uint16 // ends of paths, narrowest categories, brand
}

// AvailableAt tells whether the item may be offered at a time (Unix microseconds), see Item.AvailableAt.
func (e *Entry) AvailableAt(now int64) bool { return e.from <= now && e.from != never }

const never = math.MaxInt64

// Traits are hashes of what constraints compare: the narrowest category of each path, the brand, the seller.
type Traits [3][]uint32

// Traits are the item's.
func (e *Entry) Traits() Traits {
	a, b, c := e.cuts[0], e.cuts[1], e.cuts[2]
	return Traits{e.parts[a:b:b], e.parts[b:c:c], e.parts[c:]}
}

// Paths yields the item's category paths as numbers, each from the broadest to the narrowest.
func (e *Entry) Paths(yield func([]uint32) bool) {
	for rest := e.parts[:e.cuts[0]]; len(rest) > 0; {
		n := 1 + rest[0]
		if !yield(rest[1:n:n]) {
			return
		}
		rest = rest[n:]
	}
}

// In tells whether the category is on one of the item's paths, at any depth.
func (e *Entry) In(category uint32) bool {
	for path := e.parts[:e.cuts[0]]; len(path) > 0; path = path[1+path[0]:] {
		if slices.Contains(path[1:1+path[0]], category) {
			return true
		}
	}
	return false
}

// EachCategory yields every category of the item once.
func (e *Entry) EachCategory(yield func(uint32) bool) {
	end := int(e.cuts[0])
	for from := 0; from < end; {
		n := 1 + int(e.parts[from])
		for i := from + 1; i < from+n; i++ {
			if !e.before(i) && !yield(e.parts[i]) {
				return
			}
		}
		from += n
	}
}

// before tells whether the category at i stands in an earlier place of the paths, too.
func (e *Entry) before(i int) bool {
	for from := 0; from < i; {
		n := 1 + int(e.parts[from])
		if slices.Contains(e.parts[from+1:min(from+n, i)], e.parts[i]) {
			return true
		}
		from += n
	}
	return false
}

// Alike is the similarity of two items' category paths: the longest common beginning over the longer path's length, the best pair counts.
func (e *Entry) Alike(other *Entry) float64 {
	var best float64
	for p := e.parts[:e.cuts[0]]; len(p) > 0; p = p[1+p[0]:] {
		for q := other.parts[:other.cuts[0]]; len(q) > 0; q = q[1+q[0]:] {
			best = max(best, alike(p[1:1+p[0]], q[1:1+q[0]]))
		}
	}
	return best
}

func alike(p, q []uint32) float64 {
	common := 0
	for common < min(len(p), len(q)) && p[common] == q[common] {
		common++
	}
	return float64(common) / float64(max(len(p), len(q), 1))
}

// Numbers are what a catalogue's items and categories are numbered by.
type Numbers struct{ items, categories *itemid.Table }

// NewNumbers numbers categories anew, and items by a table that others may share.
func NewNumbers(items *itemid.Table) *Numbers { return &Numbers{items, itemid.NewTable()} }

// Entry makes an item's entry. It refers to the numbers of the item and of its categories.
func (n *Numbers) Entry(item *Item) *Entry {
	e := &Entry{Item: item, Number: n.items.Acquire(item.ItemId), Hash: Hash(item.ItemId), from: never}
	if item.AvailableAt(item.AvailableFrom) {
		e.from = item.AvailableFrom
	}
	for _, path := range item.Categories {
		e.parts = append(e.parts, uint32(len(path.Names)))
		for _, name := range path.Names {
			e.parts = append(e.parts, n.categories.Acquire(name))
		}
	}
	e.cuts[0] = uint16(len(e.parts))
	for _, name := range item.NarrowestCategories() {
		e.parts = append(e.parts, Hash(name))
	}
	e.cuts[1] = uint16(len(e.parts))
	if item.Brand != "" {
		e.parts = append(e.parts, Hash(item.Brand))
	}
	e.cuts[2] = uint16(len(e.parts))
	if item.Seller != "" {
		e.parts = append(e.parts, Hash(item.Seller))
	}
	e.parts = slices.Clip(e.parts)
	return e
}

// release gives an entry's references back.
func (n *Numbers) release(e *Entry) {
	n.items.Release(e.Number)
	for path := range e.Paths {
		n.categories.Release(path...)
	}
}

// Hash is FNV-1a: equal on every node.
func Hash(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}
