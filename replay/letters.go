package replay

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// letter is a row that was rejected.
type letter struct {
	Fault
	row   int64
	place string   // the file, and the line or row in it
	names []string // of the columns; nil if the row could not be told apart
	cells []string
	text  string // the row as it came, where names is nil
	about About
}

// letters posts dead letters. Several workers add to it.
type letters struct {
	client *client
	run    string
	before func(ctx context.Context) error // what the gate must know before it is asked about letters; nil = nothing

	mu      sync.Mutex // guards what follows; held while posting, which blocks the others: rejected rows are bounded in memory
	body    []byte
	count   int
	unkept  int64 // letters of people of whom the gate lets nothing be kept
	reasons map[reasonKey]*Reason
}

// Reason is why rows were rejected.
type Reason struct {
	Code   string
	Rows   int64  // how many
	First  string // place of the first of them: file, and line or row
	Detail string // of that one: what it must be

	row int64 // of the first
}

type reasonKey struct{ code, pointer, column string }

// maxReasons bounds the reasons that are counted apart.
const maxReasons = 1000

// note counts a rejected row.
func (l *letters) note(x *letter) {
	key := reasonKey{x.Code, x.Pointer, x.Column}
	r := l.reasons[key]
	if r == nil && len(l.reasons) < maxReasons {
		r = &Reason{Code: x.Code, row: math.MaxInt64}
		l.reasons[key] = r
	}
	if r == nil {
		return
	}
	if r.Rows++; x.row < r.row {
		r.row, r.First, r.Detail = x.row, x.place, x.Error()
	}
}

// why lists the reasons, the most frequent first.
func (l *letters) why() []Reason {
	var all []Reason
	for _, r := range l.reasons {
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b Reason) int { return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.row, b.row)) })
	return all
}

func newLetters(c *client, run string) *letters {
	return &letters{client: c, run: run, reasons: make(map[reasonKey]*Reason)}
}

func (l *letters) add(ctx context.Context, x *letter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note(x)
	l.body = append(l.body, `{"stage":"replay","source":"`...)
	l.body = append(l.body, l.run...)
	l.body = append(l.body, `","position":`...)
	l.body = strconv.AppendInt(l.body, x.row, 10)
	detail := x.place + ": " + x.Error()
	about := x.about.without(x.Pointer)
	for _, m := range []struct{ key, value string }{
		{"code", x.Code},
		{"pointer", x.Pointer},
		{"detail", cut(detail, maxDetail)},
		{"user_id", about.UserID},
		{"anonymous_id", about.AnonymousID},
		{"type", about.Type},
		{"jurisdiction", about.Jurisdiction},
	} {
		if m.value != "" {
			l.body = append(append(l.body, `,"`...), m.key...)
			l.body = append(l.body, `":`...)
			l.body = appendAnyText(l.body, m.value)
		}
	}
	l.body = append(l.body, `,"payload":`...)
	l.body = appendPayload(l.body, x)
	l.body = append(l.body, '}', '\n')
	if l.count++; l.count >= maxRows || len(l.body) >= maxBytes {
		return l.post(ctx)
	}
	return nil
}

// without leaves out what is at fault: an id that no person can have names nobody.
func (a About) without(pointer string) About {
	switch pointer {
	case "/user_id":
		a.UserID = ""
	case "/anonymous_id":
		a.AnonymousID = ""
	}
	return a
}

// maxPayload is how much of a row is kept. Only a damaged file has longer ones: an event may have 32 KiB.
const maxPayload = 64 << 10

// maxDetail is what the server takes.
const maxDetail = 2048

// appendPayload writes the row as a JSON object, column → string, so that a corrected map can read it; or its text, cut off at maxPayload.
func appendPayload(dst []byte, x *letter) []byte {
	size := 0
	for _, cell := range x.cells {
		size += len(cell)
	}
	if size > maxPayload {
		x.names, x.text = nil, strings.Join(x.cells, "\t")
	}
	if x.names == nil {
		return appendAnyText(dst, cut(x.text, maxPayload))
	}
	dst = append(dst, '{')
	for i, cell := range x.cells {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendAnyText(dst, x.names[i])
		dst = append(dst, ':')
		dst = appendAnyText(dst, cell)
	}
	return append(dst, '}')
}

// cut is the beginning of a text: at most this many bytes, and whole characters.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for end := most; end > most-utf8.UTFMax; end-- {
		if utf8.RuneStart(text[end]) {
			return text[:end]
		}
	}
	return text[:most] // no UTF-8
}

// appendAnyText appends a JSON string; what is not UTF-8 is replaced.
func appendAnyText(dst []byte, s string) []byte {
	if out, ok := appendText(dst, s); ok {
		return out
	}
	out, _ := appendText(dst, strings.ToValidUTF8(s, "\ufffd"))
	return out
}

// flush posts what is left.
func (l *letters) flush(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.post(ctx)
}

func (l *letters) post(ctx context.Context) error {
	if l.count == 0 {
		return nil
	}
	if l.before != nil {
		if err := l.before(ctx); err != nil {
			return err
		}
	}
	var answer struct {
		Accepted int64 `json:"accepted"`
		Denied   int64 `json:"denied"`
	}
	if err := l.client.post(ctx, "/v1/dead-letters", l.body, &answer); err != nil {
		return fmt.Errorf("keeping dead letters: %w", err)
	}
	if answer.Accepted+answer.Denied != int64(l.count) {
		return fmt.Errorf("keeping dead letters: the server accounts for %d of %d", answer.Accepted+answer.Denied, l.count)
	}
	l.unkept += answer.Denied
	l.body, l.count = l.body[:0], 0
	return nil
}
