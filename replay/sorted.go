package replay

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// sortedReader yields a day of the warehouse in the order of time. Its files are in the order of people, and what is decided about one person depends on
// what others did before. The day's rows go through a temporary file, so that memory holds no more than a place for each.
type sortedReader struct {
	files   []string
	done    *atomic.Int64
	columns []string
	table   *table
	time    int // the column

	rows  *os.File // once the first row is asked for
	order []spooled
	row   []byte
	cells []string
}

// spooled is the place of a row in the temporary file.
type spooled struct {
	time, at int64
	size     int32
}

// newSortedReader reads files that are of the same table as the first one.
func newSortedReader(first *source, files []string, done *atomic.Int64) (*source, error) {
	r := &sortedReader{files: files, done: done, columns: first.Columns(), table: first.table, time: slices.Index(first.Columns(), "time")}
	r.cells = make([]string, len(r.columns))
	s := &source{Reader: r, closers: []io.Closer{r}, done: done, format: first.format, table: first.table}
	for _, name := range files {
		file, err := r.open(name)
		if err != nil {
			return nil, err
		}
		s.size += file.size
		if err := file.Close(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (r *sortedReader) open(name string) (*source, error) {
	s, err := openFile(name, layout{}, r.done)
	if err == nil && s.table != r.table && !s.empty() {
		err = errors.Join(fileError(name, "must hold rows of the warehouse's table "+r.table.name+", as the folder's first file does"), s.Close())
	}
	return s, err
}

// Columns are the first file's.
func (r *sortedReader) Columns() []string { return r.columns }

// Read returns the next row's cells. The slice is valid until the next call.
func (r *sortedReader) Read() ([]string, error) {
	if r.rows == nil {
		if err := r.spool(); err != nil {
			return nil, err
		}
	}
	if len(r.order) == 0 {
		return nil, io.EOF
	}
	place := r.order[0]
	r.order = r.order[1:]
	r.row = slices.Grow(r.row[:0], int(place.size))[:place.size]
	if _, err := r.rows.ReadAt(r.row, place.at); err != nil {
		return nil, fmt.Errorf("reading a row of the day: %w", err)
	}
	r.decode(string(r.row))
	return r.cells, nil
}

// spool copies the rows into the temporary file and sorts their places.
func (r *sortedReader) spool() error {
	var err error
	if r.rows, err = os.CreateTemp("", "sluice-replay-*.rows"); err != nil {
		return fmt.Errorf("sorting a day: %w", err)
	}
	if err := os.Remove(r.rows.Name()); err != nil { // lives on until it is closed
		return fmt.Errorf("sorting a day: %w", err)
	}
	w := bufio.NewWriterSize(r.rows, 1<<20)
	for _, name := range r.files {
		if err := r.spoolFile(w, name); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("sorting a day: %w", err)
	}
	slices.SortFunc(r.order, func(a, b spooled) int { return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.at, b.at)) })
	return nil
}

func (r *sortedReader) spoolFile(w *bufio.Writer, name string) error {
	s, err := r.open(name)
	if err != nil {
		return err
	}
	defer s.Close()
	if s.empty() {
		return nil
	}
	places := make([]int, len(r.columns)) // a file of an older version may lack a column
	for i, c := range r.columns {
		places[i] = slices.Index(s.Columns(), c)
	}
	at := int64(0)
	if n := len(r.order); n > 0 {
		at = r.order[n-1].at + int64(r.order[n-1].size)
	}
	for {
		cells, err := s.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r.encode(cells, places)
		if _, err := w.Write(r.row); err != nil {
			return fmt.Errorf("sorting a day: %w", err)
		}
		r.order = append(r.order, spooled{timeOf(cells[places[r.time]]), at, int32(len(r.row))})
		at += int64(len(r.row))
	}
}

// timeOf reads a time of the warehouse; what is none comes first, for the map to refuse.
func timeOf(cell string) int64 {
	t, err := time.Parse(time.RFC3339Nano, cell)
	if err != nil {
		return 0
	}
	return t.UnixMicro()
}

// encode writes a row's cells one after the other, each with its length in front.
func (r *sortedReader) encode(cells []string, places []int) {
	r.row = r.row[:0]
	for _, from := range places {
		cell := ""
		if from >= 0 {
			cell = cells[from]
		}
		r.row = binary.AppendUvarint(r.row, uint64(len(cell)))
		r.row = append(r.row, cell...)
	}
}

// decode reads what encode wrote. The cells are parts of the row, which lives as long as one of them.
func (r *sortedReader) decode(row string) {
	at := 0
	for i := range r.cells {
		size, n := binary.Uvarint(r.row[at:])
		at += n
		r.cells[i] = row[at : at+int(size)]
		at += int(size)
	}
}

// Close gives the temporary file up.
func (r *sortedReader) Close() error {
	if r.rows == nil {
		return nil
	}
	return r.rows.Close()
}
