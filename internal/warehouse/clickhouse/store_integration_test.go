//go:build integration

package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	schema "sluice/deploy/clickhouse"
	"sluice/deploy/local/clickhouse/engine"
	"sluice/internal/warehouse"
)

// everything is a table with columns of every kind.
func everything() *warehouse.Table {
	return &warehouse.Table{
		Name: "everything",
		Columns: []warehouse.Column{
			{Name: "subject", Kind: warehouse.Bytes},
			{Name: "event", Kind: warehouse.Bytes},
			{Name: "time", Kind: warehouse.Time},
			{Name: "word", Kind: warehouse.String},
			{Name: "text", Kind: warehouse.String},
			{Name: "order", Kind: warehouse.Bytes},
			{Name: "amount", Kind: warehouse.Int64},
			{Name: "hash", Kind: warehouse.Uint64},
			{Name: "told", Kind: warehouse.Bool},
			{Name: "seen", Kind: warehouse.Time},
			{Name: "texts", Kind: warehouse.Strings},
			{Name: "words", Kind: warehouse.Strings},
			{Name: "numbers", Kind: warehouse.Int64s},
			{Name: "floor", Kind: warehouse.Bytes},
		},
		Time: "time", Keep: 10 * 365 * day, Key: []string{"subject", "event"}, Subject: "subject", Event: "event", Floor: "floor",
	}
}

const day = 24 * time.Hour

// everythingSQL are the table and its hourly counts, as the schema has them for its own tables.
const everythingSQL = `
CREATE TABLE everything
(
    subject String, event String, time DateTime64(6, 'UTC'), word LowCardinality(String), text String, ` + "`order`" + ` String, amount Int64, hash UInt64,
    told Bool, seen DateTime64(6, 'UTC'), texts Array(String), words Array(LowCardinality(String)), numbers Array(Int64), floor String
)
ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(time) ORDER BY (toDate(time), subject, event)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;
CREATE TABLE everything_hourly (hour DateTime('UTC'), word LowCardinality(String), events UInt64, amount Int64)
ENGINE = SummingMergeTree((events, amount)) PARTITION BY toYYYYMM(hour) ORDER BY (hour, word)
SETTINGS non_replicated_deduplication_window = 10000;
CREATE MATERIALIZED VIEW everything_by_hour TO everything_hourly AS
SELECT toStartOfHour(time) AS hour, word, count() AS events, sum(amount) AS amount FROM everything GROUP BY hour, word;
`

