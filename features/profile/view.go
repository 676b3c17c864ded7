// Package profile keeps each person's interactions and searches for personalization, and folds them into what is known of items.
package profile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/features/items"
	"sluice/features/record"
	"sluice/features/spec"
	"sluice/internal/dense"
	"sluice/internal/itemid"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
)

// Profile is one person's kept history for personalization. It must not be changed.
type Profile struct {
	Interactions []record.Interaction // oldest first
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

	horizons record.Horizons
	shards   [record.Shards]personShard
	newest   atomic.Int64 // event time
	fold     folder
}

type personShard struct {
	mu     sync.RWMutex // guards people
	people dense.Map[items.Subject, version]
}

// version is one person's record under one floor, without its interactions, which the model has. It has no pointers: there are millions.
type version struct {
	floor     floor
	partition int32 // plus 1; 0: there is no record
	places    places
}

// same tells whether both show the same interactions to the same readers.
func (a *version) same(b *version) bool { return a.floor == b.floor && a.partition == b.partition }

func (a *version) isNone() bool { return a.partition == 0 }

// floor is a floor of up to maxFloor bytes, and their number.
type floor struct {
	bytes [maxFloor]byte
	n     uint8
}

const maxFloor = privacyfilter.RevisionBytes

// floorOf is the short form of a floor. A floor that is too long has the form of no floor.
func floorOf(b []byte) (f floor, ok bool) {
	if len(b) > maxFloor {
		return floor{n: maxFloor + 1}, false
	}
	f.n = uint8(copy(f.bytes[:], b))
	return f, true
}

// folder is the applying goroutine's scratch.
type folder struct {
	heading, chunking record.Reader
	pending           map[string][]byte // chunks whose head comes next, by key
	waiting           int               // most of them so far
	places            placesOf

	known, interactions []items.Interaction // of the person at hand: before and after
	counts              []uint32
	acquired            []uint32
	change              [1]items.Change
}

