package catalog

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"sort"
	"sync"

	"sluice/internal/itemid"
)

// Snapshot is the catalogue at one moment. It never changes, and neither do its items: one request reads one snapshot.
type Snapshot struct {
	numbers  *Numbers
	posted   bool // whether anything ever was
	version  uint64
	byNumber []*Entry      // nil: not in the catalogue
	facts    []Facts       // by number, too
	shapes   []*Shape      // by their place
	order    []*Entry      // catalogue order
	index    func() *index // made at the first use
}

// change is what one record says: the item as it now is, nil = deleted.
type change struct {
	item  *Item
	value []byte // the item, encoded
	hash  uint64
}

// NewSnapshot is a catalogue of the items, which must not change from here on; of two with the same id the later one counts. Their numbers are of ids.
// Without items nothing was ever posted.
func NewSnapshot(ids *itemid.Table, items ...*Item) (*Snapshot, error) {
	changes := make(map[string]change, len(items))
	for _, item := range items {
		value, err := item.MarshalVT()
		if err != nil {
			return nil, err
		}
		changes[item.ItemId] = change{item: item, value: value, hash: hashOf(item.ItemId, value)}
	}
	s := emptySnapshot(ids).with(changes)
	s.posted = len(items) > 0
	s.index()
	return s, nil
}

func emptySnapshot(ids *itemid.Table) *Snapshot {
	return &Snapshot{numbers: NewNumbers(ids), index: sync.OnceValue(func() *index { return new(index) })}
}

// hashOf is an item's part in the version.
func hashOf(id string, value []byte) uint64 {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(id))))
	h.Write([]byte(id))
	h.Write(value)
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// with is the snapshot after the changes, which are keyed by item id. s itself stays as it is.
func (s *Snapshot) with(changes map[string]change) *Snapshot {
	next := &Snapshot{numbers: s.numbers, posted: s.posted, version: s.version, byNumber: slices.Clone(s.byNumber), facts: slices.Clone(s.facts), shapes: slices.Clone(s.shapes)}
	var added []*Entry
	gone := make(map[*Entry]struct{})
	reindex := false
	for id, c := range changes {
		old := s.Find(id)
		if old != nil {
			next.version -= old.version
			next.byNumber[old.Number], next.facts[old.Number] = nil, Facts{}
			gone[old] = struct{}{}
		}
		if c.item == nil {
			reindex = reindex || old != nil
			continue
		}
		fresh := s.numbers.Entry(c.item, c.value)
		fresh.version = c.hash
		next.version += c.hash
		next.put(fresh)
		added = append(added, fresh)
		reindex = reindex || old == nil || !sameWords(old.Item(), c.item)
	}
	for old := range gone { // only now: what stays has kept its number
		s.numbers.release(old)
	}
	next.order = merge(s.order, gone, added)
	next.index = s.index
	if reindex {
		order, categories := next.order, s.numbers.categories.Len()
		next.index = sync.OnceValue(func() *index { return newIndex(order, categories) })
	}
	return next
}

// put gives an entry its places.
func (s *Snapshot) put(e *Entry) {
	s.byNumber, s.facts, s.shapes = covering(s.byNumber, e.Number), covering(s.facts, e.Number), covering(s.shapes, e.place)
	s.byNumber[e.Number], s.facts[e.Number], s.shapes[e.place] = e, e.facts, e.Shape
}

// covering is the list with a place for the number.
func covering[T any](list []T, number uint32) []T {
	return append(list, make([]T, max(0, int(number)+1-len(list)))...)
}

// merge takes gone out of an ordered list and puts added in.
func merge(order []*Entry, gone map[*Entry]struct{}, added []*Entry) []*Entry {
	slices.SortFunc(added, compareEntries)
	merged := make([]*Entry, 0, len(order)+len(added)-min(len(gone), len(order)))
	for _, item := range order {
		if _, ok := gone[item]; ok {
			continue
		}
		for len(added) > 0 && compareEntries(added[0], item) < 0 {
			merged, added = append(merged, added[0]), added[1:]
		}
		merged = append(merged, item)
	}
	return append(merged, added...)
}

// Posted tells whether anything was ever posted. Then lists hold only what the catalogue has, also after everything was deleted. Otherwise there is no
// catalogue, and lists hold what events name.
func (s *Snapshot) Posted() bool { return s.posted }

// Version is a digest of every item: equal catalogues have equal versions, on every node. One that was emptied differs from none.
func (s *Snapshot) Version() uint64 {
	if !s.posted {
		return math.MaxUint64
	}
	return s.version
}

