package stream_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
)

// chain is a topic with a role that reads it and one behind that, both worked by hand.
type chain struct {
	t       *testing.T
	cluster stream.Cluster
	client  *kgo.Client
	admin   *kadm.Client
	first   stream.Role
	backlog *stream.Backlog
}

func newChain(t *testing.T, limit int64) *chain {
	return packedChain(t, limit, nil)
}

// packedChain is one of packs, which hold as many entries.
func packedChain(t *testing.T, limit int64, perRecord func() float64) *chain {
	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)
	client := producer(t, cluster)
	role := func(name, in string) stream.Role {
		return stream.Engine{Name: name, Inputs: []string{in}}.Alone()
	}
	c := &chain{
		t: t, cluster: cluster, client: client, admin: kadm.NewClient(client), first: role("first", "in"),
		backlog: stream.NewBacklog(cluster, role("first", "in"), []stream.Role{role("second", "in2")}, stream.BacklogOptions{Limit: limit, PerRecord: perRecord}),
	}
	c.coordinated()
	return c
}

// coordinated waits until the groups have their coordinators: a new Kafka cluster makes the topic of offsets when it is first asked for one.
func (c *chain) coordinated() {
	c.t.Helper()
	for _, role := range []string{"first", "second"} {
		for {
			_, err := c.admin.FetchOffsets(c.t.Context(), c.cluster.Topic(role))
			if !kerr.IsRetriable(err) {
				break // that there is no such group is what the tests begin with
			}
			runtime.Gosched()
		}
	}
}

// write appends n records to a partition.
func (c *chain) write(topic string, partition int32, n int) {
	c.t.Helper()
	for range n {
		if err := c.client.ProduceSync(c.t.Context(), &kgo.Record{Topic: c.cluster.Topic(topic), Partition: partition}).FirstErr(); err != nil {
			c.t.Fatal(err)
		}
	}
}

// commit is what the role has settled of a partition.
func (c *chain) commit(role, topic string, partition int32, next int64) {
	c.t.Helper()
	offsets := make(kadm.Offsets)
	offsets.AddOffset(c.cluster.Topic(topic), partition, next, -1)
	if err := c.admin.CommitAllOffsets(c.t.Context(), c.cluster.Topic(role), offsets); err != nil {
		c.t.Fatal(err)
	}
}

func (c *chain) expect(what string, want int64) {
	c.t.Helper()
	if err := c.backlog.Look(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	if got := c.backlog.Waiting(); got != want {
		c.t.Errorf("%s: %d wait, want %d", what, got, want)
	}
}

// TestBacklogCountsWhatNobodyHasSettled: in records of the first topic, however many of them the second role reads as one.
func TestBacklogCountsWhatNobodyHasSettled(t *testing.T) {
	c := newChain(t, 100)
	c.expect("nothing was written", 0)
	c.write("in", 3, 10)
	c.expect("nobody has read", 10)
	c.write("in2", 3, 1) // what the first role made of all ten
	c.commit("first", "in", 3, 10)
	c.expect("the second role has to read it yet", 10)
	c.write("in", 5, 4)
	c.expect("more came", 14)
	c.write("in2", 5, 1)
	c.commit("first", "in", 5, 4)
	c.expect("the first role has settled everything", 14)
	c.commit("second", "in2", 3, 1)
	c.expect("the second role is at the first ten", 4)
	c.commit("second", "in2", 5, 1)
	c.expect("everything is settled", 0)
}

// TestBacklogCountsEntries: a record of the input counts as what it holds.
func TestBacklogCountsEntries(t *testing.T) {
	c := packedChain(t, 100, func() float64 { return 2.5 })
	c.write("in", 3, 4)
	c.expect("four packs", 10)
	c.commit("first", "in", 3, 4)
	c.expect("everything is settled", 0)
}

// TestBacklogOfBeforeTheStart: without an earlier look, a record that the second role has to read counts as one.
func TestBacklogOfBeforeTheStart(t *testing.T) {
	c := newChain(t, 100)
	c.write("in", 0, 5)
	c.write("in2", 0, 3)
	c.commit("first", "in", 0, 4)
	c.commit("second", "in2", 0, 1)
	c.expect("one to filter, two to settle", 3)
	c.commit("second", "in2", 0, 3)
	c.expect("one to filter", 1)
}

// TestBacklogOpensAndCloses: refusals come at the limit and not before, and end when it is known that something was settled.
func TestBacklogOpensAndCloses(t *testing.T) {
	c := newChain(t, 3)
	take := func(want bool) {
		t.Helper()
		if got := c.backlog.Take(1); got != want {
			t.Errorf("Take is %v with %d waiting", got, c.backlog.Waiting())
		}
	}
	for range 3 {
		take(true)
		c.write("in", 1, 1)
	}
	take(false)
	c.expect("as many as were taken", 3)
	take(false)
	later := make(chan error, 1)
	go func() { later <- c.backlog.TakeLater(t.Context(), 1) }()
	c.commit("first", "in", 1, 1)
	if err := c.backlog.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-later; err != nil {
		t.Fatal(err)
	}
	take(false) // the one that waited has the place
	c.commit("first", "in", 1, 3)
	c.expect("what was taken and never written", 0)
	take(true)
}

// TestReserveKeepsRoom: what may come counts until it is known or given back, and whoever waits for room is told of it.
func TestReserveKeepsRoom(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	b := stream.NewBacklog(stream.Cluster{}, stream.Role{}, nil, stream.BacklogOptions{Limit: 3}) // nobody runs it: nothing is ever settled
	if !b.Reserve(2) || !b.Reserve(5) {
		t.Fatal("no room where some is left")
	}
	if b.Open() || b.Take(1) || b.Reserve(1) || b.Fill(2, 4) {
		t.Error("taken beyond what is kept")
	}
	later := make(chan error, 1)
	go func() { later <- b.ReserveLater(ctx, 1) }()
	if b.Release(5); <-later != nil {
		t.Error("not told that room was given back")
	}
	if !b.Fill(1, 1) || !b.Take(2) || b.Take(1) {
		t.Errorf("%d are taken, want 3", b.Waiting())
	}
}

// TestReservationsDoNotWidenTheWindow: who reserves room and fills none of it gets no more of it.
func TestReservationsDoNotWidenTheWindow(t *testing.T) {
	c := newChain(t, 100_000)
	c.write("in", 1, 1) // waits until the broker has the topic
	c.backlog = stream.NewBacklog(c.cluster, c.first, nil, stream.BacklogOptions{Limit: 100_000, Lag: time.Second})
	before := c.backlog.Bound()
	for range 20 {
		c.backlog.Reserve(int(before))
		if c.backlog.Reserve(1) {
			t.Fatal("no room is left")
		}
		c.backlog.Release(int(before))
		if err := c.backlog.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if after := c.backlog.Bound(); after != before {
		t.Errorf("%d may wait, want %d", after, before)
	}
}

// TestBacklogOfALogThatIsAway: what is not known to be settled is not.
func TestBacklogOfALogThatIsAway(t *testing.T) {
	c := newChain(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		if !c.backlog.Take(1) {
			t.Error("refused below the limit")
		}
		if err := c.backlog.Look(ctx); err == nil {
			t.Error("a look without a log")
		}
	}
	if c.backlog.Take(1) {
		t.Error("taken at the limit")
	}
}

// TestTakeLaterEndsWithItsContext.
func TestTakeLaterEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := stream.NewBacklog(stream.Cluster{}, stream.Role{}, nil, stream.BacklogOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.TakeLater(ctx, 1); err == nil {
			t.Error("taken without a limit")
		}
	})
}
