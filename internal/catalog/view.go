// Package catalog is what the shop offers: the item as sluice.items holds it, and a view of all items that follows the topic.
package catalog

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
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
	Shows      func()                // is called whenever Shown has grown; nil: nobody wants to know
}

// View follows sluice.items. What it returns is read-only. It is safe for concurrent use.
type View struct {
	follower *stream.Follower
	logger   *slog.Logger
	faulty   prometheus.Counter
	current  atomic.Pointer[Snapshot]
	caughtUp chan struct{}
	wake     chan struct{} // holds a token while changes wait

	mu      sync.Mutex // guards what follows
	changes map[string]change
	posted  bool          // whether the topic ever held a record
	applied []int64       // by partition: the next offset behind what is in changes, or in a snapshot
	shown   []int64       // the same of what snapshots show; nil: the topic has not been read yet
	waiting chan struct{} // closed when shown grows
	shows   func()
}

// NewView makes an empty view; Run fills it.
func NewView(cluster stream.Cluster, o Options) *View {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.IDs == nil {
		o.IDs = itemid.NewTable()
	}
	if o.Shows == nil {
		o.Shows = func() {}
	}
	v := &View{
		logger: o.Logger, caughtUp: make(chan struct{}), wake: make(chan struct{}, 1), changes: make(map[string]change),
		applied: make([]int64, cluster.PartitionCount()), waiting: make(chan struct{}), shows: o.Shows,
		faulty: prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_catalog_faulty_total", Help: "Records of sluice.items that hold no item."}),
	}
	unread := emptySnapshot(o.IDs)
	unread.posted = true // as long as nobody knows: lists that are empty are right, lists of what events name may not be
	v.current.Store(unread)
	v.follower = stream.NewFollower(cluster, topics.Items, stream.FollowerOptions{Apply: v.apply, Logger: o.Logger})
	if o.Registerer != nil {
		o.Registerer.MustRegister(v.faulty, prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: "sluice_catalog_items", Help: "Items of the catalogue as this node sees it."},
			func() float64 { return float64(v.Snapshot().Len()) },
		), prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{
				Name: "sluice_catalog_posted",
				Help: "1 once anything was ever posted: lists hold only what the catalogue has. 0: there is no catalogue, and lists hold what events name.",
			},
			func() float64 {
				if v.Snapshot().Posted() {
					return 1
				}
				return 0
			},
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

// Shown is, for each partition of the topic, the next offset behind what snapshots show; nil if the topic has not been read yet.
func (v *View) Shown() []int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.shown // which is replaced, not changed
}

// Wait returns when snapshots show what the partition holds below the offset, or with ctx's error.
func (v *View) Wait(ctx context.Context, partition int32, next int64) error {
	for {
		v.mu.Lock()
		done, waiting := v.shown != nil && v.shown[partition] >= next, v.waiting
		v.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-waiting:
		}
	}
}

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
	v.posted = true
	for i := range recs {
		rec := &recs[i]
		v.applied[rec.Partition] = rec.Offset + 1
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
	v.begin()
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

// begin notes whether the topic ever held a record. Its ends tell, also when everything was deleted and compaction has removed the tombstones.
func (v *View) begin() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for p, next := range v.follower.Applied() {
		v.posted = v.posted || next > 0
		v.applied[p] = max(v.applied[p], next)
	}
}

func (v *View) show() {
	v.mu.Lock()
	changes, posted, applied := v.changes, v.posted, slices.Clone(v.applied)
	v.changes = make(map[string]change)
	v.mu.Unlock()
	if current := v.current.Load(); len(changes) > 0 || posted != current.posted {
		next := current.with(changes)
		next.posted = posted
		next.index() // here, not in the first request that needs it
		v.current.Store(next)
	}
	v.mu.Lock()
	v.shown = applied
	close(v.waiting)
	v.waiting = make(chan struct{})
	v.mu.Unlock()
	v.shows()
}
