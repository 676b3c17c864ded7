package profile

import (
	"bytes"
	"encoding/binary"

	"sluice/features/items"
	"sluice/features/record"
	"sluice/features/slab"
)

const subjectBytes = len(items.Subject{})

// places tell which part of a person's history each chunk is. They are n words at a place of the slab: the number of the first chunk, and how many interactions
// each chunk has. None: the person has no chunks.
type places struct{ at, n uint32 }

// placesOf are the places of all people.
type placesOf struct{ words slab.Slab[uint32] }

// stretch is where a chunk's interactions lie in the history; empty if it is not known.
func (p *placesOf) stretch(of places, number uint32) (begin, end int) {
	if of.n == 0 {
		return 0, 0
	}
	words := p.words.At(of.at, int(of.n))
	first, counts := words[0], words[1:]
	if number < first || int(number-first) >= len(counts) {
		return 0, 0
	}
	for _, n := range counts[:number-first] {
		begin += int(n)
	}
	return begin, begin + int(counts[number-first])
}

// set replaces a person's places.
func (p *placesOf) set(of places, first uint32, counts []uint32) places {
	if len(counts) == 0 {
		p.drop(of)
		return places{}
	}
	next := places{n: uint32(1 + len(counts))}
	next.at = p.words.Resize(of.at, int(of.n), int(next.n))
	words := p.words.At(next.at, int(next.n))
	words[0] = first
	copy(words[1:], counts)
	return next
}

func (p *placesOf) drop(of places) { p.words.Release(of.at, int(of.n)) }

// wait keeps a chunk until its head comes; nil: it is gone.
func (f *folder) wait(key, value []byte) {
	if value == nil {
		delete(f.pending, string(key))
		return
	}
	f.pending[string(key)] = bytes.Clone(value)
	f.waiting = max(f.waiting, len(f.pending))
}

// take takes a chunk that has waited.
func (f *folder) take(subject items.Subject, number uint32) ([]byte, bool) {
	if len(f.pending) == 0 {
		return nil, false
	}
	var key [subjectBytes + record.ChunkPlace]byte
	copy(key[:], subject[:])
	key[subjectBytes] = interactionList
	binary.BigEndian.PutUint32(key[subjectBytes+1:], number)
	value, ok := f.pending[string(key[:])]
	delete(f.pending, string(key[:]))
	if len(f.pending) == 0 && f.waiting > manyWaiting { // after a start from a checkpoint, where all chunks come first
		f.pending, f.waiting = make(map[string][]byte), 0
	}
	return value, ok
}

// manyWaiting is how many chunks waited when their map is worth giving back: it does not shrink.
const manyWaiting = 10_000
