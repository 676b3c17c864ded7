package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// valuesReader reads the objects of a JSON file: the elements of an array, or objects one after the other. Each may stand on several lines.
type valuesReader struct {
	objects
	r   io.Reader
	err error // of r, when all that it gave is in buf

	buf    []byte
	at     int   // of what is not read yet
	number int64 // of the line at that place
	indent int   // spaces before that place if nothing else stands before it in its line, else -1
	began  bool  // a value or the array has begun
	array  bool  // inside of one
	ended  bool
}

func newValuesReader(plain io.Reader) *valuesReader {
	return &valuesReader{objects: objects{index: make(map[string]int)}, r: plain, number: 1}
}

// Read returns the next object's cells.
func (r *valuesReader) Read() ([]string, error) {
	text, err := r.next()
	if err != nil {
		return nil, err
	}
	return r.row(text)
}

// next is the text of the next value; it is valid until the next call. What is no value is a *BadRow, or ends the file where nothing tells where
// the next value begins.
func (r *valuesReader) next() ([]byte, error) {
	if r.ended {
		return nil, io.EOF
	}
	c, err := r.begin()
	if err != nil {
		return nil, err
	}
	r.line = r.number
	size, err := r.size(c)
	if err != nil {
		return nil, r.broken(err)
	}
	text := r.buf[r.at : r.at+size]
	r.pass(size)
	return text, nil
}

// begin goes to the next value, and tells its first byte.
func (r *valuesReader) begin() (byte, error) {
	for {
		if !r.has(0) {
			return 0, r.end()
		}
		switch c := r.buf[r.at]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',' && r.began:
			r.pass(1)
		case c == '[' && !r.began:
			r.array, r.began = true, true
			r.pass(1)
		case c == ']' && r.array:
			r.pass(1)
			return 0, r.shut()
		default:
			r.began = true
			return c, nil
		}
	}
}

// end is what the end of the file means.
func (r *valuesReader) end() error {
	if errors.Is(r.err, io.EOF) && r.array {
		return fmt.Errorf("line %d: the array must end with ]: %w", r.number, io.ErrUnexpectedEOF)
	}
	return r.err
}

// shut is the end of the array, which nothing may follow.
func (r *valuesReader) shut() error {
	for r.ended = true; r.has(0); r.pass(1) {
		if len(bytes.TrimSpace(r.buf[r.at:r.at+1])) > 0 {
			return fmt.Errorf("line %d: nothing must follow the array", r.number)
		}
	}
	return r.err
}

// has tells whether there is a byte so far behind the place.
func (r *valuesReader) has(offset int) bool {
	for r.at+offset >= len(r.buf) {
		if r.err != nil {
			return false
		}
		r.fill()
	}
	return true
}

func (r *valuesReader) fill() {
	const least = 4 << 10
	if cap(r.buf)-len(r.buf) < least {
		rest := r.buf[r.at:]
		if cap(r.buf)-len(rest) < least {
			r.buf = make([]byte, 0, 2*cap(r.buf)+2*least)
		}
		r.buf, r.at = append(r.buf[:0], rest...), 0
	}
	for range emptyReads {
		n, err := r.r.Read(r.buf[len(r.buf):cap(r.buf)])
		r.buf, r.err = r.buf[:len(r.buf)+n], err
		if n > 0 || err != nil {
			return
		}
	}
	r.err = io.ErrNoProgress
}

// pass moves on by n bytes.
func (r *valuesReader) pass(n int) {
	for _, c := range r.buf[r.at : r.at+n] {
		switch {
		case c == '\n':
			r.number, r.indent = r.number+1, 0
		case (c == ' ' || c == '\t') && r.indent >= 0:
			r.indent++
		default:
			r.indent = -1
		}
	}
	r.at += n
}

var (
	errNotClosed = errors.New("it must be closed")
	errOpenText  = errors.New("a text must end in its line")
)

// size is how many bytes the value has that begins here with c.
func (r *valuesReader) size(c byte) (int, error) {
	var open []byte // of what is not closed yet
	text, escaped := false, false
	nested := c == '{' || c == '[' || c == '"'
	for i := 0; ; i++ {
		if i > maxRecord {
			return 0, errTooLong
		}
		if !r.has(i) {
			if nested || !errors.Is(r.err, io.EOF) {
				return 0, errNotClosed
			}
			return i, nil
		}
		switch c := r.buf[r.at+i]; {
		case text && c == '\n':
			return 0, errOpenText
		case text && escaped:
			escaped = false
		case text && c == '\\':
			escaped = true
		case c == '"':
			if text = !text; !text && len(open) == 0 {
				return i + 1, nil
			}
		case text:
		case c == '{' || c == '[':
			open = append(open, c)
		case (c == '}' || c == ']') && nested:
			if last := open[len(open)-1]; c-last != 2 { // as far as each closing one is from its opening one
				return 0, errNotClosed
			}
			if open = open[:len(open)-1]; len(open) == 0 {
				return i + 1, nil
			}
		case !nested && i > 0 && bytes.IndexByte([]byte(", \t\r\n]}"), c) >= 0:
			return i, nil
		}
	}
}

// broken makes a bad row of what begins here, and moves on to the next value: an object on a line of its own with the same indentation as this one. If there is
// none the file ends.
func (r *valuesReader) broken(why error) error {
	if r.err != nil && !errors.Is(r.err, io.EOF) {
		return r.err
	}
	f := Fault{Code: "broken_row", Detail: "must be one JSON object: " + why.Error()}
	if errors.Is(why, errTooLong) {
		f = Fault{Code: "too_long", Detail: "an object " + why.Error()}
	}
	if r.indent < 0 {
		r.ended = true
		return fmt.Errorf("line %d: %s; what follows cannot be told apart", r.line, f.Detail)
	}
	indent, text := r.indent, []byte(nil)
	for began := true; r.has(0); began = false {
		c := r.buf[r.at]
		if !began && c == '{' && r.indent == indent {
			break
		}
		if len(text) < maxPayload {
			text = append(text, c)
		}
		r.pass(1)
	}
	r.array = r.array && r.has(0) // the array's end may be in what is broken
	return &BadRow{f, string(bytes.TrimSpace(text))}
}
