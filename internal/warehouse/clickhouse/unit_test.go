package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"

	schema "sluice/deploy/clickhouse"
	"sluice/internal/warehouse"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		sql  string
		want []string
	}{
		{"", nil},
		{"-- only a comment; with a semicolon", nil},
		{"SELECT 1;\nSELECT 2;\n", []string{"SELECT 1", "SELECT 2"}},
		{"SELECT ';' -- one; two\n, `a;b` /* ; */ FROM t;;", []string{"SELECT ';'  \n, `a;b`   FROM t"}},
		{`SELECT 'it''s; -- no comment', 'a\';';`, []string{`SELECT 'it''s; -- no comment', 'a\';'`}},
	} {
		got, err := split(c.sql)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q splits into %q (%v), %q expected", c.sql, got, err, c.want)
		}
	}
	for _, sql := range []string{"SELECT 1", "SELECT 'a;", "/* SELECT 1;", "SELECT `a\\`;"} {
		if got, err := split(sql); !errors.Is(err, errOpenEnd) {
			t.Errorf("%q splits into %q (%v), an error expected", sql, got, err)
		}
	}
}

// TestSchemaFiles: the numbers have no gap, and every statement may run again.
func TestSchemaFiles(t *testing.T) {
	files, err := migrations(schema.Files)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for _, statement := range file.statements {
			if !strings.Contains(statement, " IF NOT EXISTS ") && !strings.Contains(statement, " IF EXISTS ") {
				t.Errorf("%s: a statement cannot run again: %.60s…", file.name, statement)
			}
		}
	}
}

func TestMigrationNames(t *testing.T) {
	for _, names := range [][]string{{"1_a.sql"}, {"0001.sql"}, {"0001_a.sql", "0003_b.sql"}, {"0001_a.sql", "0001_b.sql"}} {
		files := fstest.MapFS{}
		for _, name := range names {
			files[name] = &fstest.MapFile{Data: []byte("SELECT 1;")}
		}
		if _, err := migrations(files); err == nil {
			t.Errorf("%v: an error expected", names)
		}
	}
}

