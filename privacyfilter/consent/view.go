// Package consent is a node's leased view of everyone's consent: what a ranker, the collector's gate and the settings ask.
//
// The view promises that what was acknowledged is obeyed. A change is acknowledged when every live node has applied it, at the latest when the lease
// of those that did not answer has run out; a node without a lease refuses requests that name a subject.
package consent

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"sluice/ingest"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
)

// ErrLeaseLapsed is returned for a request that names a subject while the node cannot know the subject's consent. The caller gets 503, and asks another node or
// later.
var ErrLeaseLapsed = errors.New("the consent view's lease has lapsed")

// errNotRunning is returned by writes of a view that does not run.
var errNotRunning = errors.New("the consent view is not running")

// Options of a view.
type Options struct {
	Node       string                // name of this process in its heartbeats; each start adds a suffix of its own
	Logger     *slog.Logger          // nil = silent
	Registerer prometheus.Registerer // nil = no metrics
	Catalogue  func() []int64        // next offset per partition of sluice.items behind what this node's lists obey, none if it makes none; nil = it makes none
}

// View follows sluice.consent. It is safe for concurrent use.
//
//	committed reads ───▶ rows ─────────┐
//	uncommitted reads ─▶ restrictions ─┴▶ people ──▶ Lookup, Gate
//	                                      (restrictions that are stable at the start come by committed reads: the topic is read once)
//	offsets listed at t0 ─ applied up to them? ─▶ lease = t0
//	heartbeats ⇄ sluice.nodes ──▶ Acknowledge
type View struct {
	cluster      stream.Cluster
	node         string // unique to this start
	logger       *slog.Logger
	ring         *seal.Keyring
	compiler     *compiler
	stranger     *privacyfilter.Shape // of someone without records
	people       *people
	rows         *stream.Follower
	restrictions *stream.Follower
	stable       []int64 // where restrictions begins, by partition; those below come by rows
	nodes        *nodes
	catalogue    func() []int64 // how far this node's lists obey the catalogue; nil: it makes none
	lease        lease
	boot         func() time.Duration
	client       atomic.Pointer[kgo.Client] // of restrictions, nil while the view does not run
	nudge        chan struct{}              // asks for a heartbeat before its time
	hearing      shared                     // questions how far sluice.nodes reaches
	caughtUp     chan struct{}
	metrics      *metrics
}

// NewView makes a view; Run starts it.
func NewView(cluster stream.Cluster, register *privacyfilter.Register, ring *seal.Keyring, keys *pseudonym.Keys, o Options) *View {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	v := &View{
		cluster: cluster, node: o.Node + "-" + rand.Text(), logger: o.Logger, ring: ring, compiler: newCompiler(register, keys), people: newPeople(privacyfilter.NewShapes(register)), boot: bootClock,
		nudge: make(chan struct{}, 1), caughtUp: make(chan struct{}), catalogue: o.Catalogue,
	}
	v.stranger = v.people.shapes.None()
	v.rows = stream.NewFollower(cluster, topics.Consent, stream.FollowerOptions{Logger: o.Logger, FetchWait: fetchWait, Unfed: true, Ahead: true, Apply: func(recs []stream.Record) {
		now := v.boot()
		v.people.applyRows(recs, now)
		v.people.applyRestrictions(v.early(recs), now, time.Now())
		v.Tell()
	}})
	v.restrictions = stream.NewFollower(cluster, topics.Consent, stream.FollowerOptions{Logger: o.Logger, FetchWait: fetchWait, Uncommitted: true, Ahead: true, Apply: func(recs []stream.Record) {
		v.people.applyRestrictions(recs, v.boot(), time.Now())
		v.Tell()
	}})
	v.nodes = newNodes(cluster, v)
	v.metrics = newMetrics(o.Registerer, v)
	return v
}

// CaughtUp is closed when the view has applied what the topic held at the start and has its first lease.
func (v *View) CaughtUp() <-chan struct{} { return v.caughtUp }

// Leased tells whether the node may serve subjects at this moment.
func (v *View) Leased() bool { return v.lease.holds(v.boot()) }

// LapsedFor is for how long there has been no lease, 0 while there is one.
func (v *View) LapsedFor() time.Duration { return v.lease.lapsed(v.boot()) }

const (
	sweepEvery  = 10 * time.Second
	writeWithin = 5 * time.Second // after which a record is given up
)

