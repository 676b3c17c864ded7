package ingest

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/ingest/eventpb"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

// Accepted is an event to append.
type Accepted struct {
	Event        *Event
	ReceivedAt   int64  // Unix microseconds
	TrustedClock bool   // posted with a server key
	Run, Row     uint64 // of a replay, row from 1; both 0 = none
	Decision     []byte // made with the event by the decisions API; empty = none
}

// Position is where a record stands on sluice.events.
type Position struct {
	Partition int32
	Offset    int64
}

// LogOptions of a log.
type LogOptions struct {
	Linger      time.Duration         // how long a record may wait for others of its partition; 0 = 3 ms
	MaxBuffered int                   // records under way at once, further ones wait; 0 = 50,000. What one Append puts on a partition is one record
	Timeout     time.Duration         // after which a write is given up; 0 = 10 s
	Registerer  prometheus.Registerer // nil = no metrics
}

const (
	defaultLinger   = 3 * time.Millisecond
	defaultBuffered = 50_000
	defaultTimeout  = 10 * time.Second
	// maxBufferedBytes bounds the memory of records under way, whatever their number.
	maxBufferedBytes = 128 << 20
	// maxTypes is more than the number of every event type.
	maxTypes = 64
	// recordVersion is the format of eventpb.LogRecord.
	recordVersion = 1
)

// Log appends to sluice.events. It is safe for concurrent use.
type Log struct {
	client     *kgo.Client
	decided    *kgo.Client // of events with a decision: somebody waits for each of them, so they wait for no others
	own        *kgo.Client // of controls: however many events wait to be written, what a person has chosen does not wait behind them
	keys       *seal.Keyring
	topic      string
	partitions int32
	timeout    time.Duration
	scratch    sync.Pool // of *scratch
	records    *prometheus.CounterVec
	bytes      prometheus.Counter
	latency    prometheus.Histogram
	newest     [][maxTypes]atomic.Int64 // by partition and event type: time of the newest event that this process has written, at the latest when it was received

	mu             sync.Mutex // guards the fields below
	events, packed float64    // written lately, and the records that they were
}

// OpenLog opens the clients that write to sluice.events.
func OpenLog(cluster stream.Cluster, keys *seal.Keyring, o LogOptions) (*Log, error) {
	if o.Linger == 0 {
		o.Linger = defaultLinger
	}
	if o.MaxBuffered == 0 {
		o.MaxBuffered = defaultBuffered
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	open := func(linger time.Duration) (*kgo.Client, error) {
		return cluster.Client(
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.RequiredAcks(kgo.AllISRAcks()), // the producer is idempotent by default: in order, each once
			kgo.ProducerLinger(linger),
			kgo.MaxProduceRequestsInflightPerBroker(1),        // a broker answers a connection in order: what would queue there shares the next request instead
			kgo.ProducerBatchCompression(kgo.NoCompression()), // what is sealed does not shrink
			kgo.MaxBufferedRecords(o.MaxBuffered),
			kgo.MaxBufferedBytes(maxBufferedBytes),
		)
	}
	l := &Log{keys: keys, topic: cluster.Topic(topics.Events), partitions: cluster.PartitionCount(), timeout: o.Timeout}
	l.newest = make([][maxTypes]atomic.Int64, l.partitions)
	for _, c := range []struct {
		client **kgo.Client
		linger time.Duration
	}{{&l.client, o.Linger}, {&l.decided, 0}, {&l.own, 0}} {
		client, err := open(c.linger)
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("opening the log: %w", err)
		}
		*c.client = client
	}
	l.scratch.New = func() any { return new(scratch) }
	l.instrument(o.Registerer)
	return l, nil
}

