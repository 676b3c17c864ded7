package warehouse_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/warehouse"
	"sluice/internal/warehouse/parquet"
)

// message is what the tests' topic holds.
type message struct {
	Subject string `json:"s"`
	Event   string `json:"e"`
	Time    int64  `json:"t,omitempty"`
	Floor   string `json:"f,omitempty"`
	Purge   bool   `json:"p,omitempty"`
}

func visits() *warehouse.Table {
	return &warehouse.Table{
		Name: "visits", Time: "time", Key: []string{"event"}, Subject: "subject", Event: "event", Floor: "floor", Columns: []warehouse.Column{
			{Name: "subject", Kind: warehouse.Bytes},
			{Name: "event", Kind: warehouse.Bytes},
			{Name: "time", Kind: warehouse.Time},
			{Name: "floor", Kind: warehouse.Bytes},
			{Name: "about", Kind: warehouse.Strings},
		},
	}
}

func decode(rec *stream.Record, out *warehouse.Rows) error {
	var m message
	b := out.Batches[0]
	if err := json.Unmarshal(rec.Value, &m); err != nil {
		b.Bytes([]byte("half a row"))
		return errors.New("JSON expected")
	}
	if m.Purge {
		out.Purge(warehouse.Purge{Subject: []byte(m.Subject), Event: []byte(m.Event), Floor: []byte(m.Floor)})
		return nil
	}
	b.Bytes([]byte(m.Subject))
	b.Bytes([]byte(m.Event))
	b.Int(m.Time)
	b.Bytes([]byte(m.Floor))
	b.StringList([]string{m.Subject, m.Event})
	return b.End()
}

// bench is a broker, a store and what was written.
type bench struct {
	*testing.T
	cluster  stream.Cluster
	table    *warehouse.Table
	source   *warehouse.Source
	dir      string
	producer *kgo.Client

	mu   sync.Mutex
	want []message // rows that must be there, as of what was produced
	n    int
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, cluster: brokertest.Cluster(t), table: visits(), dir: t.TempDir()}
	b.source = &warehouse.Source{Topic: topics.History, Tables: []*warehouse.Table{b.table}, Decode: decode}
	var err error
	if b.producer, err = b.cluster.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.producer.Close)
	return b
}

