package stream_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
)

// wide emits so many records to every partition for each of its own.
type wide struct {
	task *stream.Task
	each int
}

func (w wide) Process(rec *stream.Record) error {
	for range w.each {
		for p := range int32(stream.Partitions) {
			w.task.Emit("out", p, rec.Key, rec.Value)
		}
	}
	return nil
}

// watch counts the requests of a runner's client, and tells what it has fetched.
type watch struct {
	produces, ends atomic.Int64
	fetched        chan string // values of records
}

var (
	_ kgo.HookBrokerWrite         = (*watch)(nil)
	_ kgo.HookFetchRecordBuffered = (*watch)(nil)
)

// Keys of the Kafka protocol.
const (
	produceKey = 0
	endTxnKey  = 26
)

func (w *watch) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	switch key {
	case produceKey:
		w.produces.Add(1)
	case endTxnKey:
		w.ends.Add(1)
	}
}

func (w *watch) OnFetchRecordBuffered(r *kgo.Record) {
	if w.fetched != nil {
		w.fetched <- string(r.Value)
	}
}

// TestTransactionIsOneRequestABroker: each further one would cost the transaction's coordinator a replicated write.
func TestTransactionIsOneRequestABroker(t *testing.T) {
	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)
	client := producer(t, cluster)
	w := new(watch)
	const each = 200 // so many that a first request could leave while the rest is being produced
	run(t, cluster, w, func(task *stream.Task) stream.Processor { return wide{task, each} })
	settle := func(total int) {
		client.Produce(t.Context(), &kgo.Record{Topic: cluster.Topic("in"), Value: []byte("v")}, nil)
		waitForCommitted(t, cluster, total*each*stream.Partitions)
	}
	settle(1) // in which the client learns where the partitions are
	waitForCompletion(t, cluster)
	produces, ends := w.produces.Load(), w.ends.Load()
	settle(2)
	produces, ends = w.produces.Load()-produces, w.ends.Load()-ends
	if most := ends * int64(len(cluster.Brokers)); produces > most {
		t.Errorf("%d produce requests for %d transactions on %d brokers", produces, ends, len(cluster.Brokers))
	}
}

// waitForCommitted returns when n committed outputs can be read.
func waitForCommitted(t testing.TB, cluster stream.Cluster, n int) {
	t.Helper()
	read := 0
	consume(t, cluster, "out", func(*kgo.Record) bool {
		read++
		return read < n
	})
}

// waitForCompletion returns when the runner's transaction is complete: until then Kafka refuses the next one, whose requests are sent again.
func waitForCompletion(t *testing.T, cluster stream.Cluster) {
	t.Helper()
	client, err := cluster.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin, id := kadm.NewClient(client), cluster.Topic("counter-0")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		described, err := admin.DescribeTransactions(ctx, id)
		if err != nil || described[id].Err != nil {
			t.Fatal(err, described[id].Err)
		}
		if state := described[id].State; state == "Empty" || state == "CompleteCommit" {
			return
		}
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
	run(t, cluster, new(watch), func(task *stream.Task) stream.Processor { return wide{task, 1} })
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
func run(t *testing.T, cluster stream.Cluster, w *watch, open func(*stream.Task) stream.Processor) {
	t.Helper()
	cluster.Options = append(slices.Clone(cluster.Options), kgo.WithHooks(w))
	engine := stream.Engine{Name: "counter", Inputs: []string{"in"}, Open: func(task *stream.Task) (stream.Processor, error) { return open(task), nil }}
	work(t, cluster, engine.Alone())
}

// producer is a client for manual partitions.
func producer(t testing.TB, cluster stream.Cluster) *kgo.Client {
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
	const rounds = 20 // the fetch that must be back in time is not on a machine that is busy at that moment
	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)
	began, next := make(chan string), make(chan struct{})
	w := &watch{fetched: make(chan string, 3*rounds)}
	run(t, cluster, w, func(task *stream.Task) stream.Processor { return &slowly{task: task, began: began, goOn: next} })
	client := producer(t, cluster)
	produce := func(value string) {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: cluster.Topic("in"), Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for round := range rounds {
		before := w.ends.Load()
		produce("first")
		<-began
		produce("second")
		for <-w.fetched != "second" {
		}
		time.Sleep(60 * time.Millisecond) // what is tested is a transaction that takes longer than longTransaction
		produce("third")
		next <- struct{}{}
		for range 2 {
			<-began
			next <- struct{}{}
		}
		waitForCommitted(t, cluster, 3*(round+1))
		if w.ends.Load()-before == 2 {
			t.Logf("two transactions in round %d", round+1)
			return
		}
	}
	t.Errorf("in each of %d rounds, a record that came during a long transaction was not in the next one", rounds)
}
