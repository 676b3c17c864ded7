//go:build integration

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"sluice/deploy/local/clickhouse/engine"
)

// start starts an engine for one test.
func start(t *testing.T, o engine.Options) *engine.Engine {
	t.Helper()
	if o.Data == "" {
		o.Data = t.TempDir()
	}
	e, err := engine.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-e.Done(): // killed by the test
			return
		default:
		}
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func open(t *testing.T, e *engine.Engine, o clickhouse.Options) driver.Conn {
	t.Helper()
	o.Addr, o.Protocol = []string{e.Address()}, clickhouse.HTTP
	conn, err := clickhouse.Open(&o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func exec(t *testing.T, conn driver.Conn, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func count(t *testing.T, conn driver.Conn, from string) (n uint64) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT count() FROM "+from).Scan(&n); err != nil {
		t.Fatalf("counting %s: %v", from, err)
	}
	return n
}

// row has all types that the warehouse needs.
type row struct {
	Name    string    `ch:"name"`
	Class   string    `ch:"class"`
	ID      string    `ch:"id"`
	Amount  int64     `ch:"amount"`
	Hash    uint64    `ch:"hash"`
	Granted bool      `ch:"granted"`
	Time    time.Time `ch:"time"`
	Items   []string  `ch:"items"`
	Counts  []int64   `ch:"counts"`
	Day     time.Time `ch:"day"`
	Note    *string   `ch:"note"`
	Score   *int64    `ch:"score"`
}

const columns = `(name String, class LowCardinality(String), id FixedString(16), amount Int64, hash UInt64, granted Bool, time DateTime64(6, 'UTC'),
	items Array(String), counts Array(Int64), day Date, note Nullable(String), score Nullable(Int64))`

func rows(n int) []row {
	out := make([]row, n)
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	for i := range out {
		note, score := fmt.Sprintf("note '%d' \\ \x00\xff", i), int64(-i)
		out[i] = row{
			Name: fmt.Sprintf("name-%06d", i), Class: fmt.Sprintf("class-%d", i%3), ID: fmt.Sprintf("%016x", i), Amount: -int64(i) << 40, Hash: ^uint64(i),
			Granted: i%2 == 0, Time: at.Add(time.Duration(i) * time.Microsecond), Items: []string{"ä", strconv.Itoa(i)}[:i%3], Counts: []int64{int64(i)},
			Day: time.Date(2026, 1, 1+i%365, 0, 0, 0, 0, time.UTC),
		}
		if i%2 == 1 {
			out[i].Note, out[i].Score = &note, &score
		}
	}
	return out
}

func insert(ctx context.Context, conn driver.Conn, table string, rows []row) error {
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+table)
	if err != nil {
		return err
	}
	for i := range rows {
		if err := batch.AppendStruct(&rows[i]); err != nil {
			return err
		}
	}
	return batch.Send()
}

func token(ctx context.Context, value string) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": value}))
}

