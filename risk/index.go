package risk

import (
	"slices"
	"sync"
	"time"

	"sluice/internal/stream"
)

// place is where a decision stands on sluice.decisions.
type place struct {
	partition int32
	offset    int64
	time      int64 // of the record, Unix microseconds
}

// aged is an entry of the index in the order of time.
type aged struct {
	id   ID
	time int64
}

// index knows where the newest decisions stand: at most keep of them, and none that is older than maxAge before the newest record.
// An event's first decision is the one that counts. One goroutine adds; any may look up.
type index struct {
	keep   int
	maxAge int64 // microseconds

	order  []aged // everything in places, and what was forgotten; the adding goroutine's own
	pruned int64  // newest at the last pruning

	mu     sync.Mutex // guards what follows
	places map[ID]place
	newest int64
}

func newIndex(keep int, maxAge time.Duration) *index {
	return &index{keep: keep, maxAge: maxAge.Microseconds(), places: make(map[ID]place)}
}

// add takes a record; false if the event has an older decision, or the record is too old to be kept.
func (x *index) add(id ID, rec *stream.Record) bool {
	at := place{partition: rec.Partition, offset: rec.Offset, time: rec.Time.UnixMicro()}
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := x.places[id]; known || at.time < x.newest-x.maxAge {
		return false
	}
	x.newest = max(x.newest, at.time)
	x.places[id] = at
	x.order = append(x.order, aged{id, at.time})
	return true
}

// find is where an event's decision stands.
func (x *index) find(id ID) (place, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	at, ok := x.places[id]
	return at, ok && at.time >= x.newest-x.maxAge
}

// forget drops the entry of a record that is gone.
func (x *index) forget(id ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.places, id)
}

func (x *index) size() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.places)
}

// prune forgets what is too much or too old, once it is worth the sorting: partitions are read side by side, so arrival is not the order of time.
func (x *index) prune() {
	if len(x.order) <= x.keep+x.keep/8 && x.newest-x.pruned < x.maxAge/64 {
		return
	}
	slices.SortFunc(x.order, func(a, b aged) int { // outside the lock: look-ups go on
		if a.time != b.time {
			return int(min(max(a.time-b.time, -1), 1))
		}
		return slices.Compare(a.id[:], b.id[:])
	})
	x.pruned = x.newest
	old := max(0, len(x.order)-x.keep)
	for old < len(x.order) && x.order[old].time < x.newest-x.maxAge {
		old++
	}
	x.mu.Lock()
	for _, entry := range x.order[:old] {
		if x.places[entry.id].time == entry.time { // not one that was forgotten, and has come again
			delete(x.places, entry.id)
		}
	}
	x.mu.Unlock()
	x.order = slices.Clone(x.order[old:])
}
