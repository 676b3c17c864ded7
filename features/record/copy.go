package record

import (
	"bytes"
	"math"
	"sync"

	"sluice/internal/stream"
)

// Copy is what a view keeps of an engine's people: their records as they stand in the changelog, without pointers, decoded when somebody asks.
// It is safe for concurrent use; one goroutine applies.
type Copy struct {
	lists int

	mu       sync.RWMutex // guards what follows; the records are immutable
	heads    map[[subjectBytes]byte]held
	chunks   map[[chunkKeyBytes]byte][]byte
	horizons map[int32]int64 // by partition
}

type held struct {
	head      []byte
	partition int32
}

// NewCopy makes an empty copy of people who have so many lists.
func NewCopy(lists int) *Copy {
	return &Copy{
		lists: lists, heads: make(map[[subjectBytes]byte]held), chunks: make(map[[chunkKeyBytes]byte][]byte), horizons: make(map[int32]int64),
	}
}

// Len is the number of people.
func (c *Copy) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.heads)
}

// Horizon is the time before which everything of a partition has expired.
func (c *Copy) Horizon(partition int32) int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if horizon, ok := c.horizons[partition]; ok {
		return horizon
	}
	return math.MinInt64
}

// Apply takes a record of the changelog, and tells whose head it is, if it is one. A head comes after its chunks.
func (c *Copy) Apply(rec *stream.Record) (subject [subjectBytes]byte, isHead bool) {
	if len(rec.Key) == 0 {
		return subject, false
	}
	key := rec.Key[1:]
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case rec.Key[0] == ClockTable && rec.Value != nil:
		c.horizons[rec.Partition] = HorizonOf(rec.Value)
	case rec.Key[0] == ChunkTable && len(key) == chunkKeyBytes:
		if rec.Value == nil {
			delete(c.chunks, [chunkKeyBytes]byte(key))
		} else {
			c.chunks[[chunkKeyBytes]byte(key)] = bytes.Clone(rec.Value)
		}
	case rec.Key[0] == Table && len(key) == subjectBytes:
		subject, isHead = [subjectBytes]byte(key), true
		if rec.Value == nil {
			delete(c.heads, subject)
		} else {
			c.heads[subject] = held{bytes.Clone(rec.Value), rec.Partition}
		}
	}
	return subject, isHead
}

// Person is one person's lists, decoded. Entries are pieces of the records and of the person's memory.
type Person struct {
	Floor []byte
	Lists [][]Entry // what has not expired, the oldest first

	head   Head
	bodies []byte
}

// Read reads a person; false if there is none, or no record that can be read.
func (c *Copy) Read(p *Person, subject [subjectBytes]byte) (bool, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	record, ok := c.heads[subject]
	if !ok {
		return false, nil
	}
	horizon, ok := c.horizons[record.partition]
	if !ok {
		horizon = math.MinInt64
	}
	r := reader{data: record.head, bodies: p.bodies[:0]}
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
	l, entries := &p.head.lists[at], p.Lists[at][:0]
	var key [chunkKeyBytes]byte
	for number := l.first; number < l.first+l.chunks; number++ {
		data, ok := c.chunks[[chunkKeyBytes]byte(chunkKey(key[:0], subject[:], at, number))]
		if !ok {
			continue // was trimmed just now: its head comes next
		}
		r.data = data
		entries = r.entries(entries)
		if err := r.err(); err != nil {
			return err
		}
	}
	entries = append(entries, l.tail...)
	p.Lists[at] = entries[before(entries, horizon):]
	return nil
}
