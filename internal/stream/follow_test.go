package stream_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
)

// followed is a follower of the topic out with what it has applied.
type followed struct {
	*stream.Follower
	fetched fetchCount

	mu      sync.Mutex // guards offsets
	offsets [stream.Partitions][]int64
}

// fetchCount counts records that a client has fetched.
type fetchCount struct{ n atomic.Int64 }

var _ kgo.HookFetchRecordBuffered = (*fetchCount)(nil)

func (c *fetchCount) OnFetchRecordBuffered(*kgo.Record) { c.n.Add(1) }

func startFollower(t *testing.T, cluster stream.Cluster) *followed {
	t.Helper()
	f := new(followed)
	cluster.Options = append(slices.Clone(cluster.Options), kgo.WithHooks(&f.fetched))
	f.Follower = stream.NewFollower(cluster, "out", stream.FollowerOptions{Apply: func(recs []stream.Record) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for i := range recs {
			f.offsets[recs[i].Partition] = append(f.offsets[recs[i].Partition], recs[i].Offset)
		}
	}})
	runFollower(t, f.Follower)
	return f
}

// runFollower returns when the follower has caught up. It follows on until the test ends.
func runFollower(t *testing.T, f *stream.Follower) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-f.CaughtUp():
	case <-time.After(time.Minute):
		t.Fatal("not caught up in a minute")
	}
}

// hasAll waits until the follower has applied everything up to the ends of the partitions, markers included, and compares it with the log.
func (f *followed) hasAll(t *testing.T, cluster stream.Cluster) {
	t.Helper()
	client, err := cluster.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(t.Context(), cluster.Topic("out"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var want [stream.Partitions][]int64
	all := 0
	for p, end := range ends[cluster.Topic("out")] {
		if err := f.Wait(ctx, p, end.Offset); err != nil {
			t.Fatalf("partition %d is not applied up to %d: %v", p, end.Offset, f.Applied())
		}
	}
	if err := stream.ReadAll(t.Context(), cluster, "out", func(recs []stream.Record) {
		for i := range recs {
			want[recs[i].Partition] = append(want[recs[i].Partition], recs[i].Offset)
			all++
		}
	}); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range want {
		if !slices.Equal(f.offsets[p], want[p]) {
			t.Errorf("partition %d: offsets %v, want %v", p, f.offsets[p], want[p])
		}
	}
	t.Logf("%d records, %d fetched", all, f.fetched.n.Load())
}

// send has the counters count records, so many for each partition, one transaction or more after the other.
func send(t *testing.T, cluster stream.Cluster, rounds int) {
	t.Helper()
	client := producer(t, cluster)
	for round := range rounds {
		var recs []*kgo.Record
		for p := range int32(stream.Partitions) {
			recs = append(recs, &kgo.Record{Topic: cluster.Topic([]string{"in", "in2"}[round%2]), Partition: p, Key: fmt.Appendf(nil, "%d-%d", p, round%3)})
		}
		if err := client.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		settle(t, cluster)
	}
}

// settle waits until the counters have committed all their input.
func settle(t *testing.T, cluster stream.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		lag, err := stream.Lag(ctx, cluster, []stream.Role{counters()})
		if ctx.Err() != nil {
			t.Fatalf("not settled in a minute: lag %d (%v)", lag, err)
		}
		if err == nil && lag == 0 {
			return
		}
	}
}

// TestFollowerIsFed: what this process commits is not fetched, and a follower knows the log's end nevertheless.
func TestFollowerIsFed(t *testing.T) {
	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)
	cluster.Feed = stream.NewFeed()
	first := startFollower(t, cluster)
	work(t, cluster, counters())
	send(t, cluster, 20)
	second := startFollower(t, cluster) // it begins with what is there
	send(t, cluster, 60)
	for _, f := range []*followed{first, second} {
		f.hasAll(t, cluster)
	}
	if fetched, all := second.fetched.n.Load(), int64(80*stream.Partitions); fetched > all {
		t.Errorf("%d records of %d and their markers were fetched", fetched, all)
	}
}

// TestFollowerOfTwoProcesses: a partition moves to another process, and back.
func TestFollowerOfTwoProcesses(t *testing.T) {
	here, _ := brokertest.Empty(t)
	createTopics(t, here)
	there := here
	here.Feed, there.Feed = stream.NewFeed(), stream.NewFeed()
	followers := []*followed{startFollower(t, here), startFollower(t, there)}
	for _, process := range []stream.Cluster{here, there, here} {
		stop := work(t, process, counters())
		send(t, process, 10)
		for _, f := range followers {
			f.hasAll(t, here)
		}
		stop()
	}
}

// TestFollowerIsToldOfGaps: between this process's transactions, another producer writes to the same partitions, with and without effect.
func TestFollowerIsToldOfGaps(t *testing.T) {
	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)
	cluster.Feed = stream.NewFeed()
	f := startFollower(t, cluster)
	work(t, cluster, counters())
	other, err := cluster.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(cluster.Topic("other")))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		send(t, cluster, 3)
		if err := other.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(stream.Partitions) {
			if err := other.ProduceSync(t.Context(), &kgo.Record{Topic: cluster.Topic("out"), Partition: p, Key: []byte("other"), Value: []byte("v")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		send(t, cluster, 3) // behind the open transaction
		if err := other.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	send(t, cluster, 3)
	f.hasAll(t, cluster)
}

// TestSlowFollowerFetches: a follower that the feed does not wait for fetches what it has missed.
func TestSlowFollowerFetches(t *testing.T) {
	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)
	cluster.Feed = stream.NewSmallFeed(200)
	f := startFollower(t, cluster)
	work(t, cluster, counters())
	send(t, cluster, 5)
	f.mu.Lock() // it cannot apply what comes
	send(t, cluster, 20)
	f.mu.Unlock()
	f.hasAll(t, cluster)
	send(t, cluster, 5)
	f.hasAll(t, cluster)
}
