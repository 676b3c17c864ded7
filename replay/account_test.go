package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	pq "github.com/parquet-go/parquet-go"

	"sluice/ingest"
	"sluice/internal/canonical"
	"sluice/internal/config"
)

// caseMap maps columns time, user, item and type, in the manner of most of these files.
func caseMap(t testing.TB, more string) *Map {
	t.Helper()
	m, err := ParseMap("map.yaml", []byte("set: {channel: server, jurisdiction: CN}\nfields: {time: time, user_id: user, items.item_id: item, type: type}\n"+more), nil)
	if err != nil {
		t.Fatal(err)
	}
	m.time.now = func() time.Time { return time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC) }
	return m
}

// replayed is what a run tells and the server got.
type replayed struct {
	account Account
	err     error
	notes   string
	server  *fakeServer
}

func (r *replayed) users() (all []string) {
	for user := range r.server.order {
		all = append(all, user)
	}
	slices.Sort(all)
	return all
}

// letters are the dead letters' places and reasons.
func (r *replayed) letters() (all []string) {
	for _, l := range r.server.letters {
		all = append(all, fmt.Sprint(l["code"], " ", l["detail"]))
	}
	slices.Sort(all)
	return all
}

func replayFile(t *testing.T, m *Map, name, text string, more ...func(o *Options)) *replayed {
	t.Helper()
	t.Chdir(t.TempDir())
	write(t, name, text)
	r := &replayed{server: newFakeServer(t)}
	var notes bytes.Buffer
	o := Options{Events: []string{name}, Map: m, To: r.server.URL, Key: "s", Grants: []string{"personalize"}, Stderr: &notes}
	for _, change := range more {
		change(&o)
	}
	r.account, r.err = Run(t.Context(), o)
	r.notes = notes.String()
	if a := &r.account; a.Read != a.Accepted+a.Duplicate+a.Denied+a.Rejected+a.Unsettled {
		t.Errorf("the account does not add up: %+v", a)
	}
	return r
}

func rowsOf(format string, from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&b, format, i, i)
	}
	return b.String()
}

// TestTSVQuotesNothing: a quote that leads a cell of a TSV file is part of it, and nobody's row ends in another person's field.
func TestTSVQuotesNothing(t *testing.T) {
	m := caseMap(t, "")
	m.fields["search_term"] = "search_term"
	r := replayFile(t, m, "e.tsv", "time\tuser\titem\ttype\tsearch_term\n"+
		"2026-11-21T10:00:00Z\tq0\tit0\tsearch\tlamp\n2026-11-22T10:00:00Z\tq1\tit1\tsearch\t\"12 inch lamp\n2026-11-23T10:00:00Z\tq2\tit2\tsearch\tshade\n"+
		"2026-11-24T10:00:00Z\tq3\tit3\tsearch\t\"\"\r\n2026-11-25T10:00:00Z\tq4\tit4\tsearch\t5\" nail\n2026-11-26T10:00:00Z\tq5\tit5\tsearch\t\"desk\"")
	if r.err != nil || r.account.Accepted != 6 {
		t.Errorf("%+v, %v", r.account, r.err)
	}
	if diff := cmp.Diff([]string{"q0", "q1", "q2", "q3", "q4", "q5"}, r.users()); diff != "" {
		t.Error(diff)
	}
}

