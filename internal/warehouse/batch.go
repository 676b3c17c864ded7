package warehouse

import "fmt"

// Batch is rows of one table, column by column. It copies what is appended.
type Batch struct {
	Table  *Table
	Values []Values // parallel to the table's columns

	rows int
	next int   // the column that the row under way expects
	err  error // of the first value that did not fit its column
}

// NewBatch makes an empty batch.
func NewBatch(t *Table) *Batch {
	b := &Batch{Table: t, Values: make([]Values, len(t.Columns))}
	for i := range b.Values {
		b.Values[i].kind = t.Columns[i].Kind
	}
	return b
}

// Grow makes room for n further rows.
func (b *Batch) Grow(n int) *Batch {
	for i := range b.Values {
		b.Values[i].grow(n)
	}
	return b
}

// Rows counts the finished rows.
func (b *Batch) Rows() int { return b.rows }

// Memory is what the batch takes, in bytes, room for further rows included.
func (b *Batch) Memory() int {
	n := 0
	for i := range b.Values {
		n += b.Values[i].memory()
	}
	return n
}

// used is how much of its memory holds rows.
func (b *Batch) used() int {
	n := 0
	for i := range b.Values {
		n += b.Values[i].used()
	}
	return n
}

// column is the next column, if it has one of the kinds.
func (b *Batch) column(kind, or Kind) *Values {
	if b.next < len(b.Values) && b.err == nil {
		if v := &b.Values[b.next]; v.kind == kind || v.kind == or {
			return v
		}
	}
	b.misfit()
	return nil
}

func (b *Batch) misfit() {
	switch {
	case b.err != nil:
	case b.next >= len(b.Values):
		b.err = fmt.Errorf("table %s: more values than columns", b.Table.Name)
	default:
		b.err = fmt.Errorf("table %s: a value of another kind than column %s", b.Table.Name, b.Table.Columns[b.next].Name)
	}
}

// String appends a value to the row under way, as the other methods do: a row's values come in the order of the columns, and End finishes it.
func (b *Batch) String(v string) {
	if c := b.column(String, String); c != nil {
		c.AppendString(v)
		b.next++
	}
}

// Bytes appends raw bytes.
func (b *Batch) Bytes(v []byte) {
	if c := b.column(Bytes, Bytes); c != nil {
		c.AppendText(v)
		b.next++
	}
}

// Int appends a number or a time.
func (b *Batch) Int(v int64) {
	if c := b.column(Int64, Time); c != nil {
		c.AppendInt(v)
		b.next++
	}
}

// Uint appends a hash.
func (b *Batch) Uint(v uint64) {
	if c := b.column(Uint64, Uint64); c != nil {
		c.AppendInt(int64(v))
		b.next++
	}
}

// Bool appends a truth value.
func (b *Batch) Bool(v bool) {
	if c := b.column(Bool, Bool); c != nil {
		c.AppendBool(v)
		b.next++
	}
}

// AddString appends an element to the list of texts under way, which EndList finishes.
func (b *Batch) AddString(v string) {
	if c := b.column(Strings, Strings); c != nil {
		c.AppendString(v)
	}
}

// AddBytes is AddString for bytes.
func (b *Batch) AddBytes(v []byte) {
	if c := b.column(Strings, Strings); c != nil {
		c.AppendText(v)
	}
}

// AddInt appends an element to the list of numbers under way.
func (b *Batch) AddInt(v int64) {
	if c := b.column(Int64s, Int64s); c != nil {
		c.AppendInt(v)
	}
}

// EndList finishes a list; one without elements is empty.
func (b *Batch) EndList() {
	if c := b.column(Strings, Int64s); c != nil {
		c.EndList()
		b.next++
	}
}

// StringList appends a list.
func (b *Batch) StringList(v []string) {
	for _, s := range v {
		b.AddString(s)
	}
	b.EndList()
}

// IntList appends a list.
func (b *Batch) IntList(v []int64) {
	for _, n := range v {
		b.AddInt(n)
	}
	b.EndList()
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
		if b.Values[i].rows() != n {
			return fmt.Errorf("table %s: column %s has another number of values than rows", b.Table.Name, b.Table.Columns[i].Name)
		}
	}
	b.rows, b.next, b.err = n, 0, nil
	return nil
}

// Append copies the rows from i up to but not including j of a batch with the same columns.
func (b *Batch) Append(from *Batch, i, j int) {
	for c := range b.Values {
		to, v := &b.Values[c], &from.Values[c]
		for row := i; row < j; row++ {
			to.AppendRow(v, row)
		}
	}
	b.rows += j - i
}

// whole tells whether no row is under way.
func (b *Batch) whole() bool { return b.err == nil && b.next == 0 }

// Cut drops the rows from n on, the one under way included: what a record had appended before it turned out to be broken.
func (b *Batch) Cut(n int) {
	for i := range b.Values {
		b.Values[i].cut(n)
	}
	b.rows, b.next, b.err = n, 0, nil
}
