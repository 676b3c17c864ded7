package stream

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

// entries are the committed bytes of a table by key, without a pointer for each: an index of hashes onto entries. Keys and values lie in a slab.
// An entry's number stays while its bytes move.
type entries struct {
	slab   slab
	seed   maphash.Seed
	index  []uint32 // number of an entry + 1, open addressing; 0 = empty
	all    []entry
	unused []uint32 // numbers of entries that are gone
	hand   uint32   // of the clock that evicts
	dirty  []uint32 // changed since the last checkpoint began
	saving []uint32 // of the checkpoint that is being written
	memory *Memory
	billed int64 // what memory knows of
}

type entry struct {
	at    slot
	hash  uint32
	flags entryFlags
}

const entryBytes = 12

type entryFlags uint8

const (
	isUsed    entryFlags = 1 << iota
	isPresent            // it has a committed value; one without is new in the open transaction, or deleted and dirty
	isDirty              // in dirty or in saving: the checkpoint lacks it
	isRecent             // asked for since the hand came by
)

func newEntries(memory *Memory) entries { return entries{seed: maphash.MakeSeed(), memory: memory} }

// len is the number of entries, tombstones included.
func (e *entries) len() int { return len(e.all) - len(e.unused) }

// bytes is the memory that they take.
func (e *entries) bytes() int64 {
	return e.slab.held + entryBytes*int64(cap(e.all)) + 4*int64(len(e.index)+cap(e.unused)+cap(e.dirty)+cap(e.saving))
}

// bill tells the process's memory what has changed.
func (e *entries) bill() {
	now := e.bytes()
	e.memory.add(now - e.billed)
	e.billed = now
}

func (e *entries) hash(key []byte) uint32 { return uint32(maphash.Bytes(e.seed, key)) }

// find is the number of the key's entry.
func (e *entries) find(key []byte) (n uint32, ok bool) {
	if len(e.index) == 0 {
		return 0, false
	}
	hash, mask := e.hash(key), uint32(len(e.index)-1)
	for i := hash & mask; e.index[i] != 0; i = (i + 1) & mask {
		n := e.index[i] - 1
		if x := &e.all[n]; x.hash == hash && bytes.Equal(e.key(n), key) {
			x.flags |= isRecent
			return n, true
		}
	}
	return 0, false
}

// add makes an entry without a value; there must be none of the key.
func (e *entries) add(key []byte) uint32 { return e.insert(key, nil) }

// load makes an entry that the checkpoint holds; there must be none of the key.
func (e *entries) load(key, value []byte) uint32 {
	n := e.insert(key, value)
	e.all[n].flags |= isPresent
	return n
}

func (e *entries) insert(key, value []byte) uint32 {
	if 2*(e.len()+1) > len(e.index) {
		e.grow()
	}
	var n uint32
	if last := len(e.unused) - 1; last >= 0 {
		n, e.unused = e.unused[last], e.unused[:last]
	} else {
		n = uint32(len(e.all))
		e.all = append(e.all, entry{})
	}
	e.all[n] = entry{hash: e.hash(key), flags: isUsed | isRecent}
	e.store(n, key, value)
	e.point(n)
	return n
}

func (e *entries) grow() {
	e.index = make([]uint32, max(16, 2*len(e.index)))
	for n := range e.all {
		if e.all[n].flags&isUsed != 0 {
			e.point(uint32(n))
		}
	}
}

// point puts the entry into the index.
func (e *entries) point(n uint32) {
	mask := uint32(len(e.index) - 1)
	i := e.all[n].hash & mask
	for e.index[i] != 0 {
		i = (i + 1) & mask
	}
	e.index[i] = n + 1
}

// store puts key and value into a slot: number of the entry (4 bytes) ‖ length of the key ‖ length of the value ‖ key ‖ value.
func (e *entries) store(n uint32, key, value []byte) {
	var head [entryNumber + 2*binary.MaxVarintLen32]byte
	binary.LittleEndian.PutUint32(head[:], n)
	h := entryNumber + binary.PutUvarint(head[entryNumber:], uint64(len(key)))
	h += binary.PutUvarint(head[h:], uint64(len(value)))
	at, b := e.slab.take(h + len(key) + len(value))
	copy(b, head[:h])
	copy(b[h:], key)
	copy(b[h+len(key):], value)
	e.all[n].at = at
}

const entryNumber = 4 // bytes of an entry's number in its slot

// parts are an entry's key and value in its slot, and the length of all of it. They hold until the entry changes or is moved.
func (e *entries) parts(n uint32) (key, value []byte, length int) {
	return partsOf(e.slab.at(e.all[n].at))
}

