package broker

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestCompactionWaitsForTransactions: a transaction that is open writes a key anew, compaction is asked for, and the transaction is aborted.
// What was committed before it must still be there.
func TestCompactionWaitsForTransactions(t *testing.T) {
	b, err := Start(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	policy := "compact"
	if _, err := adminOf(t, b).CreateTopic(t.Context(), 1, 1, map[string]*string{"cleanup.policy": &policy}, topic); err != nil {
		t.Fatal(err)
	}
	journal, err := b.Journal("engine")
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.TransactionalID("engine"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	write := func(value string, end kgo.TransactionEndTry, within func()) {
		journal.Enter()
		defer journal.Leave()
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte("key"), Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		within()
		if err := client.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	compacted := make(chan struct{})
	write("before", kgo.TryCommit, func() {})
	write("aborted", kgo.TryAbort, func() {
		other, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if err := other.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte("another"), Value: []byte("plain")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		go func() {
			b.Compact()
			close(compacted)
		}()
	})
	<-compacted
	if diff := cmp.Diff([]string{"before", "plain"}, committed(t, b)); diff != "" {
		t.Errorf("committed (-want +got):\n%s", diff)
	}
}

// TestCompactionKeepsWhatIsOld: a compacted topic keeps the newest record of a key however old it is.
func TestCompactionKeepsWhatIsOld(t *testing.T) {
	dir := t.TempDir()
	b, err := Start(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	policy := "compact"
	if _, err := adminOf(t, b).CreateTopic(t.Context(), 1, 1, map[string]*string{"cleanup.policy": &policy}, topic); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-100 * 24 * time.Hour)
	for _, key := range []string{"a", "b", "c"} {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte("kept"), Timestamp: old}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	client.Close()
	b.Compact()
	b.Close()
	if b, err = Start(Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if client, err = kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.ConsumeTopics(topic)); err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var keys []string
	for len(keys) < 3 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%v; %v are there", err, keys)
		}
		fetches.EachRecord(func(r *kgo.Record) { keys = append(keys, string(r.Key)) })
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, keys); diff != "" {
		t.Error(diff)
	}
}
