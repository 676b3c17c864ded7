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

	"sluice/features/items"
	"sluice/features/record"
	"sluice/features/spec"
	"sluice/internal/itemid"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/consent"
)

// Profile is one person's kept history for personalization. It must not be changed.
type Profile struct {
	Touches  []record.Touch // oldest first
	Searches []Search       // oldest first
}

// View follows the personal engine's changelog: each person's profile, and the model of items that is folded from all of them.
// It is safe for concurrent use; one goroutine applies.
type View struct {
	c        *spec.Config
	ids      *itemid.Table
	model    *items.Model
	pairs    items.Pairs
	now      func() time.Time
	follower *stream.Follower
	metrics  *record.ViewMetrics

	people *record.Copy
	shards [record.Shards]personShard
	newest atomic.Int64 // event time
	fold   folder
}

type personShard struct {
	mu     sync.RWMutex // guards people
	people map[items.Subject]*version
}

// version is one version of a person's record, without its touches, which the model has. It is immutable.
type version struct {
	floor     []byte
	partition int32
	searches  []Search
}

// folder is the applying goroutine's scratch: the records that are folded together.
type folder struct {
	person   record.Person
	acquired []uint32
	touches  []items.Touch
	changes  []items.Change
	versions []*version // of the changes, nil = deleted
	heads    []changed
	known    map[items.Subject]struct{} // subjects of heads
}

// changed is a person whose record has changed.
type changed struct {
	subject   items.Subject
	partition int32
}

// folded is how many records are folded together.
const folded = 256

