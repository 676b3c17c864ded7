package deadletter

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

// Options of a store.
type Options struct {
	Keep       int                   // letters that can be listed, 0 = 100,000, the newest
	Registerer prometheus.Registerer // nil = no metrics
	Logger     *slog.Logger          // nil = none
	Now        func() time.Time      // nil = the wall clock: when a letter was written
}

const defaultKeep = 100_000

// Store writes letters to sluice.dead-letters and lists them from a view that follows the topic. It is safe for concurrent use.
type Store struct {
	cluster  stream.Cluster
	keys     *seal.Keyring
	client   *kgo.Client
	index    *index
	follower *stream.Follower
	now      func() time.Time
	written  *prometheus.CounterVec
}

// Open makes a store. Run must be running for letters to be found.
func Open(cluster stream.Cluster, keys *seal.Keyring, o Options) (*Store, error) {
	if o.Keep == 0 {
		o.Keep = defaultKeep
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	client, err := cluster.Client(
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(2*time.Millisecond), kgo.RecordDeliveryTimeout(30*time.Second),
	)
	if err != nil {
		return nil, fmt.Errorf("opening the dead letters: %w", err)
	}
	s := &Store{cluster: cluster, keys: keys, client: client, index: newIndex(o.Keep), now: o.Now}
	s.follower = stream.NewFollower(cluster, topics.DeadLetters, stream.FollowerOptions{Apply: s.index.apply, Logger: o.Logger})
	s.written = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_ingest_dead_letters_total", Help: "Inputs kept as dead letters by this process, by stage.",
	}, []string{"stage"})
	for _, stage := range []string{StageReplay, StageInbound, StageFilter, StageWarehouse} {
		s.written.WithLabelValues(stage) // an alert sees its first
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(s.written, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sluice_ingest_dead_letters_open", Help: "Dead letters that were not driven again, among those that can be listed.",
		}, func() float64 { return float64(s.index.openCount()) }))
	}
	return s, nil
}

// Run follows the topic until ctx ends.
func (s *Store) Run(ctx context.Context) error { return s.follower.Run(ctx) }

// CaughtUp is closed once the letters of before the start can be listed.
func (s *Store) CaughtUp() <-chan struct{} { return s.follower.CaughtUp() }

// Close releases the connections. Run must have ended.
func (s *Store) Close() { s.client.Close() }

// Put keeps letters: when it returns nil they are acknowledged by all replicas. A letter without a time gets the present one.
func (s *Store) Put(ctx context.Context, letters ...Letter) error {
	if len(letters) == 0 {
		return nil
	}
	recs := make([]*kgo.Record, len(letters))
	now := s.now().UnixMicro()
	for i := range letters {
		l := letters[i]
		if l.Time == 0 {
			l.Time = now
		}
		if len(l.Payload) > maxPayload { // no event is that long: the record must not be too large for the topic
			l.Payload, l.Detail = l.Payload[:maxPayload], l.Detail+" (cut off at 512 KiB)"
		}
		key, value, err := l.Record(s.keys)
		if err != nil {
			return err
		}
		recs[i] = s.record(key, value)
	}
	if err := s.client.ProduceSync(ctx, recs...).FirstErr(); err != nil {
		return fmt.Errorf("keeping dead letters: %w", err)
	}
	for i := range letters {
		s.written.WithLabelValues(letters[i].Stage).Inc()
	}
	return nil
}

// Undecodable keeps records of a topic that cannot be decoded.
type Undecodable struct {
	Store *Store
	Stage string // that tried
}

// Put keeps one record.
func (u Undecodable) Put(ctx context.Context, topic string, partition int32, offset int64, _, value []byte, err error) error {
	return u.Store.Put(ctx, Letter{
		Stage: u.Stage, Code: "undecodable", Detail: err.Error(), Source: topic + "/" + strconv.Itoa(int(partition)), Position: uint64(offset), Payload: value,
	})
}

func (s *Store) record(key, value []byte) *kgo.Record {
	return &kgo.Record{Topic: s.cluster.Topic(topics.DeadLetters), Partition: s.cluster.PartitionOf(key), Key: key, Value: value}
}

// fetchTimeout bounds the way to the broker and back for one payload.
const fetchTimeout = 10 * time.Second

// show fetches a letter with its payload from the topic. Errors: ErrNotFound, or of the broker.
func (s *Store) show(ctx context.Context, e *entry) (*Letter, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	topic := s.cluster.Topic(topics.DeadLetters)
	client, err := s.cluster.Client(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {e.partition: kgo.NewOffset().At(e.offset)}}), kgo.FetchMaxWait(time.Second),
	)
	if err != nil {
		return nil, fmt.Errorf("fetching a dead letter: %w", err)
	}
	defer client.Close()
	for {
		fetches := client.PollRecords(ctx, 1)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("fetching a dead letter: %w", err)
		}
		for _, r := range fetches.Records() {
			if r.Offset != e.offset {
				return nil, ErrNotFound // its place has expired
			}
			return open(s.keys, r.Key, r.Value)
		}
	}
}

// redriven marks a letter and returns once the mark can be seen here.
func (s *Store) redriven(ctx context.Context, e *entry) error {
	value, err := marker(e.id, s.now().UnixMicro())
	if err != nil {
		return fmt.Errorf("marking a dead letter: %w", err)
	}
	r, err := s.client.ProduceSync(ctx, s.record(e.id[:], value)).First()
	if err != nil {
		return fmt.Errorf("marking a dead letter: %w", err)
	}
	return s.follower.Wait(ctx, r.Partition, r.Offset+1)
}
