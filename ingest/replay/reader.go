package replay

import (
	"bufio"
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

	"sluice/ingest/replay/parquet"
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
)

// BadRow is a row that cannot be told apart into cells. Payload is its text.
type BadRow struct {
	Fault
	Payload string
}

func (b *BadRow) Error() string { return b.Fault.Error() }

// source is an open input file with its decompression.
type source struct {
	Reader
	file    *os.File
	counted *counted
	more    []io.Closer
	size    int64
	format  string // the extension, without that of the packing
	// growing is true where columns may come with later rows.
	growing bool
}

// counted counts the bytes that were read of a file, for the progress bar.
type counted struct {
	*os.File
	n atomic.Int64
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

// open opens a file by its extensions.
func open(name string) (*source, error) {
	base, packing := strings.ToLower(filepath.Base(name)), ""
	if ext := filepath.Ext(base); ext == ".gz" || ext == ".zst" {
		base, packing = strings.TrimSuffix(base, ext), ext
	}
	format := filepath.Ext(base)
	if !slices.Contains([]string{".csv", ".tsv", ".jsonl", ".parquet"}, format) {
		return nil, fileError(name, "a file with one of the extensions "+extensions+" expected")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError(name, "a readable file expected: "+reason(err))
	}
	s := &source{file: f, counted: &counted{File: f}, format: format, growing: format == ".jsonl"}
	if info, err := f.Stat(); err == nil {
		s.size = info.Size()
	}
	if err := s.read(format, packing); err != nil {
		return nil, errors.Join(fileError(name, err.Error()), s.Close())
	}
	return s, nil
}

func (s *source) read(format, packing string) error {
	plain, err := s.unpack(packing)
	if err != nil {
		return err
	}
	var r Reader
	switch format {
	case ".parquet":
		r, err = s.parquet(plain, packing)
	case ".jsonl":
		r = newLinesReader(plain)
	case ".tsv":
		r, err = newCSVReader(plain, '\t')
	default:
		r, err = newCSVReader(plain, ',')
	}
	if err == nil {
		s.Reader = r
	}
	return err
}

func (s *source) unpack(packing string) (io.Reader, error) {
	switch packing {
	case ".gz":
		z, err := gzip.NewReader(bufio.NewReaderSize(s.counted, 1<<16))
		if err != nil {
			return nil, fmt.Errorf("gzip expected: %w", err)
		}
		s.more = append(s.more, z)
		return z, nil
	case ".zst":
		z, err := zstd.NewReader(s.counted, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("zstd expected: %w", err)
		}
		s.more = append(s.more, z.IOReadCloser())
		return z, nil
	default:
		return s.counted, nil
	}
}

// parquet needs to jump in the file: a packed one is unpacked into a temporary file first.
func (s *source) parquet(plain io.Reader, packing string) (Reader, error) {
	if packing == "" {
		return parquet.Open(s.counted, s.size)
	}
	temporary, err := os.CreateTemp("", "sluice-replay-*.parquet")
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	s.more = append(s.more, temporary)
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
	if s.Reader != nil {
		errs = append(errs, s.Reader.Close())
	}
	for _, c := range slices.Backward(s.more) {
		errs = append(errs, c.Close())
	}
	return errors.Join(append(errs, s.file.Close())...)
}
