package consent

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"sluice/internal/broker/brokertest"
	"sluice/internal/config"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/purposepb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// failer is a test, rapid's too.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func loadRegister(tb failer) *privacyfilter.Register {
	tb.Helper()
	file, err := config.Parse("register.yaml", privacyfilter.Defaults)
	if err != nil {
		tb.Fatal(err)
	}
	register, err := privacyfilter.Load(func(name string) config.Section {
		s, _ := file.Section(name)
		return s
	})
	if err != nil {
		tb.Fatal(err)
	}
	return register
}

// newStill is a view that follows nothing: tests apply records to it and grant it a lease.
func newStill(tb failer) *View {
	tb.Helper()
	ring := seal.NewKeyring([32]byte{1})
	v := NewView(stream.Cluster{}, loadRegister(tb), ring, pseudonym.New(ring), Options{Node: "still"})
	grant(v)
	return v
}

func grant(v *View) {
	v.lease.beaten(v.boot(), v.boot())
	v.lease.renewed(v.boot() + time.Nanosecond)
}

// grantLong gives a lease for an hour, so that a benchmark need not renew it.
func grantLong(v *View) {
	v.lease.beaten(v.boot()+time.Hour, v.boot())
	v.lease.renewed(v.boot() + time.Hour)
}

func revision(offset int64) privacyfilter.Revision {
	return privacyfilter.Revision{Generation: 1, Partition: 0, Offset: offset}
}

// row makes a row of someone who accepted the policy at offset floor.
func row(register *privacyfilter.Register, at, floor int64, change func(*purposepb.ConsentRow)) *purposepb.ConsentRow {
	r := &purposepb.ConsentRow{Revision: revision(at).PB(), PolicyVersion: register.PolicyVersion(), Jurisdiction: "CN"}
	for _, p := range register.Purposes() {
		r.Purposes = append(r.Purposes, &purposepb.PurposeState{Purpose: p.Name, Allow: true, Floor: revision(floor).PB(), FloorTime: floor * 1e6})
	}
	if change != nil {
		change(r)
	}
	return r
}

func choose(purpose string, choice purposepb.Choice) func(*purposepb.ConsentRow) {
	return func(r *purposepb.ConsentRow) { privacyfilter.StateOf(r, purpose).Choice = choice }
}

func rowRecord(tb failer, v *View, subject string, r *purposepb.ConsentRow) *kgo.Record {
	tb.Helper()
	key := v.ring.LogKey(subject)
	rec := &kgo.Record{Topic: v.cluster.Topic(topics.Consent), Partition: v.cluster.PartitionOf(key[:]), Key: append([]byte{rowTag}, key[:]...)}
	if r != nil {
		rec.Value = privacyfilter.AppendRow(nil, r)
	}
	return rec
}

func restrictionRecord(tb failer, v *View, subject string, at privacyfilter.Revision, r *purposepb.Restriction) *kgo.Record {
	tb.Helper()
	key := v.ring.LogKey(subject)
	rec := &kgo.Record{Topic: v.cluster.Topic(topics.Consent), Partition: v.cluster.PartitionOf(key[:]), Key: keyOfRestriction(key, at)}
	if r != nil {
		r.Revision = at.PB()
		value, err := r.MarshalVT()
		if err != nil {
			tb.Fatal(err)
		}
		rec.Value = value
	}
	return rec
}

func applied(rec *kgo.Record) []stream.Record {
	return []stream.Record{{Topic: topics.Consent, Partition: rec.Partition, Offset: rec.Offset, Key: rec.Key, Value: rec.Value, Time: time.Now()}}
}

// setRow and restrict apply a record at once.
func setRow(tb failer, v *View, subject string, r *purposepb.ConsentRow) {
	tb.Helper()
	v.people.applyRows(applied(rowRecord(tb, v, subject, r)), v.boot())
}

func restrict(tb failer, v *View, subject string, at int64, r *purposepb.Restriction) {
	tb.Helper()
	v.people.applyRestrictions(applied(restrictionRecord(tb, v, subject, revision(at), r)), v.boot(), time.Now())
}

func lookup(tb failer, v *View, p Person) *Access {
	tb.Helper()
	a, err := v.Lookup(p)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// cluster starts a broker with all topics. The function closes it before its time.
func cluster(tb testing.TB) (stream.Cluster, func()) {
	tb.Helper()
	return brokertest.Stoppable(tb)
}

// run starts a view and waits until it may serve.
func run(tb testing.TB, c stream.Cluster, node string) *View {
	tb.Helper()
	v, _ := runUntil(tb, c, node)
	return v
}

func runUntil(tb testing.TB, c stream.Cluster, node string) (v *View, stop func()) {
	tb.Helper()
	return runWith(tb, c, Options{Node: node})
}

func runWith(tb testing.TB, c stream.Cluster, o Options) (v *View, stop func()) {
	tb.Helper()
	ring := seal.NewKeyring([32]byte{1})
	v = NewView(c, loadRegister(tb), ring, pseudonym.New(ring), o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(stop)
	select {
	case <-v.CaughtUp():
	case <-time.After(20 * time.Second):
		tb.Fatal("the view did not catch up")
	}
	return v, stop
}

// eventually waits for a condition.
func eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			tb.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond) // any condition: there is no one thing to wait on
	}
}

// producer is a client that writes to given partitions; with an id it is transactional.
func producer(tb testing.TB, c stream.Cluster, id string) *kgo.Client {
	tb.Helper()
	opts := []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0)}
	if id != "" {
		opts = append(opts, kgo.TransactionalID(id))
	}
	client, err := c.Client(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(client.Close)
	return client
}

// network is a network that can stand still: what is read from it waits.
type network struct {
	mu     sync.Mutex
	resume chan struct{} // nil: it runs
}

func (n *network) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.resume = make(chan struct{})
}

func (n *network) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.resume != nil {
		close(n.resume)
		n.resume = nil
	}
}

func (n *network) wait() {
	n.mu.Lock()
	resume := n.resume
	n.mu.Unlock()
	if resume != nil {
		<-resume
	}
}

func (n *network) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, kind, address)
	if err != nil {
		return nil, err
	}
	return &pausable{Conn: conn, network: n}, nil
}

type pausable struct {
	net.Conn
	network *network
}

func (c *pausable) Read(b []byte) (int, error) {
	c.network.wait()
	n, err := c.Conn.Read(b)
	c.network.wait()
	return n, err
}

// footprint is the id that the history gives of an event.
func footprint(v *View, subject, id string) []byte {
	event := v.compiler.keys.Event(privacyfilter.History, subject, vocab.Type_VIEW_ITEM, id)
	return event[:]
}
