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
	v := &b.Values[i]
	switch b.Table.Columns[i].Kind {
	case warehouse.String:
		if strings.HasPrefix(typ, "LowCardinality") {
			return appendWords(to, v.Strings)
		}
		return to.Append(v.Strings)
	case warehouse.Bytes:
		return to.Append(v.Bytes)
	case warehouse.Int64:
		return to.Append(v.Ints)
	case warehouse.Uint64:
		return to.Append(v.Uints)
	case warehouse.Bool:
		return to.Append(v.Bools)
	case warehouse.Time:
		return to.Append(times(v.Ints))
	case warehouse.Strings:
		return appendLists(to, v.StringLists)
	default: // Int64s
		return appendLists(to, v.IntLists)
	}
}

// appendWords appends values of which few differ.
func appendWords(to driver.BatchColumn, words []string) error {
	boxed := map[string]any{}
	for _, word := range words {
		v, ok := boxed[word]
		if !ok {
			v = word
			boxed[word] = v
		}
		if err := to.AppendRow(v); err != nil {
			return err
		}
	}
	return nil
}

// appendLists appends lists. Empty ones share a box.
func appendLists[T any](to driver.BatchColumn, lists [][]T) error {
	var none any = []T{}
	for _, list := range lists {
		v := none
		if len(list) > 0 {
			v = list
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

func times(micros []int64) []time.Time {
	out := make([]time.Time, len(micros))
	for i, v := range micros {
		out[i] = time.UnixMicro(clamped(v))
	}
	return out
}

func clamped(micros int64) int64 { return min(max(micros, earliest), latest) }
