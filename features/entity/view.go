// Package entity keeps the days of risk entities, and computes the risk features from them.
package entity

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/record"
	"sluice/features/spec"
	"sluice/features/statepb"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// overlayEvents is how many of this node's own events are held until the view shows them. Beyond it the oldest are dropped, and counted.
const overlayEvents = 10_000

// View follows the entity engine's changelog: every risk entity's days, from which the risk features are computed when asked for.
// It is safe for concurrent use; one goroutine applies.
type View struct {
	c        *spec.Config
	plans    [len(spec.Kinds)]plan
	follower *stream.Follower
	metrics  *record.ViewMetrics
	dropped  prometheus.Counter
	scratch  sync.Pool // *tally
	codec    entityDayCodec
	shards   [record.Shards]entityShard

	mu      sync.Mutex // guards what follows
	overlay []overlaid // a ring, oldest at next
	next    int
}

// entityKey is kind ‖ pseudonym.
type entityKey [entityKeyBytes]byte

type entityShard struct {
	mu       sync.RWMutex // guards entities and what they hold
	entities map[entityKey]*entity
}

// entity is what the view holds of one entity. All its events that are kept one by one stand in one list, so that reading a month of them is one sweep.
type entity struct {
	entries []entry     // of days that are not folded, by (time, event); times count from 1970
	folded  []foldedDay // by number
	overlay []entry     // events of this node that the days do not show yet
}

func (e *entity) empty() bool { return len(e.entries)+len(e.folded)+len(e.overlay) == 0 }

// foldedDay is a folded day, or hours of a day that is about to be folded (events is 0 then).
type foldedDay struct {
	number int64
	events uint64
	newest []entry // time and event alone
	hours  [hoursOfDay]*viewHour
}

// viewHour is an hour of a folded day, and its sums by type and currency.
type viewHour struct {
	statepb.EntityHour
	totals []*statepb.Minute
}

type overlaid struct {
	key   entityKey
	entry entry
}

// NewView makes the view; Run starts it.
func NewView(cluster stream.Cluster, c *spec.Config, o record.ViewOptions) *View {
	o.Fill()
	v := &View{c: c, plans: plansOf(c), metrics: record.NewViewMetrics(o.Registerer, "entity"), dropped: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sluice_features_overlay_dropped_total", Help: "Own events that fell out of the overlay before the view showed them.",
	})}
	if o.Registerer != nil {
		o.Registerer.MustRegister(v.dropped)
	}
	v.scratch.New = func() any { return newTally(&v.plans) }
	for i := range v.shards {
		v.shards[i].entities = make(map[entityKey]*entity)
	}
	v.follower = stream.NewFollower(cluster, "state.entity", o.Follower(v.apply, record.HourTable, record.Table))
	return v
}

// Run follows the changelog until ctx ends.
func (v *View) Run(ctx context.Context) error { return v.follower.Run(ctx) }

// CaughtUp is closed once everything that the changelog held at the start has been applied.
func (v *View) CaughtUp() <-chan struct{} { return v.follower.CaughtUp() }

// EachDay yields the number of events of a type by entity and UTC day (days since 1970), for entities of the kind that the field names (counterparty.id),
// in any order, until yield says stop.
func (v *View) EachDay(field string, t vocab.Type, yield func(pseudonym [16]byte, day, events int64) bool) {
	k, ok := spec.KeyFields[field]
	if !ok {
		return
	}
	for i := range v.shards {
		if !v.shards[i].eachDay(k, t, yield) {
			return
		}
	}
}

func (s *entityShard) eachDay(k spec.Kind, t vocab.Type, yield func(pseudonym [16]byte, day, events int64) bool) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for key, e := range s.entities {
		if spec.Kind(key[0]) != k {
			continue
		}
		if !e.eachDay(t, func(day, events int64) bool { return yield([16]byte(key[1:]), day, events) }) {
			return false
		}
	}
	return true
}

