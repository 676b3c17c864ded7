package stream_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
)

const (
	brokerVariable = "SLUICE_TEST_BROKER" // set in the child: the brokers' addresses
	prefixVariable = "SLUICE_TEST_PREFIX"
	storeVariable  = "SLUICE_TEST_STORE"
)

// TestMain lets the test program stand in for a process that can be killed.
func TestMain(m *testing.M) {
	if addr := os.Getenv(brokerVariable); addr != "" {
		os.Exit(runChild(stream.Cluster{Brokers: strings.Split(addr, ","), Prefix: os.Getenv(prefixVariable)}, os.Getenv(storeVariable)))
	}
	os.Exit(m.Run())
}

func runChild(cluster stream.Cluster, dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o := stream.RunnerOptions{Node: "0", CheckpointEvery: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	for _, engine := range counters().Engines {
		store, err := stream.OpenStore(filepath.Join(dir, engine.Name), stream.StoreOptions{})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer store.Close()
		o.Stores = append(o.Stores, store)
	}
	runner := stream.NewRunner(cluster, counters(), o)
	if err := runner.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// counterOf counts records by key and emits the count after every record: a record lost or processed twice shows in the outputs and in the state.
func counterOf(name, input string) stream.Engine {
	return stream.Engine{Name: name, Inputs: []string{input}, Open: func(t *stream.Task) (stream.Processor, error) {
		return &counter{task: t, counts: stream.OpenTable[uint64](t, 1, "counts", uint64Codec{})}, nil
	}}
}

// counters is a role of two engines.
func counters() stream.Role {
	return stream.Role{Name: "both", Engines: []stream.Engine{counterOf("counter", "in"), counterOf("second", "in2")}}
}

type counter struct {
	task   *stream.Task
	counts *stream.Table[uint64]
}

func (c *counter) Process(rec *stream.Record) error {
	n := c.counts.Mutate(rec.Key)
	*n++
	c.task.Emit("out", rec.Partition, rec.Key, binary.BigEndian.AppendUint64(nil, *n))
	return nil
}

type uint64Codec struct{}

func (uint64Codec) Encode(buf []byte, v *uint64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(buf, *v), nil
}

func (uint64Codec) Decode(data []byte) (*uint64, error) {
	v := binary.BigEndian.Uint64(data)
	return &v, nil
}

// TestKillNine kills the process of a role at random moments under load: every input must be counted and answered exactly once,
// and the changelogs must hold the same counts.
func TestKillNine(t *testing.T) {
	const records, keys, kills = 30_000, 500, 6
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)

	store := filepath.Join(t.TempDir(), "store")
	child := startChild(t, cluster, store)
	want := make(map[string]uint64)
	client, err := cluster.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for done := range kills {
		for range records / kills {
			k := random.IntN(keys)
			key := fmt.Sprintf("%04d", k)
			want[key]++
			topic := cluster.Topic([]string{"in", "in2"}[k%2])
			client.Produce(t.Context(), &kgo.Record{Topic: topic, Partition: int32(k / 2 % stream.Partitions), Key: []byte(key)}, nil)
		}
		waitForOutputs(t, cluster, int64(done*records/kills)+random.Int64N(records/kills))
		kill(t, child)
		child = startChild(t, cluster, store)
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	outputs := readOutputs(t, cluster, records)
	if diff := cmp.Diff(want, outputs); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, readState(t, cluster)); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	kill(t, child)
}

func createTopics(t testing.TB, cluster stream.Cluster) {
	t.Helper()
	client, err := cluster.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	answers, err := kadm.NewClient(client).CreateTopics(t.Context(), stream.Partitions, 1, nil,
		cluster.Topic("in"), cluster.Topic("in2"), cluster.Topic("out"), cluster.Topic("state.counter"), cluster.Topic("state.second"))
	if err != nil || answers.Error() != nil {
		t.Fatal(err, answers.Error())
	}
}

func startChild(t *testing.T, cluster stream.Cluster, store string) *exec.Cmd {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), brokerVariable+"="+strings.Join(cluster.Brokers, ","), prefixVariable+"="+cluster.Prefix, storeVariable+"="+store)
	child.Stderr = &strings.Builder{}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	return child
}

func kill(t *testing.T, child *exec.Cmd) {
	t.Helper()
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Errorf("the process ended by itself: %s", child.Stderr)
	}
}

// waitForOutputs returns when at least n records stand on the output topic, markers and open transactions included.
func waitForOutputs(t *testing.T, cluster stream.Cluster, n int64) {
	t.Helper()
	client, err := cluster.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for {
		ends, err := admin.ListEndOffsets(t.Context(), cluster.Topic("out"))
		if err != nil {
			t.Fatal(err)
		}
		var total int64
		ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
		if total >= n {
			return
		}
	}
}

// readOutputs reads committed outputs until their number is at least n and nothing more comes, and checks that each key's counts are 1, 2, 3 ….
func readOutputs(t *testing.T, cluster stream.Cluster, n int) map[string]uint64 {
	t.Helper()
	counts := make(map[string]uint64)
	read := 0
	consume(t, cluster, "out", func(r *kgo.Record) bool {
		read++
		got := binary.BigEndian.Uint64(r.Value)
		if want := counts[string(r.Key)] + 1; got != want {
			t.Errorf("key %s: output %d, expected %d", r.Key, got, want)
		}
		counts[string(r.Key)] = got
		return read < n
	})
	return counts
}

// readState reads the changelogs as a restoring process would.
func readState(t *testing.T, cluster stream.Cluster) map[string]uint64 {
	t.Helper()
	counts := make(map[string]uint64)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, engine := range counters().Engines {
		err := stream.ReadAll(ctx, cluster, engine.Changelog(), func(recs []stream.Record) {
			for _, r := range recs {
				counts[string(r.Key[1:])] = binary.BigEndian.Uint64(r.Value)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return counts
}

func consume(t testing.TB, cluster stream.Cluster, topic string, each func(*kgo.Record) bool) {
	t.Helper()
	client, err := cluster.Client(kgo.ConsumeTopics(cluster.Topic(topic)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for more := true; more; {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("topic %s: not everything arrived in two minutes", topic)
		}
		fetches.EachRecord(func(r *kgo.Record) { more = each(r) && more })
	}
}
