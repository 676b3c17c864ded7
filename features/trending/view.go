// Package trending keeps what contributors did in each window, and makes lists of what many did.
package trending

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/features/record"
	"sluice/features/scored"
	"sluice/features/slab"
	"sluice/features/spec"
	"sluice/internal/catalog"
	"sluice/internal/dense"
	"sluice/internal/itemid"
	"sluice/internal/stream"
)

// Lists are the aggregate lists of one tick, by (score, descending; id). They must not be changed.
type Lists struct {
	Tick     int64         // Unix microseconds, a multiple of the tick; 0 = none were made yet
	Trending []scored.Item // people of the present window, and of the one before it by its part that is still within a window's length
	Popular  []scored.Item // people of all kept windows
}

// listLength is how many items a list holds at most, of all and of those that the catalogue has.
const listLength = 1000

// Catalogue is the view of the items; *catalog.View is one.
type Catalogue interface {
	Snapshot() *catalog.Snapshot
}

// View follows the trending engine's changelog and makes lists on fixed ticks.
type View struct {
	c         spec.Trending
	ids       *itemid.Table
	catalogue Catalogue // nil: there is none
	byEvents  bool
	now       func() time.Time
	follower  *stream.Follower
	metrics   *metrics
	lists     atomic.Pointer[Lists]

	mu            sync.Mutex // guards what follows
	contributions dense.Map[contribution, stretches]
	words         slab.Slab[uint32] // of stretches
	windows       map[int64]*window
	newcomers     int   // contributions of people who do not count
	newest        int64 // event time
	fold          folder
}

// contribution is the key of what one person did in one window.
type contribution = [contributionBytes]byte

// window counts the people of each item.
type window struct{ people, newcomers tally }

// tally counts people by item number. An item with people has a reference.
type tally struct {
	people []int32
	items  int // that have people
}

// folder is the scratch of one record.
type folder struct {
	reader   record.Reader
	acquired []uint32
	items    []uint32 // distinct
	words    []uint32
}

// NewView makes the view; Run starts it. Items have their numbers from ids, also those of the catalogue (nil: there is none).
func NewView(cluster stream.Cluster, c *spec.Config, ids *itemid.Table, catalogue Catalogue, o record.ViewOptions) *View {
	o.Fill()
	v := &View{
		c: c.Trending, ids: ids, catalogue: catalogue, byEvents: c.EventClock, now: o.Now, metrics: newMetrics(o.Registerer), windows: make(map[int64]*window),
	}
	v.lists.Store(&Lists{})
	v.follower = stream.NewFollower(cluster, "state.trending", o.Follower(v.apply, record.ChunkTable, record.Table))
	return v
}

// Lists are the newest ones.
func (v *View) Lists() *Lists { return v.lists.Load() }

// CaughtUp is closed once everything that the changelog held at the start has been applied.
func (v *View) CaughtUp() <-chan struct{} { return v.follower.CaughtUp() }

// Run follows the changelog and makes lists until ctx ends. With clock: wall they are made at every tick of the machine's clock, first when the changelog
// has been read; with clock: event whenever the newest event time crosses a tick.
func (v *View) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var ticker sync.WaitGroup
	ticker.Go(func() { v.tick(ctx) })
	err := v.follower.Run(ctx)
	cancel()
	ticker.Wait()
	return err
}

func (v *View) tick(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-v.CaughtUp():
	}
	for {
		v.mu.Lock()
		now := v.present()
		v.publish(now)
		v.mu.Unlock()
		if v.byEvents {
			return // apply makes the others
		}
		step := v.step()
		wait := time.NewTimer(step - time.Duration(now%step.Microseconds())*time.Microsecond)
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}

// present is what "now" is. The caller holds mu.
func (v *View) present() int64 {
	if v.byEvents {
		return v.newest
	}
	return v.now().UnixMicro()
}

func (v *View) apply(recs []stream.Record) {
	began := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	before := v.newest
	for i := range recs {
		v.record(&recs[i])
	}
	if tick := v.c.Tick.Microseconds(); v.byEvents && record.FloorDiv(v.newest, tick) > record.FloorDiv(before, tick) {
		v.publish(v.newest)
	}
	items := 0
	for _, w := range v.windows {
		items += w.people.items
	}
	v.metrics.Applied(began, map[string]int{"contributions": v.contributions.Len(), "newcomers": v.newcomers, "items": items})
}

