package stream_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
)

// wide emits to every partition for each record.
type wide struct{ task *stream.Task }

func (w wide) Process(rec *stream.Record) error {
	for p := range int32(stream.Partitions) {
		w.task.Emit("out", p, rec.Key, rec.Value)
	}
	return nil
}

const produceKey = 0 // of the Kafka protocol

// produces counts the client's produce requests.
type produces struct{ n atomic.Int64 }

var _ kgo.HookBrokerWrite = (*produces)(nil)

func (p *produces) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == produceKey {
		p.n.Add(1)
	}
}

// TestTransactionIsOneRequestABroker: each further one would cost the transaction's coordinator a replicated write.
func TestTransactionIsOneRequestABroker(t *testing.T) {
	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)
	client := producer(t, cluster)
	var requests produces
	observed := cluster
	observed.Options = append(observed.Options, kgo.WithHooks(&requests))
	registry := run(t, observed, func(task *stream.Task) stream.Processor { return wide{task} })
	settle := func(records int, total float64) {
		for range records {
			client.Produce(t.Context(), &kgo.Record{Topic: cluster.Topic("in"), Value: []byte("v")}, nil)
		}
		for read(t, registry, "sluice_stream_records_total") < total {
			time.Sleep(time.Millisecond)
		}
	}
	settle(1, 1)                       // in which the client learns where the partitions are
	time.Sleep(500 * time.Millisecond) // Kafka refuses a transaction whose predecessor it is still completing
	requests.n.Store(0)
	before := int64(read(t, registry, "sluice_stream_transactions_total"))
	settle(100, 101)
	transactions := int64(read(t, registry, "sluice_stream_transactions_total")) - before
	if got, most := requests.n.Load(), transactions*int64(len(cluster.Brokers)); got > most {
		t.Errorf("%d produce requests for %d transactions on %d brokers", got, transactions, len(cluster.Brokers))
	}
}

// TestDeadMemberHoldsUpNobody: a member died in a transaction that would be open for another minute. Who takes its place does not wait for that, nor does
// whoever reads what it wrote.
func TestDeadMemberHoldsUpNobody(t *testing.T) {
	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)
	dead, err := cluster.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(cluster.Topic("counter-dead")), kgo.TransactionTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	if err := dead.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"state.counter", "out"} {
		if err := dead.ProduceSync(t.Context(), &kgo.Record{Topic: cluster.Topic(topic), Key: []byte("k"), Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	run(t, cluster, func(task *stream.Task) stream.Processor { return wide{task} })
	if err := producer(t, cluster).ProduceSync(t.Context(), &kgo.Record{Topic: cluster.Topic("in"), Value: []byte("alive")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	consume(t, cluster, "out", func(r *kgo.Record) bool {
		if string(r.Value) != "alive" {
			t.Errorf("a record of the dead member's: %q", r.Value)
		}
		seen++
		return seen < stream.Partitions
	})
	if took := time.Since(began); took > 45*time.Second {
		t.Errorf("the dead member's transaction was waited for: %v", took)
	}
	if err := dead.EndTransaction(t.Context(), kgo.TryCommit); err == nil {
		t.Error("the dead member could commit")
	}
}

// run runs an engine called counter until the test ends.
func run(t *testing.T, cluster stream.Cluster, open func(*stream.Task) stream.Processor) *prometheus.Registry {
	t.Helper()
	store, err := stream.OpenStore(t.TempDir(), stream.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	engine := stream.Engine{Name: "counter", Inputs: []string{"in"}, Open: func(task *stream.Task) (stream.Processor, error) { return open(task), nil }}
	registry := prometheus.NewRegistry()
	runner := stream.NewRunner(cluster, engine, stream.RunnerOptions{Node: "0", Store: store, Registerer: registry})
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := errors.Join(<-ended, store.Close()); err != nil {
			t.Error(err)
		}
	})
	return registry
}

// producer is a client for manual partitions.
func producer(t *testing.T, cluster stream.Cluster) *kgo.Client {
	t.Helper()
	client, err := cluster.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// slowly is a processor that says when it has begun with a record, and ends when it is told.
type slowly struct {
	task  *stream.Task
	began chan<- string
	goOn  <-chan struct{}
}

func (s *slowly) Process(rec *stream.Record) error {
	s.began <- string(rec.Value)
	<-s.goOn
	s.task.Emit("out", rec.Partition, rec.Key, rec.Value)
	return nil
}

// TestNothingWaitsForTwoTransactions: what comes during a long transaction is in the next one, all of it. A client has then fetched only what came first.
func TestNothingWaitsForTwoTransactions(t *testing.T) {
	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)
	began, next := make(chan string), make(chan struct{})
	registry := run(t, cluster, func(task *stream.Task) stream.Processor { return &slowly{task: task, began: began, goOn: next} })
	client := producer(t, cluster)
	produce := func(value string) {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: cluster.Topic("in"), Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	const rounds = 20 // the fetch that must be back in time is not on a machine that is busy at that moment
	for round := range rounds {
		before := read(t, registry, "sluice_stream_transactions_total")
		produce("first")
		<-began
		produce("second")
		time.Sleep(100 * time.Millisecond) // until the client has fetched it; also what makes the transaction a long one
		produce("third")
		next <- struct{}{}
		for range 2 {
			<-began
			next <- struct{}{}
		}
		for read(t, registry, "sluice_stream_records_total") < float64(3*(round+1)) { // told after the transaction is
			time.Sleep(time.Millisecond)
		}
		if n := read(t, registry, "sluice_stream_transactions_total") - before; n == 2 {
			t.Logf("two transactions in round %d", round+1)
			return
		}
	}
	t.Errorf("in each of %d rounds, a record that came during a long transaction was not in the next one", rounds)
}

// read is a counter of what was committed.
func read(t *testing.T, registry *prometheus.Registry, name string) (n float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			aborted := false
			for _, l := range m.GetLabel() {
				aborted = aborted || l.GetValue() == "aborted"
			}
			if !aborted {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}
