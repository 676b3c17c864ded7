package pseudonym

import (
	"hash/maphash"
	"sync"
)

// cache remembers pseudonyms: a fixed number of slots, each of which holds the last one that fell into it.
// A slot knows its memo by a 128-bit fingerprint under two random seeds of this process, so that it holds no pointer, nothing personal, and is never
// taken for another's: two memos share a fingerprint with a probability of 2⁻¹²⁸.
//
// Two generations of maps, which this replaced, cost more than they saved (3 of 36 µs an event) once people were more than they held.
type cache struct {
	seeds [2]maphash.Seed
	locks [64]sync.Mutex // each guards every 64th slot
	slots []slot
}

type slot struct {
	fingerprint [2]uint64
	sum         [Size]byte
}

// cacheSlots is how many pseudonyms of a purpose are remembered, in 32 bytes each: a power of two.
const cacheSlots = 1 << 18

func newCache() *cache {
	return &cache{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, slots: make([]slot, cacheSlots)}
}

// fingerprint identifies a memo; no memo has the zero fingerprint of an empty slot.
func (c *cache) fingerprint(m memo) [2]uint64 {
	return [2]uint64{maphash.Comparable(c.seeds[0], m), maphash.Comparable(c.seeds[1], m) | 1}
}

func (c *cache) get(f [2]uint64) (sum [Size]byte, ok bool) {
	at := f[0] % cacheSlots
	lock := &c.locks[at%uint64(len(c.locks))]
	lock.Lock()
	defer lock.Unlock()
	s := &c.slots[at]
	return s.sum, s.fingerprint == f
}

func (c *cache) put(f [2]uint64, sum [Size]byte) {
	at := f[0] % cacheSlots
	lock := &c.locks[at%uint64(len(c.locks))]
	lock.Lock()
	defer lock.Unlock()
	c.slots[at] = slot{f, sum}
}