// record takes a record's new version, nil = gone: what the old one had added goes, what the new one adds comes.
func (v *View) record(rec *stream.Record) {
	if len(rec.Key) <= contributionBytes {
		return
	}
	number := headNumber
	switch key := rec.Key[1:]; {
	case rec.Key[0] == record.Table && len(key) == contributionBytes:
	case rec.Key[0] == record.ChunkTable && len(key) == contributionBytes+record.ChunkPlace:
		_, number = record.ChunkOf(key)
	default:
		return
	}
	entries, err := v.entries(number, rec.Value)
	if err != nil {
		v.metrics.Broken.Inc()
		return
	}
	v.fold.items, v.fold.acquired = v.fold.items[:0], v.fold.acquired[:0]
	known := false
	for i := range entries {
		body := entries[i].Body
		if len(body) < 2 { // no item is named so
			v.metrics.Broken.Inc()
			continue
		}
		known = known || body[0] == established[0]
		item := v.ids.AcquireBytes(body[1:])
		v.fold.acquired = append(v.fold.acquired, item)
		if !slices.Contains(v.fold.items, item) {
			v.fold.items = append(v.fold.items, item)
		}
		v.newest = max(v.newest, entries[i].Time)
	}
	v.replace(contribution(rec.Key[1:]), number, v.fold.items, known)
	v.ids.Release(v.fold.acquired...)
}

// entries reads the entries of a head or a chunk.
func (v *View) entries(number uint32, value []byte) ([]record.Entry, error) {
	r := &v.fold.reader
	switch {
	case value == nil:
		return nil, nil
	case number == headNumber:
		err := r.ReadHead(value, lists)
		return r.Head.Lists[0].Tail, err
	default:
		err := r.ReadChunk(value)
		return r.Entries, err
	}
}

// replace makes items the items of one record of a contribution. known tells whether an event of the record makes the person count. The person counts for an item as long as one
// of the records has it, and among the newcomers as long as none of them makes the person count.
func (v *View) replace(key contribution, number uint32, items []uint32, known bool) {
	s, _ := v.contributions.Get(key)
	words := v.words.At(s.at, int(s.n))
	from, to := find(words, number)
	next := append(append(v.fold.words[:0], words[:from]...), words[to:]...)
	next = appendStretch(next, number, items, known)
	v.fold.words = next
	w := v.window(windowOf(key[:]))
	if before, after := isEstablished(words), isEstablished(next); before == after {
		v.recount(w.of(after), words, stretchItems(words[from:to]), items, number)
	} else {
		for item := range distinct(next) { // first: what stays keeps its number
			v.count(w.of(after), item, +1)
		}
		for item := range distinct(words) {
			v.count(w.of(before), item, -1)
		}
	}
	if w.people.items+w.newcomers.items == 0 {
		delete(v.windows, windowOf(key[:]))
	}
	v.newcomers += newcomers(next) - newcomers(words)
	s = stretches{v.words.Resize(s.at, int(s.n), len(next)), uint32(len(next))}
	if s.n == 0 {
		v.contributions.Delete(key)
		return
	}
	copy(v.words.At(s.at, int(s.n)), next)
	v.contributions.Set(key, s)
}

// recount brings a tally from the items that a record had to those that it has. What another record of the contribution has stays counted.
func (v *View) recount(t *tally, words, before, after []uint32, number uint32) {
	for _, item := range before {
		if !slices.Contains(after, item) && !holds(words, number, item) {
			v.count(t, item, -1)
		}
	}
	for _, item := range after {
		if !slices.Contains(before, item) && !holds(words, number, item) {
			v.count(t, item, +1)
		}
	}
}

// newcomers is 1 for a contribution of somebody who does not count.
func newcomers(words []uint32) int {
	if len(words) == 0 || isEstablished(words) {
		return 0
	}
	return 1
}

func (v *View) window(number int64) *window {
	w := v.windows[number]
	if w == nil {
		w = new(window)
		v.windows[number] = w
	}
	return w
}

func (v *View) count(t *tally, item uint32, by int32) {
	if int(item) >= len(t.people) {
		t.people = append(t.people, make([]int32, max(v.ids.Len(), int(item)+1)-len(t.people))...)
	}
	before := t.people[item]
	t.people[item] += by
	switch {
	case before == 0:
		v.ids.Retain(item)
		t.items++
	case t.people[item] == 0:
		v.ids.Release(item)
		t.items--
	}
}

