// Package warehouse keeps rows of what has passed the consent filter. A writer follows the streams and fills tables in one store, ClickHouse or Parquet files
// by day. Each row arrives once, across retries, restarts and changes of the group's members. What a person's control records delete is deleted there, too.
package warehouse

import (
	"fmt"
	"time"

	"sluice/internal/stream"
)

// Kind is the type of a column's values.
type Kind uint8

// Kinds of columns. ClickHouse and Parquet types are in their adapters.
const (
	String  Kind = iota + 1 // UTF-8
	Bytes                   // a pseudonym, a floor: raw bytes
	Int64                   // counts; money in micros
	Uint64                  // hashes
	Bool                    //
	Time                    // Unix microseconds, UTC
	Strings                 // a list
	Int64s                  // a list, parallel to the row's other lists
)

// Column is one column of a table.
type Column struct {
	Name string
	Kind Kind
	Doc  string
}

// Table is one table, the same in every store. Rows carry no offset: two purposes' tables must not be joined by their place on the streams.
type Table struct {
	Name    string
	Doc     string
	Columns []Column
	Time    string        // the Time column: its UTC day is the row's day, and the row is kept from then on
	Keep    time.Duration // 0 = for ever
	Key     []string      // columns that tell one row from all others

	// What a purge looks at: columns of kind Bytes, "" where the table has none. A table without a subject or an event is not purged.
	Subject, Event, Floor string
}

// Column is the place of the column with the name, -1 if there is none.
func (t *Table) Column(name string) int {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return i
		}
	}
	return -1
}

// Select is the table with only these columns, in this order; nil = the table itself. An error names the column that it does not have.
func (t *Table) Select(columns []string) (*Table, error) {
	if columns == nil {
		return t, nil
	}
	selected := *t
	selected.Columns = make([]Column, 0, len(columns))
	for _, name := range columns {
		c := t.Column(name)
		if c < 0 {
			return nil, fmt.Errorf("table %s: no column %s", t.Name, name)
		}
		selected.Columns = append(selected.Columns, t.Columns[c])
	}
	return &selected, nil
}

// Source fills tables from one topic.
type Source struct {
	Topic  string // short name
	Tables []*Table
	// Decode appends what the record holds, which may be many events and purges, to out, in its order. An error is about this record alone: what it has
	// appended is dropped, and it becomes a dead letter. rec must not be kept.
	Decode func(rec *stream.Record, out *Rows) error
}
