package consent

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/dense"
	"sluice/internal/stream"
	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
)

// shards of people, by the first byte of the key: applying rows locks one, while the others are read.
const shards = 16

// people holds a person for everyone of whom anything is known.
//
// Rows are applied from committed reads alone, so that a permission never takes effect from a transaction that is aborted later. Restrictions are
// applied from uncommitted reads, so that no open transaction delays them. The two followers have no common order, and need none: a restriction goes
// when a row at or above its revision has come, on whichever side it comes second. Its tombstone, which the uncommitted reader may see before the row
// is committed, removes nothing.
type people struct {
	shapes       *privacyfilter.Shapes
	shards       [shards]shard
	rows         atomic.Int64
	restrictions atomic.Int64 // pending
	broken       atomic.Int64 // records that could not be read

	mu      sync.Mutex // guards hides and dropped
	hides   []hide     // in about the order of their ends
	dropped int64      // hidden events that were given up before their time, since there were too many
}

type shard struct {
	mu       sync.RWMutex // guards the fields below
	people   dense.Map[logKey, person]
	changed  chan struct{}      // closed and replaced after rows were applied
	unburied map[string]arrival // restrictions on the log without a tombstone after them, by Kafka key
}

// arrival is when a restriction was seen first, on the boot clock.
type arrival time.Duration

// hide is a hidden event that is to be shown no longer.
type hide struct {
	until    time.Duration // boot clock
	key      logKey
	revision privacyfilter.Revision
}

const (
	maxHides = 100_000 // hidden events at once
	// buryAfter is how long the filter has for its tombstone, which can stand before a restriction that was written late.
	buryAfter = time.Minute
)

func newPeople(shapes *privacyfilter.Shapes) *people {
	t := &people{shapes: shapes}
	for i := range t.shards {
		t.shards[i] = shard{changed: make(chan struct{}), unburied: make(map[string]arrival)}
	}
	return t
}

func (t *people) shardOf(key logKey) *shard { return &t.shards[key[0]%shards] }

