// Package parquet reads the rows of Parquet files as text cells, for replays. It is the one place that knows the Parquet library.
package parquet

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// rowsAtOnce is how many rows are decoded in one go.
const rowsAtOnce = 256

// Reader yields rows. Nested columns are called "outer.inner"; a list of simple values is a JSON array, any other column that repeats is left out.
type Reader struct {
	columns []string
	leaves  []leaf // by the file's column index
	groups  []parquet.RowGroup
	rows    parquet.Rows // of the row group at hand
	buffer  []parquet.Row
	ready   []parquet.Row // part of buffer not yet returned
	cells   []string
}

// leaf is one column of the file.
type leaf struct {
	cell int // its place in a row's cells, -1 if it is left out
	text func(parquet.Value) string
	list bool // its cells are JSON arrays,
	bare bool // of numbers or truth values
}

// Open reads the file's description. The error says what is wrong with the file, without its name.
func Open(file io.ReaderAt, size int64) (r *Reader, err error) {
	defer recovered(&err)
	f, err := parquet.OpenFile(file, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("must be a Parquet file: %w", err)
	}
	schema := f.Schema()
	r = &Reader{groups: f.RowGroups(), buffer: make([]parquet.Row, rowsAtOnce)}
	for _, path := range schema.Columns() {
		column, _ := schema.Lookup(path...)
		l := leaf{cell: -1}
		if name, ok := nameOf(path, &column); ok {
			t := column.Node.Type()
			l = leaf{cell: len(r.columns), text: textOf(t), list: column.MaxRepetitionLevel > 0, bare: isBare(t)}
			r.columns = append(r.columns, strings.Join(name, "."))
		}
		r.leaves = append(r.leaves, l)
	}
	r.cells = make([]string, len(r.columns))
	return r, nil
}

// nameOf is the name of a column without what a list wraps its elements in. It fails on what repeats in any other way.
func nameOf(path []string, column *parquet.LeafColumn) (name []string, ok bool) {
	switch n := len(path) - 2; {
	case column.MaxRepetitionLevel == 0:
		return path, true
	case column.MaxRepetitionLevel > 1:
		return nil, false
	case column.Node.Repeated():
		return path, true
	case n > 0 && slices.Contains([]string{"list.element", "list.item", "bag.array_element", "bag.array"}, path[n]+"."+path[n+1]):
		return path[:n], true
	default:
		return nil, false
	}
}

// Binary makes the cells of the columns hex digits: they hold bytes that are no text, which a file does not tell. Names that the file lacks are passed over.
func (r *Reader) Binary(columns ...string) {
	for i := range r.leaves {
		if l := &r.leaves[i]; l.cell >= 0 && slices.Contains(columns, r.columns[l.cell]) {
			l.text = func(v parquet.Value) string { return hex.EncodeToString(v.ByteArray()) }
		}
	}
}

// recovered turns a panic into an error: the library panics on some damaged files.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("must be a sound Parquet file: %v", p)
	}
}

// Columns are the names of the columns.
func (r *Reader) Columns() []string { return r.columns }

