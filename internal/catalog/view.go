// Package catalog is what the shop offers: the item as sluice.items holds it, and a view of all items that follows the topic.
package catalog

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/itemid"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

// publishGap is the least time between two snapshots, so that a stream of small changes does not copy the catalogue for each.
const publishGap = 20 * time.Millisecond

// Options of a view.
type Options struct {
	Registerer prometheus.Registerer // nil: no metrics
	Logger     *slog.Logger          // nil: silent
	IDs        *itemid.Table         // gives the items their numbers; nil: a table of the view's own
}

// View follows sluice.items. What it returns is read-only. It is safe for concurrent use.
type View struct {
	follower *stream.Follower
	logger   *slog.Logger
	faulty   prometheus.Counter
	current  atomic.Pointer[Snapshot]
	caughtUp chan struct{}
	wake     chan struct{} // holds a token while changes wait

	mu      sync.Mutex // guards changes
	changes map[string]change
}

// NewView makes an empty view; Run fills it.
func NewView(cluster stream.Cluster, o Options) *View {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.IDs == nil {
		o.IDs = itemid.NewTable()
	}
	v := &View{
		logger: o.Logger, caughtUp: make(chan struct{}), wake: make(chan struct{}, 1), changes: make(map[string]change),
		faulty: prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_catalog_faulty_total", Help: "Records of sluice.items that hold no item."}),
	}
	v.current.Store(emptySnapshot(o.IDs))
	v.follower = stream.NewFollower(cluster, topics.Items, stream.FollowerOptions{Apply: v.apply, Logger: o.Logger})
	if o.Registerer != nil {
		o.Registerer.MustRegister(v.faulty, prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: "sluice_catalog_items", Help: "Items of the catalogue as this node sees it."},
			func() float64 { return float64(v.Snapshot().Len()) },
		))
	}
	return v
}

// CaughtUp is closed once everything that the topic held at the start can be read.
func (v *View) CaughtUp() <-chan struct{} { return v.caughtUp }

// Run follows the topic until ctx ends.
func (v *View) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var publisher sync.WaitGroup
	publisher.Go(func() { v.publish(ctx) })
	defer publisher.Wait()
	defer cancel()
	return v.follower.Run(ctx)
}

// Snapshot is the catalogue as it is now. A request takes one and reads nothing else.
func (v *View) Snapshot() *Snapshot { return v.current.Load() }

// Item finds an item; nil if it is unknown.
func (v *View) Item(id string) *Item { return v.Snapshot().Item(id) }

// All lists the ids of all items in catalogue order, and the version of the catalogue that they are of.
func (v *View) All() (ids []string, version uint64) {
	s := v.Snapshot()
	ids = make([]string, len(s.order))
	for i, item := range s.order {
		ids[i] = item.ItemId
	}
	return ids, s.version
}

// Search finds at most limit items by the words of their title, brand and categories, see Snapshot.Search.
func (v *View) Search(query string, limit int) []*Item {
	found := v.Snapshot().Search(query, limit)
	items := make([]*Item, len(found))
	for i, e := range found {
		items[i] = e.Item()
	}
	return items
}

// InCategory lists at most limit items of a category, at any depth, in catalogue order.
func (v *View) InCategory(name string, limit int) []*Item {
	s := v.Snapshot()
	numbers := s.Category(s.CategoryNumber(name))
	items := make([]*Item, 0, min(limit, len(numbers)))
	for _, number := range numbers[:min(limit, len(numbers))] {
		items = append(items, s.At(number).Item())
	}
	return items
}

// Categories lists the broadest categories, the largest first.
func (v *View) Categories() []string { return v.Snapshot().Categories() }

// apply notes what the records say; publish shows it.
func (v *View) apply(recs []stream.Record) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range recs {
		rec := &recs[i]
		id, c := string(rec.Key), change{}
		if rec.Value != nil {
			c.item = new(Item)
			if err := c.item.UnmarshalVT(rec.Value); err != nil {
				v.faulty.Inc()
				v.logger.Warn("a record of the catalogue holds no item", "partition", rec.Partition, "offset", rec.Offset, "error", err)
				continue
			}
			c.item.ItemId = id // the key is what replaces and deletes
			c.value = bytes.Clone(rec.Value)
			c.hash = hashOf(id, rec.Value)
		}
		v.changes[id] = c
	}
	v.signal()
}

func (v *View) signal() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// publish makes snapshots from what has been applied: the first one when the topic has been read, since each makes the index of all items.
func (v *View) publish(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-v.follower.CaughtUp():
	}
	v.show()
	close(v.caughtUp)
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.wake:
			v.show()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(publishGap):
		}
	}
}

func (v *View) show() {
	v.mu.Lock()
	changes := v.changes
	v.changes = make(map[string]change)
	v.mu.Unlock()
	if len(changes) == 0 {
		return
	}
	next := v.current.Load().with(changes)
	next.index() // here, not in the first request that needs it
	v.current.Store(next)
}