func TestTypesOf(t *testing.T) {
	table := &warehouse.Table{Name: "t", Columns: []warehouse.Column{
		{Name: "a", Kind: warehouse.String}, {Name: "b", Kind: warehouse.Bytes}, {Name: "c", Kind: warehouse.Time}, {Name: "d", Kind: warehouse.Strings},
	}}
	fine := map[string]string{"a": "LowCardinality(String)", "b": "String", "c": "DateTime64(6, 'UTC')", "d": "Array(String)", "more": "UInt8"}
	got, err := typesOf(table, fine)
	if want := []string{"LowCardinality(String)", "String", "DateTime64(6, 'UTC')", "Array(String)"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
	for _, c := range []struct{ column, typ, want string }{
		{"c", "", "clickhouse: table t, column c: there is no such column, it must be DateTime64(6, 'UTC'); run `sluice migrate`"},
		{"c", "DateTime", "clickhouse: table t, column c: must be DateTime64(6, 'UTC'), the database has DateTime; run `sluice migrate`"},
		{"b", "FixedString(16)", "clickhouse: table t, column b: must be String, the database has FixedString(16); run `sluice migrate`"},
	} {
		found := map[string]string{}
		for name, typ := range fine {
			found[name] = typ
		}
		if found[c.column] = c.typ; c.typ == "" {
			delete(found, c.column)
		}
		if _, err := typesOf(table, found); err == nil || err.Error() != c.want || !IsSchema(fmt.Errorf("opening: %w", err)) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if _, err := typesOf(table, nil); err == nil || !strings.Contains(err.Error(), "table t: there is no such table") {
		t.Errorf("got %v", err)
	}
}

func TestToken(t *testing.T) {
	s := &Store{deployment: "shop.-1"}
	b := &warehouse.Block{Source: &warehouse.Source{Topic: "risk"}, Partition: 3, First: 10, Next: 25}
	if got := s.token(b); got != "shop.-1/risk/3/10/25" {
		t.Errorf("got %s", got)
	}
}

func TestQueues(t *testing.T) {
	a, b := &warehouse.Source{Topic: "a"}, &warehouse.Source{Topic: "b"}
	var blocks []*warehouse.Block
	for i := range 4 {
		blocks = append(blocks, &warehouse.Block{Source: a, Partition: int32(i % 2), First: int64(i)}, &warehouse.Block{Source: b, Partition: 1, First: int64(i)})
	}
	var got [][]int64
	for _, queue := range queues(blocks) {
		var firsts []int64
		for _, block := range queue {
			firsts = append(firsts, block.First)
		}
		got = append(got, firsts)
	}
	if diff := cmp.Diff([][]int64{{0, 2}, {0, 1, 2, 3}, {1, 3}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestConditionOf(t *testing.T) {
	full := &warehouse.Table{Subject: "subject", Event: "event", Floor: "floor"}
	bare := &warehouse.Table{Subject: "who", Event: "what"}
	purges := []warehouse.Purge{{Subject: []byte{1}}, {Subject: []byte{2}, Floor: []byte{0xf}}, {Subject: []byte{3}, Event: []byte{0xe}}, {Subject: []byte{4}}}
	for _, c := range []struct {
		table *warehouse.Table
		want  string
	}{
		{full, "(`subject` = unhex('02') AND `floor` != unhex('0f')) OR `subject` IN (unhex('01'), unhex('04')) OR (`subject`, `event`) IN ((unhex('03'), unhex('0e')))"},
		{bare, "`who` IN (unhex('01'), unhex('02'), unhex('04')) OR (`who`, `what`) IN ((unhex('03'), unhex('0e')))"},
		{&warehouse.Table{Subject: "who"}, ""},
		{&warehouse.Table{}, ""},
	} {
		if got := conditionOf(c.table, purges); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// TestErrorsHoldNoValues: what the engine says may quote rows, what the HTTP client says the whole address.
func TestErrorsHoldNoValues(t *testing.T) {
	for _, err := range []error{
		&ch.Exception{Code: 27, Message: "Cannot parse secret"},
		&ch.HTTPError{StatusCode: 500, Err: errors.New("secret")},
		&ch.HTTPError{StatusCode: 500, Err: &ch.Exception{Code: 60, Message: "secret"}},
		&url.Error{Op: "Post", URL: "http://host/?query=secret", Err: errors.New("connection refused")},
	} {
		if got := withoutText(fmt.Errorf("wrapped: %w", err)); strings.Contains(got.Error(), "secret") {
			t.Errorf("%v", got)
		}
	}
	schemaError := withoutText(&ch.Exception{Code: 60})
	if got := schemaError.Error(); got != "the engine answers UNKNOWN_TABLE (60)" || !IsSchema(fmt.Errorf("wrapped: %w", schemaError)) {
		t.Errorf("%s is about the schema: %v", got, IsSchema(schemaError))
	}
	for _, err := range []error{nil, context.Canceled, &engineError{241}} {
		if IsSchema(err) {
			t.Errorf("%v is not about the schema", err)
		}
	}
	if err := withoutText(fmt.Errorf("reading: %w", context.Canceled)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestTTL(t *testing.T) {
	for keep, want := range map[time.Duration]string{
		0: "", 36 * time.Hour: "toDateTime(time) + toIntervalSecond(129600)",
		36_500 * 24 * time.Hour: "", // longer than the engine can count: for ever, not thrown away at once
	} {
		if got := ttlOf(&warehouse.Table{Time: "time", Keep: keep}); got != want {
			t.Errorf("%s: %q, want %q", keep, got, want)
		}
	}
	engine := "ReplacingMergeTree PARTITION BY toYYYYMM(time) ORDER BY (toDate(time), a) TTL toDateTime(time) + toIntervalSecond(129600) SETTINGS index_granularity = 8192"
	if got := ttlIn.FindStringSubmatch(engine); got == nil || got[1] != "toDateTime(time) + toIntervalSecond(129600)" {
		t.Errorf("%q", got)
	}
}

func TestTimesAreClamped(t *testing.T) {
	for at, want := range map[int64]int64{-1 << 62: earliest, -1: -1, 0: 0, 1: 1, 1 << 62: latest} {
		if got := clamped(at); got != want {
			t.Errorf("%d: %d, want %d", at, got, want)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{}, {Addresses: []string{"localhost:9000", "localhost:9001"}}, {Addresses: []string{"localhost:9000"}, Protocol: "grpc"}} {
		if _, err := Open(t.Context(), o, nil); err == nil {
			t.Errorf("%v: an error expected", o)
		}
	}
}