// Read returns the next row's cells, empty where null, or io.EOF. The slice is valid until the next call.
func (r *Reader) Read() (cells []string, err error) {
	defer recovered(&err)
	for len(r.ready) == 0 {
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	row := r.ready[0]
	r.ready = r.ready[1:]
	clear(r.cells)
	for len(row) > 0 {
		n := 1 // values of the column at hand
		for n < len(row) && row[n].Column() == row[0].Column() {
			n++
		}
		if l := &r.leaves[row[0].Column()]; l.cell >= 0 {
			r.cells[l.cell] = l.cellOf(row[:n])
		}
		row = row[n:]
	}
	return r.cells, nil
}

// cellOf is the cell of a row's values of the column; empty where there are none.
func (l *leaf) cellOf(values []parquet.Value) string {
	if !l.list {
		if values[0].IsNull() {
			return ""
		}
		return l.text(values[0])
	}
	if len(values) == 1 && values[0].IsNull() {
		return ""
	}
	cell := []byte{'['}
	for i, v := range values {
		if i > 0 {
			cell = append(cell, ',')
		}
		cell = l.appendJSON(cell, v)
	}
	return string(append(cell, ']'))
}

func (l *leaf) appendJSON(dst []byte, v parquet.Value) []byte {
	switch {
	case v.IsNull():
		return append(dst, "null"...)
	case l.bare:
		return append(dst, l.text(v)...)
	default:
		out, err := jsontext.AppendQuote(dst, l.text(v))
		if err != nil { // not UTF-8: nobody can read such an array, and the row says so
			return append(dst, l.text(v)...)
		}
		return out
	}
}

// fill decodes rows of the row group at hand, or goes to the next one.
func (r *Reader) fill() error {
	if r.rows == nil {
		if len(r.groups) == 0 {
			return io.EOF
		}
		r.rows, r.groups = r.groups[0].Rows(), r.groups[1:]
	}
	n, err := r.rows.ReadRows(r.buffer)
	r.ready = r.buffer[:n]
	if errors.Is(err, io.EOF) {
		err = r.rows.Close()
		r.rows = nil
	}
	if err != nil {
		return fmt.Errorf("reading rows: %w", err)
	}
	return nil
}

// Close releases what Read holds. The file stays open.
func (r *Reader) Close() error {
	if r.rows == nil {
		return nil
	}
	err := r.rows.Close()
	r.rows, r.groups, r.ready = nil, nil, nil
	return err
}

// isBare tells whether JSON has the column's values without quotes.
func isBare(t parquet.Type) bool {
	if logical := t.LogicalType(); logical != nil {
		switch logical.Value.(type) {
		case *format.DecimalType, *format.IntType:
		default:
			return false
		}
	}
	switch t.Kind() {
	case parquet.Boolean, parquet.Int32, parquet.Int64, parquet.Float, parquet.Double:
		return true
	default:
		return false
	}
}

// textOf is how a column's values are written, so that the same data reads the same in every file format.
func textOf(t parquet.Type) func(parquet.Value) string {
	if logical := t.LogicalType(); logical != nil {
		switch l := logical.Value.(type) {
		case *format.TimestampType:
			if l.Unit.Value != nil {
				return timestamp(l.Unit.Value.Duration(), l.IsAdjustedToUTC)
			}
		case *format.DateType:
			return date
		case *format.DecimalType:
			return decimal(int(l.Scale))
		case *format.IntType:
			if !l.IsSigned {
				return unsigned
			}
		case *format.UUIDType:
			return uuid
		}
		return plain
	}
	if converted := t.ConvertedType(); converted != nil {
		switch *converted {
		case deprecated.TimestampMillis:
			return timestamp(time.Millisecond, true)
		case deprecated.TimestampMicros:
			return timestamp(time.Microsecond, true)
		case deprecated.Date:
			return date
		case deprecated.Uint8, deprecated.Uint16, deprecated.Uint32, deprecated.Uint64:
			return unsigned
		}
	}
	return plain
}

func plain(v parquet.Value) string {
	switch v.Kind() {
	case parquet.Boolean:
		return strconv.FormatBool(v.Boolean())
	case parquet.Int32:
		return strconv.Itoa(int(v.Int32()))
	case parquet.Int64:
		return strconv.FormatInt(v.Int64(), 10)
	case parquet.Int96:
		return julian(v.Int96())
	case parquet.Float:
		return strconv.FormatFloat(float64(v.Float()), 'f', -1, 32)
	case parquet.Double:
		return strconv.FormatFloat(v.Double(), 'f', -1, 64)
	default:
		return string(v.ByteArray())
	}
}

func unsigned(v parquet.Value) string {
	if v.Kind() == parquet.Int32 {
		return strconv.FormatUint(uint64(v.Uint32()), 10)
	}
	return strconv.FormatUint(v.Uint64(), 10)
}

// timestamp writes RFC 3339 where the file knows the instant, else a date without an offset, which the map's zone places.
func timestamp(unit time.Duration, instant bool) func(parquet.Value) string {
	layout := "2006-01-02 15:04:05.999999999"
	if instant {
		layout = time.RFC3339Nano
	}
	perSecond := int64(time.Second / unit)
	return func(v parquet.Value) string {
		n := v.Int64()
		return time.Unix(n/perSecond, n%perSecond*int64(unit)).UTC().Format(layout)
	}
}

func date(v parquet.Value) string {
	return time.Unix(int64(v.Int32())*86400, 0).UTC().Format(time.DateOnly)
}

// julian reads a timestamp as old Spark and Hive wrote it: nanoseconds of the day, and the Julian day.
func julian(v deprecated.Int96) string {
	const epoch = 2_440_588 // Julian day of 1970-01-01
	nanos := int64(uint64(v[1])<<32 | uint64(v[0]))
	return time.Unix((int64(v[2])-epoch)*86400, nanos).UTC().Format(time.RFC3339Nano)
}

func decimal(scale int) func(parquet.Value) string {
	return func(v parquet.Value) string {
		unscaled := new(big.Int)
		switch v.Kind() {
		case parquet.Int32:
			unscaled.SetInt64(int64(v.Int32()))
		case parquet.Int64:
			unscaled.SetInt64(v.Int64())
		default: // two's complement, big endian
			b := v.ByteArray()
			if unscaled.SetBytes(b); len(b) > 0 && b[0] >= 0x80 {
				unscaled.Sub(unscaled, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
			}
		}
		text := new(big.Int).Abs(unscaled).String()
		if scale > 0 {
			text = strings.Repeat("0", max(0, scale+1-len(text))) + text
			text = text[:len(text)-scale] + "." + text[len(text)-scale:]
		}
		if unscaled.Sign() < 0 {
			text = "-" + text
		}
		return text
	}
}

func uuid(v parquet.Value) string {
	b := v.ByteArray()
	if len(b) != 16 {
		return hex.EncodeToString(b)
	}
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
