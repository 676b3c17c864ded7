package record

import (
	"encoding/binary"
	"sync"

	"sluice/internal/stream"
)

// Copy is what a view keeps of an engine's people: their records as they stand in the changelog, without pointers, decoded when somebody asks.
// It is safe for concurrent use; one goroutine applies.
type Copy struct {
	lists    int
	horizons Horizons

	mu      sync.RWMutex               // guards what follows
	heads   values[[subjectBytes]byte] // each behind its partition, 4 bytes
	chunks  values[[chunkKeyBytes]byte]
	writing []byte
}

// NewCopy makes an empty copy of people who have so many lists.
func NewCopy(lists int) *Copy {
	return &Copy{
		lists: lists, heads: newValues[[subjectBytes]byte](), chunks: newValues[[chunkKeyBytes]byte](),
	}
}

// Len is the number of people.
func (c *Copy) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.heads.len()
}

// Apply takes a record of the changelog, and tells whose head it is, if it is one. A head comes after its chunks.
func (c *Copy) Apply(rec *stream.Record) (subject [subjectBytes]byte, isHead bool) {
	if len(rec.Key) == 0 {
		return subject, false
	}
	if rec.Key[0] == ClockTable && rec.Value != nil {
		c.horizons.Apply(rec)
		return subject, false
	}
	key := rec.Key[1:]
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case rec.Key[0] == ChunkTable && len(key) == chunkKeyBytes:
		if rec.Value == nil {
			c.chunks.drop([chunkKeyBytes]byte(key))
			break
		}
		c.chunks.set([chunkKeyBytes]byte(key), rec.Value)
	case rec.Key[0] == Table && len(key) == subjectBytes:
		subject, isHead = [subjectBytes]byte(key), true
		if rec.Value == nil {
			c.heads.drop(subject)
			break
		}
		c.writing = append(binary.BigEndian.AppendUint32(c.writing[:0], uint32(rec.Partition)), rec.Value...)
		c.heads.set(subject, c.writing)
	}
	return subject, isHead
}

// Person is one person's lists, decoded. Entries are pieces of the person's memory.
type Person struct {
	Floor []byte
	Lists [][]Entry // the oldest first

	head          Head
	bytes, bodies []byte
}

// Read reads a person, without what has expired; false if there is none.
func (c *Copy) Read(p *Person, subject [subjectBytes]byte) (bool, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	record, ok := c.heads.append(p.bytes[:0], subject)
	if p.bytes = record; !ok {
		return false, nil
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
		if err := c.list(p, &r, subject, at, horizon); err != nil {
			return false, err
		}
	}
	p.bodies = r.bodies
	return true, nil
}

// list reads one list of the person. The caller holds mu.
func (c *Copy) list(p *Person, r *reader, subject [subjectBytes]byte, at int, horizon int64) error {
	l, entries := &p.head.Lists[at], p.Lists[at][:0]
	var key [chunkKeyBytes]byte
	for number := l.First; number < l.First+l.Chunks; number++ {
		from, ok := len(p.bytes), false
		if p.bytes, ok = c.chunks.append(p.bytes, [chunkKeyBytes]byte(chunkKey(key[:0], subject[:], at, number))); !ok {
			continue // was trimmed just now: its head comes next
		}
		r.data = p.bytes[from:len(p.bytes):len(p.bytes)]
		entries = r.entries(entries)
		if err := r.err(); err != nil {
			return err
		}
	}
	entries = append(entries, l.Tail...)
	p.Lists[at] = entries[before(entries, horizon):]
	return nil
}
