package tables_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"sluice/ingest"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/internal/warehouse"
	"sluice/internal/warehouse/parquet"
	"sluice/privacyfilter/purposepb"
	"sluice/privacyfilter/tables"
	"sluice/replay"
)

// sink is a server that takes a replay's rows, and holds each against what the collector accepts.
type sink struct {
	t *testing.T

	mu     sync.Mutex // guards what follows
	events []*ingest.Event
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/events") {
		lines := bufio.NewScanner(r.Body)
		for ; lines.Scan(); n++ {
			var row struct{ Event json.RawMessage }
			if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
				s.t.Error(err)
			}
			ev, warnings, fault := ingest.Decode(row.Event)
			if fault != nil || len(warnings) > 0 {
				s.t.Errorf("%s: %v, %+v", row.Event, warnings, fault)
			}
			s.events = append(s.events, ev)
		}
	}
	if n == 0 {
		n = len(s.events)
	}
	_ = json.NewEncoder(w).Encode(map[string]int{"lag": 0, "accepted": n})
}

// replayed replays and returns what the server took, sorted: different people's rows come through different connections.
func replayed(t *testing.T, o replay.Options) []string {
	t.Helper()
	s := &sink{t: t}
	server := httptest.NewServer(s)
	defer server.Close()
	var err error
	if o.Map, err = replay.Events([]string{"jurisdiction=CN"}); err != nil {
		t.Fatal(err)
	}
	o.To, o.Key = server.URL, "key"
	account, err := replay.Run(t.Context(), o)
	if err != nil || account.Rejected > 0 || len(account.Unmapped) > 0 {
		t.Fatalf("%+v, %v", account, err)
	}
	var got []string
	for _, ev := range s.events {
		words := []string{ev.Type.Name()}
		for _, item := range ev.Items {
			words = append(words, item.ItemId)
		}
		got = append(got, strings.Join(append(words, strconv.FormatInt(ev.Time-at, 10)), " "))
	}
	slices.Sort(got)
	return got
}

// fillStore appends events of one person, in the wrong order, of three purposes to a store.
func fillStore(t *testing.T, store warehouse.Store, sources []*warehouse.Source) {
	t.Helper()
	payment := func(event byte, after int64) proto.Message {
		return &purposepb.RiskRecord{Event: &purposepb.RiskEvent{
			Subject: id(event), Event: id(event), Type: vocab.Type_PAYMENT, Time: at + after, Order: id(3), Value: 12_500_000, HasValue: true, Currency: "EUR",
			Instrument: id(4), Email: id(5), EmailDomain: "example.org", SignupTime: at,
		}}
	}
	viewed := func(event byte, after int64) proto.Message {
		return personal(&purposepb.PersonalEvent{Subject: id(9), Event: id(event), Type: vocab.Type_VIEW_ITEM, Time: at + after, Items: lines, Floor: id(8)})
	}
	bought := &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Event{Event: &purposepb.HistoryEvent{
		Subject: id(9), Event: slices.Repeat([]byte{2}, 144), Type: vocab.Type_PURCHASE, Time: at, Items: lines, Floor: id(8),
	}}}
	for _, source := range sources {
		records := map[string][]proto.Message{
			topics.Risk: {payment(1, 30), payment(2, 10), payment(3, 20)}, topics.Personalize: {viewed(1, 2), viewed(2, 1)}, topics.History: {bought},
		}[source.Topic]
		out := warehouse.NewRows(source)
		for _, m := range records {
			if err := source.Decode(&stream.Record{Topic: source.Topic, Value: encoded(t, m)}, out); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range out.Batches {
			b.Sort()
		}
		block := &warehouse.Block{Source: source, First: 0, Next: 10, Batches: out.Batches}
		if err := store.Append(t.Context(), []*warehouse.Block{block}); err != nil {
			t.Fatal(err)
		}
	}
}

func tablesOf(sources []*warehouse.Source) (all []*warehouse.Table) {
	for _, s := range sources {
		all = append(all, s.Tables...)
	}
	return all
}

// wantReplayed is what fillStore's rows become, by table.
var wantReplayed = map[string][]string{
	"risk_events": {"payment 10", "payment 20", "payment 30"}, "personal_events": {"view_item lamp 灯 1", "view_item lamp 灯 2"}, "history_events": {"purchase lamp 灯 0"},
}

// TestReplayOfParquet: what the warehouse's files hold is replayed, and what a crash left beside them is not.
func TestReplayOfParquet(t *testing.T) {
	dir := t.TempDir()
	sources := tables.Sources(register(t), ring)
	store, err := parquet.Open(dir, tablesOf(sources), parquet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fillStore(t, store, sources)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for table, want := range wantReplayed {
		files, err := filepath.Glob(filepath.Join(dir, table, "day=*", "*.parquet"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: files %v, %v", table, files, err)
		}
		data, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(files[0]), "999999999999.parquet"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, replayed(t, replay.Options{Events: []string{filepath.Join(dir, table)}})); diff != "" {
			t.Errorf("%s: %s", table, diff)
		}
	}
	manifest := filepath.Join(dir, "manifest")
	data, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(manifest, data, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := replay.Events([]string{"jurisdiction=CN"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = replay.Run(t.Context(), replay.Options{Events: []string{filepath.Join(dir, "risk_events")}, Map: m, To: "http://127.0.0.1:1", Key: "key"})
	if err == nil || err.Error() != manifest+": must be an undamaged manifest of a warehouse" {
		t.Error(err)
	}
}
