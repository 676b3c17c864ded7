// Package record is what the feature engines and their views share: a person's lists with floors, retention and purges, stream time, metrics.
package record

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"slices"
	"time"

	"sluice/internal/stream"
	"sluice/privacyfilter/purposepb"
)

// Options say what an engine keeps of each person.
type Options struct {
	Name      string                    // of the table
	Key       int                       // bytes of what lists are kept under; 0 = those of a person's pseudonym
	Keep      []int                     // entries of each list
	Step      time.Duration             // in which stream time passes, and entries expire; 0 = a day
	Retention int64                     // microseconds
	ID        func(event []byte) []byte // what the ids of an event's entries begin with; nil = the event's pseudonym
	Suffix    int                       // bytes of an id behind that
	Metrics   *EngineMetrics
}

// People keeps lists of each person (or of what else the engine tells people apart by): entries that were collected under one floor. It knows floors, retention
// and purges; the engine knows what an entry holds. It belongs to one task.
type People struct {
	o             Options
	step          int64 // microseconds
	heads, chunks *stream.Bytes
	clock         Clock
	due           *Due

	head         Head // of the person at hand
	heading      reader
	entries      []Entry // of the chunk at hand
	chunking     reader
	key, writing []byte
}

// Tables of the engines. What a reader must have before something else has the smaller id, also where it reads a checkpoint in the order of keys.
const (
	ChunkTable byte = 1 // of people's lists
	HourTable  byte = 1 // of entities
	ClockTable byte = 2
	Table      byte = 3 // people's heads, contributions, entities' days
	DueTable   byte = 4
)

const (
	subjectBytes = 16
	dueAtOnce    = 2 // people that one event looks at for what has expired: more than it can add
)

// OpenPeople opens the tables of an engine that keeps people.
func OpenPeople(t *stream.Task, o Options) *People {
	o.Key, o.Step = cmp.Or(o.Key, subjectBytes), cmp.Or(o.Step, 24*time.Hour)
	p := &People{o: o, step: o.Step.Microseconds()}
	// Chunks come before heads in a transaction: a reader that sees a head has its chunks already.
	p.chunks = stream.OpenBytes(t, ChunkTable, o.Name+"_chunks")
	p.heads = stream.OpenBytes(t, Table, o.Name)
	p.clock = OpenClock(t, o.Step, func(now int64) int64 { return now - o.Retention })
	p.due = OpenDue(t, o.Key)
	return p
}

// Add keeps an event's entries (of one time, by id) in a list, and the newest entries of the list. What is kept in the end does not depend on the order of
// events: an event changes nothing if it is there already, or older than everything in a full list.
func (p *People) Add(subject, floor []byte, at int, entries ...Entry) error {
	if len(subject) != p.o.Key || len(entries) == 0 {
		p.o.Metrics.Unused.Inc()
		return nil
	}
	micros := entries[0].Time
	p.See(micros)
	horizon := p.clock.Horizon()
	if err := p.sweep(horizon); err != nil {
		return err
	}
	if micros < horizon {
		p.o.Metrics.Late.Inc()
		return nil
	}
	known, err := p.load(subject)
	if err != nil {
		return err
	}
	known = known && !p.head.gone(horizon)
	if known && p.head.Since != 0 && !bytes.Equal(p.head.Floor, floor) {
		p.o.Metrics.OtherFloor.Inc()
		return nil
	}
	if !known || !bytes.Equal(p.head.Floor, floor) {
		p.begin(subject, floor)
	}
	changed := false
	for i := range entries {
		inserted, err := p.insert(subject, at, &entries[i])
		if err != nil {
			return err
		}
		changed = changed || inserted
	}
	if !changed {
		p.o.Metrics.Older.Inc() // written nowhere: the record stays as it is
		return nil
	}
	p.o.Metrics.Kept.Inc()
	p.lookAt(subject, micros)
	p.save(subject)
	return nil
}

// See moves stream time to at least micros. An engine calls it with every event of its stream, also with one that leaves nothing: the filter counts the purpose's
// retention from the same events.
func (p *People) See(micros int64) { p.clock.Advance(micros) }

