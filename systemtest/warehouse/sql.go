package warehouse

import (
	"context"
	"strings"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"sluice/internal/warehouse"
)

// connect opens a connection to the database, as an analyst has it.
func connect(address string) (driver.Conn, error) {
	return ch.Open(&ch.Options{Addr: []string{address}, Protocol: ch.HTTP, Auth: ch.Auth{Database: database}})
}

// rowsOf reads every row of a table as ClickHouse has it, without FINAL: what is there twice comes twice.
func (s *system) rowsOf(ctx context.Context, t *warehouse.Table) (map[digest]int, error) {
	columns := make([]string, len(t.Columns))
	cells, places := make([]cell, len(t.Columns)), make([]any, len(t.Columns))
	for i, c := range t.Columns {
		if columns[i] = "`" + c.Name + "`"; c.Kind == warehouse.Time {
			columns[i] = "toUnixTimestamp64Micro(" + columns[i] + ")"
		}
		places[i] = cells[i].place(c.Kind)
	}
	found, err := s.conn.Query(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM "+t.Name)
	if err != nil {
		return nil, err
	}
	defer found.Close() //nolint:errcheck // what it would say is in found.Err
	stored, b := make(map[digest]int), warehouse.NewBatch(t)
	var buf []byte
	for found.Next() {
		if err := found.Scan(places...); err != nil {
			return nil, err
		}
		for i, c := range t.Columns {
			cells[i].put(&b.Values[i], c.Kind)
		}
		if err := b.Filled(1); err != nil {
			return nil, err
		}
		var d digest
		d, buf = digestOf(b, 0, buf)
		stored[d]++
		b.Cut(0)
	}
	return stored, found.Err()
}

// cell is where the driver puts a value.
type cell struct {
	text   string
	bytes  []byte
	number int64
	hash   uint64
	truth  bool
	texts  []string
	list   []int64
}

func (c *cell) place(k warehouse.Kind) any {
	switch k {
	case warehouse.String:
		return &c.text
	case warehouse.Bytes:
		return &c.bytes
	case warehouse.Uint64:
		return &c.hash
	case warehouse.Bool:
		return &c.truth
	case warehouse.Strings:
		return &c.texts
	case warehouse.Int64s:
		return &c.list
	default: // Int64, Time
		return &c.number
	}
}

func (c *cell) put(v *warehouse.Values, k warehouse.Kind) {
	switch k {
	case warehouse.String:
		v.AppendString(c.text)
	case warehouse.Bytes:
		v.AppendText(c.bytes)
	case warehouse.Uint64:
		v.AppendInt(int64(c.hash))
	case warehouse.Bool:
		v.AppendBool(c.truth)
	case warehouse.Strings:
		for _, text := range c.texts {
			v.AppendString(text)
		}
		v.EndList()
	case warehouse.Int64s:
		for _, n := range c.list {
			v.AppendInt(n)
		}
		v.EndList()
	default: // Int64, Time
		v.AppendInt(c.number)
	}
}

// counted are the rows that were ever inserted, by table, as the hourly counts have them.
func (s *system) counted(ctx context.Context) (map[string]int64, error) {
	found, err := s.conn.Query(ctx, `
		SELECT toString(table) AS name, toInt64(sum(events)) FROM events_hourly GROUP BY name
		UNION ALL SELECT 'decisions', toInt64(sum(decisions)) FROM decisions_hourly
		UNION ALL SELECT 'impressions', toInt64(sum(impressions)) FROM impressions_hourly`)
	if err != nil {
		return nil, err
	}
	defer found.Close() //nolint:errcheck // what it would say is in found.Err
	counts := make(map[string]int64)
	for found.Next() {
		var name string
		var n int64
		if err := found.Scan(&name, &n); err != nil {
			return nil, err
		}
		counts[name] = n
	}
	return counts, found.Err()
}

// partRows counts the rows of all parts of all tables, in one question.
func partRows(ctx context.Context, conn driver.Conn) (n int64, err error) {
	err = conn.QueryRow(ctx, "SELECT toInt64(sum(rows)) FROM system.parts WHERE active AND database = '"+database+"'").Scan(&n)
	return n, err
}

// count counts the rows of all tables.
func count(ctx context.Context, conn driver.Conn, tables []*warehouse.Table) (total int64, err error) {
	for _, t := range tables {
		var n uint64
		if err := conn.QueryRow(ctx, "SELECT count() FROM "+t.Name).Scan(&n); err != nil {
			return 0, err
		}
		total += int64(n)
	}
	return total, nil
}
