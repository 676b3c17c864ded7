package collector

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"

	"sluice/ingest"
)

// recent knows the newest events that this collector has made durable, and those that it is making durable now, by a hash of (subject, type, id).
// So a repetition is told at once, and never about an event that might yet be lost. It is bounded: what it has forgotten, the filter still knows.
type recent struct {
	seed maphash.Seed

	mu     sync.Mutex // guards what follows
	sets   []recentSet
	flying map[uint64]*flight
}

// recentSet holds the newest hashes that fall into it, the newest first: a line of memory, so that a look costs one.
type recentSet [8]uint64

// flight is one append under way. Over is closed when it has been settled.
type flight struct{ over chan struct{} }

// claim is what a caller may do with an event.
type claim struct {
	duplicate bool    // it is durable already
	other     *flight // it is being written by another request, which must be waited for; nil = it is the caller's own to write
}

func newRecent(remembered int) *recent {
	sets := max(1, remembered/len(recentSet{}))
	return &recent{seed: maphash.MakeSeed(), sets: make([]recentSet, sets), flying: make(map[uint64]*flight)}
}

// hash is of the event's subject, type and id, under a seed of this process.
func (r *recent) hash(ev *ingest.Event) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	kind, who := byte('u'), ev.UserId
	if who == "" {
		kind, who = 'a', ev.AnonymousId
	}
	_ = h.WriteByte(kind) // hashes take everything
	_, _ = h.WriteString(who)
	_ = h.WriteByte(0)
	_ = h.WriteByte(byte(ev.Type))
	_, _ = h.WriteString(ev.Id)
	return h.Sum64() | 1
}

// claim gives the flight every hash that nobody else has. If a hash stands twice, the first is the flight's and the second a duplicate: the flight succeeds or fails
// for both.
func (r *recent) claim(f *flight, hashes []uint64) []claim {
	claims := make([]claim, len(hashes))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, h := range hashes {
		switch other := r.flying[h]; {
		case other == f || other == nil && r.knows(h):
			claims[i].duplicate = true
		case other != nil:
			claims[i].other = other
		default:
			r.flying[h] = f
		}
	}
	return claims
}

// set is where the hash stands, if it is known. A hash is never 0, which is an empty place.
func (r *recent) set(h uint64) *recentSet {
	at, _ := bits.Mul64(h, uint64(len(r.sets)))
	return &r.sets[at]
}

// knows is called under the lock.
func (r *recent) knows(h uint64) bool { return slices.Contains(r.set(h)[:], h) }

// settle ends a flight: the hashes are the ones it owned.
func (r *recent) settle(f *flight, hashes []uint64, durable bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range hashes {
		delete(r.flying, h)
		if durable {
			r.add(h)
		}
	}
	close(f.over)
}

// add is called under the lock. The oldest hash of the set gives way.
func (r *recent) add(h uint64) {
	set := r.set(h)
	copy(set[1:], set[:])
	set[0] = h
}

// remember notes an event that was made durable without a claim.
func (r *recent) remember(ev *ingest.Event) {
	h := r.hash(ev)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(h)
}