// sweep removes what retention has expired, of a few people at a time: what is expired is hidden before.
func (p *People) sweep(horizon int64) error {
	step := FloorDiv(horizon, p.step)
	if !p.due.Any(step) {
		return nil
	}
	var errs error
	p.due.Step(step, dueAtOnce, func(due int64, subject []byte) { errs = errors.Join(errs, p.expire(due, subject, horizon)) })
	return errs
}

// Purge obeys a control record: one event goes, or everything of another floor. The floor is remembered, so that nothing that was collected before it
// can come in behind it.
func (p *People) Purge(purge *purposepb.Purge) error {
	if len(purge.Subject) != p.o.Key {
		return nil
	}
	known, err := p.load(purge.Subject)
	if err != nil {
		return err
	}
	if len(purge.Event) > 0 {
		return p.remove(purge.Subject, purge.Event)
	}
	known = known && !p.head.gone(p.clock.Horizon())
	switch {
	case len(purge.Floor) == 0:
		p.delete(purge.Subject)
	case known && p.head.Since != 0 && bytes.Equal(p.head.Floor, purge.Floor): // said again
	default:
		if !known || !bytes.Equal(p.head.Floor, purge.Floor) {
			p.begin(purge.Subject, purge.Floor)
		}
		p.head.Since = max(1, purge.Time)
		p.lookAt(purge.Subject, p.head.Since)
		p.save(purge.Subject)
	}
	return nil
}

// remove takes one event of the person at hand away, if it is there.
func (p *People) remove(subject, event []byte) error {
	if p.o.ID != nil {
		event = p.o.ID(event)
	}
	removed := 0
	for at := range p.head.Lists {
		n, err := p.removeFrom(subject, at, event)
		if err != nil {
			return err
		}
		removed += n
	}
	if removed == 0 {
		return nil
	}
	if p.head.empty() && p.head.Since == 0 {
		p.delete(subject)
		return nil
	}
	p.save(subject)
	return nil
}

// expire removes what a person's retention has expired, and the person if nothing is left.
func (p *People) expire(step int64, subject []byte, horizon int64) error {
	known, err := p.load(subject)
	if err != nil || !known || p.head.due != step {
		return err
	}
	expired := 0
	for at := range p.head.Lists {
		n, err := p.expireFrom(subject, at, horizon)
		if err != nil {
			return err
		}
		expired += n
	}
	p.o.Metrics.Expired.Add(float64(expired))
	if p.head.empty() && p.head.Since < horizon {
		p.delete(subject)
		return nil
	}
	oldest, err := p.oldest(subject)
	if err != nil {
		return err
	}
	p.head.due = math.MaxInt64
	p.lookAt(subject, oldest)
	p.save(subject)
	return nil
}

// lookAt sees to it that the person is looked at when the step of micros has expired.
func (p *People) lookAt(subject []byte, micros int64) {
	if step := FloorDiv(micros, p.step); step < p.head.due {
		p.head.due = step
		p.due.Add(step, subject)
	}
}

// load makes the person the one at hand; false if there is none.
func (p *People) load(subject []byte) (bool, error) {
	v := p.heads.Get(subject)
	if v == nil {
		p.head.reset(nil, len(p.o.Keep))
		p.head.due = math.MaxInt64
		return false, nil
	}
	p.heading = reader{data: v, bodies: p.heading.bodies[:0]}
	return true, p.head.decode(&p.heading, len(p.o.Keep))
}

// begin makes the person at hand an empty one under a floor.
func (p *People) begin(subject, floor []byte) {
	p.drop(subject)
	p.head.reset(floor, len(p.o.Keep))
}

// drop deletes the chunks of the person at hand.
func (p *People) drop(subject []byte) {
	for at := range p.head.Lists {
		for l := &p.head.Lists[at]; l.Chunks > 0; l.Chunks-- {
			p.chunks.Delete(p.chunkKey(subject, at, l.last()))
		}
	}
}

func (p *People) delete(subject []byte) {
	p.drop(subject)
	p.heads.Delete(subject)
}