func (e *entity) eachDay(t vocab.Type, yield func(day, events int64) bool) bool {
	for i := 0; i < len(e.entries); {
		day, n := record.FloorDiv(e.entries[i].time, dayMicros), int64(0)
		for ; i < len(e.entries) && e.entries[i].time < (day+1)*dayMicros; i++ {
			if e.entries[i].typ == t {
				n++
			}
		}
		if n > 0 && !yield(day, n) {
			return false
		}
	}
	for i := range e.folded {
		if n := e.folded[i].count(t); n > 0 && !yield(e.folded[i].number, n) {
			return false
		}
	}
	return true
}

func (d *foldedDay) count(t vocab.Type) (n int64) {
	if d.events == 0 {
		return 0
	}
	for _, h := range d.hours {
		if h == nil {
			continue
		}
		for _, m := range h.totals {
			if m.Type == t {
				n += int64(m.Count)
			}
		}
	}
	return n
}

func (s *entityShard) len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.entities)
}

func (v *View) shard(key *entityKey) *entityShard {
	return &v.shards[key[entityKeyBytes-1]%record.Shards]
}

func (v *View) apply(recs []stream.Record) {
	began := time.Now()
	for i := range recs {
		rec := &recs[i]
		if len(rec.Key) == 0 {
			continue
		}
		key := rec.Key[1:]
		switch {
		case rec.Key[0] == record.Table && len(key) == dayKeyBytes:
			v.day(key, rec.Value)
		case rec.Key[0] == record.HourTable && len(key) == hourKeyBytes && key[dayKeyBytes] < hoursOfDay:
			v.hour(key, rec.Value)
		}
	}
	n := 0
	for i := range v.shards {
		n += v.shards[i].len()
	}
	v.metrics.Applied(began, map[string]int{"entities": n})
}

// day takes an entity's new day, nil = gone.
func (v *View) day(key, value []byte) {
	var day *entityDay
	if value != nil {
		var err error
		if day, err = v.codec.Decode(value); err != nil {
			v.metrics.Broken.Inc()
			return
		}
		for i := range day.entries {
			day.entries[i].time += dayNumber(key) * dayMicros
		}
	}
	v.change(key, func(e *entity, number int64) {
		if day == nil {
			day = new(entityDay)
		}
		e.setDay(number, day)
	})
}

// setDay puts a day in the place of its older version.
func (e *entity) setDay(number int64, day *entityDay) {
	from := sort.Search(len(e.entries), func(i int) bool { return e.entries[i].time >= number*dayMicros })
	to := sort.Search(len(e.entries), func(i int) bool { return e.entries[i].time >= (number+1)*dayMicros })
	if day.folded == 0 {
		e.entries = slices.Replace(e.entries, from, to, day.entries...)
		if at, found := e.findFolded(number); found {
			e.folded[at].events, e.folded[at].newest = 0, nil
			e.dropFolded(at)
		}
	} else {
		e.entries = slices.Delete(e.entries, from, to)
		d := e.foldedDay(number)
		d.events, d.newest = day.folded, day.entries
	}
	e.overlay = slices.DeleteFunc(e.overlay, func(o entry) bool { return e.shows(&o) })
}

func (e *entity) findFolded(number int64) (int, bool) {
	return slices.BinarySearchFunc(e.folded, number, func(d foldedDay, number int64) int { return cmp.Compare(d.number, number) })
}

// foldedDay is the folded day of the number; it is made if there is none.
func (e *entity) foldedDay(number int64) *foldedDay {
	at, found := e.findFolded(number)
	if !found {
		e.folded = slices.Insert(e.folded, at, foldedDay{number: number})
	}
	return &e.folded[at]
}

// dropFolded forgets a folded day that has nothing left.
func (e *entity) dropFolded(at int) {
	if d := &e.folded[at]; d.events == 0 && d.hours == [hoursOfDay]*viewHour{} {
		e.folded = slices.Delete(e.folded, at, at+1)
	}
}

// hour takes a new hour of a folded day, nil = gone.
func (v *View) hour(key, value []byte) {
	var hour *viewHour
	if value != nil {
		hour = new(viewHour)
		if err := hour.UnmarshalVT(value); err != nil {
			v.metrics.Broken.Inc()
			return
		}
		hour.sum()
	}
	v.change(key[:dayKeyBytes], func(e *entity, number int64) {
		e.foldedDay(number).hours[key[dayKeyBytes]] = hour
		at, _ := e.findFolded(number)
		e.dropFolded(at)
	})
}

