//go:build integration

package clickhouse

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"

	"sluice/deploy/local/clickhouse/engine"
)

const password = "s3cret"

// startEngine starts a real engine with a user, and runs statements in it.
func startEngine(t *testing.T, statements ...string) *engine.Engine {
	t.Helper()
	e, err := engine.Start(t.Context(), engine.Options{Data: t.TempDir(), User: "ann", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	})
	conn, err := ch.Open(&ch.Options{Addr: []string{e.Address()}, Protocol: ch.HTTP, Auth: ch.Auth{Username: "ann", Password: password}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, statement := range statements {
		if err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return e
}

func address(t *testing.T, e *engine.Engine, rest string) *Address {
	t.Helper()
	a, err := ParseAddress(Scheme + "ann@" + e.Address() + "/" + rest)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func readAll(t *testing.T, r *Reader) (rows []string) {
	t.Helper()
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, strings.Join(cells, "|"))
	}
	if int64(len(rows)) != r.Total() || r.Done().Load() != r.Total() {
		t.Errorf("%d rows read, %d counted, %d expected", len(rows), r.Done().Load(), r.Total())
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	return rows
}

// TestEngine reads tables of a real engine.
func TestEngine(t *testing.T) {
	e := startEngine(t,
		"CREATE DATABASE d",
		"CREATE TABLE d.rows (subject String, event String, time DateTime64(6, 'UTC'), name LowCardinality(String), ok Bool, n Int64, u UInt64, f Float64, "+
			"nothing Nullable(Int32), fixed FixedString(4), day Date, money Decimal(18, 2), kind Enum8('a' = 1), uuid UUID, texts Array(String), numbers Array(Int64), "+
			"map Map(String, Int64), state AggregateFunction(count)) ENGINE = ReplacingMergeTree ORDER BY (subject, event)",
		"INSERT INTO d.rows SELECT unhex('00ff'), 'e3', '2026-10-02 23:59:59.999999', '灯', true, -9007199254740993, 18446744073709551615, 0.5, NULL, 'EUR', '2026-10-02', '12.50', 'a', "+
			"'12000000-0000-0000-0000-0000000000ff', ['x\"', '灯'], [-9007199254740993], map('k', 1), countState()",
		"INSERT INTO d.rows (subject, event, time) VALUES ('p', 'e2', '2026-10-01 08:00:00'), ('o', 'e1', '2026-10-01 08:00:00'), ('z', 'e0', '2026-10-01 07:00:00')",
		"INSERT INTO d.rows (subject, event, time) VALUES ('p', 'e2', '2026-10-01 08:00:00')", // once more: one row
		"CREATE TABLE d.plain (at DateTime('Asia/Shanghai'), id UInt8) ENGINE = MergeTree ORDER BY id",
		"INSERT INTO d.plain VALUES ('2026-10-01 08:00:00', 2), ('2026-10-01 07:59:59', 1)",
		"CREATE TABLE d.days (time Date, id UInt8) ENGINE = MergeTree ORDER BY id",
		"INSERT INTO d.days VALUES ('2026-10-02', 2), ('2026-10-01', 1)",
		"CREATE TABLE d.timeless (time Nullable(DateTime), id UInt8) ENGINE = MergeTree ORDER BY id",
		"CREATE TABLE d.empty (time DateTime) ENGINE = MergeTree ORDER BY time",
	)
	const blank = "||false|0|0|0||"
	early := func(subject, event, at string) string {
		return subject + "|" + event + "|2026-10-01T" + at + "Z" + blank + "|1970-01-01|0|a|00000000-0000-0000-0000-000000000000|||{}"
	}
	for _, c := range []struct {
		rest   string
		binary []string
		want   []string
	}{
		{"d/rows", []string{"subject", "none"}, []string{
			early("7a", "e0", "07:00:00.000000"), early("6f", "e1", "08:00:00.000000"), early("70", "e2", "08:00:00.000000"),
			"00ff|e3|2026-10-02T23:59:59.999999Z|灯|true|-9007199254740993|18446744073709551615|0.5||EUR|2026-10-02|12.5|a|12000000-0000-0000-0000-0000000000ff|" +
				`["x\"","灯"]|[-9007199254740993]|{"k":1}`,
		}},
		{"d/rows?from=2026-10-01T07:30:00Z&to=2026-10-02", nil, []string{early("o", "e1", "08:00:00.000000"), early("p", "e2", "08:00:00.000000")}},
		{"d/rows?from=2027-01-01", nil, nil},
		{"d/plain?time=at", nil, []string{"2026-09-30T23:59:59Z|1", "2026-10-01T00:00:00Z|2"}},
		{"d/days", nil, []string{"2026-10-01|1", "2026-10-02|2"}},
		{"d/days?from=2026-10-02", nil, []string{"2026-10-02|2"}},
		{"d/empty", nil, nil},
	} {
		t.Run(c.rest, func(t *testing.T) {
			separator := "?"
			if strings.Contains(c.rest, "?") {
				separator = "&"
			}
			r, err := Open(t.Context(), address(t, e, c.rest+separator+"protocol=http"), password)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(r.Columns(), "state") {
				t.Error("the state of an aggregate function is no cell")
			}
			r.Binary(c.binary...)
			if diff := cmp.Diff(c.want, readAll(t, r)); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, c := range []struct{ rest, password, want string }{
		{"d/none?protocol=http", password, "must be a table that the user may read: the database d shows none called none"},
		{"none/rows?protocol=http", password, "must be a table that the user may read: the database none shows none called rows"},
		{"d/timeless?protocol=http", password, "time: must be a column of type DateTime, DateTime64 or Date that is never NULL; the table has time Nullable(DateTime), id UInt8"},
		{"d/plain?protocol=http", password, "time: must be a column of type DateTime, DateTime64 or Date that is never NULL; the table has at DateTime('Asia/Shanghai'), id UInt8"},
		{"d/rows?protocol=http", "wrong", "SLUICE_CLICKHOUSE_PASSWORD hold the password"},
	} {
		_, err := Open(t.Context(), address(t, e, c.rest), c.password)
		var fault *WrongError
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.rest, err)
		}
	}
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := Open(ctx, address(t, e, "d/rows?protocol=http"), password)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := r.Read(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}
