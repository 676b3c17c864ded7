package record

import (
	"context"
	"encoding/binary"
	"math"

	"sluice/features/spill"
	"sluice/internal/stream"
)

// Copy is what a view keeps of an engine's people: their records as they stand in the changelog, on disk, decoded when somebody asks.
// It is safe for concurrent use; one goroutine applies.
type Copy struct {
	lists    int
	horizons Horizons
	values   *spill.Store // a person's head, behind its partition (4 bytes), and chunks
	writing  []byte
}

// NewCopy makes an empty copy for people with this many lists.
func NewCopy(lists int, o spill.Options) *Copy {
	return &Copy{lists: lists, values: spill.New(o)}
}

// Run keeps the files until ctx ends; then nothing can be read any more.
func (c *Copy) Run(ctx context.Context) error { return c.values.Run(ctx) }

// Len is the number of people.
func (c *Copy) Len() int { return c.values.Owners() }

// headPlace is where a person's head is, before the chunks of the lists.
var headPlace = spill.Place{}

func chunkPlace(list int, number uint32) spill.Place {
	return spill.Place{List: uint8(list + 1), Number: number}
}

// Apply takes a record of the changelog. A head comes after its chunks.
func (c *Copy) Apply(rec *stream.Record) {
	if len(rec.Key) == 0 {
		return
	}
	key := rec.Key[1:]
	switch {
	case rec.Key[0] == ClockTable && rec.Value != nil:
		c.horizons.Apply(rec)
	case rec.Key[0] == ChunkTable && len(key) == chunkKeyBytes:
		list, number := ChunkOf(key)
		c.set(spill.Owner(key[:subjectBytes]), chunkPlace(list, number), rec.Value, rec.Value)
	case rec.Key[0] == Table && len(key) == subjectBytes:
		c.writing = append(binary.BigEndian.AppendUint32(c.writing[:0], uint32(rec.Partition)), rec.Value...)
		c.set(spill.Owner(key), headPlace, rec.Value, c.writing)
	}
}

// set keeps the value of a record, or drops it if the record is a tombstone.
func (c *Copy) set(subject spill.Owner, at spill.Place, record, value []byte) {
	if record == nil {
		c.values.Drop(subject, at)
		return
	}
	c.values.Set(subject, at, value)
}

// Person is one person's lists, decoded. Entries are pieces of the person's memory.
type Person struct {
	Floor []byte
	Lists [][]Entry // the oldest first

	head          Head
	values        spill.Values
	bytes, bodies []byte
	sealed        []Entry // of the chunks of a list, the newest chunk first
	ends          []int   // of each chunk
}

// Read reads a person, without what has expired; false if there is none. An error says that not everything can be read.
func (c *Copy) Read(p *Person, subject [subjectBytes]byte) (bool, error) {
	return c.ReadNewest(p, subject, nil, math.MaxInt)
}

// ReadNewest is Read for the entries before the given one (nil = all). It reads at least the newest n of each list, and older ones only if they share a chunk
// with these.
func (c *Copy) ReadNewest(p *Person, subject [subjectBytes]byte, end *Entry, n int) (bool, error) {
	if err := c.values.Look(&p.values, subject); err != nil {
		return false, err
	}
	defer p.values.Close()
	record, known, err := p.values.Append(p.bytes[:0], headPlace)
	if p.bytes = record; !known || err != nil {
		return false, err
	}
	if len(record) < 4 {
		return false, ErrEntries
	}
	horizon := c.horizons.Of(int32(binary.BigEndian.Uint32(record)))
	r := reader{data: record[4:], bodies: p.bodies[:0]}
	if err := p.head.decode(&r, c.lists); err != nil {
		return false, err
	}
	p.Floor = p.head.Floor
	for len(p.Lists) < c.lists {
		p.Lists = append(p.Lists, nil)
	}
	for at := range p.Lists {
		if err := p.readSealed(&r, at, horizon, end, n); err != nil {
			return false, err
		}
		p.join(at, horizon, end)
	}
	p.bodies = r.bodies
	return true, nil
}

// readSealed reads the chunks of a list, the newest first, until there are enough entries or the rest has expired.
func (p *Person) readSealed(r *reader, at int, horizon int64, end *Entry, n int) (err error) {
	l := &p.head.Lists[at]
	p.sealed, p.ends = p.sealed[:0], p.ends[:0]
	enough := countBefore(l.Tail, end)
	for left := l.Chunks; left > 0 && enough < n; left-- {
		from, known := len(p.bytes), false
		if p.bytes, known, err = p.values.Append(p.bytes, chunkPlace(at, l.First+left-1)); err != nil {
			return err
		}
		if !known {
			continue // was trimmed just now: its head comes next
		}
		first := len(p.sealed)
		r.data = p.bytes[from:len(p.bytes):len(p.bytes)]
		p.sealed = r.entries(p.sealed)
		if err := r.err(); err != nil {
			return err
		}
		chunk := p.sealed[first:]
		p.ends = append(p.ends, len(p.sealed))
		enough += countBefore(chunk, end)
		if len(chunk) > 0 && chunk[0].Time < horizon {
			return nil
		}
	}
	return nil
}

// join makes the list of the chunks that were read and the tail.
func (p *Person) join(at int, horizon int64, end *Entry) {
	entries := p.Lists[at][:0]
	for i := len(p.ends) - 1; i >= 0; i-- {
		from := 0
		if i > 0 {
			from = p.ends[i-1]
		}
		entries = append(entries, p.sealed[from:p.ends[i]]...)
	}
	entries = append(entries, p.head.Lists[at].Tail...)
	entries = entries[:countBefore(entries, end)]
	p.Lists[at] = entries[before(entries, horizon):]
}

// countBefore is the number of entries before the given one; of all if it is nil.
func countBefore(entries []Entry, end *Entry) int {
	if end == nil {
		return len(entries)
	}
	n, _ := find(entries, end)
	return n
}
