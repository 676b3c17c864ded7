package quota

import (
	"math"
	"sync"
	"time"
)

const (
	shardCount = 64
	ways       = 8       // slots of a set
	sets       = 1 << 13 // of a table: 1 MiB, whoever asks
)

// table holds a bucket for each of many keys in memory that is fixed.
//
// A bucket is one number, the moment at which it will be full again. One that is full is no different from one that was never used, so its slot can be given away.
// Where a set has no such slot, a new key takes over the slot, and the debt, of the key that owes least (Space-Saving). So no key ever gets more than its limit,
// however many others there are: a key that lost its slot comes back to at least the debt that it had.
type table struct {
	each  int64 // nanoseconds in which one token comes back
	fills int64 // nanoseconds in which an empty bucket fills
	burst int64 // tokens of a full bucket

	shards [shardCount]shard
}

type shard struct {
	mu    sync.Mutex // guards slots
	slots []slot     // sets, one after the other
	_     [32]byte   // shards next to each other do not share a cache line
}

type slot struct {
	key  uint64
	full int64 // when the bucket will be full, in nanoseconds of the caller's clock
}

// newTable makes the buckets of a limit; nil if it is none.
func newTable(l Limit, sets int) *table {
	if l.Rate == 0 {
		return nil
	}
	each := int64(math.Ceil(float64(time.Second) / l.Rate))
	t := &table{each: each, burst: int64(l.Burst), fills: int64(l.Burst) * each}
	for i := range t.shards {
		t.shards[i].slots = make([]slot, sets*ways/shardCount)
	}
	return t
}

// take takes n tokens of the key's bucket and returns 0, or takes nothing and returns how long the caller must wait for them. More tokens than the bucket ever
// holds are lent by a full one, and waited for afterwards. Time is told in nanoseconds of a clock that the caller keeps; one that goes back gives nobody more.
func (t *table) take(key uint64, n int, now int64) (wait time.Duration) {
	return t.ask(key, 0, n, now, true)
}

// look returns how long a caller must wait for n tokens, and takes none.
func (t *table) look(key uint64, n int, now int64) (wait time.Duration) {
	return t.ask(key, 0, n, now, false)
}

// retake takes n tokens in place of those that were paid, or leaves these.
func (t *table) retake(key uint64, paid, n int, now int64) (wait time.Duration) {
	return t.ask(key, paid, n, now, true)
}

// give gives back n tokens that were taken.
func (t *table) give(key uint64, n int) {
	if t == nil {
		return
	}
	s := &t.shards[key%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(key); b.key == key {
		b.full -= int64(n) * t.each
	}
}

// fine takes n tokens also of a bucket that has fewer. No fine makes a key owe more than the tokens of a full bucket.
func (t *table) fine(key uint64, n int, now int64) {
	if t == nil {
		return
	}
	s := &t.shards[key%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(key)
	begin := max(b.full, now)
	b.key, b.full = key, max(begin, min(begin+int64(n)*t.each, now+2*t.fills))
}

func (t *table) ask(key uint64, paid, n int, now int64, take bool) (wait time.Duration) {
	if t == nil || n <= 0 {
		return 0
	}
	s := &t.shards[key%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(key)
	begin := b.full
	if b.key == key {
		begin -= int64(paid) * t.each
	}
	begin = max(begin, now)
	if over := begin + min(int64(n), t.burst)*t.each - now - t.fills; over > 0 {
		return time.Duration(over)
	}
	if take {
		b.key, b.full = key, begin+int64(n)*t.each
	}
	return 0
}

// find is the key's slot, or the one that it may take over.
func (s *shard) find(key uint64) *slot {
	first := int(key/shardCount) % (len(s.slots) / ways) * ways
	set := s.slots[first : first+ways : first+ways]
	least := &set[0]
	for i := range set {
		if set[i].key == key {
			return &set[i]
		}
		if set[i].full < least.full {
			least = &set[i]
		}
	}
	return least
}