// find is the person with the key.
func (t *people) find(key logKey) person {
	s := t.shardOf(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, _ := s.people.Get(key)
	return p
}

// put replaces a person. The shard is locked.
func (s *shard) put(key logKey, p *person) {
	if p.empty() {
		s.people.Delete(key)
		return
	}
	s.people.Set(key, *p)
}

// applyRows takes committed records.
func (t *people) applyRows(recs []stream.Record, now time.Duration) {
	var touched [shards]bool
	var row privacyfilter.Row
	for i := range recs {
		rec := &recs[i]
		switch {
		case len(rec.Key) == blocksKey && rec.Key[0] == blocksTag:
			t.applyBlocks(logKey(rec.Key[1:]), rec) // their row follows
		case len(rec.Key) == rowKeySize && rec.Key[0] == rowTag:
			key := logKey(rec.Key[1:])
			t.applyRow(key, rec, &row, now)
			touched[key[0]%shards] = true
		}
	}
	for i, yes := range touched {
		if !yes {
			continue
		}
		s := &t.shards[i]
		s.mu.Lock()
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
}

// applyRow takes a row, or that it was deleted. The memory of the row is used again.
func (t *people) applyRow(key logKey, rec *stream.Record, row *privacyfilter.Row, now time.Duration) {
	came := person{offset: rec.Offset}
	if rec.Value != nil {
		if len(rec.Value) == 0 || t.shapes.Read(row, rec.Value) != nil {
			t.broken.Add(1)
			return
		}
		came = newPerson(row, rec.Offset)
	}
	s := t.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	old, _ := s.people.Get(key)
	next, overtaken := old.withRow(came)
	s.put(key, &next)
	t.count(&old, &next)
	for _, r := range overtaken {
		if len(r.HideEvent) > 0 {
			t.hideUntil(hide{now + hideFor, key, r.revision})
		}
	}
}

// applyBlocks takes a chunk of blocks, or that it was deleted.
func (t *people) applyBlocks(key logKey, rec *stream.Record) {
	chunk, err := privacyfilter.Blocks{}, error(nil)
	if rec.Value != nil {
		if chunk, err = privacyfilter.ParseBlocks(rec.Value); err != nil {
			t.broken.Add(1)
			return
		}
	}
	s := t.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	old, _ := s.people.Get(key)
	next := old.withBlocks(old.blocks().replace(rec.Key[blocksKey-1], chunk))
	s.put(key, &next)
}

// count keeps the numbers of rows and pending restrictions.
func (t *people) count(old, next *person) {
	if had, has := old.shape != nil, next.shape != nil; had != has {
		t.rows.Add(map[bool]int64{true: 1, false: -1}[has])
	}
	t.restrictions.Add(int64(len(next.pending()) - len(old.pending())))
}

// applyRestrictions takes records of the fast path, committed or not. wall is the present time, which tells how old they are.
func (t *people) applyRestrictions(recs []stream.Record, now time.Duration, wall time.Time) {
	for i := range recs {
		rec := &recs[i]
		key, revision, ok := parseRestrictionKey(rec.Key)
		if !ok {
			continue // a row
		}
		if rec.Value == nil {
			t.buried(key, rec.Key)
			continue
		}
		r := &restriction{revision: revision, Restriction: new(purposepb.Restriction)}
		if r.UnmarshalVT(rec.Value) != nil {
			t.broken.Add(1)
			continue
		}
		t.applyRestriction(key, string(rec.Key), r, now, hideFor-wall.Sub(rec.Time))
	}
}

// applyRestriction adds a restriction; one that the row has overtaken already may hide its event for as long as left says.
func (t *people) applyRestriction(key logKey, kafkaKey string, r *restriction, now, left time.Duration) {
	s := t.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unburied[kafkaKey] = arrival(now)
	old, _ := s.people.Get(key)
	next, overtaken := old.withRestriction(r)
	if next == old || overtaken && left <= 0 {
		return
	}
	s.put(key, &next)
	t.count(&old, &next)
	if overtaken {
		t.hideUntil(hide{now + left, key, r.revision})
	}
}

func (t *people) buried(key logKey, kafkaKey []byte) {
	s := t.shardOf(key)
	s.mu.Lock()
	delete(s.unburied, string(kafkaKey))
	s.mu.Unlock()
}

func (t *people) hideUntil(h hide) {
	t.mu.Lock()
	t.hides = append(t.hides, h)
	t.mu.Unlock()
}

// sweep shows what has been hidden for long enough.
func (t *people) sweep(now time.Duration) {
	for _, h := range t.ended(now) {
		s := t.shardOf(h.key)
		s.mu.Lock()
		if p, ok := s.people.Get(h.key); ok {
			next := p.without(h.revision)
			s.put(h.key, &next)
		}
		s.mu.Unlock()
	}
}

func (t *people) ended(now time.Duration) []hide {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := max(len(t.hides)-maxHides, 0)
	t.dropped += int64(n)
	for n < len(t.hides) && t.hides[n].until <= now {
		n++
	}
	ended := slices.Clone(t.hides[:n])
	t.hides = slices.Delete(t.hides, 0, n)
	return ended
}

// unburied lists the Kafka keys of restrictions that the row has overtaken long ago and that have no tombstone on the log. They were written after the filter's
// tombstone, and would stay there for ever.
func (t *people) unburied(now time.Duration) (keys []string) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		for kafkaKey, seen := range s.unburied {
			if now-time.Duration(seen) < buryAfter {
				continue
			}
			key, revision, _ := parseRestrictionKey([]byte(kafkaKey))
			if p, _ := s.people.Get(key); p.shape != nil && p.revision.Compare(revision) >= 0 {
				keys = append(keys, kafkaKey)
			}
		}
		s.mu.RUnlock()
	}
	return keys
}

// awaitRow waits until a row at or above the revision is applied, and tells its offset on sluice.consent.
func (t *people) awaitRow(ctx context.Context, key logKey, revision privacyfilter.Revision) (offset int64, err error) {
	s := t.shardOf(key)
	for {
		s.mu.RLock()
		p, _ := s.people.Get(key)
		changed := s.changed
		s.mu.RUnlock()
		if p.shape != nil && p.revision.Compare(revision) >= 0 {
			return p.offset, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-changed:
		}
	}
}

// lost is how many hidden events were given up before their time.
func (t *people) lost() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped
}
