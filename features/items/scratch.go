package items

import (
	"runtime"
	"sync"
)

// scratch is one search's memory.
type scratch struct {
	sessions places // in touched
	items    places // in votes
	people   places // that were met
	touched  []candidate
	buckets  [buckets]uint32
	votes    []vote
	who      []uint32 // people behind each of the items with votes, at most people−1
	heap     []Scored
	order    []uint64
	own      []uint32
	rarity   rarity
}

// places gives numbers consecutive places. It has a cell for every number. A search uses a few of them and clears none: a cell below base is of an earlier
// search.
type places struct {
	cells   []uint32
	base, n uint32
}

// begin forgets all places and makes room for numbers below size.
func (p *places) begin(size int) {
	p.base, p.n = p.base+p.n, 0
	if size > len(p.cells) {
		p.cells, p.base = make([]uint32, size+size/4), 0
	}
	if p.base == 0 || p.base > 1<<31 { // a search gives fewer than 2³¹
		clear(p.cells)
		p.base = 1
	}
}

// of is the number's place, and whether it is a new one.
func (p *places) of(number uint32) (at uint32, fresh bool) {
	if at = p.cells[number] - p.base; at < p.n {
		return at, false
	}
	at = p.n
	p.cells[number] = p.base + at
	p.n++
	return at, true
}

// has tells whether the number has a place.
func (p *places) has(number uint32) bool { return p.cells[number]-p.base < p.n }

// scratches keeps as many as searches run at once; unlike a sync.Pool it keeps them over garbage collections, since a new one is megabytes to clear.
type scratches struct {
	mu   sync.Mutex // guards free
	free []*scratch
}

func (p *scratches) get() *scratch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		s := p.free[n-1]
		p.free = p.free[:n-1]
		return s
	}
	return new(scratch)
}

func (p *scratches) put(s *scratch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < 2*runtime.GOMAXPROCS(0) {
		p.free = append(p.free, s)
	}
}

// begin makes room for a model's sessions, people and items.
func (s *scratch) begin(sessions, people, items int) {
	s.sessions.begin(sessions)
	s.people.begin(people)
	s.items.begin(items)
	s.touched, s.votes, s.who, s.heap, s.order, s.own = s.touched[:0], s.votes[:0], s.who[:0], s.heap[:0], s.order[:0], s.own[:0]
}
