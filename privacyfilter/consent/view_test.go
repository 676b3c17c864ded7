package consent

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/purposepb"
)

var alice = Person{UserID: "alice"}

// TestPermissionNeedsACommittedRow: a row of a transaction that is aborted must never have allowed anything, a restriction must not wait for any transaction.
func TestPermissionNeedsACommittedRow(t *testing.T) {
	c, _ := cluster(t)
	v := run(t, c, "n1")
	register := v.compiler.register
	filter := producer(t, c, "filter")
	allows := func() bool { return lookup(t, v, alice).Effective(privacyfilter.Personalize).Allow }
	transact := func(r *purposepb.ConsentRow) *kgo.Record {
		t.Helper()
		if err := filter.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		rec := rowRecord(t, v, "u:alice", r)
		if err := filter.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
		return rec
	}
	end := func(commit kgo.TransactionEndTry) {
		t.Helper()
		if err := filter.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}

	rec := transact(row(register, 5, 5, nil))
	if err := v.restrictions.Wait(t.Context(), rec.Partition, rec.Offset+1); err != nil {
		t.Fatal(err)
	}
	if allows() {
		t.Error("an open transaction allows")
	}
	end(kgo.TryAbort)
	transact(row(register, 6, 6, nil))
	end(kgo.TryCommit)
	eventually(t, "the committed row", allows)
	if a := lookup(t, v, alice); a.Revision() != revision(6) {
		t.Errorf("revision %s, want 1-0-6", a.Revision())
	}

	transact(row(register, 7, 6, nil)) // open: it holds back all committed reads of the partition
	if err := v.Restrict(t.Context(), "u:alice", revision(8), &purposepb.Restriction{Deny: []string{privacyfilter.Personalize}}); err != nil {
		t.Fatal(err)
	}
	if allows() {
		t.Error("an acknowledged restriction is not obeyed")
	}
	end(kgo.TryCommit)
	if err := v.Visible(t.Context(), "u:alice", revision(7)); err != nil {
		t.Fatal(err)
	}
	if allows() {
		t.Error("an older row ends a newer restriction")
	}
	transact(row(register, 9, 9, nil))
	end(kgo.TryCommit)
	if err := v.Visible(t.Context(), "u:alice", revision(9)); err != nil {
		t.Fatal(err)
	}
	if !allows() {
		t.Error("a newer row does not end the restriction")
	}
}

// TestRestartKnowsEverything: a new view reads rows, restrictions and the events that are still to be hidden.
func TestRestartKnowsEverything(t *testing.T) {
	c, _ := cluster(t)
	v, stop := runUntil(t, c, "n1")
	event := footprint(v, "u:alice", "e1")
	write := producer(t, c, "")
	records := []*kgo.Record{
		rowRecord(t, v, "u:alice", row(v.compiler.register, 5, 5, nil)),
		restrictionRecord(t, v, "u:alice", revision(4), &purposepb.Restriction{HideEvent: event}),
		restrictionRecord(t, v, "u:alice", revision(6), &purposepb.Restriction{BlockItem: "i1"}),
		restrictionRecord(t, v, "u:alice", revision(7), &purposepb.Restriction{BlockItem: "i2"}),
		restrictionRecord(t, v, "u:alice", revision(7), nil), // a tombstone before its row is committed
		rowRecord(t, v, "u:bob", row(v.compiler.register, 5, 5, nil)),
		rowRecord(t, v, "u:bob", nil),
		{Topic: c.Topic(topics.Consent), Key: []byte("r"), Value: []byte("junk")},
		{Topic: c.Topic(topics.Consent), Key: append([]byte{rowTag}, make([]byte, 16)...), Value: []byte{0xff}},
	}
	if err := write.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	check := func(v *View) {
		t.Helper()
		blocked := func() bool { return len(lookup(t, v, alice).Blocks().Items) == 2 }
		eventually(t, "two blocks", blocked)
		eventually(t, "the row", func() bool { return lookup(t, v, alice).Effective(privacyfilter.Personalize).Allow })
		if !lookup(t, v, alice).HidesHistory(event) {
			t.Error("the deleted event is shown")
		}
		eventually(t, "bob's row to go", func() bool { return !lookup(t, v, Person{UserID: "bob"}).account.recorded() })
		eventually(t, "the broken row to be counted", func() bool { return v.people.broken.Load() == 1 })
	}
	check(v)
	stop()
	if _, err := v.Lookup(alice); !errors.Is(err, ErrLeaseLapsed) {
		t.Errorf("a view that ended still serves: %v", err)
	}
	check(run(t, c, "n1"))
}

