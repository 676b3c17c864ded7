package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// dataDir holds larger files on a machine that has them; the tests that read them say otherwise that they are left out.
const dataDir = "../../shared/data"

// mapAll maps every row of a file and returns the events; of a row that cannot be mapped, its code, pointer and fault.
func mapAll(t testing.TB, m *Map, file string) []string {
	t.Helper()
	s, err := openFile(file, m.layout, new(atomic.Int64))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mapper := NewMapper(m)
	var out []string
	for {
		cells, err := s.Read()
		var bad *BadRow
		switch {
		case errors.Is(err, io.EOF):
			return out
		case errors.As(err, &bad):
			out = append(out, fmt.Sprintf("%s %d %s: %s | %s", s.unit(), s.at(), bad.Code, bad.Error(), bad.Payload))
			continue
		case err != nil:
			t.Fatal(err)
		}
		if err := mapper.bind(file, s); err != nil {
			t.Fatal(err)
		}
		mapped, fault := mapper.Map(cells)
		if fault != nil {
			out = append(out, fault.Code+" "+fault.Pointer+": "+fault.Error())
			continue
		}
		out = append(out, string(mapped.Event))
	}
}

func retailMap(t testing.TB) *Map {
	t.Helper()
	m, err := LoadMap("testdata/retail.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMapRetail(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "e.csv"), strings.Join([]string{
		"\ufefftime,user_id,type, item_id",
		"1430623510,1176,view,67",
		"1430623510,1176,view,67",
		`1430623510.25,1176,buy,"6""8, é"`,
		"1430623510,,cart,",
		"1430623510,1,steal,3",
		"soon,1,view,3",
		`1430623510,1,view,6"8`,
		"1430623510,1,view,\xff",
		"1430623510,1,view",
	}, "\n"))
	event := func(rest, n string) string {
		id := hash(rest + "}\n" + n)
		return `{"id":"` + id + `",` + rest[1:] + `,"order":{"order_id":"` + id + `"}}`
	}
	first := `{"type":"view_item","time":"2015-05-03T03:25:10Z","user_id":"1176","channel":"server","jurisdiction":"CN","items":[{"item_id":"67"}]`
	want := []string{
		event(first, "0"),
		event(first, "1"),
		event(`{"type":"purchase","time":"2015-05-03T03:25:10.25Z","user_id":"1176","channel":"server","jurisdiction":"CN","items":[{"item_id":"6\"8, é"}]`, "0"),
		event(`{"type":"add_to_cart","time":"2015-05-03T03:25:10Z","channel":"server","jurisdiction":"CN"`, "0"),
		"unknown_value /type: column type: must be a word that the map's values.type lists",
		"invalid_time /time: column time: must be a number (unit s) or a date such as 2018-04-01 00:00:31",
		event(`{"type":"view_item","time":"2015-05-03T03:25:10Z","user_id":"1","channel":"server","jurisdiction":"CN","items":[{"item_id":"6\"8"}]`, "0"),
		"invalid_utf8 /items/0/item_id: column item_id: must be UTF-8, and looks like windows-1252 (Latin-1): set `encoding: windows-1252` in the map",
		"line 10 wrong_columns: must have 4 columns, has 3 | 1430623510,1,view",
	}
	if diff := cmp.Diff(want, mapAll(t, retailMap(t), file)); diff != "" {
		t.Error(diff)
	}
}

func TestMapFraud(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "e.csv"),
		"TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD,TX_FRAUD_SCENARIO\n0,2018-04-01 00:00:31,596,3156,146.0,0,0\n")
	want := []string{`{"id":"0","type":"payment","time":"2018-04-01T00:00:31Z","user_id":"596","channel":"server","jurisdiction":"CN",` +
		`"order":{"order_id":"0","value":"146","currency":"EUR"},"counterparty":{"id":"3156","kind":"terminal"}}`}
	m := fraudMap(t)
	if diff := cmp.Diff(want, mapAll(t, m, file)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"other"}, m.Unmapped([]string{"TX_FRAUD", "other", "TX_AMOUNT"})); diff != "" {
		t.Error(diff)
	}
}

