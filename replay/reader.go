package replay

import (
	"bufio"
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
	// Columns are the names of the columns known so far. A JSON lines file may add some with every row; the others know all at once.
	Columns() []string
	// Read returns the next row's cells in the order of Columns, empty where absent, shorter where the last ones are. The slice is valid until the
	// next call, the strings for ever. The error is io.EOF at the end, a *BadRow after which reading goes on, or one that ends the file.
	Read() ([]string, error)
	Close() error
}

var (
	_ Reader = (*csvReader)(nil)
	_ Reader = (*linesReader)(nil)
	_ Reader = (*parquet.Reader)(nil)
	_ Reader = (*clickhouse.Reader)(nil)
)

// BadRow is a row that cannot be told apart into cells. Payload is its text.
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
	format  string // the extension, without that of the packing
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

const extensions = ".csv .tsv .jsonl .parquet, also with .gz or .zst"

// open opens an input. What is wrong with a file or an address is a *config.Error.
func (o *Options) open(ctx context.Context, in input) (*source, error) {
	if len(in.files) == 0 {
		return openTable(ctx, in.name, o.ClickHousePassword)
	}
	done := new(atomic.Int64)
	s, err := openFile(in.files[0], done)
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

// openFile opens a file by its extensions, and counts in done the bytes that are read of it.
func openFile(name string, done *atomic.Int64) (*source, error) {
	base, packing := strings.ToLower(filepath.Base(name)), ""
	if ext := filepath.Ext(base); ext == ".gz" || ext == ".zst" {
		base, packing = strings.TrimSuffix(base, ext), ext
	}
	format := filepath.Ext(base)
	if !slices.Contains([]string{".csv", ".tsv", ".jsonl", ".parquet"}, format) {
		return nil, fileError(name, "must have one of the extensions "+extensions)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError(name, "must be a readable file: "+reason(err))
	}
	file := &counted{File: f, n: done}
	s := &source{closers: []io.Closer{f}, done: done, format: format, growing: format == ".jsonl"}
	if info, err := f.Stat(); err == nil {
		s.size = info.Size()
	}
	if err := s.read(file, packing); err != nil {
		return nil, errors.Join(fileError(name, err.Error()), s.Close())
	}
	return s, nil
}

func (s *source) read(file *counted, packing string) error {
	plain, err := s.unpack(file, packing)
	if err != nil {
		return err
	}
	var r Reader
	switch s.format {
	case ".parquet":
		r, err = s.parquet(file, plain, packing)
	case ".jsonl":
		r = newLinesReader(plain)
	case ".tsv":
		r, err = newCSVReader(plain, '\t')
	default:
		r, err = newCSVReader(plain, ',')
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

func (s *source) unpack(file *counted, packing string) (io.Reader, error) {
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

// parquet needs to jump in the file: a packed one is unpacked into a temporary file first.
func (s *source) parquet(file *counted, plain io.Reader, packing string) (Reader, error) {
	if packing == "" {
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
