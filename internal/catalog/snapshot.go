package catalog

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"maps"
	"slices"
	"sort"
	"sync"
)

// Snapshot is the catalogue at one moment. It never changes, and neither do its items: one request reads one snapshot.
type Snapshot struct {
	version uint64
	items   map[string]*entry
	order   []*Item       // catalogue order
	index   func() *index // made at the first use
}

// entry is an item with what its version is made of.
type entry struct {
	item *Item
	hash uint64
}

// change is what one record says: the item as it now is, nil = deleted.
type change struct {
	item *Item
	hash uint64
}

// NewSnapshot is a catalogue of the items, which must not change from here on; of two with the same id the later one counts.
func NewSnapshot(items ...*Item) (*Snapshot, error) {
	changes := make(map[string]change, len(items))
	for _, item := range items {
		value, err := item.MarshalVT()
		if err != nil {
			return nil, err
		}
		changes[item.ItemId] = change{item: item, hash: hashOf(item.ItemId, value)}
	}
	s := emptySnapshot().with(changes)
	s.index()
	return s, nil
}

func emptySnapshot() *Snapshot {
	return &Snapshot{index: sync.OnceValue(func() *index { return new(index) })}
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
	next := &Snapshot{version: s.version, items: maps.Clone(s.items)}
	if next.items == nil {
		next.items = make(map[string]*entry, len(changes))
	}
	var added []*Item
	gone := make(map[*Item]struct{})
	reindex := false
	for id, c := range changes {
		old := next.items[id]
		if old != nil {
			next.version -= old.hash
			gone[old.item] = struct{}{}
		}
		if c.item == nil {
			delete(next.items, id)
			reindex = reindex || old != nil
			continue
		}
		next.version += c.hash
		next.items[id] = &entry{c.item, c.hash}
		added = append(added, c.item)
		reindex = reindex || old == nil || !sameWords(old.item, c.item)
	}
	next.order = merge(s.order, gone, added)
	next.index = s.index
	if reindex {
		order := next.order
		next.index = sync.OnceValue(func() *index { return newIndex(order) })
	}
	return next
}

// merge takes gone out of an ordered list and puts added in.
func merge(order []*Item, gone map[*Item]struct{}, added []*Item) []*Item {
	slices.SortFunc(added, compareItems)
	merged := make([]*Item, 0, len(order)+len(added)-min(len(gone), len(order)))
	for _, item := range order {
		if _, ok := gone[item]; ok {
			continue
		}
		for len(added) > 0 && compareItems(added[0], item) < 0 {
			merged, added = append(merged, added[0]), added[1:]
		}
		merged = append(merged, item)
	}
	return append(merged, added...)
}

// Version is a digest of every item: equal catalogues have equal versions, on every node.
func (s *Snapshot) Version() uint64 { return s.version }

// Len is the number of items.
func (s *Snapshot) Len() int { return len(s.order) }

// Item finds an item; nil if it is unknown.
func (s *Snapshot) Item(id string) *Item {
	if e := s.items[id]; e != nil {
		return e.item
	}
	return nil
}

// Order lists the items whose day has come at a time (Unix microseconds), in catalogue order: newest available_from first, ties by id.
// Items that are out of stock or discontinued are among them. The list is read-only.
func (s *Snapshot) Order(now int64) []*Item {
	return s.order[sort.Search(len(s.order), func(i int) bool { return s.order[i].AvailableFrom <= now }):]
}

// Category yields the items of a category, at any depth, in catalogue order.
func (s *Snapshot) Category(name string) iter.Seq[*Item] {
	return func(yield func(*Item) bool) {
		for _, position := range s.index().categories[name] {
			if !yield(s.order[position]) {
				return
			}
		}
	}
}

// CategorySize is the number of items in a category, at any depth.
func (s *Snapshot) CategorySize(name string) int { return len(s.index().categories[name]) }

// Categories lists the broadest categories, the largest first, ties by name.
func (s *Snapshot) Categories() []string { return slices.Clone(s.index().broadest) }

// Search finds items by the words of their title, brand and categories; the last word of the query may be the beginning of one.
// Items that match more words come first, ties in catalogue order.
func (s *Snapshot) Search(query string, limit int) []*Item {
	found := s.index().search(query, limit)
	items := make([]*Item, len(found))
	for i, position := range found {
		items[i] = s.order[position]
	}
	return items
}
