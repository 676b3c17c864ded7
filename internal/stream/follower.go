package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"sluice/internal/admission"
)

// FollowerOptions says how a follower reads and what it does with the records.
type FollowerOptions struct {
	// Apply gets records, and the entries of packs, in partition order, from one goroutine. Keys and values may be kept by views that decode them; the slice may not.
	Apply func(recs []Record)
	// Uncommitted reads records of open transactions too: for views that know themselves which row is the newer one.
	Uncommitted bool
	// Unfed makes the follower fetch every record from the broker. The feed tells of a transaction's marker late; whoever waits for the end of the log needs it at once.
	Unfed bool
	// Ahead lets the follower apply what comes at once, since requests wait for it, or since it may wait for a disk. The others stay in the cluster's lane.
	Ahead  bool
	Source Source // of a changelog: what this process has of it already
	// Load is called before the source's records are applied, and what it returns after them. Each key comes once in between. nil: nobody wants to know.
	Load      func() (loaded func())
	FetchWait time.Duration // how long the broker may hold an answer while nothing comes; fetchWait if 0
	Logger    *slog.Logger
}

// applySlice is how many records Apply gets at once: about a millisecond's work.
const applySlice = 512

// errAway is that the follower was away for so long that compaction may have removed tombstones which it has not read. What they deleted would live on in the
// view. The view must start from nothing, and so must its process.
var errAway = errors.New("away for longer than tombstones are sure to be kept")

// awayLimit is half of the delete.retention.ms of the topics that are followed.
const awayLimit = 12 * time.Hour

// fetchClock watches a client's fetches. It is stale if two successful ones are further apart than awayLimit. It uses the wall clock, which goes on while a
// machine is suspended.
type fetchClock struct {
	last  atomic.Int64 // Unix nanoseconds; 0 = none yet
	stale atomic.Bool
}

var _ kgo.HookBrokerRead = (*fetchClock)(nil)

const fetchKey = 1 // of the Kafka protocol

// OnBrokerRead is called by the client for every answer.
func (c *fetchClock) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if key == fetchKey && err == nil {
		c.succeeded(time.Now())
	}
}

func (c *fetchClock) succeeded(at time.Time) {
	now := at.UnixNano()
	if last := c.last.Swap(now); last != 0 && now-last > int64(awayLimit) {
		c.stale.Store(true)
	}
}

// Follower reads every partition of a topic from its beginning, for as long as it runs: a view's source.
type Follower struct {
	cluster Cluster
	topic   string
	o       FollowerOptions
	lane    *admission.Lane

	starts   []int64 // by partition; nil: where the source ends, or the topic begins
	fetched  fetchClock
	caughtUp chan struct{}
	wanted   chan struct{} // capacity 1: somebody waits

	mu      sync.Mutex // guards the rest
	applied [Partitions]int64
	waiters map[chan struct{}]waiter
}

// waiter is what somebody waits for.
type waiter struct {
	partition int32
	next      int64
}

// NewFollower makes a follower of the topic with the short name.
func NewFollower(cluster Cluster, topic string, o FollowerOptions) *Follower {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.FetchWait == 0 {
		o.FetchWait = fetchWait
	}
	f := &Follower{cluster: cluster, topic: topic, o: o, caughtUp: make(chan struct{}), wanted: make(chan struct{}, 1), waiters: make(map[chan struct{}]waiter)}
	if !o.Ahead {
		f.lane = cluster.Lane
	}
	return f
}

// CaughtUp is closed once everything that the topic held at the start has been applied.
func (f *Follower) CaughtUp() <-chan struct{} { return f.caughtUp }

// Applied is the next offset of every partition: all records below it are applied.
func (f *Follower) Applied() []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.applied[:f.cluster.PartitionCount()])
}

// Wait returns when the partition is applied up to the offset (exclusive), or with ctx's error.
func (f *Follower) Wait(ctx context.Context, partition int32, next int64) error {
	changed := make(chan struct{}, 1)
	f.mu.Lock()
	f.waiters[changed] = waiter{partition, next}
	f.mu.Unlock()
	wake(f.wanted)
	defer func() {
		f.mu.Lock()
		delete(f.waiters, changed)
		f.mu.Unlock()
	}()
	for {
		f.mu.Lock()
		done := f.applied[partition] >= next
		f.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// StartAt makes the follower begin at the offset of each partition, as if everything below were applied. Call it before Run.
func (f *Follower) StartAt(offsets []int64) { f.starts = offsets }

// Run follows until ctx ends. Errors of the broker are waited out by the client.
func (f *Follower) Run(ctx context.Context) error {
	topic := f.cluster.Topic(f.topic)
	from, ends, err := f.start(ctx, topic)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("following %s: %w", topic, err)
	}
	isolation := kgo.ReadCommitted()
	if f.o.Uncommitted {
		isolation = kgo.ReadUncommitted()
	}
	client, err := f.cluster.Client(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(isolation),
		kgo.KeepControlRecords(), // their offsets count as applied
		kgo.FetchMaxWait(f.o.FetchWait),
		kgo.FetchMaxPartitionBytes(fetchBytes),
		kgo.WithHooks(&f.fetched),
	)
	if err != nil {
		return fmt.Errorf("following %s: %w", topic, err)
	}
	defer client.Close()
	return f.follow(ctx, client, ends)
}

// start applies what the source has, and returns the offsets from which partitions must be read, and their ends. It reads the source before it lists the ends.
// So everything in the source is from before the ends, and a view that reaches them shows one state of each partition.
func (f *Follower) start(ctx context.Context, topic string) (from map[int32]kgo.Offset, ends map[int32]int64, err error) {
	source := f.o.Source.snapshot()
	defer func() { err = errors.Join(err, source.close()) }()
	starts, ends, err := f.bounds(ctx, topic)
	if err != nil {
		return nil, nil, err
	}
	nexts, err := f.load(ctx, source, starts, ends)
	if err != nil {
		return nil, nil, err
	}
	from = make(map[int32]kgo.Offset, len(starts))
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range starts {
		if int(p) < len(f.starts) {
			nexts[p] = max(nexts[p], f.starts[p])
		}
		f.applied[p] = nexts[p]
		from[p] = kgo.NewOffset().At(nexts[p])
	}
	return from, ends, nil
}

// load applies what the source has, while partitions are read side by side, and returns from where each must be read on.
func (f *Follower) load(ctx context.Context, source *sourceSnapshot, starts, ends map[int32]int64) (nexts [Partitions]int64, err error) {
	if f.o.Load != nil {
		defer f.o.Load()()
	}
	batches := newSourceBatches()
	read, ctx := errgroup.WithContext(ctx)
	read.SetLimit(runtime.GOMAXPROCS(0))
	done := make(chan struct{})
	go func() {
		defer close(done)
		batches.apply(f.o.Apply)
	}()
	for p, start := range starts {
		read.Go(func() (err error) {
			nexts[p], err = source.load(ctx, f.topic, p, start, ends[p], batches)
			return err
		})
	}
	err = read.Wait()
	close(batches.full)
	<-done
	return nexts, err
}

// bounds lists the first offsets and the high watermarks, trying until the broker answers.
func (f *Follower) bounds(ctx context.Context, topic string) (starts, ends map[int32]int64, err error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		if starts, ends, err = bounds(ctx, f.cluster, topic); err == nil || !pause(ctx, wait) {
			return starts, ends, err
		}
		f.o.Logger.Warn("could not list the offsets of a topic that is followed; it will be tried again", "topic", topic, "error", err)
	}
}

