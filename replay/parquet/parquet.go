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

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// rowsAtOnce is how many rows are decoded in one go.
const rowsAtOnce = 256

// Reader yields rows. Nested columns are called "outer.inner"; a column that repeats is a JSON array, or an object if it is a map, of what it holds.
type Reader struct {
	columns []column
	names   []string
	file    io.ReaderAt
	groups  []parquet.RowGroup
	chunks  [][]format.ColumnChunk // of the groups
	left    int64                  // rows of the row group at hand that are still to come
	rows    parquet.Rows           // of the row group at hand
	buffer  []parquet.Row
	ready   []parquet.Row // part of buffer not yet returned
	values  values
	cells   []string
}

// Open reads the file's description. The error says what is wrong with the file, without its name.
func Open(file io.ReaderAt, size int64) (r *Reader, err error) {
	defer recovered(&err)
	f, err := parquet.OpenFile(file, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("must be a Parquet file: %w", err)
	}
	r = &Reader{groups: f.RowGroups(), buffer: make([]parquet.Row, rowsAtOnce), columns: columnsOf(f.Root())}
	for _, c := range r.columns {
		r.names = append(r.names, c.name)
	}
	r.file = file
	for _, group := range f.Metadata().RowGroups {
		r.chunks = append(r.chunks, group.Columns)
	}
	r.cells = make([]string, len(r.columns))
	r.values = make(values, len(f.Schema().Columns()))
	return r, nil
}

// Binary makes the cells of the columns hex digits: they hold bytes that are no text, which a file does not tell. Names that the file lacks are passed over.
func (r *Reader) Binary(columns ...string) {
	for _, c := range r.columns {
		if slices.Contains(columns, c.name) && c.node.leaf {
			c.node.text = func(v parquet.Value) string { return hex.EncodeToString(v.ByteArray()) }
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
func (r *Reader) Columns() []string { return r.names }

// Read returns the next row's cells, empty where null, or io.EOF. The slice is valid until the next call.
func (r *Reader) Read() (cells []string, err error) {
	defer recovered(&err)
	for len(r.ready) == 0 {
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	r.values.split(r.ready[0])
	r.ready = r.ready[1:]
	for i := range r.columns {
		r.cells[i] = r.values.cell(r.columns[i].node)
	}
	return r.cells, nil
}

// fill decodes rows of the row group at hand, or goes to the next one that has any.
func (r *Reader) fill() error {
	for r.rows == nil {
		if len(r.groups) == 0 {
			return io.EOF
		}
		group, chunks := r.groups[0], r.chunks[0]
		r.groups, r.chunks = r.groups[1:], r.chunks[1:]
		if r.left = group.NumRows(); r.left == 0 { // the library cannot read one that is empty
			continue
		}
		for _, c := range r.columns {
			if err := c.node.begin(r.file, chunks); err != nil {
				return err
			}
		}
		r.rows = group.Rows()
	}
	n, err := r.rows.ReadRows(r.buffer)
	r.ready, r.left = r.buffer[:n], r.left-int64(n)
	if errors.Is(err, io.EOF) {
		if err = r.rows.Close(); err == nil && r.left != 0 {
			err = fmt.Errorf("a row group must have as many rows as the file says; %d are missing", r.left)
		}
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