// TestLeaseLapsesWithTheBroker: without the log nobody who is named is served; strangers are.
func TestLeaseLapsesWithTheBroker(t *testing.T) {
	c, stopBroker := cluster(t)
	v, stop := runUntil(t, c, "n1")
	lookup(t, v, alice)
	stopBroker()
	eventually(t, "the lease to lapse", func() bool {
		_, err := v.Lookup(alice)
		return errors.Is(err, ErrLeaseLapsed)
	})
	if _, err := v.Lookup(Person{}); err != nil {
		t.Errorf("a stranger: %v", err)
	}
	if age := v.boot() - v.lease.load().from; age < leaseLength {
		t.Errorf("the lease lapsed after %s", age)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := v.Restrict(ctx, "u:alice", revision(1), &purposepb.Restriction{DenyAll: true}); err == nil {
		t.Error("a restriction that could not be written is acknowledged")
	}
	stop()
}

// TestTwoNodes proves "acknowledged is obeyed" for several nodes: what one acknowledges, the other obeys or refuses.
func TestTwoNodes(t *testing.T) {
	c, _ := cluster(t)
	one := run(t, c, "one")
	var net network
	far := c
	far.Options = append(far.Options, kgo.Dialer(net.dial))
	two := run(t, far, "two")
	t.Cleanup(net.start)
	write := producer(t, c, "")
	if err := write.ProduceSync(t.Context(), rowRecord(t, one, "u:alice", row(one.compiler.register, 5, 5, nil))).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := one.Visible(t.Context(), "u:alice", revision(5)); err != nil {
		t.Fatal(err)
	}
	if !lookup(t, two, alice).Effective(privacyfilter.Personalize).Allow {
		t.Error("a permission is acknowledged that the other node does not know")
	}
	if one.nodes.live(one.boot()) != 1 || two.nodes.live(two.boot()) != 1 {
		t.Fatal("the nodes do not know each other")
	}

	began := time.Now()
	for i := range int64(20) {
		if err := one.Restrict(t.Context(), "u:alice", revision(10+i), &purposepb.Restriction{BlockItem: strconv.FormatInt(i, 10)}); err != nil {
			t.Fatal(err)
		}
		if _, ok := lookup(t, two, alice).Blocks().Items[strconv.FormatInt(i, 10)]; !ok {
			t.Fatalf("block %d is acknowledged, and the other node does not obey", i)
		}
	}
	if took := time.Since(began); took > 20*leaseLength/2 {
		t.Errorf("20 acknowledgements took %s: they wait for the lease, not for the answer", took)
	}

	stale := lookup(t, two, alice) // as of a response that is being made
	net.stop()
	began = time.Now()
	if err := one.Restrict(t.Context(), "u:alice", revision(50), &purposepb.Restriction{Deny: []string{privacyfilter.Personalize}}); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if two.Holds(stale) {
		t.Error("a response made before the withdrawal may leave after its acknowledgement")
	}
	if a, err := two.Lookup(alice); err == nil && a.Effective(privacyfilter.Personalize).Allow {
		t.Error("the paused node serves what was withdrawn")
	}
	if took < leaseLength/2 || took > 3*leaseLength {
		t.Errorf("acknowledged after %s, want about the lease", took)
	}
	net.start()
	eventually(t, "the other node to come back", func() bool {
		a, err := two.Lookup(alice)
		return err == nil && !a.Effective(privacyfilter.Personalize).Allow
	})
}

// TestLeavingNodeIsNotWaitedFor: a node that stopped in order costs the others nothing.
func TestLeavingNodeIsNotWaitedFor(t *testing.T) {
	c, _ := cluster(t)
	one := run(t, c, "one")
	_, stop := runUntil(t, c, "two")
	eventually(t, "the second node to be heard", func() bool { return one.nodes.live(one.boot()) == 1 })
	stop()
	began := time.Now()
	if err := one.Restrict(t.Context(), "u:alice", revision(1), &purposepb.Restriction{DenyAll: true}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > leaseLength/2 {
		t.Errorf("acknowledged after %s", took)
	}
}

// TestListsOfEveryNode: what the catalogue takes off lists is acknowledged when every node's lists obey; nodes that make none, or have left, are not waited for.
func TestListsOfEveryNode(t *testing.T) {
	c, _ := cluster(t)
	var obeyed atomic.Int64
	one := run(t, c, "one")
	run(t, c, "makes no lists")
	two, stop := runWith(t, c, Options{Node: "two", Catalogue: func() []int64 { return []int64{0, 0, obeyed.Load()} }})
	eventually(t, "the others to be heard", func() bool { return one.nodes.live(one.boot()) == 2 })
	if err := one.Listed(t.Context(), 2, 0); err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 3*heartbeatEvery)
	defer cancel()
	if err := one.Listed(soon, 2, 5); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("acknowledged before the other node obeys: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- one.Listed(t.Context(), 2, 5) }()
	obeyed.Store(5)
	two.Tell()
	if err := <-done; err != nil {
		t.Error(err)
	}
	stop()
	if err := one.Listed(t.Context(), 2, 9); err != nil {
		t.Errorf("waiting for a node that has left: %v", err)
	}
}

// TestNewNodeKnowsWhatWasAcknowledged: nodes that start while others acknowledge never serve what was withdrawn.
func TestNewNodeKnowsWhatWasAcknowledged(t *testing.T) {
	c, _ := cluster(t)
	one := run(t, c, "one")
	write := producer(t, c, "")
	if err := write.ProduceSync(t.Context(), rowRecord(t, one, "u:alice", row(one.compiler.register, 5, 5, nil))).FirstErr(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	var acknowledged struct {
		sync.Mutex
		n int64
	}
	group.Go(func() {
		for i := int64(10); ctx.Err() == nil; i++ {
			if err := one.Restrict(ctx, "u:alice", revision(i), &purposepb.Restriction{BlockItem: strconv.FormatInt(i, 10)}); err != nil {
				return
			}
			acknowledged.Lock()
			acknowledged.n = i
			acknowledged.Unlock()
		}
	})
	for range 3 {
		two, stop := runUntil(t, c, "two")
		for range 200 {
			acknowledged.Lock()
			n := acknowledged.n
			acknowledged.Unlock()
			if _, ok := lookup(t, two, alice).Blocks().Items[strconv.FormatInt(n, 10)]; n > 0 && !ok {
				t.Fatalf("block %d is acknowledged, and the new node does not obey", n)
			}
		}
		stop()
	}
	cancel()
	group.Wait()
}

// TestLateRestrictionIsBuried: a restriction that was written after its own tombstone does not stay on the compacted topic for ever.
func TestLateRestrictionIsBuried(t *testing.T) {
	v := newStill(t)
	setRow(t, v, "u:1", row(v.compiler.register, 10, 3, nil))
	restrict(t, v, "u:1", 9, nil)
	restrict(t, v, "u:1", 9, &purposepb.Restriction{DenyAll: true})
	restrict(t, v, "u:1", 11, &purposepb.Restriction{BlockItem: "i"})
	if keys := v.people.unburied(v.boot()); len(keys) != 0 {
		t.Error("buried before the filter had its time")
	}
	keys := v.people.unburied(v.boot() + 2*buryAfter)
	if len(keys) != 1 {
		t.Fatalf("%d restrictions to bury, want the one that the row has overtaken", len(keys))
	}
	restrict(t, v, "u:1", 9, nil)
	if keys := v.people.unburied(v.boot() + 2*buryAfter); len(keys) != 0 {
		t.Error("buried twice")
	}
}

func TestViewThatDoesNotRun(t *testing.T) {
	ring := newStill(t).ring
	v := NewView(stream.Cluster{}, loadRegister(t), ring, pseudonym.New(ring), Options{})
	if err := v.Restrict(t.Context(), "u:1", revision(1), &purposepb.Restriction{}); !errors.Is(err, errNotRunning) {
		t.Error(err)
	}
	if _, err := v.Lookup(alice); !errors.Is(err, ErrLeaseLapsed) {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	ring := newStill(t).ring
	v := NewView(stream.Cluster{}, loadRegister(t), ring, pseudonym.New(ring), Options{Registerer: registry})
	setRow(t, v, "u:1", row(v.compiler.register, 1, 1, nil))
	restrict(t, v, "u:1", 2, &purposepb.Restriction{DenyAll: true})
	restrict(t, v, "u:2", 2, &purposepb.Restriction{DenyAll: true})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		values[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
	}
	if values["sluice_consent_rows"] != 1 || values["sluice_consent_restrictions"] != 2 || values["sluice_consent_lease_age_seconds"] <= 0 || len(values) != 9 {
		t.Errorf("%v", values)
	}
}
