package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"

	"sluice/internal/warehouse"
)

// opened is a file that is being read.
type opened struct {
	*parquet.File
	os *os.File
}

// open reads a file's description. The library panics on some damaged files; that is an error here.
func open(path string) (f *opened, err error) {
	defer recovered(&err)
	o, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if f == nil {
			o.Close()
		}
	}()
	info, err := o.Stat()
	if err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(o, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(32<<10))
	if err != nil {
		return nil, fmt.Errorf("reading %s: a Parquet file expected: %w", path, err)
	}
	return &opened{file, o}, nil
}

func (f *opened) close() { _ = f.os.Close() } // was only read

// recovered turns a panic into an error.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("a sound Parquet file expected: %v", p)
	}
}

// leaves are the places of the table's columns in a file.
func (f *opened) leaves(t *warehouse.Table) ([]int, error) {
	places := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		leaf, err := leafOf(f.Schema(), c)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", f.os.Name(), err)
		}
		places[i] = leaf
	}
	return places, nil
}

// decoder reads some columns of a row group in chunks of rows.
type decoder struct {
	table   *warehouse.Table // with the columns that are read
	columns []columnReader
	batch   *warehouse.Batch // given out by next, over and over
	left    int64
	name    string
}

// decode begins at row from of the group and ends before row to. Columns that the file does not have are zero.
func (f *opened) decode(t *warehouse.Table, g parquet.RowGroup, from, to int64) (d *decoder, err error) {
	defer recovered(&err)
	places, err := f.leaves(t)
	if err != nil {
		return nil, err
	}
	d = &decoder{table: t, columns: make([]columnReader, len(places)), batch: newBatch(t, int(min(to-from, chunkRows))), left: to - from, name: f.os.Name()}
	chunks := g.ColumnChunks()
	for i, leaf := range places {
		c := &d.columns[i]
		if c.kind = t.Columns[i].Kind; leaf < 0 {
			continue
		}
		c.pages = chunks[leaf].Pages()
		if from == 0 {
			continue
		}
		if err := c.pages.SeekToRow(from); err != nil {
			d.close()
			return nil, fmt.Errorf("reading %s: %w", d.name, err)
		}
	}
	return d, nil
}

func (d *decoder) close() {
	for i := range d.columns {
		d.columns[i].close()
	}
}

// next reads the next rows, or returns io.EOF. The batch is good until the next call; what its values point to is for good.
func (d *decoder) next() (b *warehouse.Batch, err error) {
	defer recovered(&err)
	if d.left <= 0 {
		return nil, io.EOF
	}
	n := int(min(d.left, chunkRows))
	b = d.batch
	b.Cut(0)
	for i := range d.columns {
		if err := d.columns[i].read(n, &b.Values[i]); err != nil {
			return nil, fmt.Errorf("reading %s: column %s: %w", d.name, d.table.Columns[i].Name, err)
		}
	}
	d.left -= int64(n)
	return b, b.Filled(n)
}

// columnReader reads one leaf.
type columnReader struct {
	kind   warehouse.Kind
	pages  parquet.Pages // nil = the file does not have the column
	page   parquet.Page
	values parquet.ValueReader
	buffer []parquet.Value
	ready  []parquet.Value // part of buffer
	arena  arena
}

func (c *columnReader) close() {
	c.release()
	if c.pages != nil {
		_ = c.pages.Close() // was only read
	}
}

func (c *columnReader) release() {
	if c.page != nil {
		parquet.Release(c.page)
		c.page, c.values = nil, nil
	}
}

