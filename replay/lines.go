package replay

import (
	"bytes"
	"errors"
	"io"
)

// maxRecord is the longest record of a text file. A longer one is a bad row.
const maxRecord = 1 << 20

var errTooLong = errors.New("must be of at most 1 MiB")

// lines yields a text in records of one line or several, and can go back to the end of any line of the record at hand.
type lines struct {
	r   io.Reader
	err error // of r, when all that it gave is in buf
	cr  bool  // a carriage return alone ends a line, too

	buf    []byte
	start  int   // of the record at hand
	body   int   // where the text of its last line ends
	end    int   // behind what ends that line
	number int64 // of the record's first line, from 1
	taken  int64 // lines of the record
}

func newLines(r io.Reader, cr bool) *lines { return &lines{r: r, cr: cr, number: 1} }

// begin drops the record at hand and begins the next one with a line, which comes without its end and is valid until the next call. After errTooLong,
// overlong passes over the line.
func (l *lines) begin() ([]byte, error) {
	l.number, l.taken, l.start = l.number+l.taken, 0, l.end
	return l.more()
}

// more adds the next line to the record. Any error leaves the record as it is.
func (l *lines) more() ([]byte, error) {
	for from, seen := l.end, l.end; ; {
		size, ending, found := l.terminator(seen)
		if seen+size-l.start > maxRecord {
			return nil, errTooLong
		}
		if found || l.err != nil && seen+size > from {
			if !found && !errors.Is(l.err, io.EOF) {
				return nil, l.err // the line may go on where nothing can be read
			}
			l.body, l.end, l.taken = seen+size, seen+size+ending, l.taken+1
			return l.buf[from:l.body], nil
		}
		if l.err != nil {
			return nil, l.err
		}
		moved := l.fill()
		from, seen = from-moved, seen+size-moved
	}
}

// terminator looks for the end of a line from an offset on: how many bytes of the line there are, and how many end it. Where the line goes on
// in what is not read yet, size is how much need not be looked at again.
func (l *lines) terminator(from int) (size, ending int, found bool) {
	rest := l.buf[from:]
	size = bytes.IndexByte(rest, '\n')
	if found = size >= 0; found {
		ending = 1
		rest = rest[:size]
	} else {
		size = len(rest)
	}
	if !l.cr {
		return size, ending, found
	}
	at := bytes.IndexByte(rest, '\r')
	switch {
	case at < 0:
		return size, ending, found
	case at+1 < len(rest):
		return at, 1, true
	case found:
		return at, 2, true // before a line feed
	default:
		return at, 1, l.err != nil // a line feed may follow
	}
}

// emptyReads is how often a reader may give nothing in a row.
const emptyReads = 100

// fill reads more, and tells by how much it has moved what was there.
func (l *lines) fill() (moved int) {
	const least = 4 << 10
	if cap(l.buf)-len(l.buf) < least {
		if moved = l.start; moved > 0 {
			l.buf = l.buf[:copy(l.buf, l.buf[moved:])]
			l.start, l.body, l.end = 0, l.body-moved, l.end-moved
		}
		if cap(l.buf)-len(l.buf) < least {
			l.buf = append(make([]byte, 0, 2*cap(l.buf)+2*least), l.buf...)
		}
	}
	for range emptyReads {
		n, err := l.r.Read(l.buf[len(l.buf):cap(l.buf)])
		l.buf, l.err = l.buf[:len(l.buf)+n], err
		if n > 0 || err != nil {
			return moved
		}
	}
	l.err = io.ErrNoProgress
	return moved
}

// overlong takes what there is of a line that is too long as the record, and passes the rest of the line over.
func (l *lines) overlong() (beginning string) {
	beginning = string(l.buf[l.start:min(len(l.buf), l.start+maxPayload)])
	for {
		size, ending, found := l.terminator(l.end)
		if l.end += size; found {
			l.end += ending
		}
		l.start, l.body = l.end, l.end
		if found || l.err != nil {
			l.taken = 1
			return beginning
		}
		l.fill()
	}
}

// record is the record's text, with the ends of its lines but the last one.
func (l *lines) record() []byte { return l.buf[l.start:l.body] }

// place is a place in the record behind one of its lines.
type place struct {
	body, end int // from the record's start
	taken     int64
}

func (l *lines) here() place { return place{l.body - l.start, l.end - l.start, l.taken} }

// back cuts the record off at a place.
func (l *lines) back(p place) { l.body, l.end, l.taken = l.start+p.body, l.start+p.end, p.taken }
