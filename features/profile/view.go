// Package profile keeps each person's touches and searches for personalization, and folds them into what is known of items.
package profile

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/features/record"
	"sluice/features/spec"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/consent"
)

// Profile is one person's kept history for personalization. It must not be changed.
type Profile struct {
	Touches  []record.Touch // oldest first
	Searches []Search       // oldest first
}

// View follows the personal engine's changelog: each person's profile, and what is folded from all of them (pairs of items, sessions).
// It is safe for concurrent use; one goroutine applies.
type View struct {
	c        *spec.Config
	decays   []decay
	now      func() time.Time
	follower *stream.Follower
	metrics  *record.ViewMetrics

	people *record.Copy
	items  *items
	shards [record.Shards]personShard
	newest atomic.Int64 // event time
	total  atomic.Int64 // touches in all histories
	fold   folder
}

type personShard struct {
	mu     sync.RWMutex // guards people
	people map[[16]byte]*person
}

// person is one subject of the view. It stays the same while the subject has a record.
type person struct{ state atomic.Pointer[history] }

// history is one version of a person's record. It is immutable.
type history struct {
	floor     []byte
	partition int32
	touches   []compactTouch
	searches  []Search
}

// compactTouch is a Touch whose item is a number of items.
type compactTouch struct {
	event, session uint64
	time           int64
	item           uint32
	typ            uint8
}

// NewView makes the view; Run starts it.
func NewView(cluster stream.Cluster, c *spec.Config, o record.ViewOptions) *View {
	o.Fill()
	v := &View{c: c, now: o.Now, metrics: record.NewViewMetrics(o.Registerer, "personal"), items: newItems(), people: record.NewCopy(lists)}
	for _, h := range c.CoVisits.HalfLives {
		v.decays = append(v.decays, newDecay(h))
	}
	for i := range v.shards {
		v.shards[i].people = make(map[[16]byte]*person)
	}
	v.follower = stream.NewFollower(cluster, "state.personal", stream.FollowerOptions{Apply: v.apply, Logger: o.Logger})
	return v
}

// Run follows the changelog until ctx ends.
func (v *View) Run(ctx context.Context) error { return v.follower.Run(ctx) }

// CaughtUp is closed once everything that the changelog held at the start has been applied.
func (v *View) CaughtUp() <-chan struct{} { return v.follower.CaughtUp() }

// Now is what decay should count from: the wall clock, or with clock: event the newest event time seen. Unix microseconds.
func (v *View) Now() int64 {
	if v.c.EventClock {
		return v.newest.Load()
	}
	return v.now().UnixMicro()
}

// Profile is the person's profile under the identity's floor, nil if there is none.
func (v *View) Profile(id consent.Identity) *Profile {
	p := v.shard(id.Subject).find(id.Subject)
	if p == nil {
		return nil
	}
	h := p.state.Load()
	if h == nil || !bytes.Equal(h.floor, id.Floor) || len(h.touches)+len(h.searches) == 0 {
		return nil
	}
	horizon := v.people.Horizon(h.partition)
	searches, _ := slices.BinarySearchFunc(h.searches, horizon, func(s Search, horizon int64) int { return cmp.Compare(s.Time, horizon) })
	out := &Profile{Touches: make([]record.Touch, 0, len(h.touches)), Searches: h.searches[searches:]}
	v.items.mu.RLock()
	defer v.items.mu.RUnlock()
	for i := range h.touches {
		t := &h.touches[i]
		if t.time < horizon {
			continue
		}
		if it := v.items.byID[t.item]; it != nil { // nil: the record was replaced since, and nobody has the item any more
			out.Touches = append(out.Touches, record.Touch{Event: t.event, Type: vocab.Type(t.typ), Time: t.time, ItemID: it.name, Session: t.session})
		}
	}
	if len(out.Touches)+len(out.Searches) == 0 {
		return nil
	}
	return out
}

func (v *View) shard(subject [16]byte) *personShard { return &v.shards[subject[15]%record.Shards] }

func (s *personShard) find(subject [16]byte) *person {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.people[subject]
}

func (v *View) apply(recs []stream.Record) {
	began := time.Now()
	for i := range recs {
		if subject, isHead := v.people.Apply(&recs[i]); isHead {
			v.record(subject, recs[i].Partition)
		}
	}
	n := 0
	for i := range v.shards {
		n += len(v.shards[i].people)
	}
	v.metrics.Applied(began, map[string]int{"people": n, "items": len(v.items.numbers), "touches": int(v.total.Load())})
}

// record takes a subject's new version: what the old version added to the item structures goes, what the new one adds comes.
func (v *View) record(subject [16]byte, partition int32) {
	var next *history
	known, err := v.people.ReadKept(&v.fold.person, subject)
	if err == nil && known {
		next, err = v.read(partition)
	}
	if err != nil {
		v.metrics.Broken.Inc()
		return
	}
	shard := v.shard(subject)
	p := shard.people[subject] // only this goroutine writes
	if p == nil {
		if next == nil {
			return
		}
		p = new(person)
		shard.mu.Lock()
		shard.people[subject] = p
		shard.mu.Unlock()
	}
	before := p.state.Load()
	p.state.Store(next)
	v.replace(p, before.list(), next.list())
	if next == nil {
		shard.mu.Lock()
		delete(shard.people, subject)
		shard.mu.Unlock()
	}
}

func (h *history) list() []compactTouch {
	if h == nil {
		return nil
	}
	return h.touches
}

// read makes the person's present version. Its items get numbers; those that are new are referred to by its touches right after.
func (v *View) read(partition int32) (*history, error) {
	p := &v.fold.person
	h := &history{floor: bytes.Clone(p.Floor), partition: partition, searches: searchesOf(p.Lists[searchList])}
	if n := len(h.searches); n > 0 {
		v.seen(h.searches[n-1].Time)
	}
	entries := p.Lists[touchList]
	h.touches = make([]compactTouch, 0, len(entries))
	for i := range entries {
		t, item, ok := readTouch(&entries[i])
		if !ok {
			return nil, errTouch
		}
		h.touches = append(h.touches, compactTouch{event: t.Event, session: t.Session, time: t.Time, item: v.items.number(item), typ: uint8(t.Type)})
		v.seen(t.Time)
	}
	return h, nil
}

var errTouch = errors.New("a touch that cannot be read")

func (v *View) seen(micros int64) {
	if micros > v.newest.Load() { // one writer
		v.newest.Store(micros)
	}
}
