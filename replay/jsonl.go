package replay

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// objects makes rows of JSON objects. A member is a column; a nested object's members are columns "outer.inner"; arrays are kept as JSON text.
type objects struct {
	columns []string
	index   map[string]int
	cells   []string
	prefix  []byte
	line    int64
}

// Columns are the names of the members seen so far.
func (o *objects) Columns() []string { return o.columns }

// Line is the line of the object read last.
func (o *objects) Line() int64 { return o.line }

// Close does nothing: the file is not the reader's.
func (o *objects) Close() error { return nil }

// row makes the cells of an object.
func (o *objects) row(text []byte) ([]string, error) {
	clear(o.cells)
	o.prefix = o.prefix[:0]
	if o.object(text) == nil {
		return o.cells, nil
	}
	f := Fault{Code: "broken_row", Detail: "must be one JSON object"}
	if !utf8.Valid(text) {
		f = Fault{Code: codeNotText, Detail: notText("", string(text))}
	}
	return nil, &BadRow{f, string(text)}
}

func (o *objects) object(text []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(text))
	if d.PeekKind() != '{' {
		return errors.New("not an object")
	}
	if err := o.members(d); err != nil {
		return err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	return nil
}

// members reads an object into columns that begin with the prefix.
func (o *objects) members(d *jsontext.Decoder) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		outer := len(o.prefix)
		o.prefix = append(o.prefix, name.String()...)
		if d.PeekKind() == '{' {
			o.prefix = append(o.prefix, '.')
			err = o.members(d)
		} else {
			err = o.member(d)
		}
		if o.prefix = o.prefix[:outer]; err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

func (o *objects) member(d *jsontext.Decoder) error {
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
	i, ok := o.index[string(o.prefix)]
	if !ok {
		name := string(o.prefix)
		i = len(o.columns)
		o.index[name], o.columns, o.cells = i, append(o.columns, name), append(o.cells, "")
	}
	o.cells[i] = cell
	return nil
}

// linesReader reads one JSON object a line.
type linesReader struct {
	objects
	lines *lines
}

func newLinesReader(plain io.Reader) *linesReader {
	return &linesReader{objects{index: make(map[string]int)}, newLines(plain, false)}
}

// Read returns the next object's cells.
func (r *linesReader) Read() ([]string, error) {
	line, err := r.next()
	if err != nil {
		return nil, err
	}
	return r.row(line)
}

// next is the next line that is not empty. A line that is too long is a *BadRow.
func (r *linesReader) next() ([]byte, error) {
	for {
		line, err := r.lines.begin()
		r.line = r.lines.number
		if errors.Is(err, errTooLong) {
			return nil, &BadRow{Fault{Code: "too_long", Detail: "a line " + errTooLong.Error()}, r.lines.overlong()}
		}
		if err != nil {
			return nil, err
		}
		// Files that were put together have marks inside.
		if line = bytes.TrimSpace(bytes.TrimPrefix(line, byteOrderMark)); len(line) > 0 {
			return line, nil
		}
	}
}
