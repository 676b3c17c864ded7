package clickhouse

import (
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"sluice/internal/warehouse"
)

// insertStatement names every column, so that the database may have further ones with defaults.
func insertStatement(table string, t *warehouse.Table) string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = quoteName(c.Name)
	}
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ")"
}

// insertColumns are the columns as they are sent over HTTP: without dictionaries, which the engine makes itself. (Over the native protocol it says what it
// wants.)
func insertColumns(t *warehouse.Table) []ch.ColumnNameAndType {
	out := make([]ch.ColumnNameAndType, len(t.Columns))
	for i, c := range t.Columns {
		out[i] = ch.ColumnNameAndType{Name: c.Name, Type: fitting[c.Kind][0]}
	}
	return out
}

// appendColumn gives a column's values to the driver. The driver would box every value of a list and of a dictionary; row by row, with equal values boxed
// once, costs far less.
func appendColumn(to driver.BatchColumn, b *warehouse.Batch, i int, typ string) error {
	v, n := &b.Values[i], b.Rows()
	switch v.Kind() {
	case warehouse.String:
		if strings.HasPrefix(typ, "LowCardinality") {
			return appendWords(to, v, n)
		}
		return to.Append(collect(n, v.String))
	case warehouse.Bytes:
		return to.Append(collect(n, v.Text))
	case warehouse.Int64:
		return to.Append(collect(n, v.Int))
	case warehouse.Uint64:
		return to.Append(collect(n, v.Uint))
	case warehouse.Bool:
		return to.Append(collect(n, v.Bool))
	case warehouse.Time:
		return to.Append(collect(n, func(row int) time.Time { return time.UnixMicro(clamped(v.Int(row))) }))
	case warehouse.Strings:
		return appendLists(to, n, v.Strings)
	default: // Int64s
		return appendLists(to, n, v.Ints)
	}
}

// collect is a column as the driver takes it.
func collect[T any](n int, value func(row int) T) []T {
	all := make([]T, n)
	for row := range all {
		all[row] = value(row)
	}
	return all
}

// appendWords appends values that are mostly equal.
func appendWords(to driver.BatchColumn, v *warehouse.Values, n int) error {
	boxed := map[string]any{}
	for row := range n {
		word := v.String(row)
		box, ok := boxed[word]
		if !ok {
			box = word
			boxed[word] = box
		}
		if err := to.AppendRow(box); err != nil {
			return err
		}
	}
	return nil
}

// appendLists appends lists. Empty ones share a box.
func appendLists[T any](to driver.BatchColumn, n int, list func(row int) []T) error {
	var none any = []T{}
	for row := range n {
		v := none
		if values := list(row); len(values) > 0 {
			v = values
		}
		if err := to.AppendRow(v); err != nil {
			return err
		}
	}
	return nil
}

// Bounds of DateTime64(6) in the driver, which counts in nanoseconds. A time outside of them is nobody's: it becomes the bound.
var (
	earliest = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	latest   = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
)

func clamped(micros int64) int64 { return min(max(micros, earliest), latest) }