// TestTypes inserts and reads every type of the warehouse, with each compression that the driver knows and the engine supports.
func TestTypes(t *testing.T) {
	e := start(t, engine.Options{})
	want := rows(10)
	for _, method := range []clickhouse.CompressionMethod{
		clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD, clickhouse.CompressionGZIP, clickhouse.CompressionDeflate,
	} {
		t.Run(method.String(), func(t *testing.T) {
			o := clickhouse.Options{Compression: &clickhouse.Compression{Method: method, Level: 3}}
			if method == clickhouse.CompressionGZIP {
				o.Settings = clickhouse.Settings{"enable_http_compression": 1}
			}
			conn := open(t, e, o)
			table := "types_" + method.String()
			exec(t, conn, "CREATE TABLE "+table+" "+columns+" ENGINE = ReplacingMergeTree ORDER BY name")
			if err := insert(t.Context(), conn, table, want); err != nil {
				t.Fatal(err)
			}
			var got []row
			if err := conn.Select(t.Context(), &got, "SELECT * FROM "+table+" FINAL ORDER BY name"); err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if want[i].Items == nil {
					want[i].Items = []string{}
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if version, err := conn.ServerVersion(); err != nil || !strings.HasPrefix(e.Version(), fmt.Sprintf("%d.%d.", version.Version.Major, version.Version.Minor)) {
				t.Errorf("server version %v (%v), engine %s", version, err, e.Version())
			}
			if err := conn.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOtherTypes reads types that the warehouse does not need today.
func TestOtherTypes(t *testing.T) {
	conn := open(t, start(t, engine.Options{}), clickhouse.Options{})
	for expression, want := range map[string]string{
		"map('a', [1, 2])": "Map(String, Array(UInt8))",
		"(1, 'x', toLowCardinality(NULL::Nullable(String)))": "Tuple(UInt8, String, LowCardinality(Nullable(String)))",
		"toDecimal64(1.5, 2)":                                "Decimal(18, 2)",
		"generateUUIDv4()":                                   "UUID",
		"CAST('a', 'Enum8(''a'' = 1, ''b'' = 2)')":           "Enum8('a' = 1, 'b' = 2)",
		"toIPv6('::1')":                                      "IPv6",
		"[[toFloat32(1)], []]":                               "Array(Array(Float32))",
		"toDateTime('2026-01-02 03:04:05', 'Asia/Shanghai')": "DateTime", // of the engine's zone: see the README
		"CAST(arrayMap(x -> toString(x), range(number % 3)), 'Array(LowCardinality(String))')": "Array(LowCardinality(String))",
		"toInt256(number)":      "Int256",
		"sumMap([number], [1])": "Tuple(Array(UInt64), Array(UInt64))",
	} {
		result, err := conn.Query(t.Context(), "SELECT "+expression+" AS x, 7::Int64 AS after FROM numbers(70000) GROUP BY ALL LIMIT 70000")
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if got := result.ColumnTypes()[0].DatabaseTypeName(); got != want {
			t.Errorf("%s: type %s, %s expected", expression, got, want)
		}
		for result.Next() {
			var after int64
			if err := result.Scan(reflect.New(result.ColumnTypes()[0].ScanType()).Interface(), &after); err != nil || after != 7 {
				t.Errorf("%s: %d, %v", expression, after, err)
				break
			}
		}
		if err := errors.Join(result.Err(), result.Close()); err != nil {
			t.Errorf("%s: %v", expression, err)
		}
	}
}

// TestDeduplication: a block with a token that was seen is dropped, in the table and in what a materialized view makes of it.
func TestDeduplication(t *testing.T) {
	conn := open(t, start(t, engine.Options{}), clickhouse.Options{})
	exec(t, conn, "CREATE DATABASE shop",
		"CREATE TABLE shop.events "+columns+" ENGINE = MergeTree ORDER BY name SETTINGS non_replicated_deduplication_window = 100",
		`CREATE TABLE shop.classes (class LowCardinality(String), n UInt64) ENGINE = SummingMergeTree ORDER BY class
			SETTINGS non_replicated_deduplication_window = 100`,
		"CREATE MATERIALIZED VIEW shop.to_classes TO shop.classes AS SELECT class, count() AS n FROM shop.events GROUP BY class")
	block := rows(9)
	for _, name := range []string{"a", "a", "b", "a", "b"} { // two blocks of the same rows
		if err := insert(token(t.Context(), name), conn, "shop.events", block); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, conn, "shop.events"); n != 18 {
		t.Errorf("%d events, 18 expected", n)
	}
	var n uint64
	if err := conn.QueryRow(t.Context(), "SELECT sum(n) FROM shop.classes WHERE class = 'class-1'").Scan(&n); err != nil || n != 6 {
		t.Errorf("%d events of class-1 in the view (%v), 6 expected", n, err)
	}
}

func TestDeletesAndMutations(t *testing.T) {
	conn := open(t, start(t, engine.Options{}), clickhouse.Options{Settings: clickhouse.Settings{"mutations_sync": 2}})
	exec(t, conn, "CREATE TABLE events "+columns+" ENGINE = MergeTree ORDER BY name")
	if err := insert(t.Context(), conn, "events", rows(9)); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "DELETE FROM events WHERE class = 'class-0'",
		"ALTER TABLE events UPDATE amount = 7 WHERE class = 'class-1'",
		"ALTER TABLE events DELETE WHERE class = 'class-2'",
		"ALTER TABLE events ADD COLUMN later String DEFAULT 'x'")
	if n := count(t, conn, "events WHERE amount = 7 AND later = 'x'"); n != 3 || count(t, conn, "events") != 3 {
		t.Errorf("%d rows are right, 3 expected and no others", n)
	}
}

func TestExceptions(t *testing.T) {
	conn := open(t, start(t, engine.Options{}), clickhouse.Options{Compression: &clickhouse.Compression{Method: clickhouse.CompressionLZ4}})
	exec(t, conn, "CREATE TABLE one (a Int64) ENGINE = MergeTree ORDER BY a")
	for statement, code := range map[string]int32{
		"SELEC 1":                 62,
		"SELECT 1; SELECT 2":      62,
		"SELECT * FROM nowhere":   60,
		"SELECT nothing FROM one": 47,
		"SELECT throwIf(number = 9) FROM numbers(9e6)": 395,
		"INSERT INTO one VALUES ('x')":                 6,
		"CREATE TABLE one (a Int64) ENGINE = Memory":   57,
		"SELECT {x:Int64}":                             456,
	} {
		var e *clickhouse.Exception
		rows, err := conn.Query(t.Context(), statement)
		if err == nil {
			rows.Close()
		}
		if !errors.As(err, &e) || e.Code != code || e.Name != "DB::Exception" {
			t.Errorf("%s: %v, code %d expected", statement, err, code)
		}
	}
	if _, err := conn.Query(clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"no_such": 1})), "SELECT 1"); err == nil {
		t.Error("an unknown setting was taken")
	}
	lost := open(t, start(t, engine.Options{}), clickhouse.Options{Auth: clickhouse.Auth{Database: "nowhere"}})
	if err := lost.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "UNKNOWN_DATABASE") && !strings.Contains(err.Error(), "code: 81") {
		t.Errorf("database that is not there: %v", err)
	}
}

