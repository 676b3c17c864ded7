package stream_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
)

// work runs a role until stop is called or the test ends.
func work(t testing.TB, cluster stream.Cluster, role stream.Role) (stop func()) {
	t.Helper()
	var stores []*stream.Store
	for range role.Engines {
		stores = append(stores, openStore(t))
	}
	return workOn(t, cluster, role, stores...)
}

// openStore opens a checkpoint of its own for the test.
func openStore(t testing.TB) *stream.Store {
	t.Helper()
	store, err := stream.OpenStore(t.TempDir(), stream.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the runner
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// workOn is work with the engines' checkpoints.
func workOn(t testing.TB, cluster stream.Cluster, role stream.Role, stores ...*stream.Store) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	runner := stream.NewRunner(cluster, role, stream.RunnerOptions{Node: "0", Stores: stores, CheckpointEvery: time.Millisecond})
	go func() { ended <- runner.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// TestEnginesOfARoleShareTransactions: outputs of both stand before one marker, which two transactions never leave, and the offsets of both inputs are one group's.
func TestEnginesOfARoleShareTransactions(t *testing.T) {
	const rounds = 20 // a poll may give the records of one engine alone
	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)
	role := counters()
	stop := work(t, cluster, role)
	cluster.Options = append(cluster.Options, kgo.KeepControlRecords())
	client := producer(t, cluster)
	for round := range rounds {
		var recs []*kgo.Record
		for p := range int32(stream.Partitions) {
			for _, in := range []string{"in", "in2"} {
				recs = append(recs, &kgo.Record{Topic: cluster.Topic(in), Partition: p, Key: fmt.Appendf(nil, "%s-%d", in, p)})
			}
		}
		if err := client.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if shared(t, cluster, (round+1)*len(recs)) {
			t.Logf("a shared transaction in round %d", round+1)
			break
		}
		if round == rounds-1 {
			t.Errorf("in %d rounds no transaction held outputs of both engines", rounds)
		}
	}
	stop()
	lag, err := stream.Lag(t.Context(), cluster, []stream.Role{role})
	if err != nil || lag != 0 {
		t.Errorf("lag %d (%v)", lag, err)
	}
	if lag, err = stream.Lag(t.Context(), cluster, []stream.Role{role.Engines[1].Alone()}); err == nil && lag == 0 { // the embedded broker knows no such group
		t.Error("an engine has committed in a group of its own")
	}
}

// shared reads n outputs and tells whether a transaction held some of both engines, in any partition.
func shared(t *testing.T, cluster stream.Cluster, n int) bool {
	t.Helper()
	of := make(map[int32]map[string]bool) // by partition: inputs since the last marker
	found := false
	consume(t, cluster, "out", func(r *kgo.Record) bool {
		if r.Attrs.IsControl() {
			delete(of, r.Partition)
			return true
		}
		if of[r.Partition] == nil {
			of[r.Partition] = make(map[string]bool)
		}
		input, _, _ := strings.Cut(string(r.Key), "-")
		of[r.Partition][input] = true
		found = found || len(of[r.Partition]) == 2
		n--
		return n > 0
	})
	return found
}