func (l *Log) instrument(reg prometheus.Registerer) {
	l.records = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_ingest_log_records_total", Help: "Events and control records that the log has acknowledged, by kind (event, control).",
	}, []string{"kind"})
	l.bytes = prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_ingest_log_bytes_total", Help: "Bytes of the values that the log has acknowledged."})
	l.latency = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "sluice_ingest_log_append_seconds", Help: "Time from an append to its acknowledgement, all of its records.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	})
	if reg != nil {
		reg.MustRegister(l.records, l.bytes, l.latency)
	}
}

// Append writes the events, those of one partition as one record. Nil means that all are durable: acknowledged by all in-sync replicas. A subject's events keep
// their order. With an error none, some or all may have been written; appending them again is safe, since the filter knows an event by its id.
// Once begun it does not end with ctx, only with the log's own timeout.
func (l *Log) Append(ctx context.Context, events []Accepted) error {
	s := l.begin(0)
	defer l.end(s)
	var p packs
	for i := range events {
		e := &events[i]
		s.of.become(l.keys, e.Event)
		s.rec = eventpb.LogRecord{
			Version: recordVersion, Kind: eventpb.LogRecord_EVENT, ReceivedAt: e.ReceivedAt, TrustedClock: e.TrustedClock, Run: e.Run, Row: e.Row,
			Dedupe: l.keys.DedupeHash(s.of.text(), byte(e.Event.Type), e.Event.Id),
		}
		if err := l.seal(s, e.Event, e.Decision); err != nil {
			return err
		}
		if err := p.add(l.topic, l.partitions, s.of.key[:], &s.rec); err != nil {
			return err
		}
		l.see(s.of.key[:], e)
	}
	l.note(len(events), len(p.records))
	client := l.client
	if len(events) == 1 && len(events[0].Decision) > 0 {
		client = l.decided
	}
	return l.write(ctx, client, p.close(), len(events), "event")
}

// see moves the newest time of the event's type in the key's partition. It leaves out an event that denies something, since not every purpose gets it.
func (l *Log) see(key []byte, e *Accepted) {
	if said := e.Event.Consent; said.GetGpc() || len(said.GetDenied()) > 0 {
		return
	}
	micros := min(e.Event.Time, e.ReceivedAt)
	newest := &l.newest[stream.PartitionOf(key, l.partitions)][e.Event.Type&(maxTypes-1)]
	for was := newest.Load(); micros > was && !newest.CompareAndSwap(was, micros); was = newest.Load() {
	}
}

// Newest is the time of the newest event of some types (bit n for the type with the number n) that this process has written to the event's partition, at the latest
// when it was received; 0: it has written none.
func (l *Log) Newest(ev *Event, types uint64) (micros int64) {
	key := l.keys.LogKey(Subject(ev))
	newest := &l.newest[stream.PartitionOf(key[:], l.partitions)]
	for ; types != 0; types &= types - 1 {
		micros = max(micros, newest[bits.TrailingZeros64(types)].Load())
	}
	return micros
}

// noted is the number of records after which the older half counts for less.
const noted = 10_000

// note counts events and the records that they are.
func (l *Log) note(events, records int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.packed > noted {
		l.events, l.packed = l.events/2, l.packed/2
	}
	l.events += float64(events)
	l.packed += float64(records)
}

// EventsPerRecord is how many events each record held that this process has written lately; 1 if there is none.
func (l *Log) EventsPerRecord() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.packed == 0 {
		return 1
	}
	return l.events / l.packed
}

// AppendControl writes control records and tells where each stands. They are never packed, since each is named by its offset. received is Unix microseconds.
// Errors and durability are Append's.
func (l *Log) AppendControl(ctx context.Context, controls []*eventpb.Control, received int64) ([]Position, error) {
	recs := make([]kgo.Record, len(controls))
	s := l.begin(len(controls))
	defer l.end(s)
	for i, c := range controls {
		s.of = identity{key: l.keys.LogKey(c.Subject)}
		s.rec = eventpb.LogRecord{Version: recordVersion, Kind: eventpb.LogRecord_CONTROL, ReceivedAt: received, TrustedClock: true}
		if err := l.seal(s, c, nil); err != nil {
			return nil, err
		}
		if err := l.alone(&recs[i], s); err != nil {
			return nil, err
		}
	}
	if err := l.write(ctx, l.own, recs, len(recs), "control"); err != nil {
		return nil, err
	}
	positions := make([]Position, len(recs))
	for i := range recs {
		positions[i] = Position{Partition: recs[i].Partition, Offset: recs[i].Offset}
	}
	return positions, nil
}