// TestStatements are the ways to say something that are not a batch.
func TestStatements(t *testing.T) {
	conn := open(t, start(t, engine.Options{}), clickhouse.Options{})
	ctx := t.Context()
	exec(t, conn, "CREATE TABLE pairs (k String, v Int64) ENGINE = MergeTree ORDER BY k", "INSERT INTO pairs VALUES ('a;b', 1), ('FORMAT CSV', 2)",
		"INSERT INTO pairs SELECT toString(number), number FROM numbers(3)", "INSERT INTO pairs FORMAT JSONEachRow {\"k\":\"j\",\"v\":9}")
	if err := conn.Exec(clickhouse.Context(ctx, clickhouse.WithAsync(true)), "INSERT INTO pairs VALUES (?, ?)", "it's", 4); err != nil {
		t.Fatal(err)
	}
	if n := count(t, conn, "pairs"); n != 7 {
		t.Errorf("%d rows, 7 expected", n)
	}
	var k string
	var sums []int64
	bound := clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"v": "4", "list": "[1,2]"}))
	if err := conn.QueryRow(bound, "SELECT k, arrayMap(x -> x + {v:Int64}, {list:Array(Int64)}) FROM pairs WHERE v = {v:Int64}").Scan(&k, &sums); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"it's", []int64{5, 6}}, []any{k, sums}); diff != "" {
		t.Error(diff)
	}
	if err := conn.QueryRow(ctx, "SELECT k FROM pairs WHERE v = ? AND k != @k", 9, clickhouse.Named("k", "x")).Scan(&k); err == nil {
		t.Error("mixed bindings were taken")
	}
	var empty []struct{ K string }
	if err := conn.Select(ctx, &empty, "SELECT k AS K FROM pairs WHERE v > 100"); err != nil || len(empty) != 0 {
		t.Errorf("empty result: %v, %v", empty, err)
	}
	db := clickhouse.OpenDB(&clickhouse.Options{Addr: []string{start(t, engine.Options{}).Address()}, Protocol: clickhouse.HTTP})
	defer db.Close()
	var one int
	if err := db.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil || one != 1 {
		t.Errorf("database/sql: %d, %v", one, err)
	}
}

// TestCrash: what was answered survives a kill, at the same address.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	e := start(t, engine.Options{Data: dir})
	conn := open(t, e, clickhouse.Options{})
	exec(t, conn, "CREATE DATABASE shop", "CREATE TABLE shop.events "+columns+" ENGINE = MergeTree ORDER BY name SETTINGS non_replicated_deduplication_window = 100")
	for _, name := range []string{"a", "b"} {
		if err := insert(token(t.Context(), name), conn, "shop.events", rows(1000)); err != nil {
			t.Fatal(err)
		}
	}
	busy := make(chan error, 1)
	go func() { busy <- conn.Exec(t.Context(), "SELECT sleep(3)") }()
	for count(t, conn, "system.processes WHERE query LIKE '%sleep(3)%' AND query NOT LIKE '%processes%'") == 0 {
	}
	e.Kill()
	if err := <-busy; err == nil {
		t.Error("a query was answered by a dead engine")
	}
	again := start(t, engine.Options{Data: dir, Listen: e.Address()})
	if err := insert(token(t.Context(), "b"), conn, "shop.events", rows(1000)); err != nil {
		t.Fatal(err)
	}
	if n := count(t, conn, "shop.events"); n != 2000 {
		t.Errorf("%d events after a crash and a repeated block, 2000 expected", n)
	}
	if err := again.Stop(); err != nil {
		t.Fatal(err)
	}
	start(t, engine.Options{Data: dir, Listen: e.Address()})
	if n := count(t, conn, "shop.events"); n != 2000 {
		t.Errorf("%d events after a stop, 2000 expected", n)
	}
}