func partsOf(b []byte) (key, value []byte, length int) {
	k, h := binary.Uvarint(b[entryNumber:])
	v, more := binary.Uvarint(b[entryNumber+h:])
	h += entryNumber + more
	length = h + int(k) + int(v)
	return b[h : h+int(k) : h+int(k)], b[h+int(k) : length : length], length
}

// compact moves entries out of blocks with many holes. It must run between transactions: what was handed out of a slot does not hold any more.
func (e *entries) compact() {
	for {
		at, ok := e.slab.worst()
		if !ok {
			return
		}
		data := e.slab.blocks[at].data
		for from := 0; e.slab.blocks[at].live > 0; { // then it is let go, and others may write to it
			n := binary.LittleEndian.Uint32(data[from:])
			_, _, length := partsOf(data[from:])
			if place := slot(at)<<slabShift | slot(from/slabUnit); int(n) < len(e.all) && e.all[n].at == place {
				to, b := e.slab.take(length)
				copy(b, data[from:])
				e.all[n].at = to
				e.slab.give(place, length)
			}
			from += slabSize(length)
		}
	}
}

func (e *entries) key(n uint32) []byte {
	key, _, _ := e.parts(n)
	return key
}

// value is the entry's committed value.
func (e *entries) value(n uint32) (value []byte, ok bool) {
	if e.all[n].flags&isPresent == 0 {
		return nil, false
	}
	_, value, _ = e.parts(n)
	return value, true
}

// set commits a value.
func (e *entries) set(n uint32, value []byte) {
	key, before, length := e.parts(n)
	e.all[n].flags |= isPresent
	if len(before) == len(value) {
		copy(before, value)
		return
	}
	old := e.all[n].at
	e.store(n, key, value) // before the old slot is given away: the key lies in it
	e.slab.give(old, length)
}

// unset commits a deletion: the entry stays until the checkpoint knows of it.
func (e *entries) unset(n uint32) {
	e.set(n, nil)
	e.all[n].flags &^= isPresent
}

// remove forgets the entry.
func (e *entries) remove(n uint32) {
	_, _, length := e.parts(n)
	e.slab.give(e.all[n].at, length)
	mask := uint32(len(e.index) - 1)
	i := e.all[n].hash & mask
	for e.index[i] != n+1 {
		i = (i + 1) & mask
	}
	for next := (i + 1) & mask; e.index[next] != 0; next = (next + 1) & mask { // close the gap
		home := e.all[e.index[next]-1].hash & mask
		if (next-home)&mask >= (next-i)&mask {
			e.index[i] = e.index[next]
			i = next
		}
	}
	e.index[i] = 0
	e.all[n] = entry{}
	e.unused = append(e.unused, n)
}

// change notes that the checkpoint lacks what was committed.
func (e *entries) change(n uint32) {
	if e.all[n].flags&isDirty == 0 {
		e.all[n].flags |= isDirty
		e.dirty = append(e.dirty, n)
	}
}

// beginSaving takes what has changed for a checkpoint; the one before must be complete.
func (e *entries) beginSaving() { e.saving, e.dirty = e.dirty, e.saving[:0] }

// save hands over changed entries, nil values for deleted ones, until about limit bytes are written. It returns how many bytes are left of the limit.
func (e *entries) save(limit int, set func(key, value []byte) error) (left int, err error) {
	for len(e.saving) > 0 && limit > 0 {
		n := e.saving[len(e.saving)-1]
		e.saving = e.saving[:len(e.saving)-1]
		key, value, length := e.parts(n)
		limit -= length
		e.all[n].flags &^= isDirty
		if e.all[n].flags&isPresent == 0 {
			if err := set(key, nil); err != nil {
				return 0, err
			}
			e.remove(n)
			continue
		}
		if err := set(key, value); err != nil {
			return 0, err
		}
	}
	return limit, nil
}

// clean is about how many entries could be forgotten.
func (e *entries) clean() int { return e.len() - len(e.dirty) - len(e.saving) }

// close gives the memory back.
func (e *entries) close() {
	e.memory.add(-e.billed)
	e.billed = 0
}

// evictStep is how many entries the hand passes at once.
const evictStep = 4096

// evict forgets entries that the checkpoint holds and that were not asked for since the hand came by, and tells how many. gone hears of each.
func (e *entries) evict(gone func(n uint32)) (evicted int) {
	for range min(evictStep, len(e.all)) {
		if e.hand >= uint32(len(e.all)) {
			e.hand = 0
		}
		n := e.hand
		e.hand++
		switch x := &e.all[n]; {
		case x.flags&isPresent == 0 || x.flags&isDirty != 0:
		case x.flags&isRecent != 0:
			x.flags &^= isRecent
		default:
			gone(n)
			e.remove(n)
			evicted++
		}
	}
	e.compact()
	return evicted
}
