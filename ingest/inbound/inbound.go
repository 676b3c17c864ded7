// Package inbound reads the events of foreign producers from sluice.inbound: a consumer group decodes them, asks the gate and appends them to the log.
// It commits an offset after the append, so that a crash may append an event twice and never loses one; the filter knows an event by its id.
package inbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/ingest/deadletter"
	"sluice/ingest/eventpb"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

// Intake is what the collector does with an event, for a producer that is trusted like a server key.
type Intake interface {
	// Decode reads and validates a JSON event. With a fault, the event holds what could be read of it, or is nil. data must not be kept.
	Decode(data []byte, received time.Time) (*eventpb.Event, *Fault)
	// Admit asks the gate, and writes into the event's consent what the device denies. Denied: no purpose may use it.
	// An error means that consent cannot be told now; it will be asked again.
	Admit(ev *eventpb.Event) (denied bool, err error)
	// Append is done when the log has the events, in their order. An error means that none, some or all have been written.
	Append(ctx context.Context, events []*eventpb.Event, received time.Time) error
}

// Fault is why an event was refused. It never holds a value.
type Fault struct{ Code, Pointer, Detail string }

// Letters keeps what was refused. *deadletter.Store is one.
type Letters interface {
	Put(ctx context.Context, letters ...deadletter.Letter) error
}

var _ Letters = (*deadletter.Store)(nil)

// Options of a reader.
type Options struct {
	Cluster    stream.Cluster
	Node       string // stable name of this process; a restart takes its predecessor's place in the group at once
	Intake     Intake
	Letters    Letters
	Gate       deadletter.Gate       // of refused events; nil keeps all
	Registerer prometheus.Registerer // nil = no metrics
	Logger     *slog.Logger          // nil = none
	Now        func() time.Time      // nil = the wall clock: when an event was received
}

// Reader is one member of the group. Make it with New, run it once.
type Reader struct {
	o      Options
	events *prometheus.CounterVec
}

// Group is the consumer group's short name.
const Group = "inbound"

const (
	batchSize  = 1000
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// New makes a reader.
func New(o Options) *Reader {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Reader{o: o, events: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_ingest_inbound_events_total", Help: "Events read from foreign producers, by outcome. One read again after a crash counts again.",
	}, []string{"outcome"})}
	if o.Registerer != nil {
		o.Registerer.MustRegister(r.events)
	}
	return r
}

// Run reads until ctx ends. It waits until it can write what it has read: the group's offsets hold the rest back, and nothing is dropped.
func (r *Reader) Run(ctx context.Context) error {
	client, err := r.o.Cluster.Client(
		kgo.ConsumerGroup(r.o.Cluster.Topic(Group)),
		kgo.InstanceID(r.o.Cluster.Topic(Group)+"-"+r.o.Node), // without it a dead member holds up the group, and this client's close, until its session ends
		kgo.SessionTimeout(10*time.Second),
		kgo.RebalanceTimeout(10*time.Second),
		kgo.HeartbeatInterval(time.Second),
		kgo.ConsumeTopics(r.o.Cluster.Topic(topics.Inbound)),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(250*time.Millisecond),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), // a partition changes hands between batches, so that one producer's events keep their order
	)
	if err != nil {
		return fmt.Errorf("reading %s: %w", r.o.Cluster.Topic(topics.Inbound), err)
	}
	defer client.CloseAllowingRebalance()
	for {
		fetches := client.PollRecords(ctx, batchSize)
		if ctx.Err() != nil {
			return nil
		}
		for _, e := range fetches.Errors() {
			r.o.Logger.Warn("could not read foreign events; it will be tried again", "topic", e.Topic, "partition", e.Partition, "error", e.Err)
		}
		if err := r.settle(ctx, fetches.Records()); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if fetches.NumRecords() > 0 {
			if err := client.CommitUncommittedOffsets(ctx); err != nil && ctx.Err() == nil {
				r.o.Logger.Warn("could not commit the offsets of foreign events; they will be read again", "error", err)
			}
		}
		client.AllowRebalance()
	}
}

// settle writes a batch: what is valid and allowed to the log, what is broken to the dead letters.
func (r *Reader) settle(ctx context.Context, recs []*kgo.Record) error {
	var (
		events  []*eventpb.Event
		letters []deadletter.Letter
		denied  int
	)
	received := r.o.Now()
	for _, rec := range recs {
		ev, fault := r.o.Intake.Decode(rec.Value, received)
		var refused bool
		err := r.insist(ctx, "asking the gate", func() (err error) {
			refused, err = r.refused(ev, fault)
			return err
		})
		switch {
		case err != nil:
			return err
		case refused:
			denied++
		case fault != nil:
			letters = append(letters, r.letter(rec, fault))
		default:
			events = append(events, ev)
		}
	}
	if len(events) > 0 {
		if err := r.insist(ctx, "appending foreign events", func() error { return r.o.Intake.Append(ctx, events, received) }); err != nil {
			return err
		}
	}
	if err := r.insist(ctx, "keeping refused foreign events", func() error { return r.o.Letters.Put(ctx, letters...) }); err != nil {
		return err
	}
	r.events.WithLabelValues("accepted").Add(float64(len(events)))
	r.events.WithLabelValues("denied").Add(float64(denied))
	r.events.WithLabelValues("rejected").Add(float64(len(letters)))
	return nil
}

// refused asks the gate: about a valid event itself, about a broken one whether it may be kept.
func (r *Reader) refused(ev *eventpb.Event, fault *Fault) (bool, error) {
	if fault == nil {
		return r.o.Intake.Admit(ev)
	}
	if ev == nil || r.o.Gate == nil {
		return false, nil
	}
	about := deadletter.About{UserID: ev.UserId, AnonymousID: ev.AnonymousId, Type: ev.Type.Name(), Jurisdiction: ev.Jurisdiction}
	if !about.Known() {
		return false, nil
	}
	keeps, err := r.o.Gate.Keeps(about)
	return !keeps, err
}

func (r *Reader) letter(rec *kgo.Record, fault *Fault) deadletter.Letter {
	return deadletter.Letter{
		Stage: deadletter.StageInbound, Code: fault.Code, Pointer: fault.Pointer, Detail: fault.Detail,
		Source: topics.Inbound + "/" + strconv.Itoa(int(rec.Partition)), Position: uint64(rec.Offset), Payload: rec.Value,
	}
}

// insist tries until it succeeds: nothing else can be done before. The error is ctx's.
func (r *Reader) insist(ctx context.Context, what string, do func() error) error {
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		err := do()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		if wait == firstPause {
			r.o.Logger.Warn("waiting: "+what, "error", err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}
