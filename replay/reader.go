package replay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"sluice/replay/clickhouse"
	"sluice/replay/parquet"
)

// Reader yields the rows of one file.
type Reader interface {
	// Columns are the names of the columns known so far. A JSON file may add some with every row; the others know all at once.
	Columns() []string
	// Read returns the next row's cells in the order of Columns, empty where absent, shorter where the last ones are. The slice is valid until the
	// next call, the strings for ever. The error is io.EOF at the end, a *BadRow after which reading goes on, or one that ends the file.
	Read() ([]string, error)
	Close() error
}

// liner is a reader of a text file: it tells the line of the row read last, or of what is wrong with it.
type liner interface{ Line() int64 }

var (
	_ Reader = (*csvReader)(nil)
	_ Reader = (*linesReader)(nil)
	_ Reader = (*valuesReader)(nil)
	_ Reader = (*parquet.Reader)(nil)
	_ Reader = (*clickhouse.Reader)(nil)

	_ liner = (*csvReader)(nil)
	_ liner = (*objects)(nil)
)

// BadRow is a row that cannot be split into cells. Payload is its text.
type BadRow struct {
	Fault
	Payload string
}

func (b *BadRow) Error() string { return b.Fault.Error() }

// source is an open input: a file with its decompression, or a table.
type source struct {
	Reader
	closers []io.Closer // the first one opened first
	size    int64       // in bytes, of a table in rows
	done    *atomic.Int64
	format  string // one of formats, or isTable

	encoding string // that the text was decoded from, empty for UTF-8
	detected string // what nobody had said and was told from the file, for a note
	rows     int64  // read so far

	// growing is true where columns may come with later rows.
	growing bool
	// table is the table of the warehouse that the rows are of, nil for all others.
	table *table
}

// isTable is the format of what was read from a database.
const isTable = "table"

// counted counts the bytes that were read of a file, for the progress bar.
type counted struct {
	*os.File
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.File.ReadAt(p, off)
	c.n.Add(int64(n))
	return n, err
}

// WriteTo keeps io.Copy from going around Read.
func (c *counted) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}

// formats are the extensions of files, without the extensions of compression.
var formats = []string{".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"}

var (
	extensions = strings.Join(formats, " ") + ", also with .gz or .zst"
	packings   = []struct{ extension, magic string }{{".gz", "\x1f\x8b"}, {".zst", "\x28\xb5\x2f\xfd"}}
)

// layout is what the map says of how files are written, and the command line of those that do not tell it by their names.
type layout struct {
	separator byte   // of CSV files, 0 if the first line tells it
	encoding  string // empty for UTF-8
	format    string // one of formats, empty if the name tells it
}

// open opens an input. What is wrong with a file or an address is a *config.Error.
func (o *Options) open(ctx context.Context, in input) (*source, error) {
	if in.opened != nil {
		return in.opened, nil
	}
	if len(in.files) == 0 {
		return openTable(ctx, in.name, o.ClickHousePassword)
	}
	rule := o.Map.layout
	rule.format = o.Format
	if in.files[0] == standardInput {
		return openStandardInput(ctx, o.Stdin, rule)
	}
	done := new(atomic.Int64)
	s, err := openFile(in.files[0], rule, done)
	if err != nil || s.table == nil {
		return s, err
	}
	sorted, err := newSortedReader(s, in.files, done)
	return sorted, errors.Join(err, s.Close())
}

func openTable(ctx context.Context, name, password string) (*source, error) {
	address, err := clickhouse.ParseAddress(name)
	if err != nil {
		return nil, fileError("--events", err.Error()) // the address may hold a password
	}
	r, err := clickhouse.Open(ctx, address, password)
	if wrong := new(clickhouse.WrongError); errors.As(err, &wrong) {
		return nil, fileError(name, wrong.Message)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s := &source{Reader: r, closers: []io.Closer{r}, size: r.Total(), done: r.Done(), format: isTable}
	s.recognize(r)
	return s, nil
}

// openFile opens a file by its extensions, and counts in done the bytes that are read of it. A file without a byte is one without a row.
func openFile(name string, rule layout, done *atomic.Int64) (*source, error) {
	format, packing := formatOf(name)
	if format == "" {
		format = rule.format
	}
	if format == "" {
		return nil, fileError(name, "must have one of the extensions "+extensions+", or --format say what it is")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError(name, "must be a readable file: "+reason(err))
	}
	s := &source{closers: []io.Closer{f}, done: done, format: format}
	if info, err := f.Stat(); err == nil {
		s.size = info.Size()
		if s.size == 0 && info.Mode().IsRegular() {
			s.Reader, s.detected = emptyReader{}, "holds no bytes, and so no rows"
			return s, nil
		}
	}
	if err := s.read(&counted{File: f, n: done}, packing, rule); err != nil {
		_ = s.Close() // says no more than the reading
		return nil, fileError(name, whole(err).Error())
	}
	return s, nil
}

// whole says of what breaks off that it must not.
func whole(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("must be whole: %w", err)
	}
	return err
}

// formatOf tells the format and the packing by a file's name, empty where it does not tell them.
func formatOf(name string) (format, packing string) {
	base := strings.ToLower(filepath.Base(name))
	if ext := filepath.Ext(base); ext == ".gz" || ext == ".zst" {
		base, packing = strings.TrimSuffix(base, ext), ext
	}
	if format = filepath.Ext(base); !slices.Contains(formats, format) {
		format = ""
	}
	return format, packing
}

// standardInput is the name of what is read from there.
const standardInput = "-"

