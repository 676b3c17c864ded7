//go:build integration

package schema_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"sluice/deploy/local/clickhouse/engine"
	"sluice/internal/warehouse"
	"sluice/internal/warehouse/clickhouse"
)

// start starts an engine with the migrated schema and opens the store, which checks every table against its declaration.
func start(t *testing.T) (*clickhouse.Store, driver.Conn) {
	t.Helper()
	e, err := engine.Start(t.Context(), engine.Options{Data: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Stop() })
	o := clickhouse.Options{Addresses: []string{e.Address()}, Protocol: "http", Deployment: "shop.-1"}
	if _, err := clickhouse.Migrate(t.Context(), o, allTables(t)); err != nil {
		t.Fatal(err)
	}
	if applied, err := clickhouse.Migrate(t.Context(), o, allTables(t)); err != nil || len(applied) > 0 {
		t.Errorf("the second time it applies %v (%v)", applied, err)
	}
	store, err := clickhouse.Open(t.Context(), o, allTables(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	conn, err := ch.Open(&ch.Options{Protocol: ch.HTTP, Addr: o.Addresses, Auth: ch.Auth{Database: "sluice"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return store, conn
}

// fill appends n rows, an hour apart, whose values follow from the column and the row.
func fill(t *testing.T, b *warehouse.Batch, n int, from time.Time) {
	t.Helper()
	for i := range n {
		for _, c := range b.Table.Columns {
			text := fmt.Sprintf("%s %d", c.Name, i%2)
			switch c.Kind {
			case warehouse.String:
				b.String(text)
			case warehouse.Bytes:
				b.Bytes(fmt.Appendf(nil, "%s %d", c.Name, i))
			case warehouse.Int64:
				b.Int(int64(i))
			case warehouse.Time:
				b.Int(from.Add(time.Duration(i) * time.Hour).UnixMicro())
			case warehouse.Uint64:
				b.Uint(uint64(i))
			case warehouse.Bool:
				b.Bool(i%2 == 0)
			case warehouse.Strings:
				b.StringList([]string{text})
			case warehouse.Int64s:
				b.IntList([]int64{int64(i)})
			}
		}
		if err := b.End(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHourlyCountsOfRetriedBlocks stores a block of every source, which spans two months, and then again.
func TestHourlyCountsOfRetriedBlocks(t *testing.T) {
	store, conn := start(t)
	const rows = 48
	var blocks []*warehouse.Block
	for _, source := range sources(t) {
		b := &warehouse.Block{Source: source, First: 100, Next: 100 + rows}
		for _, table := range source.Tables {
			batch := warehouse.NewBatch(table)
			fill(t, batch, rows, time.Now().Truncate(24*time.Hour).AddDate(0, 0, -20).UTC())
			b.Batches = append(b.Batches, batch)
		}
		blocks = append(blocks, b)
	}
	for range 2 {
		if err := store.Append(t.Context(), blocks); err != nil {
			t.Fatal(err)
		}
		for _, table := range allTables(t) {
			expect(t, conn, "SELECT count() FROM "+table.Name, rows)
		}
		for query, want := range map[string]uint64{
			"SELECT sum(events) FROM events_hourly WHERE `table` = 'history_events'":                     rows,
			"SELECT sum(events) FROM events_hourly WHERE `table` = 'personal_events'":                    rows,
			"SELECT sum(events) FROM events_hourly WHERE `table` = 'trending_events'":                    rows,
			"SELECT sum(events) FROM events_hourly WHERE `table` = 'risk_events'":                        rows,
			"SELECT sum(events) FROM events_hourly WHERE type = 'type 1'":                                4 * rows / 2,
			"SELECT uniqExact(hour) FROM events_hourly":                                                  rows,
			"SELECT sum(amount) FROM events_hourly":                                                      rows * (rows - 1) / 2,
			"SELECT uniqExact(currency) FROM events_hourly WHERE `table` = 'risk_events'":                2,
			"SELECT sum(decisions) FROM decisions_hourly WHERE outcome = 'outcome 0'":                    rows / 2,
			"SELECT sum(impressions) FROM impressions_hourly WHERE surface = 'surface 1'":                rows / 2,
			"SELECT count() FROM system.tables WHERE database = 'sluice' AND engine_full LIKE '% TTL %'": uint64(len(allTables(t))),
		} {
			expect(t, conn, query, want)
		}
	}
}

func expect(t *testing.T, conn driver.Conn, query string, want uint64) {
	t.Helper()
	var got uint64
	if err := conn.QueryRow(t.Context(), "SELECT toUInt64(("+query+"))").Scan(&got); err != nil || got != want {
		t.Errorf("%s: %d (%v), %d expected", query, got, err, want)
	}
}

// TestNoIdentifierIsInTheCounts: the hourly tables have no column of raw bytes, and none that is a list.
func TestNoIdentifierIsInTheCounts(t *testing.T) {
	_, conn := start(t)
	rows, err := conn.Query(t.Context(), "SELECT table, name, type FROM system.columns WHERE database = 'sluice' AND table LIKE '%_hourly'")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var table, name, typ string
		if err := rows.Scan(&table, &name, &typ); err != nil {
			t.Fatal(err)
		}
		if typ == "String" || strings.HasPrefix(typ, "Array") {
			t.Errorf("%s.%s is %s", table, name, typ)
		}
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
}