func TestManyRowsAndClients(t *testing.T) {
	e := start(t, engine.Options{Lines: 3})
	conn := open(t, e, clickhouse.Options{Compression: &clickhouse.Compression{Method: clickhouse.CompressionLZ4}, MaxOpenConns: 8})
	exec(t, conn, "CREATE TABLE events "+columns+" ENGINE = ReplacingMergeTree ORDER BY name")
	all := rows(200_000)
	if err := insert(t.Context(), conn, "events", all); err != nil {
		t.Fatal(err)
	}
	result, err := conn.Query(t.Context(), "SELECT * FROM events ORDER BY name")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; result.Next(); i++ {
		var got row
		if err := result.ScanStruct(&got); err != nil {
			t.Fatal(err)
		}
		if got.Name != all[i].Name || got.Hash != all[i].Hash || !got.Time.Equal(all[i].Time) {
			t.Fatalf("row %d: got %v, want %v", i, got, all[i])
		}
	}
	if err := result.Err(); err != nil {
		t.Fatal(err)
	}
	var clients errgroup.Group
	for c := range 4 {
		clients.Go(func() error {
			table := fmt.Sprintf("client_%d", c)
			if err := conn.Exec(t.Context(), "CREATE TABLE "+table+" "+columns+" ENGINE = MergeTree ORDER BY name"); err != nil {
				return err
			}
			for i := range 10 {
				if err := insert(t.Context(), conn, table, all[i*100:(i+1)*100]); err != nil {
					return err
				}
				var n uint64
				if err := conn.QueryRow(t.Context(), "SELECT count() FROM "+table).Scan(&n); err != nil || n != uint64(i+1)*100 {
					return fmt.Errorf("%s: %d rows after %d blocks, %w", table, n, i+1, err)
				}
			}
			return nil
		})
	}
	if err := clients.Wait(); err != nil {
		t.Error(err)
	}
}

func TestUser(t *testing.T) {
	e := start(t, engine.Options{User: "sluice", Password: "secret"})
	if err := open(t, e, clickhouse.Options{Auth: clickhouse.Auth{Username: "sluice", Password: "secret"}}).Ping(t.Context()); err != nil {
		t.Error(err)
	}
	err := open(t, e, clickhouse.Options{Auth: clickhouse.Auth{Username: "sluice", Password: "guess"}}).Ping(t.Context())
	var exception *clickhouse.Exception
	if !errors.As(err, &exception) || exception.Code != 516 {
		t.Errorf("wrong password: %v", err)
	}
}

// TestHTTP asks without the driver.
func TestHTTP(t *testing.T) {
	e := start(t, engine.Options{})
	get := func(path string) (int, http.Header, string) {
		t.Helper()
		response, err := http.Get(e.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, response.Header, string(body)
	}
	for path, want := range map[string]string{
		"/ping": "Ok.\n",
		"/":     "Ok.\n",
		"/?query=" + url.QueryEscape("SELECT {x:String}, 2") + "&param_x=a%5Ctb":      "a\\tb\t2\n",
		"/?default_format=CSV&query=" + url.QueryEscape("SELECT 'a', 2"):              "\"a\",2\n",
		"/?query=" + url.QueryEscape("SELECT 1 AS x FORMAT JSONEachRow"):              "{\"x\":1}\n",
		"/?database=system&query=" + url.QueryEscape("SELECT currentDatabase(), 'é'"): "system\té\n",
	} {
		if status, _, body := get(path); status != http.StatusOK || body != want {
			t.Errorf("%s: %d %q, %q expected", path, status, body, want)
		}
	}
	status, header, body := get("/?query=" + url.QueryEscape("CREATE TABLE t (a Int8) ENGINE = Memory"))
	if status != http.StatusInternalServerError || header.Get("X-ClickHouse-Exception-Code") != "164" || !strings.HasPrefix(body, "Code: 164. DB::Exception: ") {
		t.Errorf("a GET that writes: %d %v %s", status, header, body)
	}
	if status, header, _ := get("/?query=" + url.QueryEscape("SELECT * FROM numbers(5)")); status != http.StatusOK ||
		!strings.Contains(header.Get("X-ClickHouse-Summary"), `"read_rows":"5"`) || header.Get("X-ClickHouse-Format") != "TabSeparated" {
		t.Errorf("headers: %d %v", status, header)
	}
	if status, _, _ := get("/nowhere"); status != http.StatusNotFound {
		t.Errorf("an unknown path: %d", status)
	}
}

func TestRefusesOthers(t *testing.T) {
	if _, err := engine.Start(t.Context(), engine.Options{Data: t.TempDir(), Listen: "0.0.0.0:0"}); err == nil || errors.Is(err, engine.ErrNoClient) {
		t.Errorf("listening for strangers: %v", err)
	}
}