// of is the tally of those who count, or of the newcomers.
func (w *window) of(known bool) *tally {
	if known {
		return &w.people
	}
	return &w.newcomers
}

// step is how far apart lists are made: a tick, or a second while there is nothing to list. Else a shop's first lists would be empty for a tick.
func (v *View) step() time.Duration {
	if v.byEvents || len(v.lists.Load().Popular) > 0 {
		return v.c.Tick
	}
	return min(v.c.Tick, time.Second)
}

// publish makes the lists of the step at or before now. The caller holds mu.
func (v *View) publish(now int64) {
	step, length := v.step().Microseconds(), v.c.Window.Microseconds()
	at := record.FloorDiv(now, step) * step
	window := record.FloorDiv(at, length)
	remaining := 1 - float64(at-window*length)/float64(length)
	first, snapshot := window-int64(v.c.Kept)+1, v.snapshot()
	made := &Lists{
		Tick:     at,
		Trending: v.list(window-1, window, remaining, snapshot),
		Popular:  v.list(first, window, 1, snapshot),
	}
	v.watch(first, window, snapshot)
	if tick := v.c.Tick.Microseconds(); len(made.Popular) == 0 && record.FloorDiv(v.lists.Load().Tick, tick) == record.FloorDiv(at, tick) {
		return // still nothing: what was made from the empty lists of this tick holds
	}
	v.lists.Store(made)
}

// snapshot is the catalogue; nil if nothing was ever posted.
func (v *View) snapshot() *catalog.Snapshot {
	if v.catalogue == nil {
		return nil
	}
	if s := v.catalogue.Snapshot(); s.Posted() {
		return s
	}
	return nil
}

// list adds up the people of the windows from first to last, those before the last one with a weight, of every item that enough people chose in one of them.
//
// The best of all are listed, and the best of what the catalogue has: an item that comes late is there, and what the catalogue lacks takes no place. A list is a
// function of the tick alone wherever it is not full.
func (v *View) list(first, last int64, weight float64, snapshot *catalog.Snapshot) []scored.Item {
	all, had := scored.Best(listLength), scored.Best(listLength)
	for item := range uint32(v.ids.Len()) {
		score, most := 0.0, int32(0)
		for number := first; number <= last; number++ {
			n := v.windows[number].counted(item)
			most = max(most, n)
			if number < last {
				score += weight * float64(n)
			} else {
				score += float64(n)
			}
		}
		if score <= 0 || int(most) < v.c.People {
			continue
		}
		s := scored.Item{ItemID: v.ids.ID(item), Score: score}
		all.Offer(s)
		if snapshot != nil && snapshot.At(item) != nil {
			had.Offer(s)
		}
	}
	if len(all.Best) < listLength {
		return all.Best
	}
	end := all.Best[listLength-1]
	for _, s := range had.Best {
		if all.Compare(s, end) > 0 {
			all.Best = append(all.Best, s)
		}
	}
	return all.Best
}

// watch measures what the windows from first to last hold that is on no list: what newcomers chose, and what the catalogue lacks.
func (v *View) watch(first, last int64, snapshot *catalog.Snapshot) {
	held, items, people := 0, 0, 0
	for item := range uint32(v.ids.Len()) {
		most, choices := int32(0), int32(0)
		for number := first; number <= last; number++ {
			w := v.windows[number]
			fresh := w.fresh(item)
			most = max(most, fresh)
			choices += fresh + w.counted(item)
		}
		if int(most) >= v.c.People {
			held++
		}
		if choices > 0 && snapshot != nil && snapshot.At(item) == nil {
			items++
			people += int(choices)
		}
	}
	v.metrics.held.WithLabelValues("items").Set(float64(held))
	v.metrics.held.WithLabelValues("people").Set(float64(v.newcomers))
	v.metrics.unknown.WithLabelValues("items").Set(float64(items))
	v.metrics.unknown.WithLabelValues("choices").Set(float64(people))
}

// counted is how many people who count an item has; no window has any.
func (w *window) counted(item uint32) int32 {
	if w == nil {
		return 0
	}
	return w.people.of(item)
}

// fresh is how many newcomers an item has.
func (w *window) fresh(item uint32) int32 {
	if w == nil {
		return 0
	}
	return w.newcomers.of(item)
}

func (t *tally) of(item uint32) int32 {
	if int(item) >= len(t.people) {
		return 0
	}
	return t.people[item]
}