// Run keeps the view and its lease until ctx ends; a view runs once. The node then says that it leaves: requests that are still to be answered with this view must be done before.
func (v *View) Run(ctx context.Context) error {
	client, err := v.open()
	if err != nil {
		return err
	}
	defer client.Close()
	own, err := v.open() // of the lease and the heartbeats: a broker answers a connection in order, and what people write must not stand before them
	if err != nil {
		return err
	}
	defer own.Close()
	v.client.Store(client)
	defer v.client.Store(nil)
	if v.stable, err = v.listStable(ctx, own); err != nil {
		return nil //nolint:nilerr // the context has ended
	}
	v.restrictions.StartAt(v.stable)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return v.rows.Run(ctx) })
	group.Go(func() error { return v.restrictions.Run(ctx) })
	group.Go(func() error { return v.nodes.follower.Run(ctx) })
	group.Go(func() error {
		for _, f := range []*stream.Follower{v.rows, v.restrictions, v.nodes.follower} {
			select {
			case <-ctx.Done():
				return nil
			case <-f.CaughtUp():
			}
		}
		group.Go(func() error { return v.keepLease(ctx, own) })
		group.Go(func() error { return v.keepHeartbeat(ctx, own) })
		group.Go(func() error { return v.keepSwept(ctx, client) })
		return nil
	})
	err = group.Wait()
	v.lease.end()
	v.leave(own)
	return err
}

// listStable asks how far sluice.consent is stable, trying until the broker answers or the context ends.
func (v *View) listStable(ctx context.Context, client *kgo.Client) ([]int64, error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		at, err := ends(ctx, client, v.cluster.Topic(topics.Consent), int(v.cluster.PartitionCount()), lastStable)
		if err == nil || !every(ctx, wait) {
			return at, err
		}
		v.logger.Warn("could not list the stable ends of the consent topic", "error", err)
	}
}

// early are the records of the fast path that the reader of restrictions does not read.
func (v *View) early(recs []stream.Record) (early []stream.Record) {
	for i := range recs {
		if r := &recs[i]; r.Offset < v.stable[r.Partition] && len(r.Key) > 0 && r.Key[0] != rowTag {
			early = append(early, *r)
		}
	}
	return early
}

// open opens a client that writes at once.
func (v *View) open() (*kgo.Client, error) {
	return v.cluster.Client(
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.DisableIdempotentWrite(), // what is written here may come twice, and ends with its context
		kgo.RecordDeliveryTimeout(writeWithin),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
}

// keepSwept forgets what has been hidden long enough, and buries restrictions that came after their tombstone.
func (v *View) keepSwept(ctx context.Context, client *kgo.Client) error {
	for every(ctx, sweepEvery) {
		now := v.boot()
		v.people.sweep(now)
		for _, key := range v.people.unburied(now) {
			k := []byte(key)
			client.Produce(ctx, &kgo.Record{Topic: v.cluster.Topic(topics.Consent), Partition: v.cluster.PartitionOf(k[1:]), Key: k}, nil)
		}
	}
	return nil
}

// every waits for d; false if ctx ended first.
func every(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Lookup is what holds for the person now. ErrLeaseLapsed where a subject is named and the lease has lapsed; strangers are always served.
func (v *View) Lookup(p Person) (*Access, error) {
	if (p.UserID != "" || p.AnonymousID != "") && !v.Leased() {
		return nil, ErrLeaseLapsed
	}
	return v.Applied(p), nil
}

// Applied is what this node has applied for a person, leased or not. Nobody may be served by it: there may be more. It tells a writer what became of a record
// that is known to be applied.
func (v *View) Applied(p Person) *Access {
	a := &Access{view: v, gpc: p.GPC}
	if p.UserID != "" {
		a.account = v.side(account, p.UserID)
	}
	if p.AnonymousID != "" {
		a.device = v.side(device, p.AnonymousID)
	}
	return a
}

// Holds is asked just before a response is written: whether the lease is alive and nothing has changed for the person since the Lookup. If not, look up again.
func (v *View) Holds(a *Access) bool {
	if !a.Known() {
		return true
	}
	return v.Leased() && v.unchanged(&a.account) && v.unchanged(&a.device)
}

func (v *View) unchanged(s *side) bool { return !s.named() || v.people.find(s.key) == s.person }

// side looks a subject up.
func (v *View) side(kind, id string) side {
	s := side{kind: kind, id: id, key: v.ring.LogKey(kind, id)}
	s.person = v.people.find(s.key)
	if s.shape = s.person.shape; s.shape == nil {
		s.shape = v.stranger
	}
	s.laid = v.overlay(&s)
	return s
}

// overlay is what the subject's restrictions make of the row, nil if there are none.
func (v *View) overlay(s *side) *overlay {
	m := s.person.more
	if m == nil || len(m.pending)+len(m.hidden) == 0 {
		return nil
	}
	if made := m.laid.Load(); made != nil {
		return made
	}
	made := v.compiler.overlay(s.subject(), s.shape, m)
	m.laid.Store(made)
	return made
}

// Gate is the gate of the collector.
func (v *View) Gate() ingest.Gate { return newGate(v) }