// openStandardInput tells by the first bytes what it reads, but for the format if that is given.
func openStandardInput(ctx context.Context, r io.Reader, rule layout) (*source, error) {
	if r == nil {
		r = strings.NewReader("")
	}
	s := &source{done: new(atomic.Int64), format: rule.format}
	buffered := bufio.NewReaderSize(countedReader{until(ctx, r), s.done}, 1<<16)
	_, err := buffered.Peek(1)
	packing := ""
	for _, p := range packings {
		if magic, _ := buffered.Peek(len(p.magic)); string(magic) == p.magic {
			packing = p.extension
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		s.Reader = emptyReader{}
		return s, nil
	case err == nil:
		err = s.read(buffered, packing, rule)
	}
	if err != nil && ctx.Err() == nil {
		err = fileError("standard input", whole(err).Error())
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// until reads until the context ends, also while nothing comes: nobody can interrupt a read of a terminal or a pipe, which then ends with the process.
func until(ctx context.Context, r io.Reader) io.Reader {
	out, in := io.Pipe()
	context.AfterFunc(ctx, func() { in.CloseWithError(ctx.Err()) })
	go func() {
		_, err := io.Copy(in, r)
		in.CloseWithError(err)
	}()
	return out
}

// countedReader counts what is read.
type countedReader struct {
	io.Reader
	n *atomic.Int64
}

func (c countedReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// emptyReader has no rows.
type emptyReader struct{}

func (emptyReader) Columns() []string       { return nil }
func (emptyReader) Read() ([]string, error) { return nil, io.EOF }
func (emptyReader) Close() error            { return nil }

// sniff tells a format by the first bytes.
func sniff(r *bufio.Reader) string {
	start, _ := r.Peek(512)
	if bytes.HasPrefix(start, []byte("PAR1")) {
		return ".parquet"
	}
	start = bytes.TrimLeft(bytes.TrimPrefix(start, byteOrderMark), " \t\r\n")
	if len(start) > 0 && (start[0] == '{' || start[0] == '[') {
		return ".json"
	}
	line, _, _ := bytes.Cut(start, []byte{'\n'})
	if separatorOf(line) == '\t' {
		return ".tsv"
	}
	return ".csv"
}

func (s *source) read(file io.Reader, packing string, rule layout) error {
	plain, err := s.unpack(file, packing)
	if err != nil {
		return err
	}
	if s.format == "" {
		buffered := bufio.NewReaderSize(plain, 1<<16)
		s.format = sniff(buffered)
		s.detected, plain = "is read as "+s.format[1:]+", as it looks like that", buffered
	}
	var r Reader
	if s.format == ".parquet" {
		r, err = s.parquet(file, plain, packing)
	} else if plain, s.encoding, err = decoded(plain, rule.encoding); err == nil {
		r, err = s.text(plain, rule)
	}
	if err != nil {
		return err
	}
	s.Reader, s.closers = r, append(s.closers, r)
	if p, ok := r.(*parquet.Reader); ok {
		s.recognize(p)
	}
	return nil
}

// text reads a text in the source's format.
func (s *source) text(plain io.Reader, rule layout) (Reader, error) {
	switch s.format {
	case ".json":
		s.growing = true
		return newValuesReader(plain), nil
	case ".jsonl", ".ndjson":
		s.growing = true
		return newLinesReader(plain), nil
	case ".tsv":
		return newCSVReader(plain, '\t', false)
	}
	r, err := newCSVReader(plain, rule.separator, true)
	if err == nil && r.detected && r.separator != ',' {
		s.detected = "is read with the separator " + separatorName(r.separator) + ", as its first line has it"
	}
	return r, err
}

// Read returns the next row's cells.
func (s *source) Read() ([]string, error) {
	cells, err := s.Reader.Read()
	if bad := (*BadRow)(nil); err == nil || errors.As(err, &bad) {
		s.rows++
	}
	return cells, err
}

// at is where the row read last stands: its line, or its number where the input has no lines; unit says which.
func (s *source) at() int64 {
	if l, ok := s.Reader.(liner); ok {
		return l.Line()
	}
	return s.rows
}

func (s *source) unit() string {
	if _, ok := s.Reader.(liner); ok {
		return "line"
	}
	return "row"
}

// empty tells whether nothing is known of the input, not even columns: there is nothing that the map could be held against.
func (s *source) empty() bool { return !s.growing && len(s.Columns()) == 0 }

func (s *source) unpack(file io.Reader, packing string) (io.Reader, error) {
	switch packing {
	case ".gz":
		z, err := gzip.NewReader(bufio.NewReaderSize(file, 1<<16))
		if err != nil {
			return nil, fmt.Errorf("must be gzip: %w", err)
		}
		s.closers = append(s.closers, z)
		return z, nil
	case ".zst":
		z, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("must be zstd: %w", err)
		}
		s.closers = append(s.closers, z.IOReadCloser())
		return z, nil
	default:
		return file, nil
	}
}

// parquet needs to jump in the file: a packed one, and standard input, goes into a temporary file first.
func (s *source) parquet(file, plain io.Reader, packing string) (Reader, error) {
	if file, ok := file.(*counted); ok && packing == "" {
		return parquet.Open(file, s.size)
	}
	temporary, err := os.CreateTemp("", "sluice-replay-*.parquet")
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	s.closers = append(s.closers, temporary)
	if err := os.Remove(temporary.Name()); err != nil { // lives on until it is closed
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	size, err := io.Copy(temporary, plain)
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	return parquet.Open(temporary, size)
}

// Close closes the reader, the decompression and the file.
func (s *source) Close() error {
	var errs []error
	for _, c := range slices.Backward(s.closers) {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