func (p *People) save(subject []byte) {
	p.writing = p.head.append(p.writing[:0])
	p.heads.Put(subject, p.writing)
}

func (p *People) chunkKey(subject []byte, at int, number uint32) []byte {
	p.key = chunkKey(p.key[:0], subject, at, number)
	return p.key
}

// chunk makes a chunk the one at hand.
func (p *People) chunk(subject []byte, at int, number uint32) error {
	p.entries = p.entries[:0]
	v := p.chunks.Get(p.chunkKey(subject, at, number))
	if v == nil {
		return nil
	}
	p.chunking = reader{data: v, bodies: p.chunking.bodies[:0]}
	p.entries = p.chunking.entries(p.entries)
	return p.chunking.err()
}

func (p *People) putChunk(subject []byte, at int, number uint32, entries []Entry) {
	p.writing = appendEntries(p.writing[:0], entries)
	p.chunks.Put(p.chunkKey(subject, at, number), p.writing)
}

// insert puts an entry in its place and keeps the newest, up to the bound; false if nothing changes.
func (p *People) insert(subject []byte, at int, e *Entry) (bool, error) {
	l, keep := &p.head.Lists[at], p.o.Keep[at]
	if l.Chunks > 0 && e.compare(&l.Tail[0]) < 0 {
		if inserted, err := p.insertSealed(subject, at, e); !inserted || err != nil {
			return false, err
		}
	} else {
		i, found := find(l.Tail, e)
		if found || i == 0 && l.Chunks == 0 && len(l.Tail) >= keep {
			return false, nil
		}
		l.Tail = slices.Insert(l.Tail, i, *e)
	}
	if err := p.trim(subject, at, l.len()-keep); err != nil {
		return false, err
	}
	if len(l.Tail) > tailEntries {
		p.putChunk(subject, at, l.First+l.Chunks, l.Tail[:chunkEntries])
		l.Chunks, l.sealed = l.Chunks+1, l.sealed+chunkEntries
		l.Tail = slices.Delete(l.Tail, 0, chunkEntries)
	}
	return true, nil
}

// insertSealed puts an entry that is older than the tail into its chunk: the newest one that begins before it.
func (p *People) insertSealed(subject []byte, at int, e *Entry) (bool, error) {
	l := &p.head.Lists[at]
	for number := l.last(); ; number-- {
		if err := p.chunk(subject, at, number); err != nil {
			return false, err
		}
		i, found := find(p.entries, e)
		if found {
			return false, nil
		}
		if i == 0 && number > l.First {
			continue // also an empty chunk
		}
		if i == 0 && l.len() >= p.o.Keep[at] {
			return false, nil // older than all of a full list
		}
		l.sealed++
		switch {
		case i == 0 && len(p.entries) >= chunkEntries && l.First > 0:
			l.First, l.Chunks = l.First-1, l.Chunks+1
			p.putChunk(subject, at, l.First, []Entry{*e})
			return true, nil
		case len(p.entries) < 2*chunkEntries:
			p.putChunk(subject, at, number, slices.Insert(p.entries, i, *e))
			return true, nil
		default:
			return true, p.rewrite(subject, at, e)
		}
	}
}

// rewrite writes all chunks of a list anew, as full as new ones are, with one entry more.
func (p *People) rewrite(subject []byte, at int, added *Entry) error {
	l := &p.head.Lists[at]
	all := make([]Entry, 0, l.sealed)
	for number := l.First; number <= l.last(); number++ {
		v := p.chunks.Get(p.chunkKey(subject, at, number))
		if v == nil {
			continue
		}
		r := reader{data: v}
		all = r.entries(all)
		if err := r.err(); err != nil {
			return err
		}
		p.chunks.Delete(p.chunkKey(subject, at, number))
	}
	i, _ := find(all, added)
	all = slices.Insert(all, i, *added)
	l.First, l.Chunks = firstChunk, 0
	for chunk := range slices.Chunk(all, chunkEntries) {
		p.putChunk(subject, at, l.First+l.Chunks, chunk)
		l.Chunks++
	}
	return nil
}