// Close ends the clients. Appends under way fail.
func (l *Log) Close() {
	for _, client := range []*kgo.Client{l.client, l.decided, l.own} {
		if client != nil {
			client.Close()
		}
	}
}

// identity is a subject with its log key; neighbours in a batch are mostly the same person's.
type identity struct {
	subject []byte
	key     [16]byte
}

func (of *identity) become(keys *seal.Keyring, ev *Event) {
	kind, id := "u:", ev.UserId
	if id == "" {
		kind, id = "a:", ev.AnonymousId
	}
	if n := len(kind); len(of.subject) > n && string(of.subject[:n]) == kind && string(of.subject[n:]) == id {
		return
	}
	of.subject = append(append(of.subject[:0], kind...), id...)
	of.key = keys.LogKey(kind, id)
}

// text is the subject in memory that the next one takes.
func (of *identity) text() string {
	return unsafe.String(unsafe.SliceData(of.subject), len(of.subject))
}

// scratch is the memory in which one call makes its records.
type scratch struct {
	of     identity
	rec    eventpb.LogRecord
	plain  []byte // a body before it is sealed
	sealed []byte // body, then decision
	room   []byte // for the records' keys and values: they stay with the client, so that it is never used again
	left   int    // records that still need room
}

// maxRoom is how much memory is asked for at once, for several records.
const maxRoom = 64 << 10

func (l *Log) begin(records int) *scratch {
	s := l.scratch.Get().(*scratch) //nolint:forcetypeassert // the pool's New makes nothing else
	s.left = records
	return s
}

func (l *Log) end(s *scratch) {
	clear(s.plain)
	clear(s.of.subject)
	s.of, s.rec, s.room = identity{subject: s.of.subject[:0]}, eventpb.LogRecord{}, nil
	l.scratch.Put(s)
}

// take is memory for one record. Others like it are expected to follow.
func (s *scratch) take(size int) []byte {
	if len(s.room) < size {
		s.room = make([]byte, max(size, min(size*s.left, maxRoom)))
	}
	s.left--
	part := s.room[:size:size]
	s.room = s.room[size:]
	return part
}

// message is an Event or a Control.
type message interface {
	SizeVT() int
	MarshalToSizedBufferVT(data []byte) (int, error)
}

// seal completes the record at hand with the sealed body and decision.
func (l *Log) seal(s *scratch, body message, decision []byte) error {
	length := body.SizeVT()
	s.plain = slices.Grow(s.plain[:0], length)[:length]
	if _, err := body.MarshalToSizedBufferVT(s.plain); err != nil {
		return fmt.Errorf("encoding a record of the log: %w", err)
	}
	rec := &s.rec
	rec.KeyId, s.sealed = l.keys.AppendSealed(s.sealed[:0], s.plain, s.of.key[:])
	rec.Body = s.sealed
	if len(decision) > 0 {
		_, s.sealed = l.keys.AppendSealed(s.sealed, decision, s.of.key[:])
		rec.Body, rec.Decision = s.sealed[:len(rec.Body)], s.sealed[len(rec.Body):]
	}
	return nil
}

