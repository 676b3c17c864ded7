package record

import (
	"encoding/binary"
	"slices"
)

// A person's lists stand in a head and in chunks. The head has what holds for the person and the newest entries of each list; older ones are sealed in chunks,
// which hardly ever change. So an event writes the head, now and then a chunk, and in a full list the oldest chunk, however many entries are kept.
//
// Where a list is cut depends on the order in which events came, so a digest compares entries, never chunks.
const (
	tailEntries  = 7 // in the head
	chunkEntries = 6 // in a new chunk; late events let it grow to twice as many
)

// Head is what is kept of one person under one floor.
type Head struct {
	Floor []byte
	Since int64 // when a purge set the floor; 0 = an event brought it

	due   int64 // the person is looked at when this day has expired
	lists []list
}

// list is one list of a person. Chunks are numbered from first on. A list that has chunks has a tail too.
type list struct {
	first, chunks uint32
	sealed        int     // entries in the chunks
	tail          []Entry // the newest
}

// firstChunk leaves room for chunks of late events before the first.
const firstChunk = 1 << 13

func (l *list) len() int { return l.sealed + len(l.tail) }

func (l *list) last() uint32 { return l.first + l.chunks - 1 }

// reset makes the head that of an empty person.
func (h *Head) reset(floor []byte, lists int) {
	h.Floor, h.Since = floor, 0
	h.lists = slices.Grow(h.lists[:0], lists)[:lists]
	for i := range h.lists {
		h.lists[i] = list{first: firstChunk, tail: h.lists[i].tail[:0]}
	}
}

func (h *Head) append(buf []byte) []byte {
	buf = appendBytes(buf, h.Floor)
	buf = binary.AppendVarint(buf, h.Since)
	buf = binary.AppendVarint(buf, h.due)
	for i := range h.lists {
		l := &h.lists[i]
		buf = binary.AppendUvarint(buf, uint64(l.first))
		buf = binary.AppendUvarint(buf, uint64(l.chunks))
		buf = binary.AppendUvarint(buf, uint64(l.sealed))
		buf = appendEntries(buf, l.tail)
	}
	return buf
}

// decode reads a head; its entries are pieces of data and of the reader's memory.
func (h *Head) decode(r *reader, lists int) error {
	h.reset(r.bytes(), lists)
	h.Since, h.due = r.varint(), r.varint()
	for i := range h.lists {
		l := &h.lists[i]
		l.first, l.chunks, l.sealed = uint32(r.uvarint()), uint32(r.uvarint()), int(r.uvarint())
		l.tail = r.entries(l.tail)
	}
	return r.err()
}

// gone tells whether retention has expired everything.
func (h *Head) gone(horizon int64) bool {
	for i := range h.lists {
		if tail := h.lists[i].tail; len(tail) > 0 && tail[len(tail)-1].Time >= horizon {
			return false
		}
	}
	return h.Since < horizon
}

// chunkKey is subject ‖ list ‖ number.
func chunkKey(buf, subject []byte, at int, number uint32) []byte {
	return binary.BigEndian.AppendUint32(append(append(buf, subject...), byte(at)), number)
}

// empty tells whether nothing is kept.
func (h *Head) empty() bool {
	for i := range h.lists {
		if h.lists[i].len() > 0 {
			return false
		}
	}
	return true
}

const chunkKeyBytes = subjectBytes + 1 + 4