// fill has at least one value in ready, or returns io.EOF.
func (c *columnReader) fill() error {
	if c.buffer == nil {
		c.buffer = make([]parquet.Value, 512)
	}
	for len(c.ready) == 0 {
		if c.values == nil {
			c.release()
			page, err := c.pages.ReadPage()
			if err != nil {
				return err
			}
			c.page, c.values = page, page.Values()
		}
		n, err := c.values.ReadValues(c.buffer)
		c.ready = c.buffer[:n]
		if errors.Is(err, io.EOF) {
			c.values = nil // the page is let go when the next one is read: its last values are still to be used
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read appends n rows.
func (c *columnReader) read(n int, to *warehouse.Values) error {
	if c.pages == nil {
		zero(c.kind, n, to)
		return nil
	}
	if c.kind == warehouse.Strings || c.kind == warehouse.Int64s {
		return c.readLists(n, to)
	}
	a := &c.arena
	for n > 0 {
		if err := c.fill(); err != nil {
			return unexpected(err)
		}
		k := min(n, len(c.ready))
		c.flat(c.ready[:k], to)
		c.ready = c.ready[k:]
		n -= k
	}
	switch c.kind {
	case warehouse.String:
		to.Strings = a.strings(to.Strings)
	case warehouse.Bytes:
		to.Bytes = a.slices(to.Bytes)
	}
	return nil
}

func (c *columnReader) flat(values []parquet.Value, to *warehouse.Values) {
	switch c.kind {
	case warehouse.Int64, warehouse.Time:
		for i := range values {
			to.Ints = append(to.Ints, values[i].Int64())
		}
	case warehouse.Uint64:
		for i := range values {
			to.Uints = append(to.Uints, values[i].Uint64())
		}
	case warehouse.Bool:
		for i := range values {
			to.Bools = append(to.Bools, values[i].Boolean())
		}
	default:
		for i := range values {
			c.arena.add(values[i].ByteArray())
		}
	}
}

// readLists appends n rows of a list: a value at repetition level 0 begins one.
func (c *columnReader) readLists(n int, to *warehouse.Values) error {
	var (
		a      = &c.arena
		counts = make([]int, 0, n)
		ints   []int64
	)
	for {
		err := c.fill()
		if errors.Is(err, io.EOF) && len(counts) == n {
			break
		}
		if err != nil {
			return unexpected(err)
		}
		v := &c.ready[0]
		if v.RepetitionLevel() == 0 {
			if len(counts) == n {
				break
			}
			counts = append(counts, 0)
		} else if len(counts) == 0 {
			return errors.New("a list that begins with its first element expected")
		}
		if v.DefinitionLevel() > 0 {
			counts[len(counts)-1]++
			if c.kind == warehouse.Strings {
				a.add(v.ByteArray())
			} else {
				ints = append(ints, v.Int64())
			}
		}
		c.ready = c.ready[1:]
	}
	if c.kind == warehouse.Strings {
		to.StringLists = cut(to.StringLists, a.strings(nil), counts)
	} else {
		to.IntLists = cut(to.IntLists, ints, counts)
	}
	return nil
}

// cut appends the lists of so many elements each.
func cut[T any](to [][]T, elements []T, counts []int) [][]T {
	for _, n := range counts {
		to = append(to, elements[:n:n])
		elements = elements[n:]
	}
	return to
}

// unexpected is the error of a column that ends before its rows do.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// zero appends n rows of a column that the file does not have.
func zero(k warehouse.Kind, n int, to *warehouse.Values) {
	switch k {
	case warehouse.String:
		to.Strings = append(to.Strings, make([]string, n)...)
	case warehouse.Bytes:
		to.Bytes = append(to.Bytes, make([][]byte, n)...)
	case warehouse.Int64, warehouse.Time:
		to.Ints = append(to.Ints, make([]int64, n)...)
	case warehouse.Uint64:
		to.Uints = append(to.Uints, make([]uint64, n)...)
	case warehouse.Bool:
		to.Bools = append(to.Bools, make([]bool, n)...)
	case warehouse.Strings:
		to.StringLists = append(to.StringLists, make([][]string, n)...)
	case warehouse.Int64s:
		to.IntLists = append(to.IntLists, make([][]int64, n)...)
	}
}

// arena copies many short values out of pages with one allocation.
type arena struct {
	data []byte
	ends []int
}

func (a *arena) add(b []byte) {
	a.data = append(a.data, b...)
	a.ends = append(a.ends, len(a.data))
}

func (a *arena) reset() { a.data, a.ends = a.data[:0], a.ends[:0] }

func (a *arena) strings(to []string) []string {
	all, from := string(a.data), 0
	for _, end := range a.ends {
		to = append(to, all[from:end])
		from = end
	}
	a.reset()
	return to
}

func (a *arena) slices(to [][]byte) [][]byte {
	all, from := bytes.Clone(a.data), 0
	for _, end := range a.ends {
		to = append(to, all[from:end:end])
		from = end
	}
	a.reset()
	return to
}

// newBatch is an empty batch with room for n rows.
func newBatch(t *warehouse.Table, n int) *warehouse.Batch {
	b := warehouse.NewBatch(t)
	for i := range b.Values {
		v := &b.Values[i]
		switch t.Columns[i].Kind {
		case warehouse.String:
			v.Strings = make([]string, 0, n)
		case warehouse.Bytes:
			v.Bytes = make([][]byte, 0, n)
		case warehouse.Int64, warehouse.Time:
			v.Ints = make([]int64, 0, n)
		case warehouse.Uint64:
			v.Uints = make([]uint64, 0, n)
		case warehouse.Bool:
			v.Bools = make([]bool, 0, n)
		case warehouse.Strings:
			v.StringLists = make([][]string, 0, n)
		case warehouse.Int64s:
			v.IntLists = make([][]int64, 0, n)
		}
	}
	return b
}
