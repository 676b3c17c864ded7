package record

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
)

// Entry is one thing that is kept of a person. Lists are ordered by (Time, ID).
type Entry struct {
	Time int64  // Unix microseconds
	ID   []byte // begins with what purges name the event by
	Body []byte // the engine's
}

func (e *Entry) compare(o *Entry) int {
	return cmp.Or(cmp.Compare(e.Time, o.Time), bytes.Compare(e.ID, o.ID))
}

// find is the place where an entry is or belongs.
func find(entries []Entry, e *Entry) (int, bool) {
	return slices.BinarySearchFunc(entries, e, func(a Entry, b *Entry) int { return a.compare(b) })
}

// before is the number of entries that are older than horizon.
func before(entries []Entry, horizon int64) int {
	n, _ := slices.BinarySearchFunc(entries, horizon, func(e Entry, horizon int64) int { return cmp.Compare(e.Time, horizon) })
	return n
}

// ErrEntries is that a record is not one of a person: another version wrote it, most likely.
var ErrEntries = errors.New("entries that cannot be read")

// appendEntries writes entries one after the other: times as differences, and of a body only what differs from the beginning of the one before.
func appendEntries(buf []byte, entries []Entry) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(entries)))
	var time int64
	var body []byte
	for i := range entries {
		e := &entries[i]
		buf = binary.AppendVarint(buf, e.Time-time)
		buf = appendBytes(buf, e.ID)
		shared := 0
		for shared < min(len(body), len(e.Body)) && body[shared] == e.Body[shared] {
			shared++
		}
		buf = binary.AppendUvarint(buf, uint64(shared))
		buf = appendBytes(buf, e.Body[shared:])
		time, body = e.Time, e.Body
	}
	return buf
}

func appendBytes(buf, b []byte) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(b))), b...)
}

// reader reads what the functions above write. After a fault everything that it reads is empty.
type reader struct {
	data   []byte
	bodies []byte // those that are not a piece of data
	broken bool
}

// entries appends the entries that come next to out. They are pieces of the reader's bytes.
func (r *reader) entries(out []Entry) []Entry {
	n := r.uvarint()
	if n > uint64(len(r.data)) { // an entry has several bytes
		r.fail()
		return out
	}
	var time int64
	var body []byte
	for range n {
		time += r.varint()
		e := Entry{Time: time, ID: r.bytes()}
		shared, rest := r.uvarint(), r.bytes()
		if shared > uint64(len(body)) {
			r.fail()
		}
		if r.broken {
			return out
		}
		e.Body = rest
		if shared > 0 {
			from := len(r.bodies)
			r.bodies = append(append(r.bodies, body[:shared]...), rest...)
			e.Body = r.bodies[from:len(r.bodies):len(r.bodies)]
		}
		out = append(out, e)
		body = e.Body
	}
	return out
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	return v * r.skip(n)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.data)
	return v * int64(r.skip(n))
}

// skip passes over n bytes; 0 if there are none.
func (r *reader) skip(n int) uint64 {
	if n <= 0 {
		r.fail()
		return 0
	}
	r.data = r.data[n:]
	return 1
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.data)) {
		r.fail()
		return nil
	}
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) fail() { r.data, r.broken = nil, true }

func (r *reader) err() error {
	if r.broken || len(r.data) > 0 {
		return ErrEntries
	}
	return nil
}
