package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	pq "github.com/parquet-go/parquet-go"

	"sluice/internal/config"
)

// retailRows is a file of n views by n/10 people, with a cart line now and then.
func retailRows(n int) string {
	var b strings.Builder
	b.WriteString("time,user_id,type,item_id\n")
	for i := range n {
		kind := "view"
		if i%7 == 0 {
			kind = "cart"
		}
		fmt.Fprintf(&b, "%d,%d,%s,%d\n", 1430623510+i, i*7919%(n/10+1), kind, i%977)
	}
	return b.String()
}

// same compares two accounts but for what differs from run to run.
func same(t *testing.T, want, got Account) {
	t.Helper()
	if got.Read != got.Accepted+got.Duplicate+got.Denied+got.Rejected+got.Unsettled {
		t.Errorf("the account does not add up: %+v", got)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Account{}, "Seconds", "Run", "Reasons")); diff != "" {
		t.Error(diff)
	}
}

// quick makes retries immediate: pauses are counted, not waited for.
func quick(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func TestRunAccountsForEveryRow(t *testing.T) {
	f := newFakeServer(t)
	f.lag = []int64{5, 3}
	dir := t.TempDir()
	first := write(t, filepath.Join(dir, "first.csv"),
		"time,user_id,type,item_id,extra\n1430000001,u1,view,a,x\n1430000001,u1,view,a,x\n1430000002,no1,view,b,x\n1430000003,,cart,c,x\n1430000004,u1,steal,d,x\n1430000005,u2,view\n1430000006,u2,buy,e,x\n")
	second := write(t, filepath.Join(dir, "second.jsonl"), `{"time":1430000007,"user_id":"u1","type":"view","item_id":"z"}`+"\n"+`{"time":`+"\n"+`{"time":1430000006,"user_id":"u2","type":"buy","item_id":"e"}`+"\n")
	var notes bytes.Buffer
	o := Options{Events: []string{first, second}, Map: retailMap(t), To: f.URL, Key: "s", MaxRejected: 4, Stderr: &notes}
	account, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	unmapped := []string{first + ": extra"}
	if !strings.Contains(notes.String(), "rejected 1 row, wrong_columns, first at "+first+" line 7: must have 5 columns, has 3\n") {
		t.Errorf("notes: %s", &notes)
	}
	same(t, Account{Read: 10, Accepted: 5, Denied: 1, Rejected: 4, Unmapped: unmapped}, account)
	var letters []string
	for _, l := range f.letters {
		if l["source"] != account.Run || l["stage"] != "replay" {
			t.Errorf("letter of %v, stage %v", l["source"], l["stage"])
		}
		letters = append(letters, fmt.Sprintf("%v %v %v %v | %v", l["position"], l["code"], l["pointer"], l["detail"], l["payload"]))
	}
	want := []string{
		`4 missing_field /user_id ` + first + ` line 5: user_id or anonymous_id expected | map[extra:x item_id:c time:1430000003 type:cart user_id:]`,
		`5 unknown_value /type ` + first + ` line 6: column type: must be a word that the map's values.type lists | map[extra:x item_id:d time:1430000004 type:steal user_id:u1]`,
		"6 wrong_columns <nil> " + first + " line 7: must have 5 columns, has 3 | 1430000005,u2,view",
		"9 broken_row <nil> " + second + " line 2: must be one JSON object | {\"time\":",
	}
	if diff := cmp.Diff(want, letters, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(notes.String(), "columns neither mapped nor ignored: "+first+": extra\n") {
		t.Errorf("notes: %s", &notes)
	}

	account, err = Run(t.Context(), Options{Events: []string{first}, Map: retailMap(t), To: f.URL, Key: "s", MaxRejected: 2})
	if !errors.Is(err, ErrTooManyRejected) {
		t.Errorf("error %v", err)
	}
	same(t, Account{Read: 7, Duplicate: 3, Denied: 1, Rejected: 3, Unmapped: unmapped}, account)
}

// TestServerInTrouble lets the server fail in every way that a replay must outlive.
func TestServerInTrouble(t *testing.T) {
	const rows = 25_000
	for _, c := range []struct {
		name  string
		fault func(path string, n int, w http.ResponseWriter) bool
		lose  func(path string, n int) bool
	}{
		{name: "well"},
		{name: "503 now and then", fault: func(_ string, n int, w http.ResponseWriter) bool {
			if n%3 == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return n%3 == 1
		}},
		{name: "429 with Retry-After", fault: func(_ string, n int, w http.ResponseWriter) bool {
			if n%4 == 2 {
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(http.StatusTooManyRequests)
			}
			return n%4 == 2
		}},
		{name: "connections break before the work", fault: func(_ string, n int, _ http.ResponseWriter) bool {
			if n%5 == 3 {
				panic(http.ErrAbortHandler)
			}
			return false
		}},
		{name: "answers are lost after the work", lose: func(_ string, n int) bool { return n%5 == 2 }},
		{name: "half an answer", fault: func(_ string, n int, w http.ResponseWriter) bool {
			if n%5 == 4 {
				w.Write([]byte(`{"accepted":`))
			}
			return n%5 == 4
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeServer(t)
			f.fault, f.lose = c.fault, c.lose
			file := write(t, filepath.Join(t.TempDir(), "e.csv"), retailRows(rows))
			r, err := newRun(t.Context(), &Options{Events: []string{file}, Map: retailMap(t), To: f.URL, Key: "s", Grants: []string{"personalize"}})
			if err != nil {
				t.Fatal(err)
			}
			r.client.pause = quick
			if err := r.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			same(t, Account{Read: rows, Accepted: rows}, r.account)
			if f.disorder > 0 {
				t.Error("a subject's rows have changed their order")
			}
		})
	}
}

// TestRestart replaces the server on the same address in the middle of a run.
func TestRestart(t *testing.T) {
	const rows = 20_000
	f := newFakeServer(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	serve := func(l net.Listener) *httptest.Server {
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}}
		s.Start()
		return s
	}
	server := serve(listener)
	file := write(t, filepath.Join(t.TempDir(), "e.csv"), retailRows(rows))
	r, err := newRun(t.Context(), &Options{Events: []string{file}, Map: retailMap(t), To: "http://" + address, Key: "s"})
	if err != nil {
		t.Fatal(err)
	}
	down := make(chan struct{}, 1)
	f.fault = func(path string, n int, _ http.ResponseWriter) bool {
		if path == "/v1/replays/events" && n == 9 {
			down <- struct{}{}
			panic(http.ErrAbortHandler)
		}
		return false
	}
	refused := make(chan struct{})
	r.client.pause = func(ctx context.Context, _ time.Duration) error {
		select { // every retry waits until the server is there again
		case <-refused:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- r.run(t.Context()) }()
	<-down
	server.CloseClientConnections()
	server.Close()
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	server = serve(listener)
	defer server.Close()
	close(refused)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	same(t, Account{Read: rows, Accepted: rows}, r.account)
}

func TestGivesUp(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "e.csv"), retailRows(10))
	f := newFakeServer(t)
	for _, c := range []struct {
		name  string
		fault func(string, int, http.ResponseWriter) bool
		want  string
	}{
		{"key refused", func(_ string, _ int, w http.ResponseWriter) bool {
			w.WriteHeader(http.StatusForbidden)
			w.Write([]byte(`{"code":"wrong_key","detail":"This key's role may not do this."}`))
			return true
		}, "sending rows 1 to 10: PATH answered 403 Forbidden (wrong_key): This key's role may not do this."},
		{"never answers", func(_ string, _ int, w http.ResponseWriter) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}, "sending rows 1 to 10: PATH: gave up after 1ns: answered 502 Bad Gateway"},
		{"does not account", func(_ string, _ int, w http.ResponseWriter) bool {
			w.Write([]byte(`{"accepted":1}`))
			return true
		}, "sending rows 1 to 10: the server accounts for 1 of 10 rows, with 0 errors for 0 rejected"},
		{"names a row that was not sent", func(_ string, _ int, w http.ResponseWriter) bool {
			w.Write([]byte(`{"accepted":9,"rejected":1,"errors":[{"row":99,"code":"x"}]}`))
			return true
		}, "sending rows 1 to 10: the server names row 99, which was not sent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.fault = c.fault
			// One person, so that all rows go in one request.
			one := write(t, file, strings.NewReplacer(",0,", ",1,").Replace(retailRows(10)))
			r, err := newRun(t.Context(), &Options{Events: []string{one}, Map: retailMap(t), To: f.URL, Key: "s", RetryFor: 1})
			if err != nil {
				t.Fatal(err)
			}
			r.client.pause = quick
			err = r.run(t.Context())
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.ReplaceAll(err.Error(), "/v1/replays/"+r.account.Run+"/events", "PATH")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNotSettled(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "e.csv"), retailRows(10))
	f := newFakeServer(t)
	f.fault = func(path string, _ int, w http.ResponseWriter) bool {
		if path == "/v1/replays" {
			w.Write([]byte(`{"accepted":3,"duplicate":1,"denied":1}`))
		}
		return path == "/v1/replays"
	}
	r, err := newRun(t.Context(), &Options{Events: []string{file}, Map: retailMap(t), To: f.URL, Key: "s"})
	if err != nil {
		t.Fatal(err)
	}
	r.client.pause = quick
	err = r.run(t.Context())
	if !errors.Is(err, ErrNotSettled) || !strings.HasPrefix(err.Error(), "the filter has settled 5 of 10 rows") {
		t.Errorf("error %v", err)
	}
}

