package warehouse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/stream"
)

// Group is the consumer group's short name.
const Group = "warehouse"

// Letters keeps records that cannot be decoded.
type Letters interface {
	// Put keeps one record, under the topic's short name; a record may come again after a crash. What err says holds no values.
	Put(ctx context.Context, topic string, partition int32, offset int64, key, value []byte, err error) error
}

// Options of a writer.
type Options struct {
	Node       string                // stable name of this process: a restarted one takes its predecessor's place in the group at once
	Flush      time.Duration         // how old a row may become before it is stored; 10 s if 0
	MaxRows    int                   // rows of one block; 50,000 if 0
	MaxBytes   int                   // of memory for what is read and not stored yet: reading waits for the store before it; 64 MiB if 0
	Letters    Letters               // nil: a record that cannot be decoded ends Run with an error
	Logger     *slog.Logger          // nil = none
	Registerer prometheus.Registerer // nil = no metrics
}

// Status is what a writer tells about itself.
type Status struct {
	Joined  bool  // the group has given it its partitions
	Waiting bool  // the store has refused what it was given last
	Rows    int   // read and not stored yet
	Bytes   int   // of memory that these take, with room for further ones
	Lag     int64 // records of its partitions that are not stored yet, as of the last fetch
}

// Writer is one member of the group that fills a store. Make it with New, run it once.
//
// Exactly once. What a partition holds is stored in blocks, stretches of offsets. Before a block is stored, its bounds are made durable: the group's
// offset becomes the block's first one, with metadata that tells where the block ends. Whoever has the partition after a crash reads both, builds the
// very same block again and stores it first; the store knows a block that it has by its bounds. Only then the group's offset moves to the block's end.
//
//	poll ─▶ blocks ─▶ commit first, "next=…" ─▶ Store.Append ─▶ commit next
//
// Both commits carry the member and the generation under which the records were read, so that those of a member that was paused, while the group gave
// its partitions to others, fail: it drops what it holds and joins anew. The topics of sources must not be compacted: a block must be the same each
// time it is read.
type Writer struct {
	cluster stream.Cluster
	sources []*Source
	store   Store
	o       Options
	metrics *metrics

	sessionTimeout time.Duration // of the group; tests shorten these
	stopGrace      time.Duration // for the last flush of an orderly stop

	stored chan struct{} // capacity 1: a flush is done, and there may be something to tidy

	mu      sync.Mutex // guards what follows
	status  Status
	waiting bool
}

const (
	pollRecords = 5000
	pollBytes   = 2 << 20                // of records, or one if it is larger
	fetchBytes  = 1 << 20                // what a broker sends of a partition at once; of all, the embedded one may not be asked for a bound (internal/stream)
	idlePoll    = 100 * time.Millisecond // so that flushes begin in time without input
	purgeDelay  = 250 * time.Millisecond // how long a purge waits for others, at least
	purgeShare  = 4                      // flushes for the sake of purges take one part in so many of the time: each may write most files anew
	purgeLate   = 2 * time.Second        // how long a flush with a purge may work at a pace
	expireEvery = time.Hour
	firstPause  = 100 * time.Millisecond
	lastPause   = 5 * time.Second
)

// New makes a writer that fills the store from the sources, each of a topic of its own.
func New(cluster stream.Cluster, sources []*Source, store Store, o Options) *Writer {
	if o.Flush == 0 {
		o.Flush = 10 * time.Second
	}
	if o.MaxRows == 0 {
		o.MaxRows = 50_000
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Writer{
		cluster: cluster, sources: sources, store: store, o: o, metrics: newMetrics(o.Registerer),
		stored: make(chan struct{}, 1), sessionTimeout: 10 * time.Second, stopGrace: 10 * time.Second,
	}
}

// Status is the writer's present state.
func (w *Writer) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.status
	s.Waiting = w.waiting
	return s
}

// setWaiting notes whether the store fails.
func (w *Writer) setWaiting(waiting bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = waiting
}