// TestUnclosedQuoteCostsOneRow: the rows behind it are read, and the error names the line where the quote opens.
func TestUnclosedQuoteCostsOneRow(t *testing.T) {
	const header, good = "time,user,item,type,note\n", "2026-11-21T10:00:%02dZ,u%d,it,view_item,a\n"
	bad := func(cells string) string { return "2026-11-21T10:00:00Z,bad,it,view_item," + cells + "\n" }
	for _, c := range []struct {
		name, text string
		accepted   int64
		letters    []string
	}{
		{
			"to the end of the file", header + rowsOf(good, 1, 1) + bad(`"unclosed`) + rowsOf(good, 2, 6), 6,
			[]string{"broken_row e.csv line 3: the quote that opens here must be closed"},
		},
		{
			"up to another cell's quote", header + bad(`"unclosed`) + rowsOf(good, 1, 3) + bad(`"fine"`) + rowsOf(good, 4, 5), 6,
			[]string{"broken_row e.csv line 2: the quote that opens here must be closed before a , or the end of the line"},
		},
		{
			"two of them", header + rowsOf(good, 1, 2) + bad(`"one`) + rowsOf(good, 3, 4) + bad(`"two`) + rowsOf(good, 5, 6), 6,
			[]string{
				"broken_row e.csv line 4: the quote that opens here must be closed before a , or the end of the line",
				"broken_row e.csv line 7: the quote that opens here must be closed",
			},
		},
		{
			"behind a cell of three lines", header + bad("\"a\nb\nc\"") + bad("\"a\n\nb\",\"c") + rowsOf(good, 1, 2), 3,
			[]string{"broken_row e.csv line 7: the quote that opens here must be closed"},
		},
		{
			"more behind it than a record may hold", header + bad(`"unclosed`) + strings.Repeat(rowsOf(good, 1, 50), 1000), 50_000,
			[]string{"broken_row e.csv line 2: the quote that opens here must be closed within 1 MiB"},
		},
		{
			"text behind a closing quote", header + bad(`"12" nail`) + rowsOf(good, 1, 2), 2,
			[]string{"broken_row e.csv line 2: the quote that opens here must be closed before a , or the end of the line"},
		},
		{"a quote inside of a cell stands for itself", header + bad(`12" nail`) + bad(`a"b"c`) + bad(`"12"" nail"`), 3, nil},
		{"a line that is too long", header + bad(strings.Repeat("x", maxRecord)) + rowsOf(good, 1, 2), 2, []string{"too_long e.csv line 2: a line must be of at most 1 MiB"}},
		{"lines that end with a carriage return", strings.ReplaceAll(header+rowsOf(good, 1, 3), "\n", "\r"), 3, nil},
		{"columns too many and too few", header + bad("a,b") + "x\n\n" + rowsOf(good, 1, 1), 1, []string{
			"wrong_columns e.csv line 2: must have 5 columns, has 6", "wrong_columns e.csv line 3: must have 5 columns, has 1",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := replayFile(t, caseMap(t, ""), "e.csv", c.text, func(o *Options) { o.MaxRejected = 9 })
			if r.err != nil || r.account.Accepted+r.account.Duplicate != c.accepted || r.account.Rejected != int64(len(c.letters)) {
				t.Errorf("%+v, %v", r.account, r.err)
			}
			if diff := cmp.Diff(c.letters, r.letters()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRunWhoseRowsAllFail says so, with the reason, and is an error whatever --max-rejected says; nothing is called denied that was never asked about.
func TestRunWhoseRowsAllFail(t *testing.T) {
	for _, c := range []struct{ name, text, note string }{
		{"dates", "time,user,item,type\n" + rowsOf("11/%02d/2026,ab%d,it,view_item\n", 1, 8), "rejected 8 rows, invalid_time, first at e.csv line 2: column time: must be a number (unit s) or a date such as " +
			"2018-04-01 00:00:31; `time: {layout: \"01/02/2006\"}` or `{layout: \"02/01/2006\"}` in the map would fit\n"},
		{"Latin-1", "time,user,item,type\n" + rowsOf("2026-11-%02d 10:00:00,caf\xe9%d,it,view_item\n", 1, 8), "rejected 8 rows, invalid_utf8, first at e.csv line 2: column user: must be UTF-8, and looks like windows-1252 " +
			"(Latin-1): set `encoding: windows-1252` in the map\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := replayFile(t, caseMap(t, ""), "e.csv", c.text, func(o *Options) { o.MaxRejected = 100 })
			if !errors.Is(r.err, ErrAllRejected) || r.account.Read != 8 || r.account.Rejected != 8 || r.account.Denied != 0 || len(r.server.letters) != 8 {
				t.Errorf("%+v, %v, %d letters", r.account, r.err, len(r.server.letters))
			}
			if !strings.Contains(r.notes, c.note) {
				t.Errorf("notes: %s", r.notes)
			}
		})
	}
}

// TestLettersThatAreNotKept: a row that cannot be read is rejected, also where its person has not let us keep it; and with a grant the people of such
// rows are imported before the gate is asked about them.
func TestLettersThatAreNotKept(t *testing.T) {
	m := caseMap(t, "")
	r := replayFile(t, m, "e.csv", "time,user,item,type\nsoon,ada,it,view_item\n2026-11-21,ben,it,view_item\nlate,,it,view_item\n", func(o *Options) {
		o.MaxRejected = 3
	})
	if r.err != nil || r.account.Rejected != 2 || r.account.Accepted != 1 {
		t.Errorf("%+v, %v", r.account, r.err)
	}
	if diff := cmp.Diff(2, len(r.server.imports)); diff != "" {
		t.Errorf("imports: %v", r.server.imports)
	}
	f := newFakeServer(t)
	f.fault = func(path string, _ int, w http.ResponseWriter) bool {
		if path == "/v1/dead-letters" {
			w.Write([]byte(`{"accepted":0,"denied":2}`))
		}
		return path == "/v1/dead-letters"
	}
	var notes bytes.Buffer
	account, err := Run(t.Context(), Options{Events: []string{"e.csv"}, Map: m, To: f.URL, Key: "s", MaxRejected: 2, Stderr: &notes})
	if err != nil || account.Rejected != 2 || account.Denied != 0 {
		t.Errorf("%+v, %v", account, err)
	}
	if !strings.Contains(notes.String(), "2 dead letters of rejected rows were not kept: their people have not accepted the policy") {
		t.Errorf("notes: %s", &notes)
	}
}

// TestIdsThatNobodyCanHave: the server refuses the import of such an id, and the run goes on without it.
func TestIdsThatNobodyCanHave(t *testing.T) {
	m := caseMap(t, "")
	r := replayFile(t, m, "e.csv", "time,user,item,type\n2026-11-21,null,it,view_item\n2026-11-21,ben,it,view_item\n", func(o *Options) {
		f := newFakeServer(t)
		f.fault = func(path string, n int, w http.ResponseWriter) bool {
			if path == "/v1/imports" && n == 1 {
				w.WriteHeader(http.StatusUnprocessableEntity)
				w.Write([]byte(`{"code":"invalid","errors":[{"index":0,"pointer":"/subject","code":"placeholder","detail":"x"}]}`))
			}
			return path == "/v1/imports" && n == 1
		}
		o.To = f.URL
	})
	if r.err != nil || !strings.Contains(r.notes, "imported the consent of 1 person, 0 kept") || !strings.Contains(r.notes, "imported no consent of 1 person: the server refuses the id or the jurisdiction") {
		t.Errorf("%v: %s", r.err, r.notes)
	}
}

// TestImplausibleTimes are errors both ways: the text says what a time was taken for, and what would fit. Nothing lands in 1970.
func TestImplausibleTimes(t *testing.T) {
	const must = "must be a time from 2000-01-01 on and at most a day ahead of now, not "
	for _, c := range []struct{ name, time, cell, want string }{
		{"day as a number", "", "20261101", "map.yaml: e.csv line 2, column time: " + must + "1970-08-23, which it is in seconds; `time: {layout: \"20060102\"}` in the map would fit"},
		{"seconds under ms", "time: {unit: ms}\n", "1764000000", "map.yaml:3:7: time: e.csv line 2, column time: " + must + "1970-01-21, which it is in milliseconds; `time: {unit: s}` in the map would fit"},
		{"milliseconds under s", "", "1764000000000", "map.yaml: e.csv line 2, column time: must be a time from 2000-01-01 on and at most a day ahead of now, not one beyond the year 9999, which it is in seconds; `time: {unit: ms}` in the map would fit"},
		{"a number that is no time", "", "0", "every row was rejected"},
		{"a date before 2000", "", "1970-01-01", "every row was rejected"},
		{"a date far ahead", "", "2026-12-01", "every row was rejected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := replayFile(t, caseMap(t, c.time), "e.csv", "time,user,item,type\n"+c.cell+",y1,it,view_item\n")
			if r.err == nil || !strings.HasPrefix(r.err.Error(), c.want) || len(r.server.runs) > 0 {
				t.Errorf("got %v, want %s; %d runs sent", r.err, c.want, len(r.server.runs))
			}
		})
	}
	r := replayFile(t, caseMap(t, ""), "e.csv", "time,user,item,type\n1764000000,y1,it,view_item\n0,y2,it,view_item\n2026-12-01,y3,it,view_item\n20261101,y4,it,view_item\n", func(o *Options) {
		o.MaxRejected = 3
	})
	want := []string{
		"implausible_time e.csv line 4: column time: " + must + "2026-12-01",
		"time_unit e.csv line 3: column time: " + must + "1970-01-01, which it is in seconds",
		"time_unit e.csv line 5: column time: " + must + "1970-08-23, which it is in seconds; `time: {layout: \"20060102\"}` in the map would fit",
	}
	if diff := cmp.Diff(want, r.letters()); diff != "" || r.err != nil {
		t.Error(r.err, diff)
	}
}

// TestEmptyInputs: no rows are read of what has none, and the rest goes on.
func TestEmptyInputs(t *testing.T) {
	type row struct {
		Time string `parquet:"time"`
		User string `parquet:"user"`
		Item string `parquet:"item"`
		Type string `parquet:"type"`
	}
	const header = "time,user,item,type\n"
	r := replayFile(t, caseMap(t, ""), "full.csv", header+"2026-11-21,u,it,view_item\n", func(o *Options) {
		write(t, "none.csv", "")
		write(t, "none.parquet", "")
		write(t, "mark.csv", "\ufeff\n\n")
		write(t, "header.csv", header)
		write(t, "none.jsonl", "")
		write(t, "none.json", " [ ] \n")
		if err := pq.WriteFile("rowless.parquet", []row{}); err != nil {
			t.Fatal(err)
		}
		var groups bytes.Buffer
		w := pq.NewGenericWriter[row](&groups)
		for _, user := range []string{"a", "", "b"} {
			if user != "" {
				if _, err := w.Write([]row{{"2026-11-21", user, "it", "view_item"}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		write(t, "groups.parquet", groups.String())
		o.Events = []string{"none.csv", "none.parquet", "mark.csv", "header.csv", "none.jsonl", "none.json", "rowless.parquet", "groups.parquet", "full.csv"}
	})
	if r.err != nil || r.account.Read != 3 || r.account.Accepted != 3 {
		t.Errorf("%+v, %v", r.account, r.err)
	}
	if !strings.Contains(r.notes, "none.csv holds no bytes, and so no rows") {
		t.Errorf("notes: %s", r.notes)
	}
}

// TestEncodings: a file is read in the encoding of its mark, or of the map; what is none of it is rejected.
func TestEncodings(t *testing.T) {
	const text = "time,user,item,type\n2026-11-21,café,it,view_item\n"
	wide := func(order string) string {
		var b strings.Builder
		for _, c := range text {
			if order == "le" {
				b.Write([]byte{byte(c), byte(c >> 8)})
			} else {
				b.Write([]byte{byte(c >> 8), byte(c)})
			}
		}
		return b.String()
	}
	for _, c := range []struct{ name, encoding, text, user string }{
		{"UTF-8", "", text, "café"},
		{"UTF-8 with a mark", "", "\ufeff" + text, "café"},
		{"UTF-8, named", "utf-8", text, "café"},
		{"UTF-16 with a mark", "", "\xff\xfe" + wide("le"), "café"},
		{"UTF-16 with a mark, big endian", "", "\xfe\xff" + wide("be"), "café"},
		{"UTF-16, named", "utf-16le", wide("le"), "café"},
		{"UTF-16, big endian, named", "utf-16be", wide("be"), "café"},
		{"Latin-1, named", "latin1", strings.ReplaceAll(text, "é", "\xe9"), "café"},
		{"a mark says more than the map", "latin1", "\ufeff" + text, "café"},
		{"Chinese, named", "gbk", strings.ReplaceAll(text, "é", "\xd6\xd0"), "caf中"},
		{"not in what is named", "gbk", strings.ReplaceAll(text, "é", "\xff"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			more := ""
			if c.encoding != "" {
				more = "encoding: " + c.encoding + "\n"
			}
			r := replayFile(t, caseMap(t, more), "e.csv", c.text)
			if c.user == "" {
				if want := "invalid_utf8 e.csv line 2: column user: must be text in gbk, which the map's `encoding` or the file's byte order mark says"; len(r.letters()) != 1 || r.letters()[0] != want {
					t.Errorf("letters %q", r.letters())
				}
				return
			}
			if diff := cmp.Diff([]string{c.user}, r.users()); diff != "" || r.err != nil {
				t.Error(r.err, diff)
			}
		})
	}
}

// TestForms: what a file holds is the same in each form in which it may be written.
func TestForms(t *testing.T) {
	one := `{"time":"2026-11-21","user":"u1","item":"a;b","type":"view_item"}`
	two := `{"time":"2026-11-21T00:00:00+00","user":"u2","item":"c","type":"view_item"}`
	const table = "time,user,item,type\n2026-11-21,u1,\"a;b\",view_item\n2026-11-21,u2,c,view_item\n"
	with := func(separator string) string { return strings.ReplaceAll(table, ",", separator) }
	for _, c := range []struct{ name, file, more, text, note string }{
		{"comma", "e.csv", "", table, ""},
		{"semicolon, detected", "e.csv", "", with(";"), "e.csv is read with the separator ;, as its first line has it"},
		{"tab, detected: CSV quotes", "e.csv", "", with("\t"), "e.csv is read with the separator tab"},
		{"bar, by the map", "e.csv", "separator: \"|\"\n", with("|"), ""},
		{"lines", "e.jsonl", "", one + "\n" + two, ""},
		{"lines with a mark and carriage returns", "e.ndjson", "", "\ufeff" + one + "\r\n\r\n" + two + "\r\n", ""},
		{"array", "e.json", "", "[" + one + "," + two + "]", ""},
		{"array over lines", "e.json", "", "[\n  " + strings.ReplaceAll(one, ",", ",\n    ") + ",\n  " + two + "\n]\n", ""},
		{"objects one after the other", "e.json", "", one + "\n" + strings.ReplaceAll(two, ",", ",\n"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := replayFile(t, caseMap(t, c.more), c.file, c.text)
			if r.err != nil || r.account.Accepted != 2 || !strings.Contains(r.notes, c.note) {
				t.Errorf("%+v, %v, %s", r.account, r.err, r.notes)
			}
		})
	}
	for _, c := range []struct{ name, format, text string }{
		{"comma", "", table},
		{"semicolon", "", with(";")},
		{"TSV", "", strings.ReplaceAll(with("\t"), `"`, "")},
		{"array", "", "[" + one + "," + two + "]"},
		{"lines", "", one + "\n" + two},
		{"named", ".jsonl", one + "\n" + two},
		{"packed", "", packed(t, table)},
	} {
		t.Run("standard input, "+c.name, func(t *testing.T) {
			r := replayFile(t, caseMap(t, ""), "unused", "", func(o *Options) {
				o.Events, o.Stdin, o.Format = []string{"-"}, strings.NewReader(c.text), c.format
			})
			if r.err != nil || r.account.Accepted != 2 {
				t.Errorf("%+v, %v, %s", r.account, r.err, r.notes)
			}
		})
	}
}

func packed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil || w.Close() != nil {
		t.Fatal("packing", err)
	}
	return b.String()
}

// TestBrokenJSON: an object that cannot be read costs no other one where the next one's place can be told.
func TestBrokenJSON(t *testing.T) {
	const good = `{"time":"2026-11-21","user":"u%d","item":"%d","type":"view_item"}`
	row := func(i int) string { return fmt.Sprintf(good, i, i) }
	const open = `{"time":"2026-11-21","user":"x"`
	for _, c := range []struct {
		name, text string
		accepted   int64
		letters    []string
		err        string
	}{
		{"a value that is none", "[" + row(1) + `,{"time":tru},` + row(2) + "]", 2, []string{"broken_row e.json line 1: must be one JSON object"}, ""},
		{"no object", "[" + row(1) + `,7,"x",[1],` + row(2) + "]", 2, []string{
			"broken_row e.json line 1: must be one JSON object", "broken_row e.json line 1: must be one JSON object", "broken_row e.json line 1: must be one JSON object",
		}, ""},
		{"a brace is missing", "[\n" + row(1) + ",\n" + open + ",\n" + row(2) + ",\n" + row(3) + "\n]", 3, []string{"broken_row e.json line 3: must be one JSON object: it must be closed"}, ""},
		{"a quote is missing", "[\n" + row(1) + ",\n" + `{"time":"2026}` + ",\n" + row(2) + "\n]", 2, []string{"broken_row e.json line 3: must be one JSON object: a text must end in its line"}, ""},
		{"a quote is missing in a line that holds all", "[" + row(1) + `,{"time":"2026},` + row(2) + "]", 1, nil, "e.json: must be whole: line 1: must be one JSON object: it must be closed; what follows cannot be told apart; 1 row of it were read and are accounted for, nothing behind them"},
		{"cut off", "[" + row(1) + ",", 1, nil, "e.json: must be whole: line 1: the array must end with ]: unexpected EOF; 1 row of it were read and are accounted for, nothing behind them"},
		{"something behind the array", "[" + row(1) + "]\nx", 1, nil, "e.json: must be whole: line 2: nothing must follow the array; 1 row of it were read and are accounted for, nothing behind them"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := replayFile(t, caseMap(t, ""), "e.json", c.text, func(o *Options) { o.MaxRejected = 9 })
			got := ""
			if r.err != nil {
				got = r.err.Error()
			}
			if got != c.err || r.account.Accepted != c.accepted {
				t.Errorf("%+v, %s", r.account, got)
			}
			if diff := cmp.Diff(c.letters, r.letters()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTruncatedFile: the error names the file and how many rows were read, which are accounted for.
func TestTruncatedFile(t *testing.T) {
	whole := packed(t, "time,user,item,type\n"+rowsOf("2026-11-21 10:00:00.%d,u%d,it,view_item\n", 100_000, 160_000))
	r := replayFile(t, caseMap(t, ""), "e.csv.gz", whole[:len(whole)/2])
	a := r.account
	want := fmt.Sprintf("e.csv.gz: must be whole: unexpected EOF; %d rows of it were read and are accounted for, nothing behind them", a.Read)
	if r.err == nil || r.err.Error() != want || a.Read < 10_000 || a.Read > 50_000 || a.Accepted != a.Read {
		t.Errorf("%+v, %v", a, r.err)
	}
}

// TestTruncatedHeader: a file that breaks off before its columns are known is refused before anything is sent.
func TestTruncatedHeader(t *testing.T) {
	r := replayFile(t, caseMap(t, ""), "e.csv.gz", packed(t, "time,user,item,type\n")[:20])
	if r.err == nil || r.err.Error() != "e.csv.gz: must be whole: unexpected EOF" || len(r.server.requests) > 0 {
		t.Error(r.err)
	}
}

// TestInterruptedStandardInput: a replay that waits for input ends when it is interrupted.
func TestInterruptedStandardInput(t *testing.T) {
	in, out := io.Pipe()
	defer in.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	f := newFakeServer(t)
	m := caseMap(t, "")
	go func() {
		_, err := Run(ctx, Options{Events: []string{"-"}, Stdin: in, Map: m, To: f.URL, Key: "s"})
		ended <- err
	}()
	if _, err := io.WriteString(out, "time,user,item,type\n2026-11-21,u,it,view_item\n"); err != nil {
		t.Fatal(err)
	}
	interrupt()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestNestedParquet: what is nested in a Parquet file is read: an event's items stand in a list of structs.
func TestNestedParquet(t *testing.T) {
	type item struct {
		ID       string  `parquet:"item_id"`
		Quantity *int64  `parquet:"quantity,optional"`
		Price    float64 `parquet:"price"`
	}
	type row struct {
		Time    string            `parquet:"time"`
		User    string            `parquet:"user"`
		Type    string            `parquet:"type"`
		Items   []item            `parquet:"items,list"`
		Context map[string]string `parquet:"context"`
	}
	two := int64(2)
	file := filepath.Join(t.TempDir(), "e.parquet")
	if err := pq.WriteFile(file, []row{
		{"2026-11-21", "u1", "view_item", []item{{"a", &two, 1.5}, {"b\"", nil, 2}}, map[string]string{"k": "v"}},
		{"2026-11-21", "u2", "login", nil, nil},
	}); err != nil {
		t.Fatal(err)
	}
	m, err := ParseMap("map.yaml", []byte("set: {channel: server, jurisdiction: CN}\nfields: {time: time, user_id: user, items: items, type: type}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := mapAll(t, m, file)
	if len(got) != 2 || !strings.Contains(got[0], `"items":[{"item_id":"a","quantity":2,"price":1.5},{"item_id":"b\"","price":2}]`) || strings.Contains(got[1], "items") {
		t.Errorf("%s", got)
	}
	s, err := openFile(file, layout{}, new(atomic.Int64))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if cells, err := s.Read(); err != nil || cells[4] != `{"k":"v"}` {
		t.Errorf("%q, %v", cells, err)
	}
}

// TestCheck shows the first rows as events and the columns that nothing reads, and sends nothing.
func TestCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "e.csv", "time;user;item;type;colour\n"+rowsOf("2026-11-21 10:00:%02d;u%d;it;view_item;red\n", 1, 4)+"soon;u5;it;view_item;red\n"+rowsOf("2026-11-21 10:00:%02d;u%d;it;view_item;red\n", 6, 9))
	write(t, "none.csv", "")
	var out strings.Builder
	preview, err := Check(t.Context(), Options{Events: []string{"e.csv", "none.csv"}, Map: caseMap(t, ""), To: "http://127.0.0.1:1"})
	if !errors.Is(err, ErrWouldReject) || err.Error() != "rows would be rejected: 1 of the 5 shown" {
		t.Error(err)
	}
	if err := preview.Print(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	forms := ingest.Forms{Placeholders: canonical.NewPlaceholders([]string{"null"})}
	for _, file := range []string{write(t, "e.json", `{"events":[]}`), write(t, "null.csv", "time;user;item;type\n2026-11-21 10:00:00;NULL;it;view_item\n")} {
		preview, err := Check(t.Context(), Options{Events: []string{file}, Map: caseMap(t, ""), Forms: forms, To: "http://127.0.0.1:1"})
		if !errors.Is(err, ErrWouldReject) || preview.Rejected != 1 || preview.Inputs[0].Rows[0].Fault == nil {
			t.Errorf("%s: what the server refuses is shown as an event: %v, %+v", file, err, preview)
		}
	}
	for at, want := range map[int]string{
		0: "e.csv:",
		1: "  is read with the separator ;, as its first line has it",
		2: `  line 2: {"id":"`,
		6: "  line 6: rejected, invalid_time /time: column time: must be a number (unit s) or a date such as 2018-04-01 00:00:31",
		7: "  columns that nothing reads: colour",
		8: "none.csv:",
		9: "  holds no bytes, and so no rows",
	} {
		if at >= len(lines) || !strings.HasPrefix(lines[at], want) {
			t.Errorf("line %d: want %s in\n%s", at, want, &out)
		}
	}
}

// TestLayoutOfTheMap: what a map says of how files are written must be possible.
func TestLayoutOfTheMap(t *testing.T) {
	for text, want := range map[string]string{
		"encoding: klingon\n":                                     "map.yaml:3:11: encoding: must be an encoding such as utf-8",
		"separator: '::'\n":                                       "map.yaml:3:12: separator: must be one ASCII character",
		"separator: '\"'\n":                                       "map.yaml:3:12: separator: must be one ASCII character",
		"time: {earliest: soon}\n":                                "map.yaml:3:18: time.earliest: must be a date such as 1995-01-01",
		"time: {earliest: 2020-01-01, latest: 2019-01-01}\n":      "map.yaml:3:38: time.latest: must be after earliest, which is 2020-01-01",
		"time: {earliest: 1970-01-01, unit: ms}\nencoding: gbk\n": "",
	} {
		_, err := ParseMap("map.yaml", []byte("set: {channel: server, jurisdiction: CN}\nfields: {time: time, user_id: user, type: type}\n"+text), nil)
		var fault *config.Error
		if want == "" && err == nil {
			continue
		}
		if !errors.As(err, &fault) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