func TestImportsPrecedeTheirRows(t *testing.T) {
	f := newFakeServer(t)
	f.policy = true
	file := write(t, filepath.Join(t.TempDir(), "e.csv"), retailRows(12_000))
	o := Options{Events: []string{file}, Map: retailMap(t), To: f.URL, Key: "s", Grants: []string{"personalize"}}
	account, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	same(t, Account{Read: 12_000, Accepted: 12_000}, account)
	want := `{"subject":"u:0","jurisdiction":"CN","policy_version":"2026-01","grants":["personalize"]}`
	if diff := cmp.Diff(want, f.imports[0]); diff != "" || len(f.imports) != 1201 {
		t.Error(diff, len(f.imports))
	}
	o.Grants, o.AcceptPolicy, f.imports = nil, true, nil
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"subject":"u:0","jurisdiction":"CN","policy_version":"2026-01","grants":[]}`, f.imports[0]); diff != "" {
		t.Error(diff)
	}
}

func TestItemsGoFirst(t *testing.T) {
	dir := t.TempDir()
	events := write(t, filepath.Join(dir, "e.csv"), retailRows(10))
	table := write(t, filepath.Join(dir, "i.csv"), "item_id,title,categories,price,attributes.colour\ni1,\"Lamp, tall\",Home > Lamps | Sale,12.5,red\ni2,,,,\n")
	lines := write(t, filepath.Join(dir, "i.jsonl"), `{"item_id":"i1","price":"3"}`+"\n\n"+`{"item_id":"i2"}`)
	for _, c := range []struct {
		file string
		want []string
	}{
		{table, []string{`{"item_id":"i1","title":"Lamp, tall","categories":[["Home","Lamps"],["Sale"]],"price":"12.5","attributes":{"colour":"red"}}`, `{"item_id":"i2"}`}},
		{lines, []string{`{"item_id":"i1","price":"3"}`, `{"item_id":"i2"}`}},
	} {
		f := newFakeServer(t)
		if _, err := Run(t.Context(), Options{Events: []string{events}, Items: c.file, Map: retailMap(t), To: f.URL, Key: "s"}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, f.items); diff != "" {
			t.Error(diff)
		}
	}
	f := newFakeServer(t)
	f.fault = func(path string, _ int, w http.ResponseWriter) bool {
		if path == "/v1/items" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			w.Write([]byte(`{"accepted":0,"rejected":1,"errors":[{"index":1,"code":"missing_field","pointer":"/title","detail":"a title expected"}]}`))
		}
		return path == "/v1/items"
	}
	_, err := Run(t.Context(), Options{Events: []string{events}, Items: table, Map: retailMap(t), To: f.URL, Key: "s"})
	want := table + ": line 3: /title a title expected (missing_field); 1 items refused, no event sent"
	if err == nil || err.Error() != want || len(f.runs) > 0 {
		t.Errorf("got %v, want %s; %d runs sent", err, want, len(f.runs))
	}
}

// TestGrantsAreChecked: a purpose that nobody can allow is refused before anything is sent, the catalogue included.
func TestGrantsAreChecked(t *testing.T) {
	dir := t.TempDir()
	events := write(t, filepath.Join(dir, "e.csv"), retailRows(10))
	items := write(t, filepath.Join(dir, "i.jsonl"), `{"item_id":"i1"}`)
	for grant, want := range map[string]string{
		"personalize": "", "marketing.sms": "",
		"nope":    "--grant: nope: must be a purpose that people can allow: one of personalize, marketing.sms",
		"risk":    "--grant: risk: must be a purpose that people can allow: one of personalize, marketing.sms",
		"history": "--grant: history: must be a purpose that people can allow: one of personalize, marketing.sms",
	} {
		t.Run(grant, func(t *testing.T) {
			f := newFakeServer(t)
			_, err := Run(t.Context(), Options{Events: []string{events}, Items: items, Map: retailMap(t), To: f.URL, Key: "s", Grants: []string{"personalize", grant}})
			if want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var fault *config.Error
			if !errors.As(err, &fault) || fault.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
			if diff := cmp.Diff(map[string]int{"/v1/policy": 1}, f.requests); diff != "" {
				t.Errorf("requests: %s", diff)
			}
		})
	}
}

// TestImportsAreCounted: whoever had chosen already is told apart.
func TestImportsAreCounted(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, rows, want string }{
		{"many", retailRows(12_000), "imported the consent of 1201 people, 2 kept their own choice\n"},
		{"one", "time,user_id,type,item_id\n1430000001,u,view,i\n1430000002,u,view,i\n", "imported the consent of 1 person, 0 kept their own choice\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeServer(t)
			f.chose = map[string]bool{"u:7": true, "u:1200": true}
			var notes bytes.Buffer
			o := Options{Events: []string{write(t, filepath.Join(dir, "e.csv"), c.rows)}, Map: retailMap(t), To: f.URL, Key: "s", AcceptPolicy: true, Stderr: &notes}
			if _, err := Run(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(notes.String(), "sluice replay: "+c.want) {
				t.Errorf("notes: %s", &notes)
			}
		})
	}
}

// TestFilesWithoutMap: only files that hold events are read without a map.
func TestFilesWithoutMap(t *testing.T) {
	dir := t.TempDir()
	event := `{"id":"e","type":"page_view","time":"2026-01-02T03:04:05Z","user_id":"u","channel":"web","jurisdiction":"CN"}` + "\n"
	in := func(name, text string) string { return write(t, filepath.Join(dir, name), text) }
	packed := func(name, text string, pack func(io.Writer) io.WriteCloser) string {
		var b bytes.Buffer
		w := pack(&b)
		if _, err := io.WriteString(w, text); err != nil || w.Close() != nil {
			t.Fatal("packing", err)
		}
		return in(name, b.String())
	}
	const onlyEvents = "needs --map or --columns; without them only .json, .jsonl, .ndjson and .parquet files that hold events are read"
	const header = "id,type,time,user_id,jurisdiction\n"
	parquetEvents := filepath.Join(dir, "events.parquet")
	writeParquetEvents(t, parquetEvents)
	for _, c := range []struct {
		name, file string
		set        []string
		want       string
	}{
		{"lines", in("e.jsonl", event), nil, ""},
		{"packed lines", packed("e.jsonl.gz", event, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }), nil, ""},
		{"zstd lines", packed("e.jsonl.zst", event, func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z }), nil, ""},
		{"parquet", parquetEvents, nil, ""},
		{
			"parquet of something else", "parquet/testdata/clicks.parquet", nil,
			"needs --map or --columns; a file of events has the columns type, time, jurisdiction (or --set jurisdiction=CN), and user_id or anonymous_id",
		},
		{"csv", in("e.csv", header), nil, onlyEvents},
		{"csv, set", in("e.csv", header), []string{"jurisdiction=CN"}, onlyEvents},
		{"packed csv", packed("e.csv.gz", header, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }), nil, onlyEvents},
		{"tsv", in("e.tsv", strings.ReplaceAll(header, ",", "\t")), nil, onlyEvents},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Events(c.set)
			if err != nil {
				t.Fatal(err)
			}
			f := newFakeServer(t)
			account, err := Run(t.Context(), Options{Events: []string{c.file}, Map: m, To: f.URL, Key: "s"})
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				same(t, Account{Read: 1, Accepted: 1}, account)
				return
			}
			var fault *config.Error
			if !errors.As(err, &fault) || fault.Error() != c.file+": "+c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if len(f.requests) > 0 {
				t.Errorf("requests were made: %v", f.requests)
			}
		})
	}
}

// writeParquetEvents writes a file with one event.
func writeParquetEvents(t *testing.T, file string) {
	t.Helper()
	type row struct {
		ID           string `parquet:"id"`
		Type         string `parquet:"type"`
		Time         string `parquet:"time"`
		UserID       string `parquet:"user_id"`
		Jurisdiction string `parquet:"jurisdiction"`
	}
	if err := pq.WriteFile(file, []row{{"e", "page_view", "2026-01-02T03:04:05Z", "u", "CN"}}); err != nil {
		t.Fatal(err)
	}
}

// TestWrongFiles: what is wrong with the command line or a file is a *config.Error, before anything is sent.
func TestWrongFiles(t *testing.T) {
	dir := t.TempDir()
	good := write(t, filepath.Join(dir, "good.csv"), "time,user_id,type,item_id\n1430000001,u,view,i\n")
	in := func(name, text string) string { return write(t, filepath.Join(dir, name), text) }
	for _, c := range []struct{ name, events, to, want string }{
		{"extension", in("a.xlsx", "x"), "", "a.xlsx: must have one of the extensions .csv .tsv .jsonl .ndjson .json .parquet, also with .gz or .zst, or --format say what it is"},
		{"missing", filepath.Join(dir, "none.csv"), "", "none.csv: must be a readable file: no such file or directory"},
		{"wide", in("wide.csv", "t\x00i\x00m\x00e\x00"), "", "wide.csv: line 1: must be UTF-8, and looks like UTF-16: set `encoding: utf-16le` in the map"},
		{"header in Latin-1", in("latin.csv", "time,gr\xf6\xdfe,n\xe9\n"), "", "latin.csv: line 1: must be UTF-8, and looks like windows-1252 (Latin-1): set `encoding: windows-1252` in the map"},
		{"twice", in("twice.csv", "a,b,a\n"), "", `twice.csv: column "a" must stand once in the header`},
		{"not zstd", in("x.csv.zst", "time,user_id"), "", "x.csv.zst: invalid input: magic number mismatch"},
		{"not gzip", in("x.csv.gz", "time,user_id"), "", "x.csv.gz: must be gzip: gzip: invalid header"},
		{"not parquet", in("x.parquet", strings.Repeat("PAR1", 9)), "", ""},
		{"column missing", in("c.csv", "time,who,type,item_id\n"), "", `retail.yaml:7:12: fields.user_id: column "user_id" is not in c.csv, which has time, who, type, item_id`},
		{
			"milliseconds", in("ms.csv", "time,user_id,type,item_id\n1430623510000,u,view,i\n"), "",
			"retail.yaml:13:7: time: ms.csv line 2, column time: must be a time from 2000-01-01 on and at most a day ahead of now, not one beyond the year 9999, which it is in seconds; `time: {unit: ms}` in the map would fit",
		},
		{"address", good, "localhost:8080", "--to: must be a URL such as http://127.0.0.1:8080"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeServer(t)
			o := Options{Events: []string{c.events}, Map: retailMap(t), To: f.URL, Key: "s"}
			if c.to != "" {
				o.To = c.to
			}
			_, err := Run(t.Context(), o)
			var fault *config.Error
			if !errors.As(err, &fault) {
				t.Fatalf("error %v", err)
			}
			got := strings.ReplaceAll(strings.ReplaceAll(err.Error(), dir+"/", ""), "testdata/", "")
			if diff := cmp.Diff(c.want, got); diff != "" && c.want != "" {
				t.Error(diff)
			}
			if len(f.requests) > 0 {
				t.Errorf("requests were made: %v", f.requests)
			}
		})
	}
}

func TestPacer(t *testing.T) {
	now := time.Unix(1000, 0)
	p := newPacer(2)
	p.now = func() time.Time { return now }
	var waits []time.Duration
	for _, seconds := range []int64{50, 50, 60, 40} {
		waits = append(waits, p.wait(seconds*1_000_000))
	}
	now = now.Add(10 * time.Second)
	waits = append(waits, p.wait(60_000_000), p.wait(90_000_000))
	if diff := cmp.Diff([]time.Duration{0, 0, 5 * time.Second, 0, 0, 10 * time.Second}, waits); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]float64{"max": 0, "1x": 1, "2.5x": 2.5} {
		if got, err := ParseSpeed(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"1", "0x", "-1x", "NaNx", "fast"} {
		if _, err := ParseSpeed(text); err == nil {
			t.Errorf("%s is taken for a speed", text)
		}
	}
}

// TestRealData replays the shop's clicks, where they are.
func TestRealData(t *testing.T) {
	file := filepath.Join(dataDir, "retail_events.csv.zst")
	if _, err := os.Stat(file); err != nil {
		t.Skipf("%s is not on this machine", file)
	}
	f := newFakeServer(t)
	account, err := Run(t.Context(), Options{Events: []string{file}, Map: retailMap(t), To: f.URL, Key: "s", Grants: []string{"personalize"}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, Account{Read: 97_381, Accepted: 97_381}, account)
	if len(f.imports) != 2174 || f.disorder > 0 {
		t.Errorf("%d people imported, in order %v", len(f.imports), f.disorder)
	}
	f.order = make(map[string]int64)
	account, err = Run(t.Context(), Options{Events: []string{file}, Map: retailMap(t), To: f.URL, Key: "s"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, Account{Read: 97_381, Duplicate: 97_381}, account)
}

// TestRealPayments maps and sends the payments, where they are: 1.3 million rows.
func TestRealPayments(t *testing.T) {
	file := filepath.Join(dataDir, "fraud_transactions.csv.zst")
	if _, err := os.Stat(file); err != nil {
		t.Skipf("%s is not on this machine", file)
	}
	if testing.Short() {
		t.Skip("-short: 1.3 million rows")
	}
	f := newFakeServer(t)
	f.discard = true
	account, err := Run(t.Context(), Options{Events: []string{file}, Map: fraudMap(t), To: f.URL, Key: "s"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, Account{Read: 1_303_778, Accepted: 1_303_778}, account)
}

// TestInterrupted: what the filter had told before the interruption is in the account, and the rest is called unsettled.
func TestInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	f := newFakeServer(t)
	f.fault = func(path string, _ int, w http.ResponseWriter) bool {
		if path == "/v1/replays" {
			w.Write([]byte(`{"accepted":3,"duplicate":1,"denied":1}`))
			time.AfterFunc(10*time.Millisecond, interrupt)
		}
		return path == "/v1/replays"
	}
	file := write(t, filepath.Join(t.TempDir(), "e.csv"), retailRows(10))
	account, err := Run(ctx, Options{Events: []string{file}, Map: retailMap(t), To: f.URL, Key: "s"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	same(t, Account{Read: 10, Accepted: 3, Duplicate: 1, Denied: 1, Unsettled: 5}, account)
}