// shared is the engine of the tests that do not kill it.
var shared struct {
	once   sync.Once
	engine *engine.Engine
	err    error
	dir    string
	dbs    int
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "clickhouse")
	if err != nil {
		panic(err)
	}
	shared.dir = dir
	code := m.Run()
	if shared.engine != nil {
		_ = shared.engine.Stop()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// options are those of a new database on the shared engine.
func options(tb testing.TB) Options {
	tb.Helper()
	shared.once.Do(func() {
		shared.engine, shared.err = engine.Start(context.Background(), engine.Options{Data: shared.dir})
	})
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	shared.dbs++
	return Options{
		Addresses: []string{shared.engine.Address()}, Protocol: "http", Database: fmt.Sprintf("test%d", shared.dbs), Deployment: "test.-1",
	}
}

// world is a store with the table everything.
type world struct {
	testing.TB
	*Store
	options Options
	table   *warehouse.Table
	source  *warehouse.Source
}

func newWorld(tb testing.TB, o Options) *world {
	tb.Helper()
	w := &world{TB: tb, options: o, table: everything()}
	w.source = &warehouse.Source{Topic: "everything", Tables: []*warehouse.Table{w.table}}
	if _, err := Migrate(tb.Context(), o, nil); err != nil {
		tb.Fatal(err)
	}
	statements, err := split(everythingSQL)
	if err != nil {
		tb.Fatal(err)
	}
	w.exec(statements...)
	if applied, err := Migrate(tb.Context(), o, w.source.Tables); err != nil || !slices.Equal(applied, []string{"everything: rows are kept 3650d"}) {
		tb.Fatalf("applied %v (%v)", applied, err)
	}
	w.open()
	return w
}

func (w *world) open() {
	w.Helper()
	s, err := Open(w.Context(), w.options, w.source.Tables)
	if err != nil {
		w.Fatal(err)
	}
	w.Store = s
	w.Cleanup(func() { _ = s.Close() })
}

// exec runs statements over a connection of their own.
func (w *world) exec(statements ...string) {
	w.Helper()
	conn, err := connect(w.options.withDefaults(), w.options.Database)
	if err != nil {
		w.Fatal(err)
	}
	defer conn.Close()
	for _, statement := range statements {
		if err := conn.Exec(w.Context(), statement); err != nil {
			w.Fatalf("%s: %v", statement, err)
		}
	}
}

// number reads one number.
func (w *world) number(query string) (n int64) {
	w.Helper()
	err := each(w.Context(), w.conn, "SELECT toInt64(("+query+"))", func(rows driver.Rows) error { return rows.Scan(&n) })
	if err != nil {
		w.Fatalf("%s: %v", query, err)
	}
	return n
}

// counts are the rows of the table as they lie there, the events of the hourly counts and their amount.
func (w *world) counts() [3]int64 {
	w.Helper()
	return [3]int64{
		w.number("SELECT count() FROM everything"), w.number("SELECT sum(events) FROM everything_hourly"), w.number("SELECT sum(amount) FROM everything_hourly"),
	}
}

func (w *world) expect(what string, want [3]int64) {
	w.Helper()
	if got := w.counts(); got != want {
		w.Errorf("%s: rows, events and amount by the hour are %v, %v expected", what, got, want)
	}
}

func (w *world) append(blocks ...*warehouse.Block) {
	w.Helper()
	if err := w.Append(w.Context(), blocks); err != nil {
		w.Fatal(err)
	}
}

// block is a block of the partition 0 with a row for each time.
func (w *world) block(first int64, rows []row, purges ...warehouse.Purge) *warehouse.Block {
	b := warehouse.NewBatch(w.table)
	for _, r := range rows {
		r.put(b)
		if err := b.End(); err != nil {
			w.Fatal(err)
		}
	}
	b.Sort()
	return &warehouse.Block{Source: w.source, First: first, Next: first + int64(len(rows)+len(purges)), Batches: []*warehouse.Batch{b}, Purges: purges}
}

// row is a row of everything; what it does not hold follows from its number.
type row struct {
	number  int
	subject string
	at      time.Time
	floor   string
}

func (r row) put(b *warehouse.Batch) {
	b.Bytes([]byte(r.subject))
	b.Bytes(r.event())
	b.Int(r.at.UnixMicro())
	b.String([]string{"view", "", "buy"}[r.number%3])
	b.String(strings.Repeat("ä\x00'\\", r.number%4))
	b.Bytes([]byte{0, 0xff, 0}[:r.number%4])
	b.Int(int64(r.number))
	b.Uint(math.MaxUint64 - uint64(r.number))
	b.Bool(r.number%2 == 0)
	b.Int(int64(r.number) * 1_000_001)
	b.StringList([]string{"x", "", "y"}[:r.number%4])
	b.StringList([]string{"rule", "rule"}[:r.number%3])
	b.IntList([]int64{-1, math.MaxInt64, math.MinInt64}[:(r.number+1)%4])
	b.Bytes([]byte(r.floor))
}

func (r row) event() []byte { return fmt.Appendf(nil, "event-%08d", r.number) }

// rows are n rows of some subjects, a step apart.
func rows(first, n int, from time.Time, step time.Duration) []row {
	out := make([]row, n)
	for i := range out {
		number := first + i
		out[i] = row{number: number, subject: fmt.Sprintf("subject-%02d\x00\xff", number%5), at: from.Add(time.Duration(i) * step), floor: "floor-1"}
	}
	return out
}

func sum(rows ...row) (n int64) {
	for _, r := range rows {
		n += int64(r.number)
	}
	return n
}

var march = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func TestMigrateTwice(t *testing.T) {
	o := options(t)
	files, err := migrations(schema.Files)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]string, len(files))
	for i, file := range files {
		all[i] = file.name
	}
	if pending, err := Pending(t.Context(), o, nil); err != nil || !slices.Equal(pending, all) {
		t.Fatalf("pending %v (%v)", pending, err)
	}
	if _, err := Open(t.Context(), o, nil); !IsSchema(err) {
		t.Errorf("opened a database that does not exist: %v", err)
	}
	for _, want := range [][]string{all, nil} {
		if applied, err := Migrate(t.Context(), o, nil); err != nil || !slices.Equal(applied, want) {
			t.Fatalf("applied %v (%v), want %v", applied, err, want)
		}
	}
	if pending, err := Pending(t.Context(), o, nil); err != nil || len(pending) > 0 {
		t.Errorf("pending %v (%v)", pending, err)
	}
}