// NewView makes the view; Run starts it. Items have their numbers from ids.
func NewView(cluster stream.Cluster, c *spec.Config, ids *itemid.Table, o record.ViewOptions) *View {
	o.Fill()
	v := &View{
		c: c, ids: ids, model: items.New(ids, items.Options{Gap: c.Sessions.Gap}), now: o.Now, metrics: record.NewViewMetrics(o.Registerer, "personal"),
		people: record.NewCopy(lists),
		pairs:  items.Pairs{Weights: c.CoVisits.Weights, Positions: c.CoVisits.Positions, People: c.CoVisits.People, Sample: c.CoVisits.Sample},
	}
	v.fold.known = make(map[items.Subject]struct{})
	for i := range v.shards {
		v.shards[i].people = make(map[items.Subject]*version)
	}
	v.follower = stream.NewFollower(cluster, "state.personal", o.Follower(v.apply, record.ChunkTable, record.ClockTable, record.Table))
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

// Touches appends what the person did under the identity's floor to out, the oldest first.
func (v *View) Touches(out []items.Touch, id consent.Identity) []items.Touch {
	before := len(out)
	for {
		current := v.version(id.Subject)
		if current == nil || !bytes.Equal(current.floor, id.Floor) {
			return out[:before]
		}
		out = v.model.Touches(out[:before], id.Subject)
		if v.version(id.Subject) == current {
			horizon := v.people.Horizon(current.partition)
			expired, _ := slices.BinarySearchFunc(out[before:], horizon, func(t items.Touch, horizon int64) int { return cmp.Compare(t.Time, horizon) })
			return slices.Delete(out, before, before+expired)
		}
	}
}

// Profile is the person's profile under the identity's floor, nil if there is none.
func (v *View) Profile(id consent.Identity) *Profile {
	out := new(Profile)
	for _, t := range v.Touches(nil, id) {
		out.Touches = append(out.Touches, record.Touch{Event: t.Event, Type: vocab.Type(t.Type), Time: t.Time, ItemID: v.ids.ID(t.Item), Session: t.Session})
	}
	if current := v.version(id.Subject); current != nil && bytes.Equal(current.floor, id.Floor) {
		horizon := v.people.Horizon(current.partition)
		expired, _ := slices.BinarySearchFunc(current.searches, horizon, func(s Search, horizon int64) int { return cmp.Compare(s.Time, horizon) })
		out.Searches = current.searches[expired:]
	}
	if len(out.Touches)+len(out.Searches) == 0 {
		return nil
	}
	return out
}

// Neighbours appends to out what people had in sessions like the given one, see items.Model.Neighbours. Items of fewer people than configured are left out.
func (v *View) Neighbours(out []items.Scored, present []uint32, own []items.Subject, now int64, o items.KNN) []items.Scored {
	o.People = v.c.Sessions.People
	return v.model.Neighbours(out, present, own, now, &o)
}

// Together appends to out what stands near the item in people's histories, see items.Model.Together. Pairs of fewer people than configured are left out.
func (v *View) Together(out []items.Scored, item uint32, now int64, halfLife time.Duration, limit int) []items.Scored {
	o := v.pairs
	o.HalfLife, o.Limit = halfLife, limit
	return v.model.Together(out, item, now, &o)
}

// Linked tells whether enough other people have both items in one session, so that a reason may name the pair.
func (v *View) Linked(a, b uint32, own []items.Subject) bool {
	return v.model.Linked(a, b, v.c.Sessions.People, own)
}

func (v *View) shard(subject items.Subject) *personShard { return &v.shards[subject[15]%record.Shards] }

func (v *View) version(subject items.Subject) *version {
	s := v.shard(subject)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.people[subject]
}

// show makes a person's version what readers see; nil: nothing.
func (v *View) show(subject items.Subject, next *version) {
	s := v.shard(subject)
	s.mu.Lock()
	defer s.mu.Unlock()
	if next == nil {
		delete(s.people, subject)
		return
	}
	s.people[subject] = next
}

func (v *View) apply(recs []stream.Record) {
	began := time.Now()
	for batch := range slices.Chunk(recs, folded) {
		v.batch(batch)
	}
	sizes := v.model.Sizes()
	v.metrics.Applied(began, map[string]int{"people": sizes.People, "items": sizes.Items, "touches": sizes.Touches, "sessions": sizes.Sessions, "bytes": sizes.Bytes})
}

// batch folds a few records: people are read when all of them are in the copy. Touches of a record under another floor are not seen before the floor is:
// between, the person has nothing.
func (v *View) batch(recs []stream.Record) {
	f := &v.fold
	f.acquired, f.touches, f.changes, f.versions = f.acquired[:0], f.touches[:0], f.changes[:0], f.versions[:0]
	f.heads = f.heads[:0]
	clear(f.known)
	for i := range recs {
		subject, isHead := v.people.Apply(&recs[i])
		if _, again := f.known[subject]; isHead && !again {
			f.known[subject] = struct{}{}
			f.heads = append(f.heads, changed{subject, recs[i].Partition})
		}
	}
	for i := range f.heads {
		v.read(&f.heads[i])
	}
	for i, next := range f.versions {
		subject := f.changes[i].Subject
		if old := v.version(subject); old != nil && (next == nil || !bytes.Equal(old.floor, next.floor)) {
			v.show(subject, nil)
		}
	}
	v.model.Apply(f.changes)
	for i, next := range f.versions {
		v.show(f.changes[i].Subject, next)
	}
	v.ids.Release(f.acquired...)
}

// read notes a person's new record, or that it is gone.
func (v *View) read(p *changed) {
	f := &v.fold
	var next *version
	from := len(f.touches)
	known, err := v.people.ReadKept(&f.person, p.subject)
	if err == nil && known {
		next, err = v.decode(p.partition)
	}
	if err != nil {
		f.touches = f.touches[:from]
		v.metrics.Broken.Inc()
		return
	}
	f.changes = append(f.changes, items.Change{Subject: p.subject, Touches: f.touches[from:len(f.touches):len(f.touches)]})
	f.versions = append(f.versions, next)
}

// decode makes the present version of the person that was read, and appends its touches.
func (v *View) decode(partition int32) (*version, error) {
	f := &v.fold
	next := &version{floor: bytes.Clone(f.person.Floor), partition: partition, searches: searchesOf(f.person.Lists[searchList])}
	if n := len(next.searches); n > 0 {
		v.seen(next.searches[n-1].Time)
	}
	entries := f.person.Lists[touchList]
	for i := range entries {
		t, item, ok := readTouch(&entries[i])
		if !ok {
			return nil, errTouch
		}
		number := v.ids.AcquireBytes(item)
		f.acquired = append(f.acquired, number)
		f.touches = append(f.touches, items.Touch{Event: t.Event, Session: t.Session, Time: t.Time, Item: number, Type: uint8(t.Type)})
		v.seen(t.Time)
	}
	return next, nil
}

var errTouch = errors.New("a touch that cannot be read")

func (v *View) seen(micros int64) {
	if micros > v.newest.Load() { // one writer
		v.newest.Store(micros)
	}
}
