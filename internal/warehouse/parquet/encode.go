package parquet

import (
	"bufio"
	"fmt"
	"os"

	"github.com/parquet-go/parquet-go"

	"sluice/internal/pace"
	"sluice/internal/warehouse"
)

// encoder writes rows of one table into one file after another. Its buffers are kept between them.
type encoder struct {
	table  *warehouse.Table
	writer *parquet.GenericWriter[any]
	leaves []*parquet.ColumnWriter
	out    *bufio.Writer
	values []parquet.Value
	all    []ref // the rows of one batch, in their order

	subject  int      // its column, -1 = none
	subjects subjects // of the file; without those of row groups that were copied
	copied   bool

	file *os.File    // nil between files
	pace *pace.Pacer // of the file
	rows int64
	open int // rows of the row group under way
}

func newEncoder(t *warehouse.Table, w *parquet.GenericWriter[any]) *encoder {
	return &encoder{table: t, subject: t.Column(t.Subject), writer: w, leaves: w.ColumnWriters(), out: bufio.NewWriterSize(nil, 128<<10)}
}

// begin starts a file, which must not exist, and is written at a pace.
func (e *encoder) begin(path string, p *pace.Pacer) (err error) {
	if e.file, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	e.out.Reset(pacedWriter{e.file, p})
	e.writer.Reset(e.out)
	e.pace = p
	e.rows, e.open, e.copied = 0, 0, false
	e.subjects.reset()
	return nil
}

// writeBatch appends all rows of a batch.
func (e *encoder) writeBatch(b *warehouse.Batch) error {
	for len(e.all) < b.Rows() {
		e.all = append(e.all, ref{rowAt: rowAt{row: int32(len(e.all))}})
	}
	return e.write([]*warehouse.Batch{b}, e.all[:b.Rows()])
}

// write appends rows of some batches, and yields after each column of a chunk.
func (e *encoder) write(batches []*warehouse.Batch, refs []ref) error {
	for len(refs) > 0 {
		n := min(len(refs), chunkRows, groupRows-e.open)
		if e.subject >= 0 {
			for _, r := range refs[:n] {
				e.subjects.add(batches[r.batch].Values[e.subject].Text(int(r.row)))
			}
		}
		for c := range e.table.Columns {
			if err := e.column(c, batches, refs[:n]); err != nil {
				return fmt.Errorf("encoding column %s: %w", e.table.Columns[c].Name, err)
			}
			e.pace.Yield()
		}
		e.rows += int64(n)
		e.open += n
		refs = refs[n:]
		if e.open == groupRows {
			if err := e.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush ends the row group. It encodes the last page of each column by itself, so that it can yield between them.
func (e *encoder) flush() error {
	e.open = 0
	for _, leaf := range e.leaves {
		if err := leaf.Flush(); err != nil {
			return err
		}
		e.pace.Yield()
	}
	return e.writer.Flush()
}

// pacedWriter yields after each write.
type pacedWriter struct {
	file *os.File
	pace *pace.Pacer
}

func (w pacedWriter) Write(b []byte) (int, error) {
	n, err := w.file.Write(b)
	w.pace.Yield()
	return n, err
}

// copy takes a row group of another file as it is; one that this writer would have encoded likewise is not decoded.
func (e *encoder) copy(g parquet.RowGroup) error {
	if err := e.flush(); err != nil {
		return err
	}
	e.copied = true
	n, err := e.writer.WriteRowGroup(g)
	e.rows += n
	return err
}

// end finishes the file, and makes it durable if sync.
func (e *encoder) end(sync bool) (size int64, err error) {
	file := e.file
	e.file = nil
	defer file.Close()
	if err := e.flush(); err != nil {
		return 0, err
	}
	if err := e.writer.Close(); err != nil {
		return 0, err
	}
	if err := e.out.Flush(); err != nil {
		return 0, err
	}
	if sync {
		if err := file.Sync(); err != nil {
			return 0, err
		}
	}
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), file.Close()
}

// abandon lets go of a file that was not finished.
func (e *encoder) abandon() {
	if e.file != nil {
		e.file.Close()
		e.file = nil
	}
}

// column writes the rows' values of column c, which has one leaf. The column writer copies them.
func (e *encoder) column(c int, batches []*warehouse.Batch, refs []ref) error {
	values := e.values[:0]
	switch kind := e.table.Columns[c].Kind; {
	case blank(batches, c):
		nothing := parquet.ByteArrayValue(nil)
		if isList(e.table.Columns[c]) {
			nothing = parquet.NullValue().Level(0, 0, c)
		}
		for range refs {
			values = append(values, nothing)
		}
	case kind == warehouse.String || kind == warehouse.Bytes:
		for _, r := range refs {
			values = append(values, parquet.ByteArrayValue(batches[r.batch].Values[c].Text(int(r.row))))
		}
	case kind == warehouse.Bool:
		for _, r := range refs {
			values = append(values, parquet.BooleanValue(batches[r.batch].Values[c].Bool(int(r.row))))
		}
	case isList(e.table.Columns[c]):
		for _, r := range refs {
			values = appendList(values, &batches[r.batch].Values[c], int(r.row), c)
		}
	default:
		for _, r := range refs {
			values = append(values, parquet.Int64Value(batches[r.batch].Values[c].Int(int(r.row))))
		}
	}
	e.values = values
	_, err := e.leaves[c].WriteRowValues(values)
	return err
}

// blank tells whether no batch has anything in a column.
func blank(batches []*warehouse.Batch, c int) bool {
	for _, b := range batches {
		if b != nil && !b.Values[c].Blank() {
			return false
		}
	}
	return true
}

// appendList writes a list's elements; an empty one is a null at the level of the list.
func appendList(values []parquet.Value, v *warehouse.Values, row, c int) []parquet.Value {
	from, to := v.List(row)
	if from == to {
		return append(values, parquet.NullValue().Level(0, 0, c))
	}
	for i := from; i < to; i++ {
		values = append(values, element(v, i).Level(min(i-from, 1), 1, c))
	}
	return values
}

func element(v *warehouse.Values, i int) parquet.Value {
	if v.Kind() == warehouse.Strings {
		return parquet.ByteArrayValue(v.Text(i))
	}
	return parquet.Int64Value(v.Int(i))
}