// alone makes a Kafka record of the record at hand, unpacked.
func (l *Log) alone(out *kgo.Record, s *scratch) error {
	rec := &s.rec
	size := rec.SizeVT()
	memory := s.take(len(s.of.key) + size)
	key, value := memory[:len(s.of.key):len(s.of.key)], memory[len(s.of.key):]
	copy(key, s.of.key[:])
	if _, err := rec.MarshalToSizedBufferVT(value); err != nil {
		return fmt.Errorf("encoding a record of the log: %w", err)
	}
	*out = kgo.Record{Topic: l.topic, Partition: stream.PartitionOf(key, l.partitions), Key: key, Value: value, Timestamp: time.UnixMicro(rec.ReceivedAt)}
	return nil
}

// packs are the records that events become: one a partition, unless it is full.
type packs struct {
	records []kgo.Record
	packers []stream.Packer // parallel to records: each makes the value of its record
}

// add puts an event into the pack of its key's partition, one of so many.
func (p *packs) add(topic string, partitions int32, key []byte, rec *eventpb.LogRecord) error {
	size := rec.SizeVT()
	to := p.packer(topic, stream.PartitionOf(key, partitions), key, size, rec.ReceivedAt)
	if _, err := rec.MarshalToSizedBufferVT(to.Add(0, key, size)); err != nil {
		return fmt.Errorf("encoding a record of the log: %w", err)
	}
	return nil
}

// packer is the newest pack of the partition if it takes an entry of this size, else another.
func (p *packs) packer(topic string, partition int32, key []byte, size int, received int64) *stream.Packer {
	for i := len(p.records) - 1; i >= 0; i-- {
		if p.records[i].Partition != partition {
			continue
		}
		if p.packers[i].Fits(key, size) {
			return &p.packers[i]
		}
		break
	}
	p.records = append(p.records, kgo.Record{Topic: topic, Partition: partition, Timestamp: time.UnixMicro(received)})
	p.packers = append(p.packers, stream.Packer{})
	return &p.packers[len(p.packers)-1]
}

// close gives the records what was packed.
func (p *packs) close() []kgo.Record {
	for i := range p.records {
		p.records[i].Key, p.records[i].Value = p.packers[i].Record()
	}
	return p.records
}

// write produces the records of n events or controls and waits until all are acknowledged, or the time is up.
func (l *Log) write(ctx context.Context, client *kgo.Client, recs []kgo.Record, n int, kind string) error {
	if len(recs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.timeout)
	defer cancel()
	began, sent := time.Now(), newWait(len(recs))
	size, done := 0, sent.done
	for i := range recs {
		size += len(recs[i].Value)
		client.Produce(ctx, &recs[i], done)
	}
	if err := sent.wait(ctx); err != nil {
		return fmt.Errorf("appending to the log: %w", err)
	}
	l.latency.Observe(time.Since(began).Seconds())
	l.records.WithLabelValues(kind).Add(float64(n))
	l.bytes.Add(float64(size))
	return nil
}

// wait is for the acknowledgements of a batch.
type wait struct {
	mu   sync.Mutex // guards left and err
	left int
	err  error
	over chan struct{} // closed when none is left
}

func newWait(n int) *wait { return &wait{left: n, over: make(chan struct{})} }

// done notes what became of one record. The first error counts.
func (w *wait) done(_ *kgo.Record, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	if w.left--; w.left == 0 {
		close(w.over)
	}
}

// wait returns the first error, or ctx's where the broker has not answered by then: the client cannot tell yet what became of the rest.
func (w *wait) wait(ctx context.Context) error {
	select {
	case <-w.over:
		return w.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// OpenBody unseals a record's body: an Event or a Control by its kind. For privacyfilter only. key is the record's Kafka key.
// The result may lie in rec.Body or buf. Errors are seal.Keyring.Unseal's.
func OpenBody(keys *seal.Keyring, key []byte, rec *eventpb.LogRecord, buf []byte) ([]byte, error) {
	body, err := keys.UnsealInto(buf, rec.KeyId, rec.Body, key)
	if err != nil {
		return nil, fmt.Errorf("opening a record of the log: %w", err)
	}
	return body, nil
}
