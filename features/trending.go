package features

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"sluice/features/statepb"
	"sluice/internal/stream"
)

// Lists are the aggregate lists of one tick, by (score, descending; id). They must not be changed.
type Lists struct {
	Tick     int64    // Unix microseconds, a multiple of the tick; 0 = none were made yet
	Trending []Scored // people of the present window, and of the one before it by its part that is still within a window's length
	Popular  []Scored // people of all kept windows
}

// listLength is how many items a list holds at most.
const listLength = 1000

// Trending follows the trending engine's changelog and makes lists on fixed ticks.
type Trending struct {
	c        trendingConfig
	byEvents bool
	now      func() time.Time
	follower *stream.Follower
	metrics  *viewMetrics
	lists    atomic.Pointer[Lists]

	mu            sync.Mutex // guards what follows
	contributions map[[24]byte][]itemName
	windows       map[int64]map[itemName]int32 // people
	newest        int64                        // event time
}

// itemName is an item id that all contributions share.
type itemName = unique.Handle[string]

// NewTrending makes the view; Run starts it.
func NewTrending(cluster stream.Cluster, c *Config, o ViewOptions) *Trending {
	o.fill()
	v := &Trending{
		c: c.trending, byEvents: c.eventClock, now: o.Now, metrics: newViewMetrics(o.Registerer, "trending"),
		contributions: make(map[[24]byte][]itemName), windows: make(map[int64]map[itemName]int32),
	}
	v.lists.Store(&Lists{})
	v.follower = stream.NewFollower(cluster, "state.trending", stream.FollowerOptions{Apply: v.apply, Logger: o.Logger})
	return v
}

// Lists are the newest ones.
func (v *Trending) Lists() *Lists { return v.lists.Load() }

// CaughtUp is closed once everything that the changelog held at the start has been applied.
func (v *Trending) CaughtUp() <-chan struct{} { return v.follower.CaughtUp() }

// Run follows the changelog and makes lists until ctx ends. With clock: wall they are made at every tick of the machine's clock, first when the changelog
// has been read; with clock: event whenever the newest event time crosses a tick.
func (v *Trending) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var ticker sync.WaitGroup
	ticker.Go(func() { v.tick(ctx) })
	err := v.follower.Run(ctx)
	cancel()
	ticker.Wait()
	return err
}

func (v *Trending) tick(ctx context.Context) {
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
		wait := time.NewTimer(v.c.tick - time.Duration(now%v.c.tick.Microseconds())*time.Microsecond)
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}

// present is what "now" is. The caller holds mu.
func (v *Trending) present() int64 {
	if v.byEvents {
		return v.newest
	}
	return v.now().UnixMicro()
}

func (v *Trending) apply(recs []stream.Record) {
	began := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	before := v.newest
	for i := range recs {
		if rec := &recs[i]; len(rec.Key) == 1+24 && rec.Key[0] == recordTable {
			v.record([24]byte(rec.Key[1:]), rec.Value)
		}
	}
	if tick := v.c.tick.Microseconds(); v.byEvents && floorDiv(v.newest, tick) > floorDiv(before, tick) {
		v.publish(v.newest)
	}
	items := 0
	for _, people := range v.windows {
		items += len(people)
	}
	v.metrics.applied(began, map[string]int{"contributions": len(v.contributions), "items": items})
}

// record takes a contribution's new version, nil = gone: what the old one had added goes, what the new one adds comes.
func (v *Trending) record(key [24]byte, value []byte) {
	var items []itemName
	if value != nil {
		var m statepb.Contribution
		if err := m.UnmarshalVT(value); err != nil || checkColumns(m.Touches) != nil {
			v.metrics.broken.Inc()
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

func (v *Trending) count(window int64, items []itemName, by int32) {
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
func (v *Trending) publish(now int64) {
	tick, length := v.c.tick.Microseconds(), v.c.window.Microseconds()
	at := floorDiv(now, tick) * tick
	window := floorDiv(at, length)
	remaining := 1 - float64(at-window*length)/float64(length)
	v.lists.Store(&Lists{
		Tick:     at,
		Trending: v.list(window-1, window, remaining),
		Popular:  v.list(window-int64(v.c.kept)+1, window, 1),
	})
}

// list adds up the people of the windows from first to last, those before the last one with a weight, of every item that enough people chose in one of them.
func (v *Trending) list(first, last int64, weight float64) []Scored {
	scores := make(map[itemName]float64)
	served := make(map[itemName]struct{})
	for window := first; window <= last; window++ {
		if window == last {
			weight = 1
		}
		for item, n := range v.windows[window] {
			scores[item] += weight * float64(n)
			if int(n) >= v.c.people {
				served[item] = struct{}{}
			}
		}
	}
	list := best(listLength)
	for item := range served {
		if scores[item] > 0 {
			list.offer(Scored{ItemID: item.Value(), Score: scores[item]})
		}
	}
	return list.best
}
