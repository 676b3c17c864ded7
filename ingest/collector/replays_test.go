package collector

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/ingest"
	"sluice/ingest/deadletter"
	"sluice/replay"
)

func TestRows(t *testing.T) {
	s := start(t, nil)
	row := func(n int, event string) string { return fmt.Sprintf(`{"row":%d,"event":%s}`, n, event) }
	const path = "/v1/replays/00000000000000aB/events"
	cases := []struct{ name, path, body, want string }{
		{"rows", path, row(1, one("a", "v")) + "\n" + row(2, one("b", "no1")) + "\n" + row(3, `{"id":"c"}`) + "\n" + row(4, `7`), "202 accepted=1 denied=1 rejected=2 [row 3 missing_field /time] [row 4 invalid_type]"},
		{"again", path, row(1, one("a", "v")), "202 accepted=1"},
		{"in another order, with space", path, ` { "event" : ` + one("e", "v") + ` , "x" : [1], "row" : 5 } `, "202 accepted=1"},
		{"denied alone", path, row(6, one("f", "no1")), "202 denied=1"},
		{"rejected alone", path, row(7, `{"id":"c"}`), "422 rejected rejected=1 [row 7 missing_field /time]"},
		{"rejected beside denied", path, row(8, `{"id":"c"}`) + "\n" + row(9, one("f", "no1")), "422 rejected denied=1 rejected=1 [row 8 missing_field /time]"},
		{"no row", path, one("a", "v"), "400 broken_row"},
		{"row 0", path, row(0, one("a", "v")), "400 broken_row"},
		{"row a string", path, `{"row":"1","event":{}}`, "400 broken_row"},
		{"no event", path, `{"row":1}`, "400 broken_row"},
		{"cut", path, `{"row":1,"event":{"id":`, "400 broken_row"},
		{"broken inside", path, `{"row":10,"event":{"id":tru}}`, "422 rejected rejected=1 [row 10 broken_json]"},
		{"nothing", path, "", "400 empty_body"},
		{"short run", "/v1/replays/ab/events", row(1, one("a", "v")), "422 invalid_run"},
		{"run 0", "/v1/replays/0000000000000000/events", row(1, one("a", "v")), "422 invalid_run"},
		{"no number", "/v1/replays/000000000000000g/events", row(1, one("a", "v")), "422 invalid_run"},
		{"consent not known", path, row(1, one("a", "v")) + "\n" + row(2, one("b", "lapsed")), "503 consent_unknown"},
	}
	for _, c := range cases {
		if got := s.post(t, ask{path: c.path, kind: typeNDJSON, body: c.body}); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	rows := make(map[uint64]int)
	for _, e := range s.logged(t, 3) {
		rows[e.Row]++
		if e.Run != 0xab || !e.TrustedClock || e.event.SentAt != now.UnixMicro() {
			t.Errorf("row %d: run %x, trusted clock %v, sent at %d", e.Row, e.Run, e.TrustedClock, e.event.SentAt)
		}
	}
	if diff := cmp.Diff(map[uint64]int{1: 2, 5: 1}, rows); diff != "" {
		t.Error(diff)
	}
	*s.runs = settled{3, 2, 1, 4}
	if _, body := s.do(t, ask{method: http.MethodGet, path: "/v1/replays/00000000000000ab"}); body != `{"accepted":3,"duplicate":2,"denied":1,"rejected":4}`+"\n" {
		t.Error(body)
	}
	if got := s.post(t, ask{method: http.MethodGet, path: "/v1/replays/ab"}); got != "422 invalid_run" {
		t.Error(got)
	}
}

// TestReplaySpeaksWithTheCollector sends a file through the real sender, dead letters included.
func TestReplaySpeaksWithTheCollector(t *testing.T) {
	s := start(t, nil)
	letters, err := deadletter.Open(s.cluster, s.keys, deadletter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- letters.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		letters.Close()
	})
	deadletter.Register(s.api, letters, deadletter.Probe(ingest.AdmitOne(gate{})))
	s.api.Mux.HandleFunc("GET /v1/state/lag", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, map[string]int{"lag": 0}) })
	s.runs.accepted = 2_000

	var file strings.Builder
	file.WriteString("time,who,kind,item,price\n")
	for i := range 2_000 {
		fmt.Fprintf(&file, "%d,u%d,view_item,i%d,%d.25\n", 1_700_000_000+i, i%50, i%70, i)
	}
	file.WriteString("1700000000,no1,view_item,i,1\n1700000000,u1,view_item,,1\n")
	events, items := filepath.Join(t.TempDir(), "events.csv"), filepath.Join(t.TempDir(), "items.csv")
	for name, text := range map[string]string{events: file.String(), items: "item_id,title,price,attributes.colour,categories\ni1,Lamp,1.50,red,Home>Lamps\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mapping, err := replay.ParseMap("map.yaml", []byte("set: {jurisdiction: CN, channel: server}\nfields: {time: time, user_id: who, type: kind, items.item_id: item, items.price: price}\ntime: {zone: UTC, unit: s}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	account, err := replay.Run(t.Context(), replay.Options{
		Events: []string{events}, Items: items, Map: mapping, To: s.URL, Key: serverKey, MaxRejected: 1, RetryFor: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := replay.Account{Read: 2_002, Accepted: 2_000, Denied: 1, Rejected: 1, Seconds: account.Seconds, Run: account.Run}
	if len(account.Reasons) != 1 || account.Reasons[0].Code != "missing_field" {
		t.Errorf("reasons %v", account.Reasons)
	}
	account.Reasons = nil
	if diff := cmp.Diff(want, account); diff != "" {
		t.Error(diff)
	}
	last := make(map[string]uint64)
	for _, e := range s.logged(t, 2_000) {
		if e.Row <= last[e.event.UserId] {
			t.Fatalf("row %d of a person came after row %d", e.Row, last[e.event.UserId])
		}
		last[e.event.UserId] = e.Row
	}
}
