package clickhouse

import (
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"sluice/internal/warehouse"
)

// reader turns rows of the driver into batches.
type reader struct {
	table  *warehouse.Table // of the batches
	cells  []cell           // parallel to its columns
	places []any            // of the cells, for the driver
}

// cell is where the driver puts one column's value of the row under way.
type cell struct {
	text   string
	bytes  []byte
	number int64
	hash   uint64
	truth  bool
	texts  []string
	list   []int64
}

func newReader(t *warehouse.Table) *reader {
	r := &reader{table: t, cells: make([]cell, len(t.Columns)), places: make([]any, len(t.Columns))}
	for i, c := range t.Columns {
		r.places[i] = r.cells[i].place(c.Kind)
	}
	return r
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

// put appends the value to the row under way. The driver makes every row's bytes and lists anew: the batch may hold them.
func (c *cell) put(b *warehouse.Batch, k warehouse.Kind) {
	switch k {
	case warehouse.String:
		b.String(c.text)
	case warehouse.Bytes:
		b.Bytes(c.bytes)
	case warehouse.Uint64:
		b.Uint(c.hash)
	case warehouse.Bool:
		b.Bool(c.truth)
	case warehouse.Strings:
		b.StringList(c.texts)
	case warehouse.Int64s:
		b.IntList(c.list)
	default: // Int64, Time
		b.Int(c.number)
	}
}

// fill appends up to scanRows rows to the batch, and tells whether there may be more.
func (r *reader) fill(rows driver.Rows, b *warehouse.Batch) (more bool, err error) {
	for b.Rows() < scanRows {
		if !rows.Next() {
			return false, nil
		}
		if err := rows.Scan(r.places...); err != nil {
			return false, withoutText(err)
		}
		for i := range r.cells {
			r.cells[i].put(b, r.table.Columns[i].Kind)
		}
		if err := b.End(); err != nil {
			return false, err
		}
	}
	return true, nil
}