// follow applies what comes, from the feed once everything that was there at the start is known.
func (f *Follower) follow(ctx context.Context, client *kgo.Client, ends map[int32]int64) error {
	var polling sync.WaitGroup
	defer polling.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	feeding := newFeeding(client, f.cluster, f.cluster.Topic(f.topic), f.o.Unfed || f.o.Uncommitted)
	defer feeding.close()
	polled := make(chan kgo.Fetches)
	polling.Go(func() { feeding.poll(ctx, polled) })
	look := time.NewTimer(0)
	defer look.Stop()
	behind := f.behind(ends)
	if behind == 0 {
		close(f.caughtUp)
	}
	var batch []Record
	for {
		select {
		case <-ctx.Done():
			return nil
		case fetches := <-polled:
			batch = f.applyFetched(batch, feeding, fetches)
		case <-feeding.wake():
		case <-f.wanted:
		case <-look.C:
		}
		if f.fetched.stale.Load() {
			return fmt.Errorf("following %s: %w", f.topic, errAway)
		}
		if behind > 0 {
			if behind = f.behind(ends); behind > 0 {
				continue
			}
			close(f.caughtUp)
		}
		batch = f.applyFed(batch, feeding)
		if next := feeding.resume(f.Applied(), f.mostWanted); !next.IsZero() {
			look.Reset(time.Until(next))
		}
	}
}

// applyFetched applies what was fetched. It returns the batch's memory.
func (f *Follower) applyFetched(batch []Record, feeding *feeding, fetches kgo.Fetches) []Record {
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.Canceled) {
			f.o.Logger.Warn("could not read a topic that is followed; it will be tried again", "topic", e.Topic, "partition", e.Partition, "error", e.Err)
		}
	}
	var applied [Partitions]int64
	fetches.EachRecord(func(r *kgo.Record) {
		if feeding.known(r) {
			return
		}
		applied[r.Partition] = r.Offset + 1
		if !r.Attrs.IsControl() {
			batch = appendEntries(batch, RecordOf(r, f.topic))
		}
	})
	return f.apply(batch, applied)
}

// applyFed applies what the feed has. It returns the batch's memory.
func (f *Follower) applyFed(batch []Record, feeding *feeding) []Record {
	taken, some := feeding.take(f.Applied())
	if !some {
		return batch
	}
	f.fetched.succeeded(time.Now()) // as good as a fetch
	applied := f.applied            // by this goroutine alone
	for p, segments := range taken {
		for _, s := range segments {
			batch = s.appendTo(batch, f.topic, int32(p), applied[p])
			applied[p] = s.last + 1
		}
	}
	return f.apply(batch, applied)
}

// apply applies the batch, and publishes up to where the partitions are applied; 0 = as before. It returns the batch's memory, emptied.
func (f *Follower) apply(batch []Record, applied [Partitions]int64) []Record {
	if len(batch) > 0 {
		for slice := range slices.Chunk(batch, applySlice) {
			f.lane.Enter()
			f.o.Apply(slice)
			f.lane.Leave()
		}
		clear(batch) // it would keep what was fetched alive
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, next := range applied {
		if next > 0 {
			f.applied[p] = next
		}
	}
	for changed := range f.waiters {
		wake(changed)
	}
	if cap(batch) > batchKept {
		return nil
	}
	return batch[:0]
}

// batchKept is how many records a batch's memory may have room for to be used again.
const batchKept = 16 << 10

// mostWanted is the highest offset of the partition that somebody waits for.
func (f *Follower) mostWanted(p int32) (next int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.waiters {
		if w.partition == p {
			next = max(next, w.next)
		}
	}
	return next
}

func wake(waiting chan<- struct{}) {
	select {
	case waiting <- struct{}{}:
	default:
	}
}

// behind counts the partitions that have not reached ends.
func (f *Follower) behind(ends map[int32]int64) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for p, end := range ends {
		if f.applied[p] < end {
			n++
		}
	}
	return n
}