// TestIDsAreStableAcrossFormats: the same rows have the same derived ids, however the file writes them.
func TestIDsAreStableAcrossFormats(t *testing.T) {
	dir := t.TempDir()
	pack := func(name string, wrap func(io.Writer) io.WriteCloser, text string) string {
		var b bytes.Buffer
		w := wrap(&b)
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return write(t, filepath.Join(dir, name), b.String())
	}
	csv := "time,user_id,type,item_id\n1430623510,1176,view,67\n1430623510.50,7,buy,é\n1430623510,1176,view,67\n"
	files := []string{
		write(t, filepath.Join(dir, "a.csv"), csv),
		write(t, filepath.Join(dir, "b.tsv"), strings.ReplaceAll(csv, ",", "\t")),
		write(t, filepath.Join(dir, "c.jsonl"), `{"time":1430623510,"user_id":1176,"type":"view","item_id":"67"}`+"\n"+
			`{"item_id":"\u00e9","type":"buy","user_id":"7","time":1430623510.5}`+"\n"+`{"time":"2015-05-03 03:25:10","user_id":"1176","type":"view","item_id":67}`+"\n"),
		write(t, filepath.Join(dir, "d.csv"), "user_id,type,item_id,time\n1176,view,67,1430623510.0\n7,buy,é,1.4306235105e9\n1176,view,67,2015-05-03T05:25:10+02:00\n"),
		pack("e.csv.gz", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, csv),
		pack("f.csv.zst", func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z }, csv),
		"parquet/testdata/clicks.parquet",
	}
	want := mapAll(t, retailMap(t), files[0])
	for _, file := range files[1:] {
		if diff := cmp.Diff(want, mapAll(t, retailMap(t), file)); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

func TestValues(t *testing.T) {
	for _, c := range []struct{ path, time, cell, want string }{
		{"order.value", "", "57.160", `"57.16"`},
		{"order.value", "", "-0.0", `"0"`},
		{"order.value", "", "007", `"7"`},
		{"order.value", "", "+1.5e3", `"1500"`},
		{"order.value", "", "1e-7", `"0.0000001"`},
		{"order.value", "", ".5", `"0.5"`},
		{"order.value", "", "1,234.5", "invalid_money"},
		{"order.value", "", "-", "invalid_money"},
		{"order.value", "", ".", "invalid_money"},
		{"order.value", "", "1e999", "invalid_money"},
		{"items.quantity", "", "3.0", "3"},
		{"items.quantity", "", "3.5", "3.5"},
		{"items.quantity", "", "half", "invalid_number"},
		{"consent.gpc", "", "1", "true"},
		{"consent.gpc", "", "yes", "invalid_bool"},
		{"device.apps", "", `["a", "b"]`, `["a","b"]`},
		{"device.apps", "", `["a"`, "invalid_array"},
		{"time", "", "1e11", "time_unit"},
		{"time", "", "946684800", `"2000-01-01T00:00:00Z"`},
		{"time", "", "946684799", "time_unit"},
		{"time", "", "20261101", "time_unit"},
		{"time", "{unit: ms}", "1764000000", "time_unit"},
		{"time", "{unit: ns}", "1764000000000000000000", "time_unit"},
		{"time", "", "1999-12-31", "implausible_time"},
		{"time", "", "2999-12-31T00:00:00Z", "implausible_time"},
		{"time", "{earliest: 1970-01-01, latest: 9999-01-01}", "1e11", `"5138-11-16T09:46:40Z"`},
		{"time", "{earliest: 1970-01-01}", "1999-12-31", `"1999-12-31T00:00:00Z"`},
		{"time", "{unit: ms}", "1430623510123", `"2015-05-03T03:25:10.123Z"`},
		{"time", "{unit: us}", "1430623510123456", `"2015-05-03T03:25:10.123456Z"`},
		{"time", "{unit: ns}", "1430623510123456789", `"2015-05-03T03:25:10.123456Z"`},
		{"time", "{unit: ns, earliest: 1970-01-01}", "12", `"1970-01-01T00:00:00Z"`},
		{"time", "{earliest: 1960-01-01}", "-1.5", `"1969-12-31T23:59:58.5Z"`},
		{"time", "", "1430623510.123456789", `"2015-05-03T03:25:10.123456Z"`},
		{"time", "{zone: Asia/Shanghai}", "2018-04-01 00:00:31", `"2018-03-31T16:00:31Z"`},
		{"time", "{zone: Asia/Shanghai}", "2018-04-01T00:00:31Z", `"2018-04-01T00:00:31Z"`},
		{"time", "", "2018-04-30 23:59:59.5", `"2018-04-30T23:59:59.5Z"`},
		{"time", "", "2018-02-30 00:00:00", "invalid_time"},
		{"time", "", "2018-13-01 00:00:00", "invalid_time"},
		{"time", "", "2018-04-01", `"2018-04-01T00:00:00Z"`},
		{"time", "{layout: 02/01/06 15h04, zone: Europe/Paris}", "01/04/18 10h30", `"2018-04-01T08:30:00Z"`},
		{"time", "{layout: '20060102'}", "20180401", `"2018-04-01T00:00:00Z"`},
		{"time", "{layout: '20060102'}", "2018-04-01", "invalid_time"},
		{"time", "", "2018-04-01T00:00:31+02", `"2018-03-31T22:00:31Z"`},
		{"time", "", "2018-04-01T00:00:31+0200", `"2018-03-31T22:00:31Z"`},
		{"time", "", "2018-04-01 00:00:31.25-03:30", `"2018-04-01T03:30:31.25Z"`},
		{"time", "", "2018-04-01 00:00 +0200", `"2018-03-31T22:00:00Z"`},
		{"time", "", "2018-04-01 00:00:31 UTC", `"2018-04-01T00:00:31Z"`},
		{"time", "{zone: Asia/Shanghai}", "2018-04-01t00:00:31z", `"2018-04-01T00:00:31Z"`},
		{"time", "", "2018-04-01T00:00:31+2", "invalid_time"},
		{"time", "", "2018-04-01T00:00:31+24", "invalid_time"},
		{"time", "", "2018-04-01T", "invalid_time"},
		{"time", "", "2018-04-01T00:00:31+02:00:00", "invalid_time"},
		{"account.signup_time", "", "0", "time_unit"},
		{"user_id", "", "a\tb\"\\", `"a\tb\"\\"`},
	} {
		t.Run(c.path+" "+c.cell, func(t *testing.T) {
			text := "set: {type: login, jurisdiction: CN}\nfields: {user_id: u, time: t}\n"
			if c.time != "" {
				text += "time: " + c.time + "\n"
			}
			m, err := ParseMap("m.yaml", []byte(text), nil)
			if err != nil {
				t.Fatal(err)
			}
			got, code := m.encode(nil, &paths[findPath(c.path)], c.cell)
			if code != "" {
				got = []byte(code)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestEventFiles: JSON lines files that hold events already need no map.
func TestEventFiles(t *testing.T) {
	m, err := Events([]string{"jurisdiction=CN"})
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, filepath.Join(t.TempDir(), "e.jsonl"),
		`{"type":"purchase","id":"e1","time":"2026-01-02T03:04:05+01:00","anonymous_id":"a","order":{"value":3.10,"order_id":"o"},"items":[{"item_id":"x"},{"item_id":"y"}],"consent":{"gpc":false,"denied":["personalize"]}}`)
	want := []string{`{"id":"e1","type":"purchase","time":"2026-01-02T02:04:05Z","anonymous_id":"a","jurisdiction":"CN","items":[{"item_id":"x"},{"item_id":"y"}],` +
		`"order":{"order_id":"o","value":"3.1"},"consent":{"gpc":false,"denied":["personalize"]}}`}
	if diff := cmp.Diff(want, mapAll(t, m, file)); diff != "" {
		t.Error(diff)
	}
}

// TestJurisdictionMustBeSet: what a person's silence means is never guessed.
func TestJurisdictionMustBeSet(t *testing.T) {
	dir := t.TempDir()
	native, err := Events(nil)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := Columns([]string{"time=t", "user_id=u", "type=kind", "jurisdiction=where"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"missing_field /jurisdiction: must have a jurisdiction: set it with --set jurisdiction=CN or in the map"}
	for _, c := range []struct {
		m          *Map
		name, text string
	}{
		{columns, "e.csv", "t,u,kind,where\n1430623510,u,login,\n"},
		{native, "e.jsonl", `{"id":"e1","type":"login","time":"2026-01-02T03:04:05Z","user_id":"u"}` + "\n"},
	} {
		if diff := cmp.Diff(want, mapAll(t, c.m, write(t, filepath.Join(dir, c.name), c.text))); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestRemapper(t *testing.T) {
	r := NewRemapper(retailMap(t))
	row := []byte(`{"extra":"x","item_id":"67","time":"1430623510","type":"view","user_id":"1176"}`)
	first, err := r.MapRow(row)
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.MapRow(row)
	if err != nil || bytes.Equal(first, second) || !bytes.Contains(first, []byte(`"type":"view_item"`)) {
		t.Errorf("%v\n%s\n%s", err, first, second)
	}
	for payload, want := range map[string]string{
		`{"time":"soon","user_id":"1","type":"view","item_id":"1"}`: "column time: must be a number (unit s) or a date such as 2018-04-01 00:00:31",
		`{"time":"1430623510","user_id":"1","type":"view"}`:         `testdata/retail.yaml:9:18: fields.items.item_id: column "item_id" is not in the dead letter, which has time, user_id, type`,
		`[1]`: "a row must be a JSON object",
	} {
		if _, err := r.MapRow([]byte(payload)); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// FuzzMap: whatever a file holds, a row becomes a JSON object or a fault that does not show its cells.
func FuzzMap(f *testing.F) {
	f.Add("1430623510", "1176", "view", "67")
	f.Add("2018-04-01 00:00:31", "\xff", "buy", "\"\\\n\u2028")
	f.Add("1e300", "", "", "")
	f.Add("-9223372036854775808.999999999", "u", "cart", "{")
	m := retailMap(f)
	f.Fuzz(func(t *testing.T, at, user, kind, item string) {
		mapper := NewMapper(m)
		if err := mapper.Bind("f", []string{"time", "user_id", "type", "item_id"}, true); err != nil {
			t.Fatal(err)
		}
		mapped, fault := mapper.Map([]string{at, user, kind, item})
		if fault != nil {
			if len(item) > 12 && strings.Contains(fault.Error(), item) {
				t.Errorf("the fault shows a cell: %v", fault)
			}
			return
		}
		if !jsontext.Value(mapped.Event).IsValid() {
			t.Errorf("not JSON: %s", mapped.Event)
		}
	})
}

// FuzzLines: a line becomes cells or a bad row, and the reader comes to an end.
func FuzzLines(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":{"c":[1,{"d":null}],"e":"x"}}` + "\n\n{\n"))
	f.Add([]byte("\ufeff{\"a\":tru}\r\n[]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newLinesReader(bytes.NewReader(data))
		for range len(data) + 1 {
			_, err := r.Read()
			var bad *BadRow
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil && !errors.As(err, &bad) {
				t.Fatal(err)
			}
		}
		t.Fatal("the reader does not end")
	})
}

// TestConsentThatCannotBeReadIsNotDropped: a file of events may deny in words that no field has; nothing of such a row is used.
func TestConsentThatCannotBeReadIsNotDropped(t *testing.T) {
	columns := []string{"type", "time", "jurisdiction", "user_id", "consent.denied", "consent", "Consent.denied", "consent.optout"}
	for _, c := range []struct {
		name string
		told []string // of the last four columns
		want string
	}{
		{"nothing", []string{"", "", "", ""}, ""},
		{"a denial", []string{`["personalize"]`, "", "", ""}, ""},
		{"a word", []string{"", "deny", "", ""}, "consent_unclear"},
		{"a denial in another case", []string{"", "", `["personalize"]`, ""}, "consent_unclear"},
		{"a member that no event has", []string{"", "", "", "true"}, "consent_unclear"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Events(nil)
			if err != nil {
				t.Fatal(err)
			}
			mp := NewMapper(m)
			if err := mp.Bind("f", columns, true); err != nil {
				t.Fatal(err)
			}
			_, fault := mp.Map(append([]string{"login", "2026-11-01T00:00:00Z", "EU", "u"}, c.told...))
			switch {
			case fault == nil && c.want != "", fault != nil && fault.Code != c.want:
				t.Errorf("%v, want %q", fault, c.want)
			}
		})
	}
}
