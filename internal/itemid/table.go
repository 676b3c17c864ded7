// Package itemid gives each item id one small number, which is the same in the catalogue, in people's histories and in a list that is being ranked. Inside,
// items are numbers and places in slices. Only the edges know their ids.
package itemid

import (
	"strings"
	"sync"
	"time"
)

// None is the number of no item.
const None uint32 = 0

// rest is how long a number that nobody refers to keeps its id before another id may get it. Whoever looks at a number without a reference, as a
// request does, is done long before.
const rest = time.Minute

// Table knows the numbers. An id keeps its number while anyone refers to it. It is safe for concurrent use.
type Table struct {
	mu      sync.RWMutex // guards what follows
	numbers map[string]uint32
	ids     []string // by number
	refs    []uint32
	since   []time.Time // by number: when the last reference to it went
	resting []resting   // the oldest first
	free    []uint32    // without an id
	now     func() time.Time
}

type resting struct {
	number uint32
	since  time.Time
}

// NewTable makes an empty table.
func NewTable() *Table {
	return &Table{numbers: make(map[string]uint32), ids: make([]string, 1), refs: make([]uint32, 1), since: make([]time.Time, 1), now: time.Now}
}

// Acquire is the number of id, with one more reference to it. The empty id has none.
func (t *Table) Acquire(id string) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.acquire(id)
}

// AcquireBytes is Acquire of an id that is a piece of something.
func (t *Table) AcquireBytes(id []byte) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n, known := t.numbers[string(id)]; known {
		t.refs[n]++
		return n
	}
	return t.acquire(string(id))
}

func (t *Table) acquire(id string) uint32 {
	if id == "" {
		return None
	}
	n, known := t.numbers[id]
	if !known {
		n = t.fresh()
		id = strings.Clone(id) // it may be a part of something large
		t.ids[n], t.numbers[id] = id, n
	}
	t.refs[n]++
	return n
}

// rested takes their ids from the numbers that nobody has referred to for long enough, so that those that rest are the last minute's. The caller holds mu.
func (t *Table) rested() {
	for len(t.resting) > 0 {
		r := t.resting[0]
		present := t.refs[r.number] == 0 && t.since[r.number].Equal(r.since) // else somebody has acquired the id again
		if present && t.now().Sub(r.since) < rest {
			return
		}
		t.resting = t.resting[1:]
		if present {
			delete(t.numbers, t.ids[r.number])
			t.ids[r.number], t.since[r.number] = "", time.Time{} // it may rest twice since the same moment
			t.free = append(t.free, r.number)
		}
	}
}

// fresh is a number that nobody uses. The caller holds mu.
func (t *Table) fresh() uint32 {
	t.rested()
	if last := len(t.free) - 1; last >= 0 {
		n := t.free[last]
		t.free = t.free[:last]
		return n
	}
	t.ids, t.refs, t.since = append(t.ids, ""), append(t.refs, 0), append(t.since, time.Time{})
	return uint32(len(t.ids) - 1)
}

// Retain adds a reference to a number that the caller has one to.
func (t *Table) Retain(n uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refs[n]++
}

// Release gives references back.
func (t *Table) Release(numbers ...uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rested()
	for _, n := range numbers {
		if n == None {
			continue
		}
		if t.refs[n]--; t.refs[n] == 0 {
			t.since[n] = t.now()
			t.resting = append(t.resting, resting{n, t.since[n]})
		}
	}
}

// Find is the number of id, None if it has none. It adds no reference: the number means the id for a minute at least.
func (t *Table) Find(id string) uint32 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.numbers[id]
}

// ID is the id of a number, empty for None.
func (t *Table) ID(n uint32) string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.ids[n]
}

// Len is how many numbers there are; each is smaller.
func (t *Table) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.ids)
}

// Used is how many items somebody refers to.
func (t *Table) Used() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	used := 0
	for _, refs := range t.refs {
		if refs > 0 {
			used++
		}
	}
	return used
}
