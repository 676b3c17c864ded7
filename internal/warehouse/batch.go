package warehouse

import "fmt"

// Batch is rows of one table, column by column.
type Batch struct {
	Table  *Table
	Values []Values // parallel to the table's columns

	rows int
	next int   // the column that the row under way expects
	err  error // of the first value that did not fit its column
}

// Values are one column's values; only the slice of the column's kind is filled.
type Values struct {
	Strings     []string
	Bytes       [][]byte
	Ints        []int64 // Int64 and Time
	Uints       []uint64
	Bools       []bool
	StringLists [][]string
	IntLists    [][]int64
}

// NewBatch makes an empty batch.
func NewBatch(t *Table) *Batch { return &Batch{Table: t, Values: make([]Values, len(t.Columns))} }

// Rows counts the finished rows.
func (b *Batch) Rows() int { return b.rows }

// column is the next column, if it has one of the kinds.
func (b *Batch) column(kinds ...Kind) *Values {
	if b.err != nil {
		return nil
	}
	if b.next >= len(b.Values) {
		b.err = fmt.Errorf("table %s: more values than columns", b.Table.Name)
		return nil
	}
	c := b.Table.Columns[b.next]
	for _, k := range kinds {
		if c.Kind == k {
			b.next++
			return &b.Values[b.next-1]
		}
	}
	b.err = fmt.Errorf("table %s: a value of another kind than column %s", b.Table.Name, c.Name)
	return nil
}

// String appends a value to the row under way, as the other methods do: a row's values come in the order of the columns, and End finishes it.
func (b *Batch) String(v string) {
	if c := b.column(String); c != nil {
		c.Strings = append(c.Strings, v)
	}
}

// Bytes appends raw bytes, which are not copied.
func (b *Batch) Bytes(v []byte) {
	if c := b.column(Bytes); c != nil {
		c.Bytes = append(c.Bytes, v)
	}
}

// Int appends a number or a time.
func (b *Batch) Int(v int64) {
	if c := b.column(Int64, Time); c != nil {
		c.Ints = append(c.Ints, v)
	}
}

// Uint appends a hash.
func (b *Batch) Uint(v uint64) {
	if c := b.column(Uint64); c != nil {
		c.Uints = append(c.Uints, v)
	}
}

// Bool appends a truth value.
func (b *Batch) Bool(v bool) {
	if c := b.column(Bool); c != nil {
		c.Bools = append(c.Bools, v)
	}
}

// StringList appends a list, which is not copied.
func (b *Batch) StringList(v []string) {
	if c := b.column(Strings); c != nil {
		c.StringLists = append(c.StringLists, v)
	}
}

// IntList appends a list, which is not copied.
func (b *Batch) IntList(v []int64) {
	if c := b.column(Int64s); c != nil {
		c.IntLists = append(c.IntLists, v)
	}
}

// End finishes the row. An error is a mistake of the decoder: a value too few, too many or of the wrong kind.
func (b *Batch) End() error {
	if b.err == nil && b.next != len(b.Values) {
		b.err = fmt.Errorf("table %s: column %s has no value", b.Table.Name, b.Table.Columns[b.next].Name)
	}
	if b.err != nil {
		return b.err
	}
	b.rows++
	b.next = 0
	return nil
}

// Filled says that Values holds n rows, which a store has put there column by column. An error tells the column that has another number of them.
func (b *Batch) Filled(n int) error {
	for i := range b.Values {
		if c := b.Table.Columns[i]; b.Values[i].len(c.Kind) != n {
			return fmt.Errorf("table %s: column %s has another number of values than rows", b.Table.Name, c.Name)
		}
	}
	b.rows, b.next, b.err = n, 0, nil
	return nil
}

// Append copies the rows from i up to but not including j of a batch with the same columns. What values point to is not copied.
func (b *Batch) Append(from *Batch, i, j int) {
	for c := range b.Values {
		to, v := &b.Values[c], &from.Values[c]
		switch b.Table.Columns[c].Kind {
		case String:
			to.Strings = append(to.Strings, v.Strings[i:j]...)
		case Bytes:
			to.Bytes = append(to.Bytes, v.Bytes[i:j]...)
		case Int64, Time:
			to.Ints = append(to.Ints, v.Ints[i:j]...)
		case Uint64:
			to.Uints = append(to.Uints, v.Uints[i:j]...)
		case Bool:
			to.Bools = append(to.Bools, v.Bools[i:j]...)
		case Strings:
			to.StringLists = append(to.StringLists, v.StringLists[i:j]...)
		case Int64s:
			to.IntLists = append(to.IntLists, v.IntLists[i:j]...)
		}
	}
	b.rows += j - i
}

func (v *Values) len(kind Kind) int {
	switch kind {
	case String:
		return len(v.Strings)
	case Bytes:
		return len(v.Bytes)
	case Int64, Time:
		return len(v.Ints)
	case Uint64:
		return len(v.Uints)
	case Bool:
		return len(v.Bools)
	case Strings:
		return len(v.StringLists)
	default:
		return len(v.IntLists)
	}
}

// whole tells whether no row is under way.
func (b *Batch) whole() bool { return b.err == nil && b.next == 0 }

// Cut drops the rows from n on, the one under way included: what a record had appended before it turned out to be broken.
func (b *Batch) Cut(n int) {
	for i := range b.Values {
		v := &b.Values[i]
		switch b.Table.Columns[i].Kind {
		case String:
			v.Strings = v.Strings[:n]
		case Bytes:
			v.Bytes = v.Bytes[:n]
		case Int64, Time:
			v.Ints = v.Ints[:n]
		case Uint64:
			v.Uints = v.Uints[:n]
		case Bool:
			v.Bools = v.Bools[:n]
		case Strings:
			v.StringLists = v.StringLists[:n]
		case Int64s:
			v.IntLists = v.IntLists[:n]
		}
	}
	b.rows, b.next, b.err = n, 0, nil
}
