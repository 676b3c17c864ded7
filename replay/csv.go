package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// csvReader reads separated values. The first line names the columns. CSV quotes cells as RFC 4180 has it, and a quote inside of a cell that
// does not begin with one stands for itself. TSV quotes nothing.
type csvReader struct {
	lines     *lines
	separator byte
	quotes    bool
	detected  bool // nobody had said what the separator is
	columns   []string

	line  int64 // of the row read last, or of what is wrong with it
	cells []string
	text  []byte // of a record with quotes: its cells one after the other
	ends  []int  // of each cell in text
}

// separators are those that can be found from the first line, the likeliest first.
const separators = ",;\t|"

// newCSVReader reads the first line. It finds the separator there if it is given as 0. An empty file has no columns, and no rows.
func newCSVReader(plain io.Reader, separator byte, quotes bool) (*csvReader, error) {
	r := &csvReader{lines: newLines(plain, true), separator: separator, quotes: quotes}
	first, err := r.begin()
	if errors.Is(err, io.EOF) {
		return r, nil
	}
	if err == nil && separator == 0 {
		r.separator, r.detected = separatorOf(first), true
	}
	if err == nil {
		err = r.split(first)
	}
	if err != nil {
		return nil, fmt.Errorf("line %d: must name the columns: %w", r.line, err)
	}
	return r, r.name()
}

// separatorOf is the separator of a first line: what stands in it most often outside of quotes, a comma where it has one.
func separatorOf(line []byte) byte {
	var count [len(separators)]int
	quoted := false
	for _, c := range line {
		if c == '"' {
			quoted = !quoted
		}
		if i := strings.IndexByte(separators, c); i >= 0 && !quoted {
			count[i]++
		}
	}
	if count[0] > 0 {
		return ','
	}
	best := 0
	for i, n := range count {
		if n > count[best] {
			best = i
		}
	}
	return separators[best]
}

// name takes the cells of the first line for the names of the columns.
func (r *csvReader) name() error {
	for i, c := range r.cells {
		c = strings.TrimSpace(c)
		if !utf8.ValidString(c) {
			return fmt.Errorf("line %d: %s", r.line, notText("", c))
		}
		if slices.Contains(r.columns, c) {
			return fmt.Errorf("column %q must stand once in the header", c)
		}
		r.columns = append(r.columns, c)
		r.cells[i] = c
	}
	return nil
}

// Columns are the names of the columns.
func (r *csvReader) Columns() []string { return r.columns }

// Line is the line of the row read last; of a row that could not be read, the line that is at fault.
func (r *csvReader) Line() int64 { return r.line }

// Read returns the next row's cells. A row that cannot be read costs no other row: reading goes on at the line after the one that the row begins on.
func (r *csvReader) Read() ([]string, error) {
	if r.columns == nil {
		return nil, io.EOF
	}
	line, err := r.begin()
	if err == nil {
		err = r.split(line)
	}
	if err != nil {
		return nil, err
	}
	if len(r.cells) != len(r.columns) {
		return nil, r.bad("wrong_columns", fmt.Sprintf("must have %s, has %d", plural(len(r.columns), "column"), len(r.cells)))
	}
	return r.cells, nil
}

// begin is the next line that is not empty.
func (r *csvReader) begin() ([]byte, error) {
	for {
		line, err := r.lines.begin()
		r.line = r.lines.number
		if errors.Is(err, errTooLong) {
			return nil, &BadRow{Fault{Code: "too_long", Detail: "a line " + errTooLong.Error()}, r.lines.overlong()}
		}
		if err != nil || len(line) > 0 {
			return line, err
		}
	}
}

func (r *csvReader) bad(code, detail string) *BadRow {
	return &BadRow{Fault{Code: code, Detail: detail}, string(r.lines.record())}
}

// split makes the cells of the record that begins with the line.
func (r *csvReader) split(line []byte) error {
	r.cells = r.cells[:0]
	if r.quotes && bytes.IndexByte(line, '"') >= 0 {
		return r.unquote(line)
	}
	rest := string(line)
	for {
		at := strings.IndexByte(rest, r.separator)
		if at < 0 {
			r.cells = append(r.cells, rest)
			return nil
		}
		r.cells = append(r.cells, rest[:at])
		rest = rest[at+1:]
	}
}

// unquote makes the cells of a record with quotes.
func (r *csvReader) unquote(line []byte) (err error) {
	r.text, r.ends = r.text[:0], r.ends[:0]
	for at := 0; ; at++ {
		if at < len(line) && line[at] == '"' {
			if line, at, err = r.quoted(line, at+1); err != nil {
				return err
			}
		} else {
			size := bytes.IndexByte(line[at:], r.separator)
			if size < 0 {
				size = len(line) - at
			}
			r.text = append(r.text, line[at:at+size]...)
			at += size
		}
		r.ends = append(r.ends, len(r.text))
		if at == len(line) {
			break
		}
	}
	whole, from := string(r.text), 0
	for _, end := range r.ends {
		r.cells = append(r.cells, whole[from:end])
		from = end
	}
	return nil
}

// quoted reads a cell from behind its opening quote to behind its closing one, over as many lines as it takes. A quote that is not closed, or not
// before the end of the cell, costs the record up to its own line: what follows may be other people's rows.
func (r *csvReader) quoted(line []byte, at int) ([]byte, int, error) {
	opened := r.lines.here()
	for {
		size := bytes.IndexByte(line[at:], '"')
		if size < 0 {
			r.text = append(r.text, line[at:]...)
			r.text = append(r.text, r.lines.buf[r.lines.body:r.lines.end]...)
			next, err := r.lines.more()
			switch {
			case errors.Is(err, io.EOF):
				return nil, 0, r.unclosed(opened, "the quote that opens here must be closed")
			case errors.Is(err, errTooLong):
				return nil, 0, r.unclosed(opened, "the quote that opens here must be closed within 1 MiB")
			case err != nil:
				return nil, 0, err
			}
			line, at = next, 0
			continue
		}
		r.text = append(r.text, line[at:at+size]...)
		at += size + 1
		switch {
		case at == len(line) || line[at] == r.separator:
			return line, at, nil
		case line[at] == '"':
			r.text = append(r.text, '"')
			at++
		default:
			return nil, 0, r.unclosed(opened, fmt.Sprintf("the quote that opens here must be closed before a %s or the end of the line", separatorName(r.separator)))
		}
	}
}

func (r *csvReader) unclosed(opened place, detail string) *BadRow {
	r.line = r.lines.number + opened.taken - 1
	r.lines.back(opened)
	return r.bad("broken_row", detail)
}

func separatorName(c byte) string {
	if c == '\t' {
		return "tab"
	}
	return string(rune(c))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Close does nothing: the file is not the reader's.
func (r *csvReader) Close() error { return nil }