func (w *Writer) setStatus(s Status) {
	w.mu.Lock()
	w.status = s
	w.mu.Unlock()
	w.metrics.buffered.Set(float64(s.Rows))
	w.metrics.memory.Set(float64(s.Bytes))
	w.metrics.lag.Set(float64(s.Lag))
}

// Run works until ctx ends, and then stores what it has read, for at most 10 s. It waits for a store that fails. It ends with an error if a record cannot be
// decoded and there are no Letters, or if sources share a topic.
func (w *Writer) Run(ctx context.Context) error {
	bySource := make(map[string]*Source, len(w.sources))
	for _, s := range w.sources {
		topic := w.cluster.Topic(s.Topic)
		if bySource[topic] != nil {
			return fmt.Errorf("the warehouse's sources: there must be one for the topic %s", s.Topic)
		}
		bySource[topic] = s
	}
	var beside sync.WaitGroup
	defer beside.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beside.Go(func() { w.expire(ctx) })
	beside.Go(func() { w.tidy(ctx) })
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		began := time.Now()
		err := w.session(ctx, bySource)
		w.setStatus(Status{})
		w.metrics.oldest.Set(0)
		if fatal := (*recordError)(nil); errors.As(err, &fatal) {
			return fmt.Errorf("filling the warehouse: %w", err)
		}
		if ctx.Err() != nil {
			return nil
		}
		w.metrics.restarts.Inc()
		w.o.Logger.Warn("the warehouse's member of the group failed and starts anew", "error", err)
		if time.Since(began) > time.Minute {
			wait = firstPause
		}
		if !pause(ctx, wait) {
			return nil
		}
	}
}

// recordError is about a record that cannot be decoded, when there is no place for it.
type recordError struct{ error }

func (e *recordError) Unwrap() error { return e.error }

// expire deletes what is too old, at the start and every hour.
func (w *Writer) expire(ctx context.Context) {
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	for {
		if err := w.store.Expire(ctx, time.Now()); err != nil && ctx.Err() == nil {
			w.metrics.storeErrors.Inc()
			w.o.Logger.Warn("could not delete expired rows of the warehouse; it will be tried again in an hour", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// tidy lets the store tidy itself at the start and after flushes.
func (w *Writer) tidy(ctx context.Context) {
	tidier, ok := w.store.(Tidier)
	if !ok {
		return
	}
	for {
		if err := tidier.Tidy(ctx); err != nil && ctx.Err() == nil {
			w.metrics.storeErrors.Inc()
			w.o.Logger.Warn("could not tidy the warehouse; it will be tried again after the next flush", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.stored:
		}
	}
}

func (w *Writer) client(s *session) (*kgo.Client, error) {
	names := make([]string, 0, len(s.sources))
	for topic := range s.sources {
		names = append(names, topic)
	}
	group := w.cluster.Topic(Group)
	return w.cluster.Client(
		kgo.ConsumerGroup(group),
		kgo.InstanceID(group+"-"+w.o.Node),
		kgo.ConsumeTopics(names...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),           // so that committed offsets reach the high watermark, and a lag of 0 means that nothing is left
		kgo.Balancers(kgo.RangeBalancer()), // eager: every generation gives all of a member's partitions anew
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), // records that were polled belong to the assignment at hand; flushes never block a rebalance
		kgo.FetchMaxWait(250*time.Millisecond),
		kgo.FetchMaxPartitionBytes(fetchBytes),
		kgo.SessionTimeout(w.sessionTimeout),
		kgo.RebalanceTimeout(w.sessionTimeout), // nothing here holds a rebalance up for longer than a poll's records take
		kgo.HeartbeatInterval(w.sessionTimeout/10),
		kgo.OnPartitionsAssigned(s.assigned),
		kgo.OnOffsetsFetched(s.fetched),
		kgo.AdjustFetchOffsetsFn(s.adjust),
		kgo.OnPartitionsRevoked(s.revoked),
		kgo.OnPartitionsLost(s.revoked),
	)
}

// pause waits for d; false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
