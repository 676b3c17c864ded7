package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	pq "github.com/parquet-go/parquet-go"

	"sluice/ingest"
	"sluice/internal/config"
)

// personalRow is a row of personal_events as the warehouse writes it.
type personalRow struct {
	Subject        []byte   `parquet:"subject"`
	Event          []byte   `parquet:"event"`
	Session        []byte   `parquet:"session"`
	Type           string   `parquet:"type,dict"`
	Time           int64    `parquet:"time,timestamp(microsecond)"`
	ItemIDs        []string `parquet:"item_ids,list"`
	ItemIndexes    []int64  `parquet:"item_indexes,list"`
	ItemQuantities []int64  `parquet:"item_quantity_micros,list"`
	ItemPrices     []int64  `parquet:"item_prices,list"`
	SearchTerm     string   `parquet:"search_term"`
	Surface        string   `parquet:"surface"`
	Recommendation []byte   `parquet:"recommendation"`
	Locale         string   `parquet:"locale"`
	Floor          []byte   `parquet:"floor"`
}

// riskRow is a row of risk_events.
type riskRow struct {
	Subject          []byte `parquet:"subject"`
	Event            []byte `parquet:"event"`
	Session          []byte `parquet:"session"`
	Type             string `parquet:"type"`
	Time             int64  `parquet:"time,timestamp(microsecond)"`
	Channel          string `parquet:"channel"`
	Order            []byte `parquet:"order"`
	Value            int64  `parquet:"value"`
	HasValue         bool   `parquet:"has_value"`
	Currency         string `parquet:"currency"`
	Instrument       []byte `parquet:"instrument"`
	BillingCountry   string `parquet:"billing_country"`
	ShippingCountry  string `parquet:"shipping_country"`
	ShippingAddress  []byte `parquet:"shipping_address"`
	Counterparty     []byte `parquet:"counterparty"`
	CounterpartyKind string `parquet:"counterparty_kind"`
	Device           []byte `parquet:"device"`
	IP               []byte `parquet:"ip"`
	DeviceModel      string `parquet:"device_model"`
	DeviceOS         string `parquet:"device_os"`
	AppVersion       string `parquet:"app_version"`
	EmailDomain      string `parquet:"email_domain"`
	Email            []byte `parquet:"email"`
	Phone            []byte `parquet:"phone"`
	SignupTime       int64  `parquet:"signup_time,timestamp(microsecond)"`
	AccountStatus    string `parquet:"account_status"`
	FailureReason    string `parquet:"failure_reason"`
	UserAgent        string `parquet:"user_agent"`
	Carrier          string `parquet:"carrier"`
	MAC              []byte `parquet:"mac"`
	IMEI             []byte `parquet:"imei"`
	EventHash        uint64 `parquet:"event_hash"`
}

const rowTime = int64(1_790_812_800_123_456) // 2026-10-01T00:00:00.123456Z

func pseudonym(b byte) []byte { return []byte{b, 0xff, 15: b} } // no UTF-8

func text(b byte) string { return fmt.Sprintf("%02xff%026x%02x", b, 0, b) }

func writeRows[T any](t testing.TB, file string, rows ...T) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := pq.WriteFile(file, rows); err != nil {
		t.Fatal(err)
	}
	return file
}