// Offers tells whether the catalogue has an item that can be had at a time (Unix microseconds).
func (s *Snapshot) Offers(id string, now int64) bool {
	e := s.Find(id)
	return e != nil && e.facts.AvailableAt(now)
}

// Len is the number of items.
func (s *Snapshot) Len() int { return len(s.order) }

// Numbers is a bound of the items' numbers: each is smaller.
func (s *Snapshot) Numbers() int { return len(s.byNumber) }

// At is the item with a number; nil if it is not in the catalogue.
func (s *Snapshot) At(number uint32) *Entry {
	if int(number) >= len(s.byNumber) {
		return nil
	}
	return s.byNumber[number]
}

// Facts are the facts of the item with a number.
func (s *Snapshot) Facts(number uint32) Facts {
	if int(number) >= len(s.facts) {
		return Facts{}
	}
	return s.facts[number]
}

// Shape is the shape of the item with a number. An item that is not in the catalogue has no path.
func (s *Snapshot) Shape(number uint32) *Shape {
	f := s.Facts(number)
	return s.ShapeOf(&f)
}

// ShapeOf is the shape of an item with such facts.
func (s *Snapshot) ShapeOf(f *Facts) *Shape {
	if f.shape == 0 {
		return noShape
	}
	return s.shapes[f.shape]
}

// Find finds an item by its id; nil if it is unknown.
func (s *Snapshot) Find(id string) *Entry {
	if e := s.At(s.numbers.items.Find(id)); e != nil && e.ItemId == id {
		return e
	}
	return nil
}

// Item finds an item by its id; nil if it is unknown.
func (s *Snapshot) Item(id string) *Item {
	if e := s.Find(id); e != nil {
		return e.Item()
	}
	return nil
}

// Order lists the items that are on sale at a time (Unix microseconds) by their available_from. It is in catalogue order: newest available_from first, ties by
// id. It includes items that are out of stock or discontinued. The list is read-only.
func (s *Snapshot) Order(now int64) []*Entry {
	return s.order[sort.Search(len(s.order), func(i int) bool { return s.order[i].AvailableFrom <= now }):]
}

// CategoryNumber is the number of a category that some item has, at any depth; itemid.None if none has it.
func (s *Snapshot) CategoryNumber(name string) uint32 {
	if n := s.numbers.categories.Find(name); s.CategorySize(n) > 0 {
		return n
	}
	return itemid.None
}

// CategoryName is the name of a category that some item has.
func (s *Snapshot) CategoryName(category uint32) string { return s.numbers.categories.ID(category) }

// CategoryNumbers is a bound of the categories' numbers: each is smaller.
func (s *Snapshot) CategoryNumbers() int { return len(s.index().categories) }

// Category lists the numbers of a category's items, at any depth, in catalogue order. The list is read-only.
func (s *Snapshot) Category(category uint32) []uint32 { return s.index().category(category) }

// Common are hashes of the categories that all items of a category have, its own among them; of itemid.None: that all items of the catalogue have.
func (s *Snapshot) Common(category uint32) []uint32 {
	x := s.index()
	if known, ok := x.common.Load(category); ok {
		return known.([]uint32) //nolint:forcetypeassert // nothing else is stored
	}
	all := len(s.order)
	members := func(yield func(*Entry) bool) { slices.Values(s.order)(yield) }
	if category != itemid.None {
		all = len(x.category(category))
		members = func(yield func(*Entry) bool) {
			for _, number := range x.category(category) {
				if !yield(s.At(number)) {
					return
				}
			}
		}
	}
	counts := make(map[uint32]int)
	for item := range members {
		for _, other := range item.Flat {
			counts[other]++
		}
	}
	var common []uint32
	for other, n := range counts {
		if n == all {
			common = append(common, Hash(s.CategoryName(other)))
		}
	}
	x.common.Store(category, common)
	return common
}

// CategorySize is the number of items in a category, at any depth.
func (s *Snapshot) CategorySize(category uint32) int { return len(s.index().category(category)) }

// Categories lists the broadest categories, the largest first, ties by name.
func (s *Snapshot) Categories() []string { return slices.Clone(s.index().broadest) }

// Search finds items by the words of their title, brand and categories; the last word of the query may be the beginning of one.
// Items that match more words come first, ties in catalogue order.
func (s *Snapshot) Search(query string, limit int) []*Entry {
	found := s.index().search(query, limit)
	items := make([]*Entry, len(found))
	for i, position := range found {
		items[i] = s.order[position]
	}
	return items
}
