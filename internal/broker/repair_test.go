package broker

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/stream"
)

const (
	topic = "t.out"
	group = "t.group"
)

// TestRepair kills a broker in the middle of a transaction's end, by copying what is on disk at that moment, and starts another one on the copy.
func TestRepair(t *testing.T) {
	for _, c := range []struct {
		name    string
		journal bool
		markers []int32 // partitions that had their commit marker
		want    []string
		offset  int64
	}{
		{"before its end was asked for", false, nil, nil, -1},
		{"before the first marker", true, nil, nil, -1},
		{"after the first marker", true, []int32{0}, []string{"a", "b", "c"}, 7},
		{"after the last marker", true, []int32{0, 1, 2}, []string{"a", "b", "c"}, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := crashed(t, c.journal, c.markers)
			for start := range 2 { // the second start must change nothing
				b, err := Start(Options{Dir: dir})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, committed(t, b)); diff != "" {
					t.Errorf("start %d: committed (-want +got):\n%s", start, diff)
				}
				if got := offsetOf(t, b); got != c.offset {
					t.Errorf("start %d: offset %d, want %d", start, got, c.offset)
				}
				b.Close()
			}
		})
	}
}

// TestRepairIsRepaired cuts the repair itself short, before its own transaction has any marker: it must be made all the same.
func TestRepairIsRepaired(t *testing.T) {
	dir := crashed(t, true, []int32{0})
	b, err := Start(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	transaction := begin(t, b, "repair", "again")
	journal, err := b.Journal("engine")
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	transaction.Certain = true
	if err := journal.Begin(transaction); err != nil {
		t.Fatal(err)
	}
	again, err := Start(Options{Dir: snapshot(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if diff := cmp.Diff([]string{"a", "again", "b", "c"}, committed(t, again)); diff != "" {
		t.Errorf("committed (-want +got):\n%s", diff)
	}
}

// crashed is the directory of a broker that died while a transaction of three records in three partitions was ended.
func crashed(t *testing.T, withJournal bool, markers []int32) string {
	t.Helper()
	dir := t.TempDir()
	b, err := Start(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	admin := adminOf(t, b)
	if _, err := admin.CreateTopic(t.Context(), 4, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	transaction := begin(t, b, "engine", "a", "b", "c")
	if withJournal {
		journal, err := b.Journal("engine")
		if err != nil {
			t.Fatal(err)
		}
		defer journal.Close()
		if err := journal.Begin(transaction); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range markers {
		set := make(kadm.TopicsSet)
		set.Add(topic, p)
		if _, err := admin.WriteTxnMarkers(t.Context(), kadm.TxnMarkers{ProducerID: transaction.ProducerID, Commit: true, Topics: set}); err != nil {
			t.Fatal(err)
		}
	}
	return snapshot(t, dir)
}

// begin writes one record to each of the first partitions in a transaction that it leaves open.
func begin(t *testing.T, b *Broker, id string, values ...string) stream.Transaction {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	records := make([]kgo.Record, len(values))
	for i, value := range values {
		records[i] = kgo.Record{Topic: topic, Partition: int32(i), Value: []byte(value)}
		client.Produce(t.Context(), &records[i], nil)
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	producer, _, err := client.ProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return stream.Transaction{
		Group: group, ProducerID: producer, Outputs: stream.Spans(records), Offsets: []stream.Place{{Topic: topic, Partition: 3, Epoch: -1, Offset: 7}},
	}
}

func snapshot(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func adminOf(t *testing.T, b *Broker) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// committed are the values that a follower reads before it has caught up.
func committed(t *testing.T, b *Broker) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var values []string
	err := stream.ReadAll(ctx, stream.Cluster{Brokers: b.Addrs()}, topic, func(recs []stream.Record) {
		for i := range recs {
			values = append(values, string(recs[i].Value))
		}
	})
	if err != nil {
		t.Fatalf("reading to the end: %v", err)
	}
	slices.Sort(values)
	return values
}

func offsetOf(t *testing.T, b *Broker) int64 {
	t.Helper()
	offsets, err := adminOf(t, b).FetchOffsets(t.Context(), group)
	if err != nil {
		return -1 // no such group
	}
	if at, ok := offsets.Lookup(topic, 3); ok {
		return at.At
	}
	return -1
}