// eventsOf maps a file's rows with the map that a run would take, and holds every event against what the collector accepts.
func eventsOf(t *testing.T, file string) []string {
	t.Helper()
	s, err := openFile(file, layout{}, new(atomic.Int64))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	plain, err := Events([]string{"jurisdiction=CN"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := plain.forTable(s.table)
	if err != nil {
		t.Fatal(err)
	}
	if unmapped := m.Unmapped(s.Columns()); len(unmapped) > 0 {
		t.Errorf("columns that the built-in map neither uses nor ignores: %v", unmapped)
	}
	mapper := NewMapper(m)
	if err := mapper.Bind(file, s.Columns(), true); err != nil {
		t.Fatal(err)
	}
	var events []string
	for {
		cells, err := s.Read()
		if errors.Is(err, io.EOF) {
			return events
		}
		if err != nil {
			t.Fatal(err)
		}
		mapped, fault := mapper.Map(cells)
		if fault != nil {
			t.Fatal(fault)
		}
		if _, _, fault := ingest.Decode(slices.Clone(mapped.Event)); fault != nil {
			t.Errorf("the collector refuses %s: %+v", mapped.Event, fault)
		}
		events = append(events, string(mapped.Event))
	}
}

// TestTablesBecomeEvents: rows of the warehouse's tables are events again, with pseudonyms for what they were made of.
func TestTablesBecomeEvents(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{
			"risk", writeRows(t, filepath.Join(dir, "risk.parquet"), riskRow{
				Subject: pseudonym(1), Event: pseudonym(2), Type: "payment", Time: rowTime, Channel: "web", Order: pseudonym(3), Value: -12_050_000, HasValue: true,
				Currency: "EUR", Counterparty: pseudonym(4), CounterpartyKind: "terminal", IP: pseudonym(5), Email: pseudonym(6), EmailDomain: "example.org",
				SignupTime: 0, EventHash: 1 << 63,
			}, riskRow{Subject: pseudonym(1), Event: pseudonym(2), Type: "login", Time: rowTime, SignupTime: rowTime}, riskRow{
				Subject: pseudonym(1), Event: pseudonym(2), Type: "search", Time: rowTime,
			}, riskRow{Subject: pseudonym(1), Event: pseudonym(2), Type: "view_item", Time: rowTime}),
			[]string{
				`{"id":"E2","type":"payment","time":"2026-10-01T00:00:00.123456Z","user_id":"E1","channel":"web","jurisdiction":"CN",` +
					`"order":{"order_id":"E3","value":"-12.05","currency":"EUR"},"counterparty":{"id":"E4","kind":"terminal"},"network":{"ip":"E5"},` +
					`"account":{"email":"E6@example.org"}}`,
				`{"id":"E2","type":"login","time":"2026-10-01T00:00:00.123456Z","user_id":"E1","jurisdiction":"CN","account":{"signup_time":"2026-10-01T00:00:00.123456Z"}}`,
				`{"id":"E2","type":"search","time":"2026-10-01T00:00:00.123456Z","user_id":"E1","jurisdiction":"CN","search_term":"unknown"}`,
				`{"id":"E2","type":"view_item","time":"2026-10-01T00:00:00.123456Z","user_id":"E1","jurisdiction":"CN","items":[{"item_id":"unknown"}]}`,
			},
		},
		{
			"personal", writeRows(t, filepath.Join(dir, "personal.parquet"), personalRow{
				Subject: pseudonym(1), Event: pseudonym(2), Session: pseudonym(3), Type: "purchase", Time: rowTime, ItemIDs: []string{`a"灯`, "b"},
				ItemIndexes: []int64{0, 7}, ItemQuantities: []int64{2_000_000, 0}, ItemPrices: []int64{19_990_000, 0}, Surface: "home", Recommendation: pseudonym(4), Locale: "zh-CN",
				Floor: pseudonym(5),
			}, personalRow{Subject: pseudonym(1), Event: pseudonym(2), Type: "search", Time: rowTime, SearchTerm: "lamp"}),
			[]string{
				`{"id":"E2","type":"purchase","time":"2026-10-01T00:00:00.123456Z","user_id":"E1","session_id":"E3","surface":"home","recommendation_id":"E4",` +
					`"locale":"zh-CN","jurisdiction":"CN","items":[{"item_id":"a\"灯","quantity":2,"price":"19.99"},{"item_id":"b","index":7}],"order":{"order_id":"E2"}}`,
				`{"id":"E2","type":"search","time":"2026-10-01T00:00:00.123456Z","user_id":"E1","jurisdiction":"CN","search_term":"lamp"}`,
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := eventsOf(t, c.file)
			for i := range got {
				for b := range byte(7) {
					got[i] = strings.ReplaceAll(got[i], text(b), fmt.Sprintf("E%d", b))
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTablesThroughARun: a folder of the warehouse is replayed in the order of its days, without a map.
func TestTablesThroughARun(t *testing.T) {
	dir := t.TempDir()
	row := func(event byte) personalRow {
		return personalRow{Subject: pseudonym(1), Event: pseudonym(event), Type: "search", SearchTerm: "x", Time: rowTime + int64(event)}
	}
	writeRows(t, filepath.Join(dir, "day=2026-10-02", "a.parquet"), row(3))
	writeRows(t, filepath.Join(dir, "day=2026-10-01", "b.parquet"), row(2))
	writeRows(t, filepath.Join(dir, "day=2026-10-01", "a.parquet"), row(1))
	writeRows(t, filepath.Join(dir, "day=2026-10-01", "_half-written.parquet"), row(4))
	writeRows(t, filepath.Join(dir, ".trash", "c.parquet"), row(5))
	write(t, filepath.Join(dir, "manifest.json"), "{}")
	foreign := write(t, filepath.Join(dir, "foreign.jsonl"), `{"type":"page_view"}`)
	other := writeRows(t, filepath.Join(t.TempDir(), "risk.parquet"), riskRow{})
	for _, c := range []struct {
		name, table string
		events, set []string
		want        string // "" = three events
	}{
		{name: "folder", events: []string{dir}, set: []string{"jurisdiction=CN"}},
		{name: "pattern", events: []string{filepath.Join(dir, "day=2026-*")}, set: []string{"jurisdiction=CN"}},
		{name: "map", table: "personal_events", events: []string{dir}, set: []string{"jurisdiction=CN"}},
		{
			name: "no jurisdiction", events: []string{dir},
			want: "warehouse:personal_events: needs --set jurisdiction=CN: the warehouse does not tell it, and it decides what a person's silence means",
		},
		{name: "two tables", events: []string{dir, other}, set: []string{"jurisdiction=CN"}, want: other + ": must hold rows of the warehouse's table personal_events"},
		{
			name: "other table", table: "risk_events", events: []string{dir}, set: []string{"jurisdiction=CN"},
			want: "day=2026-10-01: must hold rows of the warehouse's table risk_events",
		},
		{
			name: "mixed", events: []string{foreign, other}, set: []string{"jurisdiction=CN"},
			want: other + ": needs --map: not all that is read are rows of the warehouse's table risk_events",
		},
		{name: "empty folder", events: []string{t.TempDir()}, want: "must be a folder with .parquet files"},
		{name: "no match", events: []string{filepath.Join(dir, "day=1999-*")}, want: "must be a pattern that something matches"},
		{name: "broken pattern", events: []string{filepath.Join(dir, "day=[")}, want: "must be a pattern such as day=2026-10-*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Events(c.set)
			if c.table != "" {
				m, err = LoadMap(TablePrefix+c.table, c.set)
			}
			if err != nil {
				t.Fatal(err)
			}
			f := newFakeServer(t)
			account, err := Run(t.Context(), Options{Events: c.events, Map: m, To: f.URL, Key: "s"})
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				same(t, Account{Read: 3, Accepted: 3}, account)
				if f.disorder > 0 || len(account.Unmapped) > 0 {
					t.Errorf("%d rows out of order, unmapped %v", f.disorder, account.Unmapped)
				}
				return
			}
			var fault *config.Error
			if !errors.As(err, &fault) || !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestUnknownTable(t *testing.T) {
	_, err := LoadMap("warehouse:consents", nil)
	const want = "--map: must be one of warehouse:risk_events, warehouse:personal_events, warehouse:history_events, the tables that hold events"
	var fault *config.Error
	if !errors.As(err, &fault) || err.Error() != want {
		t.Error(err)
	}
}

// TestTableRowsAgain: a dead letter of a table's row is mapped again by the built-in map.
func TestTableRowsAgain(t *testing.T) {
	m, err := LoadMap("warehouse:history_events", []string{"jurisdiction=CN"})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(map[string]string{
		"subject": text(1), "event": text(2), "type": "view_item", "time": "2026-10-01T00:00:00Z", "items": `[{"item_id":"a"}]`, "search_term": "", "order_id": "", "floor": text(3),
	})
	if err != nil {
		t.Fatal(err)
	}
	event, err := NewRemapper(m).MapRow(payload)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, fault := ingest.Decode(event); fault != nil {
		t.Errorf("%s: %+v", event, fault)
	}
}

func TestDerivedCells(t *testing.T) {
	for micros, want := range map[string]string{"0": "0", "1": "0.000001", "-1": "-0.000001", "12050000": "12.05", "-7000000": "-7", "x": "x"} {
		if got := moneyOf(micros); got != want {
			t.Errorf("%s micros are %s, expected %s", micros, got, want)
		}
	}
	if got := itemsOf([]string{`["a","b"]`, "[1]", "[1,2]", "[1,2]"}); json.Valid([]byte(got)) {
		t.Errorf("lists that do not fit together are %s", got)
	}
	long := strings.Repeat("ab", 200)
	if got := shortID([]string{long}); len(got) != 64 {
		t.Errorf("a long id becomes %s", got)
	}
}

// TestDayInTheOrderOfTime: files are sorted by people, a day is replayed as it happened. It holds for one file, too.
func TestDayInTheOrderOfTime(t *testing.T) {
	dir := t.TempDir()
	row := func(person, event byte, after int64) personalRow {
		return personalRow{Subject: pseudonym(person), Event: pseudonym(event), Type: "search", SearchTerm: "x", Time: rowTime + after}
	}
	one := writeRows(t, filepath.Join(dir, "day=2026-10-01", "a.parquet"), row(1, 2, 10), row(1, 3, 300), row(2, 4, 5))
	writeRows(t, filepath.Join(dir, "day=2026-10-01", "b.parquet"), row(1, 5, 400), row(3, 6, 1), row(3, 7, 10))
	writeRows(t, filepath.Join(dir, "day=2026-10-02", "a.parquet"), row(1, 8, 0))
	for _, c := range []struct{ path, want string }{{dir, "6 4 2 7 3 5 8"}, {one, "4 2 3"}} {
		all, err := inputs([]string{c.path})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, in := range all {
			s, err := (&Options{Map: newMap("")}).open(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			event := slices.Index(s.Columns(), "event")
			for {
				cells, err := s.Read()
				if err != nil {
					if !errors.Is(err, io.EOF) {
						t.Error(err)
					}
					break
				}
				got = append(got, strings.TrimLeft(cells[event][:2], "0"))
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if order := strings.Join(got, " "); order != c.want {
			t.Errorf("%s: events %s, expected %s", c.path, order, c.want)
		}
	}
}

// TestFolderOfTwoTables: the files of a folder are of one table.
func TestFolderOfTwoTables(t *testing.T) {
	dir := t.TempDir()
	writeRows(t, filepath.Join(dir, "a.parquet"), personalRow{})
	second := writeRows(t, filepath.Join(dir, "b.parquet"), riskRow{})
	m, err := Events([]string{"jurisdiction=CN"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), Options{Events: []string{dir}, Map: m, To: "http://127.0.0.1:1", Key: "s"})
	want := second + ": must hold rows of the warehouse's table personal_events, as the folder's first file does"
	var fault *config.Error
	if !errors.As(err, &fault) || err.Error() != want {
		t.Error(err)
	}
}

func BenchmarkDay(b *testing.B) {
	rows := make([]riskRow, 20_000)
	for i := range rows {
		rows[i] = riskRow{
			Subject: pseudonym(byte(i)), Event: pseudonym(byte(i)), Type: "payment", Time: rowTime + int64(i*7919%20_000), Order: pseudonym(3), Value: 12_050_000, HasValue: true,
			Currency: "EUR", Counterparty: pseudonym(4), CounterpartyKind: "terminal", Device: pseudonym(5), IP: pseudonym(6),
		}
	}
	in := input{files: []string{writeRows(b, filepath.Join(b.TempDir(), "a.parquet"), rows...)}}
	in.name = in.files[0]
	b.ReportAllocs()
	for b.Loop() {
		s, err := (&Options{Map: newMap("")}).open(b.Context(), in)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for ; ; n++ {
			if _, err := s.Read(); err != nil {
				break
			}
		}
		if n != len(rows) || s.Close() != nil {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rows)), "ns/row")
}
