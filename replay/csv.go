package replay

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// csvReader reads comma or tab separated files whose first line names the columns.
type csvReader struct {
	csv     *csv.Reader
	raw     *recorder
	columns []string
}

// recorder keeps what was read since the mark, so that a row that does not parse can be kept as it came.
type recorder struct {
	r    io.Reader
	kept []byte
	base int64 // offset of kept[0]
	mark int64 // everything before it may go
}

func (r *recorder) Read(p []byte) (int, error) {
	if drop := r.mark - r.base; drop > 0 {
		r.kept = append(r.kept[:0], r.kept[min(int(drop), len(r.kept)):]...)
		r.base = r.mark
	}
	n, err := r.r.Read(p)
	r.kept = append(r.kept, p[:n]...)
	return n, err
}

// between is the text from the mark to the offset.
func (r *recorder) between(to int64) string {
	from := max(r.mark-r.base, 0)
	return string(r.kept[from:max(from, to-r.base)])
}

var byteOrderMark = []byte("\ufeff")

func newCSVReader(plain io.Reader, comma rune) (*csvReader, error) {
	buffered := bufio.NewReaderSize(plain, 1<<16)
	if start, err := buffered.Peek(len(byteOrderMark)); err == nil && bytes.Equal(start, byteOrderMark) {
		if _, err := buffered.Discard(len(byteOrderMark)); err != nil {
			return nil, err
		}
	}
	r := &csvReader{raw: &recorder{r: buffered}}
	r.csv = csv.NewReader(r.raw)
	r.csv.Comma = comma
	r.csv.LazyQuotes = comma == '\t' // tab separated files rarely quote
	r.csv.ReuseRecord = true
	r.csv.FieldsPerRecord = -1
	header, err := r.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the first line must hold the names of the columns")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the names of the columns: %w", err)
	}
	r.columns = slices.Clone(header)
	for i, c := range r.columns {
		if c = strings.TrimSpace(c); slices.Contains(r.columns[:i], c) {
			return nil, fmt.Errorf("column %q is named twice", c)
		}
		r.columns[i] = c
	}
	r.raw.mark = r.csv.InputOffset()
	return r, nil
}

func (r *csvReader) Columns() []string { return r.columns }

func (r *csvReader) Read() ([]string, error) {
	cells, err := r.csv.Read()
	end := r.csv.InputOffset()
	if err == nil && len(cells) == len(r.columns) {
		r.raw.mark = end
		return cells, nil
	}
	var malformed *csv.ParseError
	switch {
	case errors.As(err, &malformed):
		err = &BadRow{Fault{Code: "broken_row", Detail: fmt.Sprintf("line %d: %s", malformed.Line, malformed.Err)}, r.raw.between(end)}
	case err == nil:
		detail := fmt.Sprintf("must have %d columns, has %d", len(r.columns), len(cells))
		err = &BadRow{Fault{Code: "wrong_columns", Detail: detail}, r.raw.between(end)}
	}
	r.raw.mark = end
	return nil, err
}

func (r *csvReader) Close() error { return nil }