// trim takes the oldest n entries away.
func (p *People) trim(subject []byte, at, n int) error {
	l := &p.head.Lists[at]
	first := l.First
	for n > 0 && l.Chunks > 0 {
		if err := p.chunk(subject, at, l.First); err != nil {
			return err
		}
		cut := min(n, len(p.entries))
		p.cut(subject, at, cut)
		n -= cut
	}
	if n > 0 {
		l.Tail = slices.Delete(l.Tail, 0, n)
	}
	if l.First == first {
		return nil
	}
	return p.tidy(subject, at)
}

// cut takes the oldest n entries of the first chunk away, which is the one at hand.
func (p *People) cut(subject []byte, at, n int) {
	l := &p.head.Lists[at]
	l.sealed -= n
	if n < len(p.entries) {
		p.putChunk(subject, at, l.First, p.entries[n:])
		return
	}
	p.chunks.Delete(p.chunkKey(subject, at, l.First))
	l.First, l.Chunks = l.First+1, l.Chunks-1
}

// expireFrom takes away what is older than horizon, and tells how many entries that were.
func (p *People) expireFrom(subject []byte, at int, horizon int64) (int, error) {
	l := &p.head.Lists[at]
	expired := 0
	for l.Chunks > 0 {
		if err := p.chunk(subject, at, l.First); err != nil {
			return expired, err
		}
		n, whole := before(p.entries, horizon), len(p.entries)
		if n == 0 && whole > 0 {
			return expired, nil
		}
		p.cut(subject, at, n)
		expired += n
		if n < whole {
			return expired, nil
		}
	}
	n := before(l.Tail, horizon)
	l.Tail = slices.Delete(l.Tail, 0, n)
	return expired + n, nil
}

// removeFrom takes an event's entries away and tells how many there were.
func (p *People) removeFrom(subject []byte, at int, event []byte) (int, error) {
	l := &p.head.Lists[at]
	gone := func(e Entry) bool { return len(e.ID) >= len(event) && bytes.Equal(e.ID[:len(e.ID)-p.o.Suffix], event) }
	kept := len(l.Tail)
	l.Tail = slices.DeleteFunc(l.Tail, gone)
	removed := kept - len(l.Tail)
	for number := l.First; number < l.First+l.Chunks; number++ {
		if err := p.chunk(subject, at, number); err != nil {
			return removed, err
		}
		if left := slices.DeleteFunc(slices.Clone(p.entries), gone); len(left) < len(p.entries) {
			l.sealed -= len(p.entries) - len(left)
			removed += len(p.entries) - len(left)
			p.putChunk(subject, at, number, left)
		}
	}
	return removed, p.tidy(subject, at)
}

// tidy drops empty chunks at either end, and opens the newest one again where the tail is empty.
func (p *People) tidy(subject []byte, at int) error {
	l := &p.head.Lists[at]
	for l.Chunks > 0 {
		if err := p.chunk(subject, at, l.First); err != nil {
			return err
		}
		if len(p.entries) > 0 {
			break
		}
		p.cut(subject, at, 0)
	}
	for l.Chunks > 0 && len(l.Tail) == 0 {
		v := p.chunks.Get(p.chunkKey(subject, at, l.last()))
		if v != nil {
			r := reader{data: v} // with memory of its own: the tail goes on living
			l.Tail = r.entries(l.Tail)
			if err := r.err(); err != nil {
				return err
			}
		}
		p.chunks.Delete(p.chunkKey(subject, at, l.last()))
		l.Chunks--
		l.sealed -= len(l.Tail)
	}
	return nil
}

// oldest is the time of the oldest entry, or since where there is none.
func (p *People) oldest(subject []byte) (int64, error) {
	if p.head.empty() {
		return p.head.Since, nil
	}
	oldest := int64(math.MaxInt64)
	for at := range p.head.Lists {
		l := &p.head.Lists[at]
		entries := l.Tail
		if l.Chunks > 0 {
			if err := p.chunk(subject, at, l.First); err != nil {
				return 0, err
			}
			entries = p.entries
		}
		if len(entries) > 0 {
			oldest = min(oldest, entries[0].Time)
		}
	}
	return oldest, nil
}
