package parquet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"

	"sluice/internal/pace"
	"sluice/internal/warehouse"
)

// opened is a file that is being read.
type opened struct {
	*parquet.File
	os   *os.File
	pace *pace.Pacer // nil = that of somebody who waits
}

// open reads a file's description; its rows are read at the pace of ctx. The library panics on some damaged files; that is an error here.
func open(ctx context.Context, path string) (f *opened, err error) {
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
		return nil, fmt.Errorf("reading %s: must be a Parquet file: %w", path, err)
	}
	return &opened{file, o, pace.From(ctx)}, nil
}

func (f *opened) close() { _ = f.os.Close() } // was only read

// recovered turns a panic into an error.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("must be a sound Parquet file: %v", p)
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
	pace    *pace.Pacer // nil = that of somebody who waits
}

// decode begins at row from of the group and ends before row to. Columns that the file does not have are zero.
func (f *opened) decode(t *warehouse.Table, g parquet.RowGroup, from, to int64) (d *decoder, err error) {
	defer recovered(&err)
	places, err := f.leaves(t)
	if err != nil {
		return nil, err
	}
	d = &decoder{table: t, columns: make([]columnReader, len(places)), batch: warehouse.NewBatch(t).Grow(int(min(to-from, chunkRows))), left: to - from, name: f.os.Name(), pace: f.pace}
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

// next reads the next rows, or returns io.EOF. The batch is good until the next call.
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
		d.pace.Yield()
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
		to.AppendZeros(n)
		return nil
	}
	if c.kind == warehouse.Strings || c.kind == warehouse.Int64s {
		return c.readLists(n, to)
	}
	for n > 0 {
		if err := c.fill(); err != nil {
			return unexpected(err)
		}
		k := min(n, len(c.ready))
		for i := range c.ready[:k] {
			c.put(&c.ready[i], to)
		}
		c.ready = c.ready[k:]
		n -= k
	}
	return nil
}

// put appends a value, or an element of a list.
func (c *columnReader) put(v *parquet.Value, to *warehouse.Values) {
	switch c.kind {
	case warehouse.String, warehouse.Bytes, warehouse.Strings:
		to.AppendText(v.ByteArray())
	case warehouse.Bool:
		to.AppendBool(v.Boolean())
	default:
		to.AppendInt(v.Int64())
	}
}

// readLists appends n rows of a list: a value at repetition level 0 begins one.
func (c *columnReader) readLists(n int, to *warehouse.Values) error {
	for begun := 0; ; {
		err := c.fill()
		if errors.Is(err, io.EOF) && begun == n {
			break
		}
		if err != nil {
			return unexpected(err)
		}
		v := &c.ready[0]
		switch {
		case v.RepetitionLevel() > 0:
			if begun == 0 {
				return errors.New("a list must begin with its first element")
			}
		case begun == n:
			to.EndList()
			return nil
		default:
			if begun > 0 {
				to.EndList()
			}
			begun++
		}
		if v.DefinitionLevel() > 0 {
			c.put(v, to)
		}
		c.ready = c.ready[1:]
	}
	if n > 0 {
		to.EndList()
	}
	return nil
}

// unexpected is the error of a column that ends before its rows do.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
