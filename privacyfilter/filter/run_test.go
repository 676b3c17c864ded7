package filter

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
)

// TestRunsOnKafka: through the log, the runner and a restart in the middle, every event reaches its purposes exactly once, the rows of a replay are settled,
// and the state after the restart is that of the whole log.
func TestRunsOnKafka(t *testing.T) {
	cluster := brokertest.Cluster(t)
	log, err := ingest.OpenLog(cluster, testRing, ingest.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	store, err := stream.OpenStore(filepath.Join(t.TempDir(), "store"), stream.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	engine := Engine(testOptions(testRegister(t)))

	const people, each = 20, 10
	var controls []*eventpb.Control
	for p := range people {
		controls = append(controls, &eventpb.Control{Subject: fmt.Sprint("u:p", p), Act: accept("CN").Act})
	}
	if _, err := log.AppendControl(t.Context(), controls, start); err != nil {
		t.Fatal(err)
	}
	want := make(map[string]int)
	for round := range 2 {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		runner := stream.NewRunner(cluster, engine.Alone(), stream.RunnerOptions{Node: "0", Stores: []*stream.Store{store}, CheckpointEvery: 10 * time.Millisecond})
		go func() { ended <- runner.Run(ctx) }()
		var batch []ingest.Accepted
		for p := range people {
			for i := range each {
				ev := view(fmt.Sprintf("e%d-%d", round, i), start+minute)
				ev.UserId = fmt.Sprint("p", p)
				want["u:"+ev.UserId+" "+ev.Id]++
				one := ingest.Accepted{Event: ev, ReceivedAt: start + minute, Run: 9, Row: uint64(len(want))}
				batch = append(batch, one)
				if i == 3 {
					one.Row = uint64(1_000_000 + len(want))
					batch = append(batch, one) // the same event in another row
				}
			}
		}
		if err := log.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if err := log.Append(t.Context(), batch[:50]); err != nil { // a batch whose answer was lost
			t.Fatal(err)
		}
		settledLog(t, cluster, engine)
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, readHistory(t, cluster, want)); diff != "" {
		t.Errorf("events of the history (-want +got):\n%s", diff)
	}
	for _, topic := range []string{topics.Trending, topics.Personalize, topics.Risk} {
		if n := topicSize(t, cluster, topic); n < len(want) {
			t.Errorf("%d records on %s, expected at least %d", n, topic, len(want))
		}
	}
	expect(t, "rows on consent", topicSize(t, cluster, topics.Consent), 2*people)
	expect(t, "records of the ledger", topicSize(t, cluster, topics.Ledger), people)
	checkRuns(t, cluster, fmt.Sprint(len(want), " ", 2*people, " 0"))
}

// settledLog waits until the engine has committed everything that the log holds.
func settledLog(t *testing.T, cluster stream.Cluster, engine stream.Engine) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		lag, err := stream.Lag(t.Context(), cluster, []stream.Role{engine.Alone()})
		if err != nil {
			t.Fatal(err)
		}
		if lag == 0 {
			return
		}
	}
	t.Fatal("the filter has not caught up in a minute")
}

// readHistory counts the events of the history by subject and id.
func readHistory(t *testing.T, cluster stream.Cluster, want map[string]int) map[string]int {
	t.Helper()
	names := make(map[string]string) // pseudonyms of a subject and an event → both in words
	for name := range want {
		subject, id, _ := strings.Cut(name, " ")
		key := testKeys.Subject(privacyfilter.History, subject, 0)
		names[string(key[:])+string(historyEvent(subject, id))] = name
	}
	got := make(map[string]int)
	err := stream.ReadAll(t.Context(), cluster, topics.History, func(recs []stream.Record) {
		for _, rec := range recs {
			var h purposepb.HistoryRecord
			if err := h.UnmarshalVT(rec.Value); err != nil {
				t.Error(err)
			}
			if h.GetEvent() == nil {
				continue
			}
			got[names[string(h.GetEvent().Subject)+string(h.GetEvent().Event)]]++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func topicSize(t *testing.T, cluster stream.Cluster, topic string) (n int) {
	t.Helper()
	if err := stream.ReadAll(t.Context(), cluster, topic, func(recs []stream.Record) { n += len(recs) }); err != nil {
		t.Fatal(err)
	}
	return n
}

func checkRuns(t *testing.T, cluster stream.Cluster, want string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	runs := NewRuns(cluster, nil)
	ended := make(chan error, 1)
	go func() { ended <- runs.Run(ctx) }()
	<-runs.CaughtUp()
	accepted, duplicate, denied, _ := runs.Settled(9)
	expect(t, "settled", fmt.Sprint(accepted, " ", duplicate, " ", denied), want)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestOptionsAreChecked: an engine that lacks something does not open.
func TestOptionsAreChecked(t *testing.T) {
	good := testOptions(testRegister(t))
	for name, change := range map[string]func(*Options){
		"register": func(o *Options) { o.Register = nil }, "ring": func(o *Options) { o.Ring = nil }, "keys": func(o *Options) { o.Keys = nil },
		"generation": func(o *Options) { o.Generation = 0 }, "window": func(o *Options) { o.TrendingWindow = 0 }, "kept": func(o *Options) { o.TrendingKept = 0 },
	} {
		o := good
		change(&o)
		if _, err := Engine(o).Open(stream.NewTask(0)); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// BenchmarkEvent is one event of four purposes: unsealed, decoded, looked up, admitted, projected, encoded, with two entities, and committed in memory.
func BenchmarkEvent(b *testing.B) {
	reg := testRegister(b)
	const subjects, each = 500, 40
	var controls, events []stream.Record
	for s := range subjects {
		user := fmt.Sprint("customer-", s)
		controls = append(controls, record(b, eventpb.LogRecord_CONTROL, "u:"+user, start, &eventpb.Control{Subject: "u:" + user, Act: accept("CN").Act}, nil))
		for i := range each {
			ev := view(fmt.Sprintf("0f8fad5b-d9cb-469f-a165-%012d", i), start+minute)
			ev.UserId, ev.SessionId, ev.Surface, ev.RecommendationId = user, "session-"+user, "product", "rec-0123456789"
			ev.Device = &eventpb.Device{Id: "device-" + user, Model: "Pixel 9", Os: "Android 16", AppVersion: "5.1.2"}
			events = append(events, eventRecord(b, ev, start+minute, nil))
		}
	}
	var w *world
	fresh := func() {
		w = newWorld(b, reg)
		for _, c := range controls {
			w.process(c)
		}
	}
	fresh()
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if i%len(events) == len(events)-1 {
			b.StopTimer()
			fresh()
			b.StartTimer()
		}
		rec := events[i%len(events)]
		rec.Offset = w.offset
		w.offset++
		if err := w.filter.Process(&rec); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 {
			w.task.Changes() // as a transaction ends, with what was emitted dropped
		}
	}
}

// BenchmarkDuplicate is an event that is known.
func BenchmarkDuplicate(b *testing.B) {
	w := newWorld(b, testRegister(b))
	w.control(accept("CN"), start)
	rec := eventRecord(b, view("e1", start+minute), start+minute, nil)
	w.process(rec)
	b.ReportAllocs()
	for b.Loop() {
		if err := w.filter.Process(&rec); err != nil {
			b.Fatal(err)
		}
	}
}
