package replay

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// maxLine is the longest line of a JSON lines file. A longer one is a bad row.
const maxLine = 1 << 20

// linesReader reads one JSON object a line. A member is a column; a nested object's members are columns "outer.inner"; arrays are kept as JSON text.
type linesReader struct {
	r       *bufio.Reader
	columns []string
	index   map[string]int
	cells   []string
	line    []byte
	prefix  []byte
}

func newLinesReader(plain io.Reader) *linesReader {
	return &linesReader{r: bufio.NewReaderSize(plain, 1<<16), index: make(map[string]int)}
}

func (r *linesReader) Columns() []string { return r.columns }

func (r *linesReader) Read() ([]string, error) {
	for {
		line, tooLong, err := r.next()
		if err != nil {
			return nil, err
		}
		if tooLong {
			return nil, &BadRow{Fault{Code: "too_long", Detail: "a line must be of at most 1 MiB"}, string(line)}
		}
		if line = bytes.TrimSpace(bytes.TrimPrefix(line, byteOrderMark)); len(line) == 0 {
			continue
		}
		clear(r.cells)
		r.prefix = r.prefix[:0]
		if r.object(line) != nil {
			return nil, &BadRow{Fault{Code: "broken_row", Detail: "a line must be one JSON object"}, string(line)}
		}
		return r.cells, nil
	}
}

// next is the next line. Of a line that is too long it keeps the beginning.
func (r *linesReader) next() (line []byte, tooLong bool, err error) {
	r.line = r.line[:0]
	for {
		part, err := r.r.ReadSlice('\n')
		if room := maxLine - len(r.line); len(part) > room {
			part, tooLong = part[:room], true
		}
		r.line = append(r.line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(r.line) > 0:
			return r.line, tooLong, nil
		default:
			return r.line, tooLong, err
		}
	}
}

func (r *linesReader) object(line []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(line))
	if d.PeekKind() != '{' {
		return errors.New("not an object")
	}
	if err := r.members(d); err != nil {
		return err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	return nil
}

// members reads an object whose columns start with the prefix.
func (r *linesReader) members(d *jsontext.Decoder) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		outer := len(r.prefix)
		r.prefix = append(r.prefix, name.String()...)
		if d.PeekKind() == '{' {
			r.prefix = append(r.prefix, '.')
			err = r.members(d)
		} else {
			err = r.member(d)
		}
		if r.prefix = r.prefix[:outer]; err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

func (r *linesReader) member(d *jsontext.Decoder) error {
	var cell string
	switch d.PeekKind() {
	case '[':
		v, err := d.ReadValue()
		if err != nil {
			return err
		}
		cell = string(v)
	case 'n':
		return d.SkipValue()
	default:
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		cell = token.String() // a number's own text, a string's contents, true or false
	}
	i, ok := r.index[string(r.prefix)]
	if !ok {
		name := string(r.prefix)
		i = len(r.columns)
		r.index[name], r.columns, r.cells = i, append(r.columns, name), append(r.cells, "")
	}
	r.cells[i] = cell
	return nil
}

func (r *linesReader) Close() error { return nil }
