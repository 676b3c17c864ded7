package consent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
)

const (
	heartbeatEvery = 250 * time.Millisecond
	heartbeatGap   = 10 * time.Millisecond // at least, between two heartbeats that are sent because something was applied
	leaveWithin    = 2 * time.Second
	forgetAfter    = time.Minute // of silence
)

// nodes is what the other nodes say on sluice.nodes.
type nodes struct {
	follower *stream.Follower

	mu      sync.Mutex // guards the fields below
	others  map[string]*node
	changed chan struct{} // closed and replaced when a heartbeat came
}

// node is another node. What it has applied is the next offset per partition of sluice.consent.
type node struct {
	restrictions, rows []int64
	catalogue          []int64       // the same of sluice.items; empty: it makes no lists
	heard              time.Duration // boot clock of this machine
}

func newNodes(cluster stream.Cluster, v *View) *nodes {
	n := &nodes{others: make(map[string]*node), changed: make(chan struct{})}
	n.follower = stream.NewFollower(cluster, topics.Nodes, stream.FollowerOptions{Logger: v.logger, Ahead: true, Apply: func(recs []stream.Record) { n.apply(recs, v.node, v.boot()) }})
	return n
}

func (n *nodes) apply(recs []stream.Record, self string, now time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, rec := range recs {
		name := string(rec.Key)
		if name == self {
			continue
		}
		state := new(purposepb.NodeState)
		if rec.Value == nil || state.UnmarshalVT(rec.Value) != nil || state.Leaving {
			delete(n.others, name)
			continue
		}
		n.others[name] = &node{restrictions: state.Applied, rows: state.Committed, catalogue: state.Catalogue, heard: now}
	}
	for name, other := range n.others {
		if now-other.heard > forgetAfter {
			delete(n.others, name)
		}
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// live is how many other nodes speak.
func (n *nodes) live(now time.Duration) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, other := range n.others {
		if other.speaks(now) {
			count++
		}
	}
	return count
}

// speaks tells whether the node may still serve: one that could not write a heartbeat for heartbeatLife refuses by itself.
func (n *node) speaks(now time.Duration) bool { return now-n.heard < heartbeatLife+drift }

// await waits until every node that may serve has reached something.
func (n *nodes) await(ctx context.Context, boot func() time.Duration, reached func(*node) bool) error {
	for {
		n.mu.Lock()
		now, missing := boot(), false
		for _, other := range n.others {
			missing = missing || other.speaks(now) && !reached(other)
		}
		changed := n.changed
		n.mu.Unlock()
		if !missing {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// keepHeartbeat tells the others what this node has applied, every heartbeatEvery, and sooner when something was.
func (v *View) keepHeartbeat(ctx context.Context, client *kgo.Client) error {
	timer := time.NewTicker(heartbeatEvery)
	defer timer.Stop()
	for {
		v.heartbeat(ctx, client)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-v.nudge:
			if !every(ctx, heartbeatGap) {
				return nil
			}
		}
	}
}

func (v *View) heartbeat(ctx context.Context, client *kgo.Client) {
	ctx, cancel := context.WithTimeout(ctx, heartbeatLife)
	defer cancel()
	sent := v.boot()
	err := write(ctx, client, v.heartbeatRecord(false))
	if errors.Is(err, context.Canceled) {
		return // the view ends
	}
	if err != nil {
		v.metrics.failed.Inc()
		v.logger.Warn("could not write a heartbeat", "error", err)
		return
	}
	v.metrics.heartbeats.Inc()
	v.lease.beaten(sent, v.boot())
}

func (v *View) heartbeatRecord(leaving bool) *kgo.Record {
	state := purposepb.NodeState{Node: v.node, Applied: v.restrictions.Applied(), Committed: v.rows.Applied(), SentAt: time.Now().UnixMicro(), Leaving: leaving}
	if v.catalogue != nil {
		state.Catalogue = v.catalogue()
	}
	value, err := state.MarshalVT()
	if err != nil {
		value = nil // cannot fail: the message has no invalid state
	}
	return &kgo.Record{Topic: v.cluster.Topic(topics.Nodes), Key: []byte(v.node), Value: value}
}

// write returns when the records are durable, or when ctx ends: the client may still be trying then.
func write(ctx context.Context, client *kgo.Client, records ...*kgo.Record) error {
	results := make(chan error, len(records))
	for _, rec := range records {
		client.Produce(ctx, rec, func(_ *kgo.Record, err error) { results <- err })
	}
	for range records {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-results:
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Tell tells the others soon how far this node is, if there are any.
func (v *View) Tell() {
	if v.nodes.live(v.boot()) == 0 {
		return
	}
	select {
	case v.nudge <- struct{}{}:
	default:
	}
}

// leave says that this node serves no more, and takes its record off the compacted topic.
func (v *View) leave(client *kgo.Client) {
	if v.lease.load().beat == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	gone := &kgo.Record{Topic: v.cluster.Topic(topics.Nodes), Key: []byte(v.node)}
	if err := write(ctx, client, v.heartbeatRecord(true), gone); err != nil {
		v.logger.Warn("could not announce that this node leaves", "error", err)
	}
}

// Acknowledge returns when the record at the offset of sluice.consent is obeyed everywhere: this node has applied it, and so has every other node
// that may serve, or the lease of those that did not answer has run out since the call. Call it when the record is durable. Its error is ctx's.
//
// Why it suffices: a lease that was taken after the record was durable includes it; older ones run out within leaseLength. A node that the heartbeats
// do not show by now has its first lease from a time after the call, as it counts leases only from when its own heartbeat was durable.
func (v *View) Acknowledge(ctx context.Context, partition int32, offset int64) error {
	began := v.boot()
	if err := v.settled(ctx); err != nil {
		return err
	}
	both, failed := errgroup.WithContext(ctx) // here and everywhere at once: each is a way to the broker and back
	both.Go(func() error { return v.restrictions.Wait(failed, partition, offset+1) })
	both.Go(func() error {
		return v.everywhere(failed, began, func(n *node) bool { return at(n.restrictions, partition) > offset })
	})
	return both.Wait()
}

// Listed returns when the lists of every other node obey the catalogue's topic up to the offset of a partition. A node that has been silent for so long that it
// serves nobody who is named is not waited for. Its error is ctx's.
func (v *View) Listed(ctx context.Context, partition int32, next int64) error {
	if err := v.settled(ctx); err != nil {
		return err
	}
	if err := v.hearAll(ctx); err != nil {
		return err
	}
	return v.nodes.await(ctx, v.boot, func(n *node) bool { return len(n.catalogue) == 0 || at(n.catalogue, partition) >= next })
}

// Visible returns when a row of the subject at or above the revision is obeyed everywhere, in Acknowledge's sense. Its error is ctx's.
func (v *View) Visible(ctx context.Context, subject string, revision privacyfilter.Revision) error {
	return v.VisibleAll(ctx, []string{subject}, []privacyfilter.Revision{revision})
}

// VisibleAll is Visible for many subjects, with the revision of each.
func (v *View) VisibleAll(ctx context.Context, subjects []string, revisions []privacyfilter.Revision) error {
	if err := v.settled(ctx); err != nil {
		return err
	}
	next := make([]int64, v.cluster.PartitionCount())
	for i, subject := range subjects {
		key := v.ring.LogKey(subject)
		offset, err := v.people.awaitRow(ctx, key, revisions[i])
		if err != nil {
			return err
		}
		partition := v.cluster.PartitionOf(key[:])
		next[partition] = max(next[partition], offset+1)
	}
	return v.everywhere(ctx, v.boot(), func(n *node) bool {
		for p := range next {
			if at(n.rows, int32(p)) < next[p] {
				return false
			}
		}
		return true
	})
}

// settled waits until the followers run: before that nothing can be acknowledged.
func (v *View) settled(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-v.caughtUp:
		return nil
	}
}

func at(offsets []int64, partition int32) int64 {
	if int(partition) >= len(offsets) {
		return 0
	}
	return offsets[partition]
}

// everywhere waits until the others have reached something that was durable at the time durable, or have no older lease.
func (v *View) everywhere(ctx context.Context, durable time.Duration, reached func(*node) bool) error {
	defer func(began time.Duration) { v.metrics.acknowledged.Observe((v.boot() - began).Seconds()) }(durable)
	leases, cancel := context.WithTimeout(ctx, durable+leaseLength+drift-v.boot())
	defer cancel()
	err := v.hearAll(leases)
	if err == nil {
		err = v.nodes.await(leases, v.boot, reached)
	}
	if err == nil {
		return nil
	}
	<-leases.Done() // who did not answer, or is not known, has no lease now that is older
	return ctx.Err()
}

// hearAll waits until this node has read every heartbeat that is durable by now. Those who come while another is asking share the next question: thousands of
// writes at once would otherwise stand before the lease's own questions.
func (v *View) hearAll(ctx context.Context) error {
	client := v.client.Load()
	if client == nil {
		return errNotRunning
	}
	return v.hearing.do(ctx, func(ctx context.Context) error { return v.hear(ctx, client) })
}

// hear asks how far sluice.nodes reaches, and waits until this node has read that much.
func (v *View) hear(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, leaseLength)
	defer cancel()
	topic := v.cluster.Topic(topics.Nodes)
	next, err := ends(ctx, client, topic, 1, highWatermark)
	if err != nil {
		return fmt.Errorf("listing the end of %s: %w", topic, err)
	}
	return reached(ctx, v.nodes.follower, next)
}

// Restrict writes a restriction of the subject, outside of every transaction, and returns when it is obeyed everywhere. The revision is that of the control
// record that follows it. An error means that the restriction may not be obeyed yet; the control record takes effect all the same.
func (v *View) Restrict(ctx context.Context, subject string, revision privacyfilter.Revision, r *purposepb.Restriction) error {
	client := v.client.Load()
	if client == nil {
		return errNotRunning
	}
	r.Revision = revision.PB()
	value, err := r.MarshalVT()
	if err != nil {
		return fmt.Errorf("encoding a restriction: %w", err)
	}
	key := v.ring.LogKey(subject)
	rec := &kgo.Record{Topic: v.cluster.Topic(topics.Consent), Partition: v.cluster.PartitionOf(key[:]), Key: keyOfRestriction(key, revision), Value: value}
	if err := write(ctx, client, rec); err != nil {
		return fmt.Errorf("writing a restriction: %w", err)
	}
	return v.Acknowledge(ctx, rec.Partition, rec.Offset)
}
