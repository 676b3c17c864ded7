package engine

import (
	"net/http"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	driver "github.com/ClickHouse/clickhouse-go/v2/lib/proto"
	"github.com/google/go-cmp/cmp"
)

func TestParseStatement(t *testing.T) {
	for text, want := range map[string]statement{
		"SELECT 1":             {SQL: []byte("SELECT 1")},
		"select 1 format JSON": {SQL: []byte("select 1 format JSON"), Format: "JSON"},
		"SELECT 1 FORMAT CSV SETTINGS a=1 ; -- end": {SQL: []byte("SELECT 1 FORMAT CSV SETTINGS a=1 ; -- end"), Format: "CSV"},
		"SELECT format FROM t":                      {SQL: []byte("SELECT format FROM t")},
		"SELECT a AS format":                        {SQL: []byte("SELECT a AS format")},
		"SELECT a FROM t ORDER BY format DESC":      {SQL: []byte("SELECT a FROM t ORDER BY format DESC")},
		"SELECT ' FORMAT CSV', format('{}', ';')":   {SQL: []byte("SELECT ' FORMAT CSV', format('{}', ';')")},
		"SELECT 'it\\'s;', 'it''s;', `;`":           {SQL: []byte("SELECT 'it\\'s;', 'it''s;', `;`")},
		"/* ; */ SELECT 1 -- ; FORMAT CSV":          {SQL: []byte("/* ; */ SELECT 1 -- ; FORMAT CSV")},
		"INSERT INTO t VALUES (';'), ('FORMAT x')":  {SQL: []byte("INSERT INTO t VALUES (';'), ('FORMAT x')")},
		"INSERT INTO t SELECT 1 FORMAT Null":        {SQL: []byte("INSERT INTO t SELECT 1 FORMAT Null"), Format: "Null"},
		"INSERT INTO t (a, `format`) FORMAT Native\n\x02'\x00;": {
			SQL: []byte("INSERT INTO t (a, `format`) "), Format: "Native", Insert: true, Data: []byte("\x02'\x00;"),
		},
		"insert into t settings a = 'b' format TSV \r\n1;2\n": {SQL: []byte("insert into t settings a = 'b' "), Format: "TSV", Insert: true, Data: []byte("1;2\n")},
		"INSERT INTO t FORMAT CSV":                            {SQL: []byte("INSERT INTO t "), Format: "CSV", Insert: true},
	} {
		got, e := parseStatement([]byte(text))
		if e != nil {
			t.Errorf("%q: %v", text, e)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
	for _, text := range []string{"", " -- nothing", "SELECT 1; SELECT 2", "INSERT INTO t VALUES (1); SELECT 2"} {
		if st, e := parseStatement([]byte(text)); e == nil || e.Code != syntaxError {
			t.Errorf("%q: %v %v, a syntax error expected", text, st, e)
		}
	}
}

func FuzzParseStatement(f *testing.F) {
	f.Add([]byte("INSERT INTO t (a) FORMAT Native\n\x00"))
	f.Add([]byte("SELECT '\\"))
	f.Add([]byte("/* -- `"))
	f.Fuzz(func(t *testing.T, text []byte) {
		st, e := parseStatement(text)
		if e == nil && len(st.SQL)+len(st.Data) > len(text) {
			t.Errorf("%q: more came out than went in", text)
		}
	})
}

func TestParseException(t *testing.T) {
	for text, want := range map[string]exception{
		"Code: 60. DB::Exception: No table. (UNKNOWN_TABLE)":                               {Code: 60, Text: "Code: 60. DB::Exception: No table. (UNKNOWN_TABLE)"},
		"Failed: Code: 36. DB::Exception: x. (BAD_ARGUMENTS) (version 1.2 (official b))\n": {Code: 36, Text: "Code: 36. DB::Exception: x. (BAD_ARGUMENTS)"},
		"no memory":                     {Code: std, Text: "Code: 1001. DB::Exception: no memory. (STD_EXCEPTION)"},
		"Code: 99999999999999999999. y": {Code: std, Text: "Code: 1001. DB::Exception: Code: 99999999999999999999. y. (STD_EXCEPTION)"},
	} {
		if diff := cmp.Diff(&want, parseException(text)); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
	if status := newException(notImplemented, "x").status(); status != http.StatusNotImplemented {
		t.Errorf("status %d", status)
	}
}

// TestReencode compares with what the driver itself writes for a newer revision.
func TestReencode(t *testing.T) {
	var at0, at54460 proto.Buffer
	for block := range 3 {
		b := driver.Block{ServerContext: &column.ServerContext{Timezone: time.UTC}}
		for name, columnType := range map[string]column.Type{"s": "String", "l": "LowCardinality(Nullable(String))", "a": "Array(Array(Int16))", "n": "Nullable(UInt8)"} {
			if err := b.AddColumn(name, columnType); err != nil {
				t.Fatal(err)
			}
		}
		values := map[string]any{"s": "text", "l": "low", "a": [][]int16{{1}, {}, {2, 3}}, "n": nil}
		for range block * 1000 {
			var row []any
			for _, name := range b.ColumnsNames() {
				row = append(row, values[name])
			}
			if err := b.Append(row...); err != nil {
				t.Fatal(err)
			}
		}
		if block == 0 {
			continue // the driver writes a prefix for no rows, too; an engine does not
		}
		for revision, buffer := range map[uint64]*proto.Buffer{0: &at0, driver.DBMS_TCP_PROTOCOL_VERSION: &at54460} {
			if err := b.Encode(buffer, revision); err != nil {
				t.Fatal(err)
			}
		}
	}
	for revision, want := range map[int][]byte{0: at0.Buf, driver.DBMS_TCP_PROTOCOL_VERSION: at54460.Buf} {
		got, err := reencode(at0.Buf, revision)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("revision %d: %s", revision, diff)
		}
	}
	for n := 1; n < 40; n++ {
		if _, err := reencode(at0.Buf[:n], driver.DBMS_TCP_PROTOCOL_VERSION); err == nil {
			t.Errorf("a block cut off at byte %d was taken", n)
		}
	}
}
