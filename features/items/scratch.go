package items

import (
	"runtime"
	"sync"
)

// scratch is one search's memory: slices with a place for every session or item, of which a search touches a few and clears none, since each entry
// carries the stamp of the search that wrote it.
type scratch struct {
	stamp    uint32
	sessions []alike
	people   []uint32 // stamps
	votes    []vote   // by item
	touched  []candidate
	buckets  [buckets]uint32
	found    []uint32 // items with votes
	who      []uint32 // people behind each of them, at most people−1
	heap     []Scored
	own      []uint32
	rarity   rarity
}

// alike is how much a session has in common with the present one.
type alike struct {
	stamp uint32
	sum   float32
}

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

// begin makes room for a model's sessions and items, and for n stamps after the present one.
func (s *scratch) begin(sessions, people, items, n int) {
	if int(s.stamp)+n > 1<<32-2 {
		s.stamp = 0
		clear(s.sessions)
		clear(s.people)
		clear(s.votes)
	}
	s.sessions, s.people, s.votes = grown(s.sessions, sessions), grown(s.people, people), grown(s.votes, items)
	s.touched, s.found, s.who, s.heap, s.own = s.touched[:0], s.found[:0], s.who[:0], s.heap[:0], s.own[:0]
}

func grown[T any](list []T, n int) []T {
	if n <= len(list) {
		return list
	}
	return make([]T, n+n/4)
}