func TestMigrateTakesUpAHalf(t *testing.T) {
	o := options(t)
	if err := createDatabase(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	conn, err := connect(o, o.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	files, err := migrations(schema.Files)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range files[0].statements[:3] {
		if err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := (migrator{conn: conn, database: o.Database}).prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if applied, err := Migrate(t.Context(), o, nil); err != nil || len(applied) != len(files) {
		t.Errorf("applied %v (%v)", applied, err)
	}
}

func TestMigrateRefusesAnEditedFile(t *testing.T) {
	w := newWorld(t, options(t))
	w.exec("ALTER TABLE schema_migrations UPDATE checksum = 'another' WHERE version = 1 SETTINGS mutations_sync = 2")
	for what, err := range map[string]error{
		"Migrate": second(Migrate(t.Context(), w.options, nil)),
		"Pending": second(Pending(t.Context(), w.options, nil)),
		"Open":    second(Open(t.Context(), w.options, nil)),
	} {
		if err == nil || !strings.Contains(err.Error(), "migration 0001_rows: the file is another one than was applied") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestOpenNamesWhatIsMissing(t *testing.T) {
	w := newWorld(t, options(t))
	w.exec("ALTER TABLE everything DROP COLUMN text", "ALTER TABLE everything MODIFY COLUMN hash String")
	for _, want := range []string{
		"clickhouse: table everything, column text: there is no such column, it must be String or LowCardinality(String); run `sluice migrate`",
		"clickhouse: table everything, column hash: must be UInt64, the database has String; run `sluice migrate`",
	} {
		if _, err := Open(t.Context(), w.options, w.source.Tables); err == nil || err.Error() != want || !IsSchema(err) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		w.exec("ALTER TABLE everything ADD COLUMN IF NOT EXISTS text String")
	}
	w.exec("DROP TABLE everything_by_hour", "DROP TABLE everything")
	if err := w.Append(t.Context(), []*warehouse.Block{w.block(0, rows(0, 1, march, 0))}); !IsSchema(err) {
		t.Errorf("a table that is gone: %v", err)
	}
}

func TestTTLFollowsKeep(t *testing.T) {
	w := newWorld(t, options(t))
	old := rows(0, 4, time.Now().Add(-300*day), time.Hour)
	w.append(w.block(0, append(old, rows(4, 3, time.Now().Add(-time.Hour), 0)...)))
	w.table.Keep = 90 * day
	if _, err := Open(t.Context(), w.options, w.source.Tables); !IsSchema(err) || !strings.Contains(err.Error(), "table everything: rows are not kept as long as the register says (90d)") {
		t.Errorf("%v", err)
	}
	want := []string{"everything: rows are kept 90d"}
	if pending, err := Pending(t.Context(), w.options, w.source.Tables); err != nil || !slices.Equal(pending, want) {
		t.Errorf("pending %v (%v)", pending, err)
	}
	if applied, err := Migrate(t.Context(), w.options, w.source.Tables); err != nil || !slices.Equal(applied, want) {
		t.Errorf("applied %v (%v)", applied, err)
	}
	w.open()
	w.eventually("rows that became too old go", func() bool { return w.counts()[0] == 3 })
	w.table.Keep = 0
	if applied, err := Migrate(t.Context(), w.options, w.source.Tables); err != nil || !slices.Equal(applied, []string{"everything: rows are kept for ever"}) {
		t.Errorf("applied %v (%v)", applied, err)
	}
	w.open()
}

func (w *world) eventually(what string, is func() bool) {
	w.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			w.Fatalf("%s: not within 20s", what)
		}
		time.Sleep(20 * time.Millisecond) // the engine works in the background and tells nobody
	}
}

// TestABlockTwice also spans three months, so that the engine makes three parts of it.
func TestABlockTwice(t *testing.T) {
	w := newWorld(t, options(t))
	all := rows(0, 90, march.AddDate(0, 0, -15), day)
	for range 3 {
		w.append(w.block(0, all))
		w.expect("one block", [3]int64{90, 90, sum(all...)})
	}
	if n := w.number("SELECT uniqExact(partition_id) FROM system.parts WHERE database = '" + w.database + "' AND table = 'everything' AND active"); n < 3 {
		t.Errorf("the block lies in %d months", n)
	}
	w.append(w.block(90, all[:5])) // the same rows in another block are other rows for the counts
	w.expect("another block", [3]int64{95, 95, sum(all...) + sum(all[:5]...)})
	w.deployment = "test.-2"
	w.append(w.block(0, all))
	w.expect("the same block of another log", [3]int64{185, 185, 2*sum(all...) + sum(all[:5]...)})
	if got := w.scan(nil); len(got) != 90 {
		t.Errorf("%d rows are read, 90 expected: copies are one row", len(got))
	}
}

// TestAHalfBlock: one of its months is there, the other and the counts are not. The engine is made to stand so by a block that is stored without the view.
func TestAHalfBlock(t *testing.T) {
	w := newWorld(t, options(t))
	all := rows(0, 62, march, day)
	w.exec("DETACH TABLE everything_by_hour")
	w.append(w.block(0, all))
	w.exec("ATTACH TABLE everything_by_hour")
	w.expect("without counts", [3]int64{62, 0, 0})
	w.append(w.block(0, all))
	w.expect("with counts", [3]int64{62, 62, sum(all...)})
	// DROP PARTITION forgets the tokens of its month only.
	w.exec("ALTER TABLE everything DROP PARTITION 202604")
	w.append(w.block(0, all))
	w.expect("a month again", [3]int64{62, 62, sum(all...)})
}

// TestAColumnTooShort: the driver would send an empty block and call it stored.
func TestAColumnTooShort(t *testing.T) {
	w := newWorld(t, options(t))
	b := w.block(0, rows(0, 5, march, 0))
	last := len(w.table.Columns) - 1
	b.Batches[0].Values[last] = w.block(0, rows(0, 4, march, 0)).Batches[0].Values[last]
	if err := w.Append(t.Context(), []*warehouse.Block{b}); err == nil || !strings.Contains(err.Error(), "column floor has another number of values than rows") {
		t.Errorf("%v", err)
	}
}

func TestManyMonths(t *testing.T) {
	w := newWorld(t, options(t))
	w.table.Keep = 0
	if _, err := Migrate(t.Context(), w.options, w.source.Tables); err != nil {
		t.Fatal(err)
	}
	all := rows(0, 120, time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC), 31*day)
	for range 2 {
		w.append(w.block(0, all))
		w.expect("120 months", [3]int64{120, 120, sum(all...)})
	}
}

func TestPurge(t *testing.T) {
	w := newWorld(t, options(t))
	all := rows(0, 100, march.AddDate(0, 0, -15), day)
	for i := range all {
		if i >= 50 {
			all[i].floor = "floor-2"
		}
	}
	of := func(n int) []byte { return []byte(all[n].subject) }
	w.append(w.block(0, all))
	counted := [2]int64{100, sum(all...)}
	for _, c := range []struct {
		what  string
		purge warehouse.Purge
		goes  func(i int, r row) bool
	}{
		{"a subject that is not there", warehouse.Purge{Subject: []byte("nobody")}, func(int, row) bool { return false }},
		{"an event", warehouse.Purge{Subject: of(7), Event: all[7].event()}, func(i int, _ row) bool { return i == 7 }},
		{"an event of somebody else", warehouse.Purge{Subject: of(1), Event: all[3].event()}, func(int, row) bool { return false }},
		{"what is under another floor", warehouse.Purge{Subject: of(1), Floor: []byte("floor-2")}, func(i int, r row) bool { return i%5 == 1 && r.floor != "floor-2" }},
		{"a subject", warehouse.Purge{Subject: of(3)}, func(i int, _ row) bool { return i%5 == 3 }},
	} {
		all2 := all[:0:0]
		for _, r := range all {
			if !c.goes(r.number, r) {
				all2 = append(all2, r)
			}
		}
		all = all2
		for range 2 { // its retry deletes nothing more
			w.append(w.block(1000, nil, c.purge))
			w.expect(c.what, [3]int64{int64(len(all)), counted[0], counted[1]})
		}
		w.same(c.what, all)
	}
	// The first block comes again, late: its tokens outlive its rows.
	w.append(w.block(0, rows(0, 100, march.AddDate(0, 0, -15), day)))
	w.same("the block again", all)
	if err := w.Expire(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := w.number("SELECT countIf(has_lightweight_delete) FROM system.parts WHERE database = '" + w.database + "' AND active"); n != 0 {
		t.Errorf("%d parts still hold deleted rows", n)
	}
	w.same("after they left the disk", all)
	w.append(w.block(0, rows(0, 100, march.AddDate(0, 0, -15), day)))
	w.same("the block again, after they left the disk", all)
}

// TestPurgeInItsBlock: the purge is applied after the block's own rows, and to later blocks of the partition not at all. Until these come, the block may
// come again.
func TestPurgeInItsBlock(t *testing.T) {
	w := newWorld(t, options(t))
	before, after := rows(0, 10, march, time.Hour), rows(10, 10, march, time.Hour)
	purged := w.block(0, before, warehouse.Purge{Subject: []byte(before[0].subject)}, warehouse.Purge{Subject: []byte(before[1].subject)})
	only := w.block(12, nil, warehouse.Purge{Subject: []byte(before[0].subject), Event: before[5].event()})
	for range 2 {
		w.append(purged, only)
	}
	w.append(w.block(13, after))
	want := slices.DeleteFunc(slices.Clone(before), func(r row) bool { return r.number%5 < 2 })
	w.same("in order", append(want, after...))
}

func TestManyPurges(t *testing.T) {
	w := newWorld(t, options(t))
	all := rows(0, 2*purgesAtOnce+10, march, time.Minute)
	for i := range all {
		all[i].subject = fmt.Sprintf("contributor-%08d", i)
	}
	w.append(w.block(0, all))
	var purges []warehouse.Purge
	for i, r := range all[:len(all)-3] {
		p := warehouse.Purge{Subject: []byte(r.subject)}
		switch i % 3 {
		case 1:
			p.Event = r.event()
		case 2:
			p.Floor = []byte("another floor, as long as a revision may be")
		}
		purges = append(purges, p)
	}
	w.append(w.block(5000, nil, purges...))
	w.same("all but three", all[len(all)-3:])
}

// scan reads the table and checks the order of each subject's rows.
func (w *world) scan(columns []string) []*warehouse.Batch {
	return w.scanBetween(columns, time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
}

// scanBetween gives a batch for each row, so that rows compare one by one.
func (w *world) scanBetween(columns []string, from, to time.Time) (out []*warehouse.Batch) {
	w.Helper()
	last := map[string]int64{}
	err := w.Scan(w.Context(), w.table, columns, from, to, func(b *warehouse.Batch) error {
		for i := range b.Rows() {
			out = append(out, single(b, i))
		}
		if s, at := b.Table.Column("subject"), b.Table.Column("time"); s >= 0 && at >= 0 {
			for i := range b.Rows() {
				subject := string(b.Values[s].Text(i))
				if v := b.Values[at].Int(i); v < last[subject] {
					w.Errorf("a subject's rows are not in the order of time")
				} else {
					last[subject] = v
				}
			}
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// single is a batch of one row.
func single(b *warehouse.Batch, i int) *warehouse.Batch {
	out := warehouse.NewBatch(b.Table)
	out.Append(b, i, i+1)
	return out
}

// same compares what is read with rows, value by value.
func (w *world) same(what string, want []row) {
	w.Helper()
	got := values1(w.scan(nil))
	b := w.block(0, want).Batches[0]
	var expected [][]warehouse.Values
	for i := range b.Rows() {
		expected = append(expected, single(b, i).Values)
	}
	byEvent := func(x, y []warehouse.Values) int { return strings.Compare(x[1].String(0), y[1].String(0)) }
	slices.SortFunc(got, byEvent)
	slices.SortFunc(expected, byEvent)
	if diff := cmp.Diff(expected, got, cmp.AllowUnexported(warehouse.Values{}), cmpopts.EquateEmpty()); diff != "" {
		w.Errorf("%s: %s", what, diff)
	}
}

func values1(batches []*warehouse.Batch) [][]warehouse.Values {
	out := make([][]warehouse.Values, len(batches))
	for i, b := range batches {
		out[i] = b.Values
	}
	return out
}

func TestScan(t *testing.T) {
	w := newWorld(t, options(t))
	all := rows(0, 3*scanRows/2, march, 7*time.Second) // two days, more than a batch in one
	w.append(w.block(0, all[:5000]), w.block(5000, all[5000:]))
	w.same("all", all)
	t.Run("some columns", func(t *testing.T) {
		got := w.scan([]string{"time", "subject"})
		if len(got) != len(all) {
			t.Fatalf("%d rows, %d expected", len(got), len(all))
		}
		if names := got[0].Table.Columns; len(names) != 2 || names[0].Name != "time" || names[1].Name != "subject" {
			t.Errorf("columns %v", names)
		}
	})
	t.Run("an interval", func(t *testing.T) {
		if got := w.scanBetween([]string{"event"}, all[10].at, all[20].at); len(got) != 10 {
			t.Errorf("%d rows, 10 expected", len(got))
		}
	})
	t.Run("a column that is not there", func(t *testing.T) {
		if err := w.Scan(t.Context(), w.table, []string{"none"}, march, march, nil); err == nil {
			t.Error("an error expected")
		}
	})
	t.Run("the callback's error", func(t *testing.T) {
		enough := errors.New("enough")
		err := w.Scan(t.Context(), w.table, nil, march, march.Add(day), func(*warehouse.Batch) error { return enough })
		if !errors.Is(err, enough) {
			t.Errorf("%v", err)
		}
	})
}

// TestTheEngineIsKilled kills it in the middle of blocks, again and again; each block is retried until it is stored.
func TestTheEngineIsKilled(t *testing.T) {
	dir := t.TempDir()
	start := func() *engine.Engine {
		e, err := engine.Start(t.Context(), engine.Options{Data: dir})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := start()
	w := newWorld(t, Options{Addresses: []string{e.Address()}, Protocol: "http", Database: "killed", Deployment: "test.-1"})
	const blocks, size = 10, 4000
	failed := 0
	for i := range blocks {
		all := rows(i*size, size, march.AddDate(0, 0, i), 31*time.Minute) // some three months
		b := w.block(int64(i*size), all)
		if i%3 == 1 {
			killed := e
			go func() {
				time.Sleep(time.Duration(10+5*i) * time.Millisecond) // somewhere within the insert
				killed.Kill()
			}()
			if err := w.Append(t.Context(), []*warehouse.Block{b}); err != nil {
				failed++
			}
			<-killed.Done()
			killed.Kill() // waits
			e = start()
			w.options.Addresses = []string{e.Address()}
			w.open()
		}
		w.append(b)
	}
	t.Logf("%d of 3 kills met a block", failed)
	w.expect("all blocks", [3]int64{blocks * size, blocks * size, sum(rows(0, blocks*size, march, 0)...)})
	if err := e.Stop(); err != nil {
		t.Error(err)
	}
}

// BenchmarkAppend stores blocks of 100,000 rows of 14 columns.
func BenchmarkAppend(b *testing.B) {
	w := newWorld(b, options(b))
	const size = 100_000
	block := w.block(0, rows(0, size, march, time.Second))
	b.ReportAllocs()
	for b.Loop() {
		block.First, block.Next = block.Next, block.Next+size
		w.append(block)
	}
	b.ReportMetric(float64(b.N)*size/b.Elapsed().Seconds(), "rows/s")
}

// TestPartitionsAtOnce stores many partitions' blocks in one call, each with a purge at its end, and once more before their next blocks.
func TestPartitionsAtOnce(t *testing.T) {
	w := newWorld(t, options(t))
	var first, second []*warehouse.Block
	var want []row
	const size = 50
	for p := range 16 {
		all := rows(p*2*size, 2*size, march, time.Hour)
		for i := range all {
			all[i].subject = fmt.Sprintf("%s of partition %d", all[i].subject, p)
		}
		gone := all[0].subject
		before, after := w.block(0, all[:size], warehouse.Purge{Subject: []byte(gone)}), w.block(size+1, all[size:])
		before.Partition, after.Partition = int32(p), int32(p)
		first, second = append(first, before), append(second, after)
		for i, r := range all {
			if i >= size || r.subject != gone {
				want = append(want, r)
			}
		}
	}
	for range 2 {
		w.append(first...)
	}
	w.append(second...)
	w.same("all partitions", want)
	w.expect("all partitions", [3]int64{int64(len(want)), 16 * 2 * size, sum(rows(0, 16*2*size, march, 0)...)})
}
