package deadletter

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"unique"

	"sluice/ingest/eventpb"
	"sluice/internal/stream"
)

// Query selects letters, newest first.
type Query struct {
	Limit  int    // 0 = 50
	Cursor string // from the page before
	Stage  string // empty = any; so are the others
	Code   string
	Source string
	State  string // "open" or "redriven"
}

const (
	defaultLimit = 50
	maxLimit     = 1000
)

// ErrBadCursor is returned for a cursor that List did not make.
var ErrBadCursor = errors.New("a cursor must come from an earlier answer")

// entry is what the index knows of a letter.
type entry struct {
	id                                   [16]byte
	stage, code, pointer, detail, source string
	position                             uint64
	index                                uint32
	time                                 int64
	redriven                             bool
	partition                            int32
	offset                               int64
}

// index holds the newest letters without their payloads. It is bounded: what is older than the newest `keep` letters is forgotten
// (the records stay on the topic for as long as it keeps them).
type index struct {
	keep int

	mu     sync.Mutex // guards what follows
	byID   map[[16]byte]*entry
	order  []*entry // by (time, id), oldest first, where sorted
	sorted bool
	open   int // letters not driven again
}

func newIndex(keep int) *index {
	return &index{keep: keep, byID: make(map[[16]byte]*entry), sorted: true}
}

// apply takes records of the topic. A record that is not a letter is skipped: nothing but our own producers writes there.
func (x *index) apply(recs []stream.Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range recs {
		var stored eventpb.DeadLetter
		if len(recs[i].Key) != 16 || stored.UnmarshalVT(recs[i].Value) != nil {
			continue
		}
		if id := [16]byte(recs[i].Key); len(stored.Payload) == 0 {
			x.mark(id, stored.Redriven)
		} else {
			x.add(id, &stored, recs[i].Partition, recs[i].Offset)
		}
	}
	if len(x.order) > x.keep+x.keep/8 {
		x.forget()
	}
}

func (x *index) mark(id [16]byte, redriven bool) {
	if e := x.byID[id]; e != nil && redriven && !e.redriven {
		e.redriven = true
		x.open--
	}
}

// add takes a letter. One that comes again keeps its time and state; its newer record stays on the topic longer.
func (x *index) add(id [16]byte, stored *eventpb.DeadLetter, partition int32, offset int64) {
	if e := x.byID[id]; e != nil {
		e.partition, e.offset = partition, offset
		return
	}
	shared := func(s string) string { return unique.Make(s).Value() } // thousands of letters share few words
	e := &entry{
		id: id, stage: shared(stored.Stage), code: shared(stored.Code), pointer: shared(stored.Pointer), detail: shared(stored.Detail),
		source: shared(stored.Source), position: stored.Position, index: stored.Index, time: stored.Time, redriven: stored.Redriven, partition: partition, offset: offset,
	}
	if n := len(x.order); n > 0 && x.sorted && compare(x.order[n-1], e) > 0 {
		x.sorted = false
	}
	x.byID[id] = e
	x.order = append(x.order, e)
	if !e.redriven {
		x.open++
	}
}

func compare(a, b *entry) int {
	if c := cmp.Compare(a.time, b.time); c != 0 {
		return c
	}
	return bytes.Compare(a.id[:], b.id[:])
}

func (x *index) sort() {
	if !x.sorted {
		slices.SortFunc(x.order, compare)
		x.sorted = true
	}
}

// forget drops the oldest letters.
func (x *index) forget() {
	x.sort()
	old := len(x.order) - x.keep
	for _, e := range x.order[:old] {
		delete(x.byID, e.id)
		if !e.redriven {
			x.open--
		}
	}
	x.order = append([]*entry(nil), x.order[old:]...)
}

// find is a copy of the letter's entry.
func (x *index) find(id [16]byte) (entry, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.byID[id]; e != nil {
		return *e, true
	}
	return entry{}, false
}

func (x *index) openCount() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.open
}

// list returns a page, newest first, and the cursor of the next one, empty at the end.
func (x *index) list(q Query) ([]entry, string, error) {
	limit := q.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	limit = min(limit, maxLimit)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sort()
	at := len(x.order)
	if q.Cursor != "" {
		last, err := parseCursor(q.Cursor)
		if err != nil {
			return nil, "", err
		}
		at, _ = slices.BinarySearchFunc(x.order, last, compare)
	}
	var page []entry
	for at--; at >= 0; at-- {
		e := x.order[at]
		if !q.takes(e) {
			continue
		}
		if len(page) == limit {
			return page, cursorOf(&page[limit-1]), nil
		}
		page = append(page, *e)
	}
	return page, "", nil
}

func (q *Query) takes(e *entry) bool {
	return (q.Stage == "" || q.Stage == e.stage) && (q.Code == "" || q.Code == e.code) && (q.Source == "" || q.Source == e.source) &&
		(q.State == "" || (q.State == "redriven") == e.redriven)
}

// cursorOf is where a page ended: time and id of its last letter.
func cursorOf(e *entry) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(e.time))
	return base64.RawURLEncoding.EncodeToString(append(b, e.id[:]...))
}

func parseCursor(s string) (*entry, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 24 {
		return nil, ErrBadCursor
	}
	return &entry{time: int64(binary.BigEndian.Uint64(b)), id: [16]byte(b[8:])}, nil
}

func (e *entry) hexID() string { return hex.EncodeToString(e.id[:]) }