// sum fills totals.
func (h *viewHour) sum() {
	for _, m := range h.Minutes {
		at := slices.IndexFunc(h.totals, func(t *statepb.Minute) bool { return t.Type == m.Type && t.Currency == m.Currency })
		if at < 0 {
			h.totals = append(h.totals, m.CloneVT())
			continue
		}
		mergeMinute(h.totals[at], m)
	}
}

// change changes one day of an entity, and removes an entity that has nothing left.
func (v *View) change(key []byte, do func(e *entity, day int64)) {
	id := entityKey(key[:entityKeyBytes])
	shard := v.shard(&id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	e := shard.entities[id]
	if e == nil {
		e = new(entity)
		shard.entities[id] = e
	}
	do(e, dayNumber(key))
	if e.empty() {
		delete(shard.entities, id)
	}
}

// shows tells whether the entity's days include the event.
func (e *entity) shows(o *entry) bool {
	if _, found := findEntry(e.entries, o); found {
		return true
	}
	at, found := e.findFolded(record.FloorDiv(o.time, dayMicros))
	return found && e.folded[at].shows(o)
}

// shows tells whether the folded day includes the event. It names only its newest ones; an older event that this node knows is taken to be in it.
func (d *foldedDay) shows(o *entry) bool {
	if d.events == 0 {
		return false
	}
	_, found := findEntry(d.newest, o)
	return found || len(d.newest) == 0 || o.compare(&d.newest[0]) < 0
}

func findEntry(entries []entry, o *entry) (int, bool) {
	at := sort.Search(len(entries), func(i int) bool { return entries[i].compare(o) >= 0 })
	return at, at < len(entries) && entries[at].compare(o) == 0
}

// Overlay adds an event of this node, so that Values knows it before the view shows it.
func (v *View) Overlay(ev *purposepb.RiskEvent) {
	for _, k := range spec.Kinds {
		if key, ok := keyOf(ev, k); ok && v.c.Counts(byte(k), ev.Type) {
			v.lay(key, entryOf(ev, k))
		}
	}
}

func (v *View) lay(key entityKey, added entry) {
	if !v.shard(&key).lay(key, added) {
		return
	}
	v.mu.Lock()
	if len(v.overlay) < overlayEvents {
		v.overlay = append(v.overlay, overlaid{key, added})
		v.mu.Unlock()
		return
	}
	oldest := v.overlay[v.next]
	v.overlay[v.next] = overlaid{key, added}
	v.next = (v.next + 1) % overlayEvents
	v.mu.Unlock()
	if v.shard(&oldest.key).lift(oldest.key, &oldest.entry) {
		v.dropped.Inc()
	}
}

// lay adds to an entity's overlay; false if the view shows the event, or the overlay has it.
func (s *entityShard) lay(key entityKey, added entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entities[key]
	if e == nil {
		e = new(entity)
		s.entities[key] = e
	}
	if e.shows(&added) {
		return false
	}
	if slices.ContainsFunc(e.overlay, func(o entry) bool { return o.compare(&added) == 0 }) {
		return false
	}
	e.overlay = append(e.overlay, added)
	return true
}

// lift takes an event out of an entity's overlay; false if it is not there any more.
func (s *entityShard) lift(key entityKey, gone *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entities[key]
	if e == nil {
		return false
	}
	before := len(e.overlay)
	e.overlay = slices.DeleteFunc(e.overlay, func(o entry) bool { return o.compare(gone) == 0 })
	if e.empty() {
		delete(s.entities, key)
	}
	return len(e.overlay) < before
}

// keyOf is the key of the event's entity of a kind; false if it has none.
func keyOf(ev *purposepb.RiskEvent, k spec.Kind) (key entityKey, ok bool) {
	pseudonym := pseudonymOf(ev, k)
	if len(pseudonym) != 16 {
		return key, false
	}
	key[0] = byte(k)
	copy(key[1:], pseudonym)
	return key, true
}
