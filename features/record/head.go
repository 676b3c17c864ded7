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

	Lists []List

	due int64 // the person is looked at when this step has expired
}

// List is one list of a person. A list that has chunks has a tail too.
type List struct {
	First, Chunks uint32  // the number of the first chunk, and how many there are
	Tail          []Entry // the newest

	sealed int // entries in the chunks
}

// firstChunk leaves room for chunks of late events before the first.
const firstChunk = 1 << 13

func (l *List) len() int { return l.sealed + len(l.Tail) }

func (l *List) last() uint32 { return l.First + l.Chunks - 1 }

// reset makes the head an empty person's.
func (h *Head) reset(floor []byte, lists int) {
	h.Floor, h.Since = floor, 0
	h.Lists = slices.Grow(h.Lists[:0], lists)[:lists]
	for i := range h.Lists {
		h.Lists[i] = List{First: firstChunk, Tail: h.Lists[i].Tail[:0]}
	}
}

func (h *Head) append(buf []byte) []byte {
	buf = appendBytes(buf, h.Floor)
	buf = binary.AppendVarint(buf, h.Since)
	buf = binary.AppendVarint(buf, h.due)
	for i := range h.Lists {
		l := &h.Lists[i]
		buf = binary.AppendUvarint(buf, uint64(l.First))
		buf = binary.AppendUvarint(buf, uint64(l.Chunks))
		buf = binary.AppendUvarint(buf, uint64(l.sealed))
		buf = appendEntries(buf, l.Tail)
	}
	return buf
}

// decode reads a head; its entries are pieces of data and of the reader's memory.
func (h *Head) decode(r *reader, lists int) error {
	h.reset(r.bytes(), lists)
	h.Since, h.due = r.varint(), r.varint()
	for i := range h.Lists {
		l := &h.Lists[i]
		l.First, l.Chunks, l.sealed = uint32(r.uvarint()), uint32(r.uvarint()), int(r.uvarint())
		l.Tail = r.entries(l.Tail)
	}
	return r.err()
}

// gone tells whether retention has expired everything.
func (h *Head) gone(horizon int64) bool {
	for i := range h.Lists {
		if tail := h.Lists[i].Tail; len(tail) > 0 && tail[len(tail)-1].Time >= horizon {
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
	for i := range h.Lists {
		if h.Lists[i].len() > 0 {
			return false
		}
	}
	return true
}

// Bytes of a chunk's key.
const (
	chunkBytes    = 4 // number
	chunkKeyBytes = subjectBytes + 1 + chunkBytes
)