// NewView makes the view; Run starts it. Items have their numbers from ids.
func NewView(cluster stream.Cluster, c *spec.Config, ids *itemid.Table, o record.ViewOptions) *View {
	o.Fill()
	v := &View{
		c: c, ids: ids, model: items.New(ids, items.Options{Gap: c.Sessions.Gap}), now: o.Now, metrics: record.NewViewMetrics(o.Registerer, "personal"),
		pairs: items.Pairs{Weights: c.CoVisits.Weights, Positions: c.CoVisits.Positions, People: c.CoVisits.People, Sample: c.CoVisits.Sample},
	}
	v.fold.pending = make(map[string][]byte)
	following := o.Follower(v.apply, record.ChunkTable, record.ClockTable, record.Table)
	following.Load = v.model.Load
	v.follower = stream.NewFollower(cluster, "state.personal", following)
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

// Interactions appends what the person did under the identity's floor to out, the oldest first.
func (v *View) Interactions(out []items.Interaction, id consent.Identity) []items.Interaction {
	before := len(out)
	wanted, _ := floorOf(id.Floor)
	for {
		current := v.version(id.Subject)
		if current.isNone() || current.floor != wanted {
			return out[:before]
		}
		out = v.model.Interactions(out[:before], id.Subject)
		if still := v.version(id.Subject); still.same(&current) {
			horizon := v.horizons.Of(current.partition - 1)
			expired, _ := slices.BinarySearchFunc(out[before:], horizon, func(t items.Interaction, horizon int64) int { return cmp.Compare(t.Time, horizon) })
			return slices.Delete(out, before, before+expired)
		}
	}
}

// Profile is the person's profile under the identity's floor, nil if there is none.
func (v *View) Profile(id consent.Identity) *Profile {
	out := new(Profile)
	for _, t := range v.Interactions(nil, id) {
		out.Interactions = append(out.Interactions, record.Interaction{Event: t.Event, Type: vocab.Type(t.Type), Time: t.Time, ItemID: v.ids.ID(t.Item), Session: t.Session})
	}
	if len(out.Interactions) == 0 {
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

func (v *View) version(subject items.Subject) version {
	s := v.shard(subject)
	s.mu.RLock()
	defer s.mu.RUnlock()
	current, _ := s.people.Get(subject)
	return current
}

// show makes a person's version what readers see.
func (v *View) show(subject items.Subject, next version) {
	s := v.shard(subject)
	s.mu.Lock()
	defer s.mu.Unlock()
	if next.isNone() {
		s.people.Delete(subject)
		return
	}
	s.people.Set(subject, next)
}

func (v *View) apply(recs []stream.Record) {
	began := time.Now()
	for i := range recs {
		if len(recs[i].Key) > 0 {
			v.record(&recs[i])
		}
	}
	sizes := v.model.Sizes()
	v.metrics.Applied(began, map[string]int{"people": sizes.People, "items": sizes.Items, "interactions": sizes.Interactions, "sessions": sizes.Sessions, "bytes": sizes.Bytes})
}

// record folds one record of the changelog. A chunk waits for its head, which comes after it.
func (v *View) record(rec *stream.Record) {
	switch key := rec.Key[1:]; {
	case rec.Key[0] == record.ClockTable && rec.Value != nil:
		v.horizons.Apply(rec)
	case rec.Key[0] == record.ChunkTable && len(key) == subjectBytes+record.ChunkPlace:
		if list, _ := record.ChunkOf(key); list == interactionList {
			v.fold.wait(key, rec.Value)
		}
	case rec.Key[0] == record.Table && len(key) == subjectBytes:
		if err := v.head(items.Subject(key), rec); err != nil {
			v.metrics.Broken.Inc()
		}
	}
}

// head folds a person's new head, and the chunks that have waited for it. Interactions of a record under another floor are not seen before the floor is: between, the
// person has nothing.
func (v *View) head(subject items.Subject, rec *stream.Record) error {
	f, old := &v.fold, v.version(subject)
	f.interactions, f.counts, f.acquired = f.interactions[:0], f.counts[:0], f.acquired[:0]
	defer func() { v.ids.Release(f.acquired...) }()
	if rec.Value == nil {
		v.replace(subject, old, version{}, 0)
		return nil
	}
	if err := f.heading.ReadHead(rec.Value, lists); err != nil {
		return err
	}
	list := f.heading.Head.Lists[interactionList]
	next := version{partition: rec.Partition + 1, places: old.places}
	var ok bool
	if next.floor, ok = floorOf(f.heading.Head.Floor); !ok {
		return errFloor
	}
	if err := v.chunks(subject, old, list.First, list.Chunks); err != nil {
		return err
	}
	if err := v.decode(list.Tail); err != nil {
		return err
	}
	v.replace(subject, old, next, list.First)
	return nil
}

// chunks appends the interactions of a person's chunks: of those that have come since the last head, and else what the model has of them.
func (v *View) chunks(subject items.Subject, old version, first, n uint32) error {
	f := &v.fold
	f.known = f.known[:0]
	if n > 0 && !old.isNone() {
		f.known = v.model.Interactions(f.known, subject)
	}
	for number := first; number < first+n; number++ {
		from := len(f.interactions)
		if value, ok := f.take(subject, number); ok {
			if err := f.chunking.ReadChunk(value); err != nil {
				return err
			}
			if err := v.decode(f.chunking.Entries); err != nil {
				return err
			}
		} else if !old.isNone() {
			begin, end := f.places.stretch(old.places, number)
			f.interactions = append(f.interactions, f.known[min(begin, len(f.known)):min(end, len(f.known))]...)
		}
		f.counts = append(f.counts, uint32(len(f.interactions)-from))
	}
	return nil
}

// replace makes the interactions at hand the person's, and next what readers see. Its chunks begin with the number first.
func (v *View) replace(subject items.Subject, old, next version, first uint32) {
	f, stays := &v.fold, old.same(&next)
	if !stays && !old.isNone() {
		v.show(subject, version{})
	}
	f.change[0] = items.Change{Subject: subject, Interactions: f.interactions}
	v.model.Apply(f.change[:])
	if next.isNone() {
		f.places.drop(old.places)
		return
	}
	next.places = f.places.set(old.places, first, f.counts)
	if !stays || next.places != old.places {
		v.show(subject, next)
	}
}

// decode appends interactions.
func (v *View) decode(entries []record.Entry) error {
	f := &v.fold
	for i := range entries {
		t, item, ok := readInteraction(&entries[i])
		if !ok {
			return errInteraction
		}
		number := v.ids.AcquireBytes(item)
		f.acquired = append(f.acquired, number)
		f.interactions = append(f.interactions, items.Interaction{Event: t.Event, Session: t.Session, Time: t.Time, Item: number, Type: uint8(t.Type)})
		v.seen(t.Time)
	}
	return nil
}

var (
	errInteraction = errors.New("an interaction that cannot be read")
	errFloor       = fmt.Errorf("a floor must have at most %d bytes", maxFloor)
)

func (v *View) seen(micros int64) {
	if micros > v.newest.Load() { // one writer
		v.newest.Store(micros)
	}
}
