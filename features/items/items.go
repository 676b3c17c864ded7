// Package items is what many people's histories tell about items: which sessions are alike (Neighbours), and what is looked at together (Together).
//
// A Model is a pure function of the histories that it holds now: it knows no log, no clock and no engine, and the order in which histories came does not
// show. So whatever replaces, shortens or deletes a history takes away exactly what it had added, and a model that is restored equals one that lived.
// Every answer looks at a bounded number of the newest sessions of an item, so that it costs the same whatever the item's popularity.
package items

import (
	"math/bits"
	"slices"
	"sync"
	"unsafe"

	"sluice/features/slab"
	"sluice/internal/itemid"
)

// Interaction is one thing that a person did with one item.
type Interaction struct {
	Event   uint64 // hash of the event; an event with several items makes several interactions
	Session uint64 // hash of the session, 0 = none was named
	Time    int64  // Unix microseconds
	Item    uint32
	Type    uint8
}

// Subject is a person's pseudonym.
type Subject = [16]byte

// Change is one person's history as it is now, ordered by (time, event); none: it is gone.
type Change struct {
	Subject      Subject
	Interactions []Interaction
}

// Options of a model.
type Options struct {
	// Gap ends a session that has no name: a pause longer than this, in microseconds.
	Gap int64
}

// Model is the histories and what is known from them. It is safe for concurrent use.
type Model struct {
	o   Options
	ids *itemid.Table

	mu       sync.RWMutex // guards what follows
	numbers  map[Subject]uint32
	people   []person // by number; 0 is nobody
	absent   []uint32 // numbers of people who are gone
	sessions []session
	heads    []head   // by session, apart: a search reads thousands of them
	ended    []uint32 // numbers of sessions that are gone
	postings postings

	interactions slab.Slab[interaction]
	runs         slab.Slab[uint32] // people's sessions
	places       slab.Slab[uint32] // sessions' items
	count        int               // interactions
	cutter       cutter

	scratches scratches
}

// person is one subject. It keeps its number while it has a history.
type person struct {
	subject                Subject
	interactions, sessions uint32 // blocks
	n, m                   uint32 // interactions, sessions
}

// interaction is an Interaction as it is kept; its session is the person's with the number run.
type interaction struct {
	event uint64
	time  int64
	item  uint32
	run   uint16
	typ   uint8
}

// session is a part of one person's history.
type session struct {
	key   uint64 // hash of its name, or the event that it begins with
	named bool
}

// head is what a search reads of a session. It lies in one line of the cache.
type head struct {
	second uint32 // of the newest interaction
	person uint32
	n      uint32 // interactions
	items  uint32 // block: one entry per interaction, the oldest first
}

// itemsOf are a session's items, the oldest first.
func (m *Model) itemsOf(h *head) []uint32 { return m.places.At(h.items, int(h.n)) }

// New makes an empty model over the numbers of a table. It holds one reference to each item that it has.
func New(ids *itemid.Table, o Options) *Model {
	m := &Model{o: o, ids: ids, numbers: make(map[Subject]uint32), people: make([]person, 1), sessions: make([]session, 1), heads: make([]head, 1)}
	m.postings.order = m.order
	return m
}

// order puts sessions that end in the same second into one order on every node.
func (m *Model) order(number uint32) uint64 {
	s := &m.people[m.heads[number].person].subject
	var owner uint64
	for _, b := range s[:8] {
		owner = owner<<8 | uint64(b)
	}
	key := m.sessions[number].key ^ 0x9e3779b97f4a7c15
	if m.sessions[number].named {
		key = ^key
	}
	high, low := bits.Mul64(key, owner|1)
	return high ^ low
}

// applied is how many changes are made under one lock: enough that searches do not hold the writer up, few enough that it does not hold them up.
const applied = 32

// Apply takes people's new histories. The caller must hold references to their items until it returns.
func (m *Model) Apply(changes []Change) {
	for chunk := range slices.Chunk(changes, applied) {
		m.mu.Lock()
		for i := range chunk {
			m.replace(chunk[i].Subject, chunk[i].Interactions)
		}
		m.mu.Unlock()
	}
}

// Load makes an empty model take histories in less time, until loaded is called: before that nothing is found by its item.
func (m *Model) Load() (loaded func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.postings.loading = len(m.numbers) == 0
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.postings.loaded()
	}
}

// Interactions appends the person's history to out, the oldest first.
func (m *Model) Interactions(out []Interaction, subject Subject) []Interaction {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p := &m.people[m.numbers[subject]]
	runs := m.runs.At(p.sessions, int(p.m))
	for _, t := range m.interactions.At(p.interactions, int(p.n)) {
		full := Interaction{Event: t.event, Time: t.time, Item: t.item, Type: t.typ}
		if s := &m.sessions[runs[t.run]]; s.named {
			full.Session = s.key
		}
		out = append(out, full)
	}
	return out
}

// Sizes are how much a model holds.
type Sizes struct {
	People, Sessions, Interactions, Items int
	Bytes                                 int // of memory, without the searches' scratch
}

// Sizes counts.
func (m *Model) Sizes() Sizes {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return Sizes{
		People: len(m.numbers), Sessions: m.open(), Interactions: m.count, Items: m.cutter.items,
		Bytes: m.interactions.Bytes() + m.runs.Bytes() + m.places.Bytes() + m.postings.entries.Bytes() + m.postings.dirs.Bytes() +
			bytesOf(m.postings.lists) + bytesOf(m.people) + bytesOf(m.sessions) + bytesOf(m.heads) + len(m.numbers)*mapEntry,
	}
}

// mapEntry is about what a person costs in Model.numbers.
const mapEntry = 36

func bytesOf[T any](list []T) int {
	var one T
	return cap(list) * int(unsafe.Sizeof(one))
}

// open is the number of sessions. The caller holds mu.
func (m *Model) open() int { return len(m.sessions) - 1 - len(m.ended) }
