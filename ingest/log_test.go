package ingest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/testing/protocmp"

	"sluice/ingest/eventpb"
	"sluice/internal/broker/brokertest"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

func openLog(t testing.TB, cluster stream.Cluster, o LogOptions) *Log {
	t.Helper()
	o.Registerer = prometheus.NewRegistry()
	l, err := OpenLog(cluster, seal.NewKeyring([32]byte{1}), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// readLog reads the first n events and controls of sluice.events, in the order of each partition.
func readLog(t testing.TB, cluster stream.Cluster, n int) []stream.Record {
	t.Helper()
	client, err := cluster.Client(kgo.ConsumeTopics(cluster.Topic(topics.Events)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var all []stream.Record
	for len(all) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			rec := stream.RecordOf(r, topics.Events)
			for entry := range rec.Entries() {
				all = append(all, *entry)
			}
		})
	}
	return all
}

func TestAppendSealsAndKeepsOrder(t *testing.T) {
	cluster := brokertest.Cluster(t)
	keys := seal.NewKeyring([32]byte{1})
	l := openLog(t, cluster, LogOptions{})
	const people, each = 5, 20
	var events []Accepted
	for i := range people * each {
		ev := wholeEvent()
		ev.UserId, ev.Id = fmt.Sprint("u", i%people), fmt.Sprint("e", i)
		events = append(events, Accepted{Event: ev, ReceivedAt: 1_700_000_000_123_456, TrustedClock: true, Run: 7, Row: uint64(i + 1), Decision: []byte("decision")})
	}
	if err := l.Append(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	last := make(map[string]uint64)
	for _, r := range readLog(t, cluster, len(events)) {
		var rec eventpb.LogRecord
		if err := rec.UnmarshalVT(r.Value); err != nil {
			t.Fatal(err)
		}
		body, err := OpenBody(keys, r.Key, &rec, nil)
		if err != nil {
			t.Fatal(err)
		}
		var ev Event
		if err := ev.UnmarshalVT(body); err != nil {
			t.Fatal(err)
		}
		want := events[rec.Row-1]
		if diff := cmp.Diff(want.Event, &ev, protocmp.Transform()); diff != "" {
			t.Fatal(diff)
		}
		if rec.Row <= last[ev.UserId] {
			t.Errorf("row %d of %s came after row %d", rec.Row, ev.UserId, last[ev.UserId])
		}
		last[ev.UserId] = rec.Row
		checkEnvelope(t, keys, &r, &rec, &ev)
	}
	if len(last) != people {
		t.Errorf("%d people", len(last))
	}
}

func checkEnvelope(t *testing.T, keys *seal.Keyring, r *stream.Record, rec *eventpb.LogRecord, ev *Event) {
	t.Helper()
	key := keys.LogKey(Subject(ev))
	decision, err := keys.Unseal(rec.KeyId, rec.Decision, r.Key)
	if err != nil || string(decision) != "decision" {
		t.Errorf("decision: %v", err)
	}
	rec.Body, rec.Decision, rec.Row = nil, nil, 0
	want := &eventpb.LogRecord{
		Version: 1, Kind: eventpb.LogRecord_EVENT, ReceivedAt: 1_700_000_000_123_456, TrustedClock: true, Run: 7, KeyId: rec.KeyId, Dedupe: keys.DedupeHash(Subject(ev), byte(ev.Type), ev.Id),
	}
	if diff := cmp.Diff(want, rec, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if string(r.Key) != string(key[:]) || r.Partition != stream.PartitionOf(key[:], stream.Partitions) || r.Time.UnixMilli() != 1_700_000_000_123 {
		t.Errorf("key %x, partition %d, time %v", r.Key, r.Partition, r.Time)
	}
	if _, err := OpenBody(keys, []byte("another's key"), rec, nil); err == nil {
		t.Error("opened under another subject's key")
	}
}

// TestAppendPacksByPartition: what one append puts on a partition is one record, or as many as its size asks for. Controls are never packed.
func TestAppendPacksByPartition(t *testing.T) {
	cluster := brokertest.Cluster(t)
	l := openLog(t, cluster, LogOptions{})
	const each = 40
	var events []Accepted
	for i := range 3 * each {
		ev := wholeEvent()
		ev.UserId, ev.Id = fmt.Sprint("u", i%3), fmt.Sprint("e", i)
		if i%3 == 0 {
			ev.SearchTerm = strings.Repeat("lamp ", 4000) // 20 kB
		}
		events = append(events, Accepted{Event: ev, ReceivedAt: 1_700_000_000_123_456})
	}
	if err := l.Append(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	entries := make(map[Position]int)
	for _, r := range readLog(t, cluster, len(events)) {
		entries[Position{r.Partition, r.Offset}]++
	}
	if len(entries) < 2 || len(entries) > 4 { // of at most three partitions, and one of 800 kB
		t.Errorf("records %v", entries)
	}
	if got, want := l.EventsPerRecord(), float64(len(events))/float64(len(entries)); got != want {
		t.Errorf("%v events a record, want %v", got, want)
	}
}

func TestControlsTellTheirPositions(t *testing.T) {
	cluster := brokertest.Cluster(t)
	keys := seal.NewKeyring([32]byte{1})
	l := openLog(t, cluster, LogOptions{})
	var controls []*eventpb.Control
	for i := range 40 {
		controls = append(controls, &eventpb.Control{
			Subject: fmt.Sprint("u:", i%10), Surface: "api", Act: &eventpb.Control_Choice_{Choice: &eventpb.Control_Choice{Purpose: fmt.Sprint("p", i), Allow: true}},
		})
	}
	positions, err := l.AppendControl(t.Context(), controls, 1_700_000_000_000_000)
	if err != nil {
		t.Fatal(err)
	}
	at := make(map[Position]*eventpb.Control)
	for i, p := range positions {
		at[p] = controls[i]
	}
	for _, r := range readLog(t, cluster, len(controls)) {
		var rec eventpb.LogRecord
		if err := rec.UnmarshalVT(r.Value); err != nil {
			t.Fatal(err)
		}
		body, err := OpenBody(keys, r.Key, &rec, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := new(eventpb.Control)
		if err := got.UnmarshalVT(body); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(at[Position{r.Partition, r.Offset}], got, protocmp.Transform()); diff != "" || rec.Kind != eventpb.LogRecord_CONTROL {
			t.Errorf("kind %v, %s", rec.Kind, diff)
		}
	}
}

func TestAppendFailsWithoutABroker(t *testing.T) {
	cluster, stop := brokertest.Stoppable(t)
	l := openLog(t, cluster, LogOptions{Timeout: 300 * time.Millisecond})
	stop()
	if err := l.Append(t.Context(), []Accepted{{Event: wholeEvent()}}); err == nil {
		t.Error("acknowledged by nobody")
	}
}

func TestAppendOutlivesItsRequest(t *testing.T) {
	cluster := brokertest.Cluster(t)
	l := openLog(t, cluster, LogOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Append(ctx, []Accepted{{Event: wholeEvent()}}); err != nil {
		t.Error(err)
	}
}

func BenchmarkAppend(b *testing.B) {
	cluster := brokertest.Cluster(b)
	l := openLog(b, cluster, LogOptions{})
	batch := make([]Accepted, 200)
	for i := range batch {
		ev, _, _ := Decode(typical)
		ev.UserId = fmt.Sprint("u", i)
		batch[i] = Accepted{Event: ev, ReceivedAt: 1_700_000_000_000_000}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(batch)), "µs/event")
}