func (b *bench) open() *parquet.Store {
	b.Helper()
	s, err := parquet.Open(b.dir, []*warehouse.Table{b.table}, parquet.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

func (b *bench) record(partition int32, m message) *kgo.Record {
	value, err := json.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	return &kgo.Record{Topic: b.cluster.Topic(topics.History), Partition: partition, Key: []byte(m.Subject), Value: value}
}

// produce writes messages and folds them into want.
func (b *bench) produce(partition int32, messages ...message) {
	b.Helper()
	records := make([]*kgo.Record, len(messages))
	for i, m := range messages {
		records[i] = b.record(partition, m)
	}
	if err := b.producer.ProduceSync(b.Context(), records...).FirstErr(); err != nil {
		b.Fatal(err)
	}
	b.fold(messages...)
}

func (b *bench) fold(messages ...message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range messages {
		if m.Purge {
			b.want = purged(b.table, b.want, warehouse.Purge{Subject: []byte(m.Subject), Event: []byte(m.Event), Floor: []byte(m.Floor)})
			continue
		}
		b.want = append(b.want, m)
	}
}

// purged are the rows that a purge leaves.
func purged(t *warehouse.Table, rows []message, purge warehouse.Purge) []message {
	return slices.DeleteFunc(rows, func(row message) bool {
		return row.Subject == string(purge.Subject) && purge.Deletes(t, []byte(row.Event), []byte(row.Floor))
	})
}

// message makes a row that no other equals.
func (b *bench) message(subject, floor string) message {
	b.n++
	at := time.Date(2026, 11, 23, 20, 0, b.n, 0, time.UTC)
	return message{Subject: subject, Event: fmt.Sprintf("event %06d", b.n), Time: at.UnixMicro(), Floor: floor}
}

// writer makes a writer that does not wait long.
func (b *bench) writer(store warehouse.Store, o warehouse.Options) *warehouse.Writer {
	if o.Node == "" {
		o.Node = "a"
	}
	if o.Flush == 0 {
		o.Flush = 50 * time.Millisecond
	}
	o.Logger = slog.New(slog.NewTextHandler(b.Output(), nil))
	w := warehouse.New(b.cluster, []*warehouse.Source{b.source}, store, o)
	w.Hasten(6*time.Second, 300*time.Millisecond)
	return w
}

// start runs a writer; stop ends it in order and gives Run's error.
func (b *bench) start(store warehouse.Store, o warehouse.Options) (w *warehouse.Writer, stop func() error) {
	w = b.writer(store, o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	b.Cleanup(func() { _ = stop() })
	return w, stop
}

// offsets are the group's, with their metadata, and the high watermarks.
func (b *bench) offsets() (committed kadm.OffsetResponses, ends kadm.ListedOffsets) {
	b.Helper()
	admin := kadm.NewClient(b.producer)
	committed, err := admin.FetchOffsets(b.Context(), b.cluster.Topic(warehouse.Group))
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		b.Fatal(err)
	}
	if ends, err = admin.ListEndOffsets(b.Context(), b.cluster.Topic(topics.History)); err != nil {
		b.Fatal(err)
	}
	return committed, ends
}

// settled waits until the group's offsets have reached the high watermarks, and promise nothing.
func (b *bench) settled() {
	b.Helper()
	b.until("offsets at the high watermarks", func() bool {
		committed, ends := b.offsets()
		done := true
		ends.Each(func(end kadm.ListedOffset) {
			at, ok := committed.Lookup(end.Topic, end.Partition)
			if end.Offset > 0 && (!ok || at.At != end.Offset || at.Metadata != "") {
				done = false
			}
		})
		return done
	})
}

// until waits for a condition that others bring about.
func (b *bench) until(what string, done func() bool) {
	b.Helper()
	for deadline := time.Now().Add(90 * time.Second); !done(); time.Sleep(10 * time.Millisecond) { // polling: the condition has no event
		if time.Now().After(deadline) {
			b.Fatalf("not in time: %s", what)
		}
	}
}

func (b *bench) rows(s warehouse.Store) []message {
	b.Helper()
	var rows []message
	err := s.Scan(context.Background(), b.table, nil, time.Unix(0, 0), time.Unix(4e9, 0), func(batch *warehouse.Batch) error {
		for i := range batch.Rows() {
			v := batch.Values
			if !slices.Equal(v[4].Strings(i), []string{v[0].String(i), v[1].String(i)}) {
				return errors.New("a row is made of several")
			}
			rows = append(rows, rowAt(batch, i))
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return rows
}

func rowAt(batch *warehouse.Batch, i int) message {
	v := batch.Values
	return message{Subject: string(v[0].Text(i)), Event: string(v[1].Text(i)), Time: v[2].Int(i), Floor: string(v[3].Text(i))}
}

// check compares what is stored with what was produced.
func (b *bench) check(s warehouse.Store) {
	b.Helper()
	byEvent := func(x, y message) int { return strings.Compare(x.Event, y.Event) }
	got := b.rows(s)
	slices.SortFunc(got, byEvent)
	b.mu.Lock()
	defer b.mu.Unlock()
	want := slices.SortedFunc(slices.Values(b.want), byEvent)
	if diff := cmp.Diff(want, got); diff != "" {
		b.Errorf("%d rows, expected %d (-want +got):\n%s", len(got), len(want), diff[:min(len(diff), 4000)])
	}
}

// hooked is a store whose Append can be held up.
type hooked struct {
	warehouse.Store
	append func(ctx context.Context, blocks []*warehouse.Block, inner func(context.Context, []*warehouse.Block) error) error
}

func (h *hooked) Append(ctx context.Context, blocks []*warehouse.Block) error {
	return h.append(ctx, blocks, h.Store.Append)
}

func TestRowsAndPurges(t *testing.T) {
	b := newBench(t)
	store := b.open()
	reg := prometheus.NewRegistry()
	w, stop := b.start(store, warehouse.Options{Registerer: reg})
	for i := range 400 {
		b.produce(int32(i%4), b.message(fmt.Sprint("s", i%20), "f1"))
	}
	b.settled()
	b.check(store)
	b.produce(0,
		message{Subject: "s4", Event: b.want[4].Event, Purge: true}, // one event
		message{Subject: "s8", Purge: true},                         // denied …
		b.message("s8", "f2"),                                       // … and allowed again
		b.message("s12", "f2"),
		message{Subject: "s12", Floor: "f2", Purge: true}, // only rows under the floor that holds now
		b.message("s12", "f2"),
	)
	b.settled()
	b.check(store)
	b.until("no lag", func() bool { s := w.Status(); return s.Joined && s.Lag == 0 && s.Rows == 0 })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if n := counted(t, reg, "sluice_warehouse_purges_total"); n != 3 {
		t.Errorf("%v purges counted", n)
	}
}

// counted is the value of a counter without labels.
func counted(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// TestPromiseIsKept: a writer dies after a block was stored and before that was committed. The next one, which would cut blocks elsewhere, finds the
// bounds in the group's metadata, and the store knows the block.
func TestPromiseIsKept(t *testing.T) {
	b := newBench(t)
	store := b.open()
	var first []*warehouse.Block
	stored := make(chan struct{})
	dying := &hooked{Store: store, append: func(ctx context.Context, blocks []*warehouse.Block, inner func(context.Context, []*warehouse.Block) error) error {
		if first == nil {
			first = blocks
			if err := inner(ctx, blocks); err != nil {
				t.Error(err)
			}
			close(stored)
		}
		return errors.New("the process is about to die")
	}}
	for range 10 {
		b.produce(2, b.message("s", "f1"))
	}
	b.produce(2, message{Subject: "s", Purge: true})
	b.produce(2, b.message("s", "f2"))
	_, stop := b.start(dying, warehouse.Options{})
	<-stored
	b.produce(2, b.message("s", "f2"))
	committed, _ := b.offsets()
	at, _ := committed.Lookup(b.cluster.Topic(topics.History), 2)
	bounds, err := warehouse.ParsePromise(at.At, &at.Metadata)
	if err != nil || at.At != first[0].First || len(bounds) < len(first) || bounds[0] != first[0].Next {
		t.Fatalf("offset %d with metadata %q for blocks from %d to %d: %v", at.At, at.Metadata, first[0].First, first[0].Next, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	var again []*warehouse.Block
	next := &hooked{Store: store, append: func(ctx context.Context, blocks []*warehouse.Block, inner func(context.Context, []*warehouse.Block) error) error {
		again = append(again, blocks...)
		return inner(ctx, blocks)
	}}
	_, stop = b.start(next, warehouse.Options{MaxRows: 3})
	b.settled()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for i, block := range first {
		if again[i].First != block.First || again[i].Next != block.Next {
			t.Errorf("block %d came again as [%d, %d), expected [%d, %d)", i, again[i].First, again[i].Next, block.First, block.Next)
		}
	}
	b.check(store)
}

// TestPromiseIsKeptInParts: a writer dies with so many blocks promised that the next one commits the first of them before it has read the last, and dies
// then. The third one still has to build the last ones as they were stored.
func TestPromiseIsKeptInParts(t *testing.T) {
	b := newBench(t)
	store := b.open()
	const records = 14_000
	var some []message
	for range records {
		some = append(some, b.message("s", "f"))
	}
	b.produce(5, some[:4000]...)
	var w *warehouse.Writer
	flushes := 0
	stored := make(chan struct{})
	dying := &hooked{Store: store, append: func(ctx context.Context, blocks []*warehouse.Block, inner func(context.Context, []*warehouse.Block) error) error {
		flushes++
		switch flushes {
		case 1: // all the rest is read meanwhile, and promised by the second flush
			b.produce(5, some[4000:]...)
			b.until("all records read", func() bool { return w.Status().Rows >= records })
			return inner(ctx, blocks)
		case 2:
			defer close(stored)
			return errors.Join(inner(ctx, blocks), errors.New("the process is about to die"))
		default:
			return errors.New("the process is about to die")
		}
	}}
	w = b.writer(dying, warehouse.Options{MaxRows: 2000})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	<-stored
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	next := &hooked{Store: store, append: func(ctx context.Context, blocks []*warehouse.Block, inner func(context.Context, []*warehouse.Block) error) error {
		cancel()
		return inner(ctx, blocks)
	}}
	if err := b.writer(next, warehouse.Options{MaxRows: 1000, MaxBytes: 1}).Run(ctx); err != nil { // reads nothing more while it stores
		t.Fatal(err)
	}
	committed, _ := b.offsets()
	at, _ := committed.Lookup(b.cluster.Topic(topics.History), 5)
	if bounds, err := warehouse.ParsePromise(at.At, &at.Metadata); err != nil || len(bounds) == 0 || bounds[len(bounds)-1] != records {
		t.Fatalf("offset %d with metadata %q, expected promises up to %d: %v", at.At, at.Metadata, records, err)
	}
	_, stop := b.start(&hooked{Store: store, append: passOn}, warehouse.Options{MaxRows: 700}) // does not tell how far it is
	b.settled()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.check(store)
}

// passOn is the hook that does nothing.
func passOn(ctx context.Context, blocks []*warehouse.Block, inner func(context.Context, []*warehouse.Block) error) error {
	return inner(ctx, blocks)
}

// tokens is a store that knows blocks by their bounds alone, as ClickHouse does: the rows of a block that comes again are left out, its purges are applied.
type tokens struct {
	warehouse.Store
	table *warehouse.Table
	fail  func() error // after everything was done

	mu    sync.Mutex
	known map[[3]int64]bool
	rows  []message
}

func (s *tokens) Append(_ context.Context, blocks []*warehouse.Block) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range blocks {
		if token := [3]int64{int64(b.Partition), b.First, b.Next}; !s.known[token] {
			s.known[token] = true
			for i := range b.Batches[0].Rows() {
				s.rows = append(s.rows, rowAt(b.Batches[0], i))
			}
		}
		for _, purge := range b.Purges {
			s.rows = purged(s.table, s.rows, purge)
		}
	}
	return s.fail()
}

func (s *tokens) Scan(_ context.Context, t *warehouse.Table, _ []string, _, _ time.Time, each func(*warehouse.Batch) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &warehouse.Rows{Batches: []*warehouse.Batch{warehouse.NewBatch(t)}}
	for _, m := range s.rows {
		value, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if err := decode(&stream.Record{Value: value}, out); err != nil {
			return err
		}
	}
	return each(out.Batches[0])
}

func (s *tokens) Expire(context.Context, time.Time) error { return nil }

// TestPurgesComeAgain: each attempt fails twice after the store has done all of it. What comes after a purge must outlive its repetitions.
func TestPurgesComeAgain(t *testing.T) {
	b := newBench(t)
	attempts := 0
	store := &tokens{table: b.table, known: make(map[[3]int64]bool), fail: func() error {
		if attempts++; attempts%3 != 0 {
			return errors.New("after")
		}
		return nil
	}}
	for p := range int32(3) {
		subject := fmt.Sprint("s", p)
		var some []message
		for i := range 4 {
			floor := fmt.Sprint("f", i)
			some = append(some, b.message(subject, floor), b.message(subject, floor), message{Subject: subject, Purge: true}, message{Subject: "nobody", Purge: true})
		}
		b.produce(p, append(some, b.message(subject, "f9"), b.message(subject, "f9"))...)
	}
	_, stop := b.start(store, warehouse.Options{})
	b.settled()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.check(store)
}

// TestLostOffsets: the group's offsets expire while nobody has the role, or somebody deletes the group. A store that knows how far it is goes on there.
func TestLostOffsets(t *testing.T) {
	b := newBench(t)
	store := b.open()
	run := func(o warehouse.Options) {
		t.Helper()
		_, stop := b.start(store, o)
		b.settled()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b.check(store)
	}
	produce := func() {
		for p := range int32(3) {
			for range 10 {
				b.produce(p, b.message("s", "f"))
			}
		}
	}
	admin := kadm.NewClient(b.producer)
	group := b.cluster.Topic(warehouse.Group)
	produce()
	run(warehouse.Options{})
	b.until("a group without members, deleted", func() bool {
		deleted, err := admin.DeleteGroup(t.Context(), group)
		return err == nil && deleted.Err == nil
	})
	produce()
	run(warehouse.Options{MaxRows: 7}) // would cut other blocks of what is stored
	behind := kadm.Offsets{}
	behind.Add(kadm.Offset{Topic: b.cluster.Topic(topics.History), Partition: 0, At: 3, LeaderEpoch: -1, Metadata: "next=8,25"})
	behind.Add(kadm.Offset{Topic: b.cluster.Topic(topics.History), Partition: 1, At: 3, LeaderEpoch: -1})
	b.until("offsets set back in a group without members", func() bool {
		set, err := admin.CommitOffsets(t.Context(), group, behind)
		return err == nil && set.Error() == nil
	})
	produce()
	run(warehouse.Options{MaxRows: 6})
}

// TestWaiting: the status tells that the store fails, and that it does no more.
func TestWaiting(t *testing.T) {
	b := newBench(t)
	store := b.open()
	attempts := make(chan error)
	h := &hooked{Store: store, append: func(ctx context.Context, blocks []*warehouse.Block, inner func(context.Context, []*warehouse.Block) error) error {
		if err := <-attempts; err != nil {
			return err
		}
		return inner(ctx, blocks)
	}}
	w, stop := b.start(h, warehouse.Options{})
	b.produce(1, b.message("s", "f"))
	if w.Status().Waiting {
		t.Error("waits before it has anything to store")
	}
	attempts <- errors.New("away")
	b.until("it waits for the store", func() bool { return w.Status().Waiting })
	attempts <- nil
	b.until("it waits no more", func() bool { return !w.Status().Waiting })
	b.settled()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.check(store)
}

// keptLetters fails once for each record.
type keptLetters struct {
	mu    sync.Mutex
	tried map[int64]bool
	kept  []int64
}

func (l *keptLetters) Put(_ context.Context, topic string, _ int32, offset int64, _, value []byte, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.tried[offset] {
		l.tried[offset] = true
		return errors.New("away")
	}
	if topic == topics.History && string(value) == "broken" && err != nil {
		l.kept = append(l.kept, offset)
	}
	return nil
}

func TestLetters(t *testing.T) {
	b := newBench(t)
	store := b.open()
	b.produce(1, b.message("s", "f"))
	broken := &kgo.Record{Topic: b.cluster.Topic(topics.History), Partition: 1, Value: []byte("broken")}
	if err := b.producer.ProduceSync(t.Context(), broken).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.produce(1, b.message("s", "f"))
	if err := b.writer(store, warehouse.Options{}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "history/1 at 1") {
		t.Errorf("a writer without letters: %v", err)
	}
	committed, _ := b.offsets()
	if at, ok := committed.Lookup(broken.Topic, 1); ok && at.At > 1 {
		t.Error("a broken record was passed by")
	}
	letters := &keptLetters{tried: make(map[int64]bool)}
	_, stop := b.start(store, warehouse.Options{Letters: letters})
	b.settled()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.check(store)
	if diff := cmp.Diff([]int64{1}, letters.kept); diff != "" {
		t.Errorf("letters (-want +got):\n%s", diff)
	}
}

// TestBackpressure: while the store is away, reading stops at MaxBytes, and nothing is lost.
func TestBackpressure(t *testing.T) {
	b := newBench(t)
	store := b.open()
	const bound = 200 << 10
	var mu sync.Mutex
	away := true
	h := &hooked{Store: store, append: func(ctx context.Context, blocks []*warehouse.Block, inner func(context.Context, []*warehouse.Block) error) error {
		mu.Lock()
		defer mu.Unlock()
		if away {
			return errors.New("away")
		}
		return inner(ctx, blocks)
	}}
	w, stop := b.start(h, warehouse.Options{MaxRows: 100, MaxBytes: bound})
	for i := range 30 {
		var some []message
		for range 400 {
			some = append(some, b.message("s", "f"))
		}
		b.produce(int32(i%16), some...)
	}
	b.until("buffers that are full", func() bool { return w.Status().Bytes >= bound*7/8 })
	if s := w.Status(); s.Rows == 30*400 {
		t.Errorf("all %d rows are in memory, in %d bytes", s.Rows, s.Bytes)
	}
	mu.Lock()
	away = false
	mu.Unlock()
	b.settled()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.check(store)
}

// TestZombie: the store holds up one writer beyond a rebalance that gives its partitions to another. What it does afterwards must change nothing.
func TestZombie(t *testing.T) {
	b := newBench(t)
	store := b.open()
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	zombie := &hooked{Store: store, append: func(_ context.Context, blocks []*warehouse.Block, inner func(context.Context, []*warehouse.Block) error) error {
		once.Do(func() {
			close(entered)
			<-release
		})
		return inner(context.Background(), blocks) // it does not know that it was given up
	}}
	for p := range int32(16) {
		for range 20 {
			b.produce(p, b.message(fmt.Sprint("s", p), "f1"))
		}
		b.produce(p, message{Subject: fmt.Sprint("s", p), Purge: true})
		b.produce(p, b.message(fmt.Sprint("s", p), "f2"))
	}
	_, stopZombie := b.start(zombie, warehouse.Options{Node: "a"})
	<-entered
	_, stop := b.start(store, warehouse.Options{Node: "b"})
	b.until("a second member that stores", func() bool { return len(b.rows(store)) > 0 })
	for p := range int32(16) {
		b.produce(p, b.message(fmt.Sprint("s", p), "f2"))
	}
	close(release)
	b.settled()
	if err := errors.Join(stopZombie(), stop()); err != nil {
		t.Fatal(err)
	}
	b.check(store)
}

// TestMembersComeAndGo is the crash test: two writers that die, stop and start at random moments over a store that fails before and after it has
// stored, hangs, and is opened anew; records in transactions, some of them aborted; and purges.
func TestMembersComeAndGo(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	b := newBench(t)
	var (
		mu    sync.RWMutex // held for writing while the store is opened anew
		store = b.open()
		dice  sync.Mutex
	)
	roll := func(n int) int {
		dice.Lock()
		defer dice.Unlock()
		return random.IntN(n)
	}
	type member struct {
		stop func() error
		dead chan struct{}
	}
	start := func(node string) *member {
		m := &member{dead: make(chan struct{})}
		h := &hooked{Store: store, append: func(ctx context.Context, blocks []*warehouse.Block, _ func(context.Context, []*warehouse.Block) error) error {
			mu.RLock()
			defer mu.RUnlock()
			die := func() error {
				select {
				case <-m.dead:
					return errors.New("dead")
				default:
					return nil
				}
			}
			if err := die(); err != nil {
				return err
			}
			switch roll(8) {
			case 0:
				return errors.New("before")
			case 1:
				time.Sleep(time.Duration(roll(1500)) * time.Millisecond) // hangs, and does not look at ctx
				ctx = context.Background()
			}
			if err := store.Append(ctx, blocks); err != nil {
				return err
			}
			if err := die(); err != nil {
				return err
			}
			if roll(8) == 0 {
				return errors.New("after")
			}
			return nil
		}}
		tidy := func(ctx context.Context) error {
			mu.RLock()
			defer mu.RUnlock()
			return store.Tidy(ctx)
		}
		started := warehouse.Store(expiring{h, tidy})
		if roll(2) == 0 {
			started = ahead{expiring{h, tidy}, func(topic string, partition int32) (int64, bool) {
				mu.RLock()
				defer mu.RUnlock()
				return store.Next(topic, partition)
			}}
		}
		_, m.stop = b.start(started, warehouse.Options{Node: node, MaxRows: 50 + roll(100), MaxBytes: 1 << 20, Flush: time.Duration(20+roll(200)) * time.Millisecond})
		return m
	}
	produced := make(chan struct{})
	go func() {
		defer close(produced)
		b.inTransactions(roll)
	}()
	members := map[string]*member{"a": start("a"), "b": start("b")}
	for done := false; !done; {
		select {
		case <-produced:
			done = true
		case <-time.After(time.Duration(200+roll(800)) * time.Millisecond):
		}
		node := []string{"a", "b"}[roll(2)]
		m := members[node]
		if roll(2) == 0 {
			close(m.dead)
		}
		if err := m.stop(); err != nil {
			t.Error(err)
		}
		if roll(3) == 0 {
			mu.Lock()
			if err := store.Close(); err != nil {
				t.Error(err)
			}
			store = b.open()
			mu.Unlock()
		}
		members[node] = start(node)
	}
	b.settled()
	for _, m := range members {
		if err := m.stop(); err != nil {
			t.Error(err)
		}
	}
	b.check(store)
}

// expiring is a store that is asked for nothing else than to append and to tidy: the one beneath is exchanged.
type expiring struct {
	warehouse.Store
	tidy func(context.Context) error
}

func (e expiring) Tidy(ctx context.Context) error { return e.tidy(ctx) }

func (expiring) Expire(context.Context, time.Time) error { return nil }

// ahead is one that knows how far it is.
type ahead struct {
	expiring
	next func(topic string, partition int32) (int64, bool)
}

func (a ahead) Next(topic string, partition int32) (int64, bool) { return a.next(topic, partition) }

// inTransactions produces for some seconds.
func (b *bench) inTransactions(roll func(int) int) {
	client, err := b.cluster.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("test"), kgo.ProducerLinger(0))
	if err != nil {
		b.Error(err)
		return
	}
	defer client.Close()
	for range 400 {
		var messages []message
		var records []*kgo.Record
		for range 1 + roll(60) {
			partition := roll(16)
			m := b.message(fmt.Sprintf("s%d-%d", partition, roll(5)), fmt.Sprint("f", roll(3)))
			if roll(20) == 0 {
				m = message{Subject: m.Subject, Purge: true}
				switch roll(3) {
				case 0:
					m.Floor = "f1"
				case 1:
					m.Event = fmt.Sprintf("event %06d", 1+roll(b.n))
				}
			}
			messages, records = append(messages, m), append(records, b.record(int32(partition), m))
		}
		if err := client.BeginTransaction(); err != nil {
			b.Error(err)
			return
		}
		commit := kgo.TransactionEndTry(roll(6) != 0)
		if err := client.ProduceSync(b.Context(), records...).FirstErr(); err != nil {
			b.Error(err)
			return
		}
		if err := client.EndTransaction(b.Context(), commit); err != nil {
			b.Error(err)
			return
		}
		if commit == kgo.TryCommit {
			b.fold(messages...)
		}
		time.Sleep(time.Duration(roll(40)) * time.Millisecond) // spreads the records over the members' lives
	}
}
