package catalog

import (
	"encoding/binary"
	"math"
	"slices"
	"unsafe"

	"sluice/internal/itemid"
)

// Entry is an item of a snapshot with what ranking asks of it, worked out once. It is read-only. The rest of the item stands encoded: a catalogue is large,
// and garbage collection looks at every pointer that lives.
type Entry struct {
	*Shape
	ItemId        string
	AvailableFrom int64
	Number        uint32 // of the item, as itemid gives it
	brand, seller uint32 // hashes, 0 = none
	facts         Facts
	version       uint64 // its part in the catalogue's version
	value         []byte // the item as sluice.items holds it
}

// Item is the whole item. Its texts are part of what is encoded, which never changes.
func (e *Entry) Item() *Item {
	item := new(Item)
	if err := item.UnmarshalVTUnsafe(e.value); err != nil {
		panic("catalog: an item that was read once cannot be read again: " + err.Error())
	}
	item.ItemId = e.ItemId
	return item
}

// Facts are what a list asks of each of its candidates, side by side in a snapshot: a candidate costs one line of the cache.
type Facts struct {
	from  int64  // AvailableFrom, or never: it cannot be ordered
	Hash  uint32 // of its id
	shape uint32 // 0: the item is not in the catalogue
}

// Known tells whether the item is in the catalogue.
func (f *Facts) Known() bool { return f.shape != 0 }

// AvailableAt tells whether the item may be offered at a time (Unix microseconds), see Item.AvailableAt.
func (f *Facts) AvailableAt(now int64) bool { return f.from <= now && f.from != never }

const never = math.MaxInt64

// Traits are hashes of what constraints compare: the narrowest category of each path, the brand, the seller.
type Traits [3][]uint32

// Traits are the item's.
func (e *Entry) Traits() Traits { return Traits{e.Narrowest, some(&e.brand), some(&e.seller)} }

// some is the list of a hash, none of 0.
func some(hash *uint32) []uint32 {
	if *hash == 0 {
		return nil
	}
	return unsafe.Slice(hash, 1)
}

// hashed is the hash of a name, 0 of an empty one.
func hashed(name string) uint32 {
	if name == "" {
		return 0
	}
	return max(1, Hash(name))
}

// Shape is a set of category paths. Items of the same paths share one.
type Shape struct {
	Flat      []uint32 // every category of the paths once
	Narrowest []uint32 // hashes of the narrowest category of each path

	place uint32 // in a snapshot's shapes
	refs  uint32
	paths []uint32 // one after the other, each its length and the numbers of its categories, from the broadest to the narrowest
}

// noShape is the shape of an item that the catalogue does not know.
var noShape = new(Shape)

// Paths yields the category paths as numbers, each from the broadest to the narrowest.
func (s *Shape) Paths(yield func([]uint32) bool) {
	for rest := s.paths; len(rest) > 0; {
		n := 1 + rest[0]
		if !yield(rest[1:n:n]) {
			return
		}
		rest = rest[n:]
	}
}

// Placed tells whether there is a path.
func (s *Shape) Placed() bool { return len(s.paths) > 0 }

// In tells whether the category is on one of the paths, at any depth.
func (s *Shape) In(category uint32) bool { return slices.Contains(s.Flat, category) }

// Alike is the similarity of two items' category paths: the longest common beginning over the longer path's length, the best pair counts.
func (s *Shape) Alike(other *Shape) float64 {
	var best float64
	for p := s.paths; len(p) > 0; p = p[1+p[0]:] {
		for q := other.paths; len(q) > 0; q = q[1+q[0]:] {
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

// Numbers are what a catalogue's items and categories are numbered by, and the shapes that its items share.
type Numbers struct {
	items, categories *itemid.Table

	shapes map[string]*Shape // by what they are made of
	free   []uint32          // places of shapes that are gone
	key    []byte
}

// NewNumbers numbers categories anew, and items by a table that others may share.
func NewNumbers(items *itemid.Table) *Numbers {
	return &Numbers{items: items, categories: itemid.NewTable(), shapes: make(map[string]*Shape)}
}

// Entry makes the entry of an item that value encodes. It refers to the numbers of the item and of its categories, and to its shape.
func (n *Numbers) Entry(item *Item, value []byte) *Entry {
	e := &Entry{
		Shape: n.shape(item), Number: n.items.Acquire(item.ItemId), AvailableFrom: item.AvailableFrom,
		brand: hashed(item.Brand), seller: hashed(item.Seller), value: value,
	}
	e.ItemId = n.items.ID(e.Number)
	e.facts = Facts{from: never, Hash: Hash(item.ItemId), shape: e.place}
	if item.AvailableAt(item.AvailableFrom) {
		e.facts.from = item.AvailableFrom
	}
	return e
}

// shape is the shape for an item's paths, with one more reference to it and to its categories.
func (n *Numbers) shape(item *Item) *Shape {
	s := new(Shape)
	for _, path := range item.Categories {
		s.paths = append(s.paths, uint32(len(path.Names)))
		for _, name := range path.Names {
			category := n.categories.Acquire(name)
			s.paths = append(s.paths, category)
			if !slices.Contains(s.Flat, category) {
				s.Flat = append(s.Flat, category)
			}
		}
	}
	for _, name := range item.NarrowestCategories() {
		s.Narrowest = append(s.Narrowest, Hash(name))
	}
	key := n.keyOf(s)
	known := n.shapes[string(key)]
	if known == nil {
		s.place = uint32(len(n.shapes) + 1)
		if last := len(n.free) - 1; last >= 0 {
			s.place, n.free = n.free[last], n.free[:last]
		}
		known = s
		n.shapes[string(key)] = s
	}
	known.refs++
	return known
}

// keyOf tells shapes apart.
func (n *Numbers) keyOf(s *Shape) []byte {
	n.key = binary.LittleEndian.AppendUint32(n.key[:0], uint32(len(s.paths)))
	for _, part := range [][]uint32{s.paths, s.Narrowest} {
		for _, x := range part {
			n.key = binary.LittleEndian.AppendUint32(n.key, x)
		}
	}
	return n.key
}

// release gives an entry's references back.
func (n *Numbers) release(e *Entry) {
	n.items.Release(e.Number)
	for path := range e.Paths {
		n.categories.Release(path...)
	}
	if e.refs--; e.refs == 0 {
		delete(n.shapes, string(n.keyOf(e.Shape)))
		n.free = append(n.free, e.place)
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
