package recommend

import (
	"runtime"
	"sync"

	"sluice/features/items"
	"sluice/recommend/rank"
)

// scratch is the memory of one list that is being made, and is used again. It has a cell for every item. A list uses some hundreds of them and clears none:
// each cell carries the stamp of the list that wrote it.
type scratch struct {
	stamp   uint32
	cells   []cell // by item number
	entries []entry
	hits    []hit
	sums    sums
	shares  shares
	ranked  []rank.Candidate
	ranking rank.Memory

	kept         []items.Interaction   // of all identities, one after the other
	ends         []int                 // of each in kept
	parts        [][]items.Interaction // each one's
	interactions []items.Interaction   // those that say something, by time
	present      []uint32
	found        []items.Scored
}

// cell is what a list knows of an item.
type cell struct {
	stamp  uint32
	place  int32   // in entries; unknown, refused or absent
	factor float32 // what its score is multiplied with, 0 = it may not be shown
	seen   bool
}

const (
	unknown int32 = -1
	refused int32 = -2
	absent  int32 = -3 // from the catalogue
)

// entry is a candidate.
type entry struct {
	score  float64
	factor float64 // of the policies for seen items
	number uint32
	hit    int32 // its last hit, −1 = none
}

// hit is what one retriever says of a candidate.
type hit struct {
	entry     int32
	before    int32 // the entry's hit before this one, −1 = none
	retriever int32
	cause     uint32
	score     float64
}

// pool keeps as many scratches as lists are made at once. Unlike a sync.Pool it keeps them over garbage collections, since a new one is megabytes to clear.
type pool struct {
	mu   sync.Mutex // guards free
	free []*scratch
}

func (p *pool) get() *scratch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		s := p.free[n-1]
		p.free = p.free[:n-1]
		return s
	}
	return new(scratch)
}

func (p *pool) put(s *scratch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < 2*runtime.GOMAXPROCS(0) {
		p.free = append(p.free, s)
	}
}

// begin forgets the list before.
func (s *scratch) begin() {
	if s.stamp++; s.stamp == 0 {
		clear(s.cells)
		s.stamp = 1
	}
	s.entries, s.hits, s.ranked = s.entries[:0], s.hits[:0], s.ranked[:0]
	s.kept, s.ends, s.parts, s.interactions, s.present, s.found = s.kept[:0], s.ends[:0], s.parts[:0], s.interactions[:0], s.present[:0], s.found[:0]
}

// cell is an item's.
func (s *scratch) cell(number uint32) *cell {
	s.cells = covering(s.cells, number)
	c := &s.cells[number]
	if c.stamp != s.stamp {
		*c = cell{stamp: s.stamp, place: unknown, factor: 1}
	}
	return c
}

// covering is the list with a place for the number.
func covering[T any](list []T, number uint32) []T {
	if int(number) < len(list) {
		return list
	}
	return append(list, make([]T, int(number)+1-len(list)+len(list)/4)...)
}

// sums adds up scores by item, and remembers which cause gave the most.
type sums struct {
	stamp uint32
	cells []sumCell // by item number
	items []items.Scored
	most  []float64
	order []int32 // places in items: a heap, the best first
}

type sumCell struct {
	stamp uint32
	at    int32
}

// reset empties the sums.
func (s *sums) reset() *sums {
	if s.stamp++; s.stamp == 0 {
		clear(s.cells)
		s.stamp = 1
	}
	s.items, s.most = s.items[:0], s.most[:0]
	return s
}

// has tells whether an item is there.
func (s *sums) has(item uint32) bool {
	return int(item) < len(s.cells) && s.cells[item].stamp == s.stamp
}

func (s *sums) add(item uint32, score float64, cause uint32) {
	s.cells = covering(s.cells, item)
	c := &s.cells[item]
	if c.stamp != s.stamp {
		*c = sumCell{s.stamp, int32(len(s.items))}
		s.items = append(s.items, items.Scored{Item: item})
		s.most = append(s.most, 0)
	}
	s.items[c.at].Score += score
	if score > s.most[c.at] {
		s.most[c.at], s.items[c.at].Cause = score, cause
	}
}

// best yields the items by score, of equals the one that came first. It ends the sums.
func (s *sums) best(yield func(*items.Scored) bool) {
	s.order = s.order[:0]
	for i := range s.items {
		s.order = append(s.order, int32(i))
	}
	for i := len(s.order)/2 - 1; i >= 0; i-- {
		s.down(i)
	}
	for len(s.order) > 0 {
		if !yield(&s.items[s.order[0]]) {
			return
		}
		last := len(s.order) - 1
		s.order[0] = s.order[last]
		s.order = s.order[:last]
		s.down(0)
	}
}

func (s *sums) before(a, b int32) bool {
	x, y := s.items[a].Score, s.items[b].Score
	return x > y || x == y && a < b
}

func (s *sums) down(i int) {
	order := s.order
	for {
		child := 2*i + 1
		if child >= len(order) {
			return
		}
		if other := child + 1; other < len(order) && s.before(order[other], order[child]) {
			child = other
		}
		if !s.before(order[child], order[i]) {
			return
		}
		order[i], order[child] = order[child], order[i]
		i = child
	}
}
