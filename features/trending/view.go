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

// listLength is how many items a list holds at most.
const listLength = 1000

// View follows the trending engine's changelog and makes lists on fixed ticks.
type View struct {
	c        spec.Trending
	ids      *itemid.Table
	byEvents bool
	now      func() time.Time
	follower *stream.Follower
	metrics  *record.ViewMetrics
	lists    atomic.Pointer[Lists]

	mu            sync.Mutex // guards what follows
	contributions dense.Map[contribution, stretches]
	words         slab.Slab[uint32] // of stretches
	windows       map[int64]*window
	newest        int64 // event time
	fold          folder
}

// contribution is the key of what one person did in one window.
type contribution = [contributionBytes]byte

// window counts the people of each item.
type window struct {
	people []int32 // by item number; an item with people has a reference
	items  int     // that have people
}

// folder is the scratch of one record.
type folder struct {
	reader   record.Reader
	acquired []uint32
	items    []uint32 // distinct
	words    []uint32
}

// NewView makes the view; Run starts it. Items have their numbers from ids.
func NewView(cluster stream.Cluster, c *spec.Config, ids *itemid.Table, o record.ViewOptions) *View {
	o.Fill()
	v := &View{
		c: c.Trending, ids: ids, byEvents: c.EventClock, now: o.Now, metrics: record.NewViewMetrics(o.Registerer, "trending"),
		windows: make(map[int64]*window),
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
		items += w.items
	}
	v.metrics.Applied(began, map[string]int{"contributions": v.contributions.Len(), "items": items})
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
	for i := range entries {
		item := v.ids.AcquireBytes(entries[i].Body)
		v.fold.acquired = append(v.fold.acquired, item)
		if !slices.Contains(v.fold.items, item) {
			v.fold.items = append(v.fold.items, item)
		}
		v.newest = max(v.newest, entries[i].Time)
	}
	v.replace(contribution(rec.Key[1:]), number, v.fold.items)
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

// replace makes items the items of one record of a contribution. The person counts for an item as long as one of the records has it.
func (v *View) replace(key contribution, number uint32, items []uint32) {
	s, _ := v.contributions.Get(key)
	words := v.words.At(s.at, int(s.n))
	from, to := find(words, number)
	w := v.window(windowOf(key[:]))
	for _, item := range stretchItems(words[from:to]) {
		if !slices.Contains(items, item) && !holds(words, number, item) {
			v.count(w, item, -1)
		}
	}
	for _, item := range items {
		if !slices.Contains(stretchItems(words[from:to]), item) && !holds(words, number, item) {
			v.count(w, item, +1)
		}
	}
	if w.items == 0 {
		delete(v.windows, windowOf(key[:]))
	}
	next := append(append(v.fold.words[:0], words[:from]...), words[to:]...)
	if len(items) > 0 {
		next = append(append(next, number, uint32(len(items))), items...)
	}
	v.fold.words = next
	s = stretches{v.words.Resize(s.at, int(s.n), len(next)), uint32(len(next))}
	if s.n == 0 {
		v.contributions.Delete(key)
		return
	}
	copy(v.words.At(s.at, int(s.n)), next)
	v.contributions.Set(key, s)
}

func (v *View) window(number int64) *window {
	w := v.windows[number]
	if w == nil {
		w = new(window)
		v.windows[number] = w
	}
	return w
}

func (v *View) count(w *window, item uint32, by int32) {
	if int(item) >= len(w.people) {
		w.people = append(w.people, make([]int32, max(v.ids.Len(), int(item)+1)-len(w.people))...)
	}
	before := w.people[item]
	w.people[item] += by
	switch {
	case before == 0:
		v.ids.Retain(item)
		w.items++
	case w.people[item] == 0:
		v.ids.Release(item)
		w.items--
	}
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
	made := &Lists{
		Tick:     at,
		Trending: v.list(window-1, window, remaining),
		Popular:  v.list(window-int64(v.c.Kept)+1, window, 1),
	}
	if tick := v.c.Tick.Microseconds(); len(made.Popular) == 0 && record.FloorDiv(v.lists.Load().Tick, tick) == record.FloorDiv(at, tick) {
		return // still nothing: what was made from the empty lists of this tick holds
	}
	v.lists.Store(made)
}

// list adds up the people of the windows from first to last, those before the last one with a weight, of every item that enough people chose in one of them.
func (v *View) list(first, last int64, weight float64) []scored.Item {
	list := scored.Best(listLength)
	for item := range uint32(v.ids.Len()) {
		score, most := 0.0, int32(0)
		for number := first; number <= last; number++ {
			n := v.windows[number].of(item)
			most = max(most, n)
			if number < last {
				score += weight * float64(n)
			} else {
				score += float64(n)
			}
		}
		if score > 0 && int(most) >= v.c.People {
			list.Offer(scored.Item{ItemID: v.ids.ID(item), Score: score})
		}
	}
	return list.Best
}

// of is how many people an item has; no window has any.
func (w *window) of(item uint32) int32 {
	if w == nil || int(item) >= len(w.people) {
		return 0
	}
	return w.people[item]
}
