// Package trending keeps what contributors did in each window, and makes lists of what many did.
package trending

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"sluice/features/record"
	"sluice/features/scored"
	"sluice/features/spec"
	"sluice/features/statepb"
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
	byEvents bool
	now      func() time.Time
	follower *stream.Follower
	metrics  *record.ViewMetrics
	lists    atomic.Pointer[Lists]

	mu            sync.Mutex // guards what follows
	contributions map[[24]byte][]itemName
	windows       map[int64]map[itemName]int32 // people
	newest        int64                        // event time
}

// itemName is an item id that all contributions share.
type itemName = unique.Handle[string]

// NewView makes the view; Run starts it.
func NewView(cluster stream.Cluster, c *spec.Config, o record.ViewOptions) *View {
	o.Fill()
	v := &View{
		c: c.Trending, byEvents: c.EventClock, now: o.Now, metrics: record.NewViewMetrics(o.Registerer, "trending"),
		contributions: make(map[[24]byte][]itemName), windows: make(map[int64]map[itemName]int32),
	}
	v.lists.Store(&Lists{})
	v.follower = stream.NewFollower(cluster, "state.trending", o.Follower(v.apply, record.Table))
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
		wait := time.NewTimer(v.c.Tick - time.Duration(now%v.c.Tick.Microseconds())*time.Microsecond)
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
		if rec := &recs[i]; len(rec.Key) == 1+24 && rec.Key[0] == record.Table {
			v.record([24]byte(rec.Key[1:]), rec.Value)
		}
	}
	if tick := v.c.Tick.Microseconds(); v.byEvents && record.FloorDiv(v.newest, tick) > record.FloorDiv(before, tick) {
		v.publish(v.newest)
	}
	items := 0
	for _, people := range v.windows {
		items += len(people)
	}
	v.metrics.Applied(began, map[string]int{"contributions": len(v.contributions), "items": items})
}

// record takes a contribution's new version, nil = gone: what the old one had added goes, what the new one adds comes.
func (v *View) record(key [24]byte, value []byte) {
	var items []itemName
	if value != nil {
		var m statepb.Contribution
		if err := m.UnmarshalVT(value); err != nil || record.CheckColumns(m.Touches) != nil {
			v.metrics.Broken.Inc()
			return
		}
		for _, name := range m.GetTouches().GetItems() {
			items = append(items, unique.Make(name))
		}
		var last int64
		for _, d := range m.GetTouches().GetTimes() {
			last += d
		}
		v.newest = max(v.newest, last)
	}
	window := windowOf(key[:])
	v.count(window, v.contributions[key], -1)
	v.count(window, items, +1)
	if len(items) > 0 {
		v.contributions[key] = items
	} else {
		delete(v.contributions, key)
	}
}

func (v *View) count(window int64, items []itemName, by int32) {
	people := v.windows[window]
	if people == nil {
		people = make(map[itemName]int32)
		v.windows[window] = people
	}
	for _, item := range items {
		if n := people[item] + by; n != 0 {
			people[item] = n
		} else {
			delete(people, item)
		}
	}
	if len(people) == 0 {
		delete(v.windows, window)
	}
}

// publish makes the lists of the tick at or before now. The caller holds mu.
func (v *View) publish(now int64) {
	tick, length := v.c.Tick.Microseconds(), v.c.Window.Microseconds()
	at := record.FloorDiv(now, tick) * tick
	window := record.FloorDiv(at, length)
	remaining := 1 - float64(at-window*length)/float64(length)
	v.lists.Store(&Lists{
		Tick:     at,
		Trending: v.list(window-1, window, remaining),
		Popular:  v.list(window-int64(v.c.Kept)+1, window, 1),
	})
}

// list adds up the people of the windows from first to last, those before the last one with a weight, of every item that enough people chose in one of them.
func (v *View) list(first, last int64, weight float64) []scored.Item {
	scores := make(map[itemName]float64)
	served := make(map[itemName]struct{})
	for window := first; window <= last; window++ {
		if window == last {
			weight = 1
		}
		for item, n := range v.windows[window] {
			scores[item] += weight * float64(n)
			if int(n) >= v.c.People {
				served[item] = struct{}{}
			}
		}
	}
	list := scored.Best(listLength)
	for item := range served {
		if scores[item] > 0 {
			list.Offer(scored.Item{ItemID: item.Value(), Score: scores[item]})
		}
	}
	return list.Best
}
