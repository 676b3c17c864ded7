package stream

import (
	"fmt"
	"slices"
)

// Table is a task's typed state by key. Committed values are kept as bytes, in memory as far as the process's Memory goes and in the checkpoint; a value is
// decoded when it is asked for, and a few stay so.
//
// An entry is touched while a transaction changes it, and dirty from the commit until a checkpoint holds it:
//
//	clean ──Mutate/Put/Delete──▶ touched ──commit──▶ dirty ──checkpoint──▶ clean ──evict──▶ in the checkpoint alone
//	                                └──abort──▶ as it was: its bytes have not changed
type Table[V any] struct {
	task    *Task
	id      byte
	name    string
	codec   Codec[V]
	entries entries
	decoded map[uint32]*decoded[V] // by number of the entry
	size    int                    // bytes that were decoded into these
	touched []uint32
	arena   []byte // bytes of the open transaction
	cold    bool   // the checkpoint holds entries that memory does not
}

// decoded is an entry's value in use.
type decoded[V any] struct {
	value     *V     // nil: deleted
	encoded   []byte // of the open transaction
	isTouched bool
}

const (
	decodedKept = 128       // decoded values of a table and partition that outlive a transaction
	decodedSize = 128 << 10 // bytes that they were decoded from, at most
	arenaKept   = 256 << 10 // a table's buffer that is larger is let go after its transaction
)

// OpenTable declares a table of the task and loads it from the checkpoint. An id is used once in an engine, and never for anything else.
func OpenTable[V any](t *Task, id byte, name string, codec Codec[V]) *Table[V] {
	memory := NewMemory(0)
	if t.store != nil {
		memory = t.store.memory
	}
	tb := &Table[V]{task: t, id: id, name: name, codec: codec, decoded: make(map[uint32]*decoded[V]), entries: newEntries(memory)}
	for _, other := range t.tables {
		if other.tableID() == id {
			t.fail(fmt.Errorf("table %s: id %d is the id of table %s", name, id, other.tableName()))
		}
	}
	t.tables = append(t.tables, tb)
	if t.store == nil {
		return tb
	}
	err := t.store.scan(id, func(key, value []byte) (bool, error) {
		if memory.isFull() {
			tb.cold = true
			return false, nil
		}
		tb.entries.load(key, value)
		tb.entries.bill()
		return true, nil
	})
	if err != nil {
		t.fail(err)
	}
	return tb
}

// Get is the value at key, nil if there is none. It must not be changed.
func (tb *Table[V]) Get(key []byte) *V {
	n, ok := tb.find(key)
	if !ok {
		return nil
	}
	if d := tb.decode(n); d != nil {
		return d.value
	}
	return nil
}

// Look is the value at key for whoever reads bytes: the value if it is in use, else its bytes, which hold until the table changes. Both are nil if there is none.
func (tb *Table[V]) Look(key []byte) (v *V, encoded []byte) {
	n, ok := tb.find(key)
	if !ok {
		return nil, nil
	}
	if d := tb.decoded[n]; d != nil {
		return d.value, nil
	}
	encoded, _ = tb.entries.value(n)
	return nil, encoded
}

// Mutate is the value at key, to be changed in place; it is made if there is none. The changelog gets one record of it per transaction.
func (tb *Table[V]) Mutate(key []byte) *V {
	n, ok := tb.find(key)
	if !ok {
		n = tb.entries.add(key)
	}
	d := tb.decode(n)
	if d == nil {
		d = &decoded[V]{}
		tb.decoded[n] = d
	}
	if d.value == nil {
		d.value = new(V)
	}
	tb.touch(n, d)
	return d.value
}

// Put sets the value at key. The table owns v from here on.
func (tb *Table[V]) Put(key []byte, v *V) {
	n, ok := tb.find(key)
	if !ok {
		n = tb.entries.add(key)
	}
	d := tb.decoded[n]
	if d == nil {
		d = &decoded[V]{}
		tb.decoded[n] = d
	}
	d.value = v
	tb.touch(n, d)
}

// Delete removes the value at key; nothing happens if there is none.
func (tb *Table[V]) Delete(key []byte) {
	n, ok := tb.find(key)
	if !ok {
		return
	}
	d := tb.decoded[n]
	if d == nil {
		if _, ok := tb.entries.value(n); !ok {
			return
		}
		d = &decoded[V]{}
		tb.decoded[n] = d
	} else if d.value == nil {
		return
	}
	d.value = nil
	tb.touch(n, d)
}

// Range yields all values in any order, read-only; changing or deleting the yielded key is allowed.
func (tb *Table[V]) Range(yield func(key []byte, v *V) bool) {
	for n := range uint32(len(tb.entries.all)) {
		v, err := tb.peek(n)
		if err != nil {
			tb.task.fail(err)
			return
		}
		if v != nil && !yield(slices.Clone(tb.entries.key(n)), v) {
			return
		}
	}
	if !tb.cold {
		return
	}
	err := tb.task.store.scan(tb.id, func(key, value []byte) (bool, error) {
		if _, ok := tb.entries.find(key); ok {
			return true, nil
		}
		v, err := tb.codec.Decode(value)
		if err != nil {
			return false, tb.decodingError(err)
		}
		return yield(slices.Clone(key), v), nil
	})
	if err != nil {
		tb.task.fail(err)
	}
}

// Len is the number of entries in memory.
func (tb *Table[V]) Len() int { return tb.entries.len() }

// find is the number of the key's entry, which comes from the checkpoint if memory lacks it.
func (tb *Table[V]) find(key []byte) (n uint32, ok bool) {
	if n, ok = tb.entries.find(key); ok || !tb.cold {
		return n, ok
	}
	ok, err := tb.task.store.get(tb.id, key, func(value []byte) error {
		n = tb.entries.load(key, value)
		return nil
	})
	if err != nil {
		tb.task.fail(fmt.Errorf("reading table %s: %w", tb.name, err))
	}
	return n, ok
}

// decode is the entry's value in use, nil if it has none.
func (tb *Table[V]) decode(n uint32) *decoded[V] {
	if d := tb.decoded[n]; d != nil {
		return d
	}
	data, ok := tb.entries.value(n)
	if !ok {
		return nil
	}
	v, err := tb.codec.Decode(data)
	if err != nil {
		tb.task.fail(tb.decodingError(err))
		return nil
	}
	d := &decoded[V]{value: v}
	tb.decoded[n] = d
	tb.size += len(data)
	return d
}

// peek is the entry's value, nil if it has none. It is not kept.
func (tb *Table[V]) peek(n uint32) (*V, error) {
	if d := tb.decoded[n]; d != nil {
		return d.value, nil
	}
	data, ok := tb.entries.value(n)
	if !ok {
		return nil, nil //nolint:nilnil // absence is not an error
	}
	v, err := tb.codec.Decode(data)
	if err != nil {
		return nil, tb.decodingError(err)
	}
	return v, nil
}

func (tb *Table[V]) decodingError(err error) error {
	return fmt.Errorf("decoding a record of table %s: %w", tb.name, err)
}

func (tb *Table[V]) touch(n uint32, d *decoded[V]) {
	if !d.isTouched {
		d.isTouched = true
		tb.touched = append(tb.touched, n)
	}
}

func (tb *Table[V]) tableID() byte     { return tb.id }
func (tb *Table[V]) tableName() string { return tb.name }
func (tb *Table[V]) state() *entries   { return &tb.entries }

func (tb *Table[V]) flush(yield func(id byte, key, value []byte)) error {
	for _, n := range tb.touched {
		d := tb.decoded[n]
		d.encoded = nil
		if d.value != nil {
			if err := tb.encode(d); err != nil {
				return fmt.Errorf("encoding a record of table %s: %w", tb.name, err)
			}
		}
		yield(tb.id, tb.entries.key(n), d.encoded)
	}
	return nil
}

// encode writes a value into the arena, which all of a transaction share.
func (tb *Table[V]) encode(d *decoded[V]) error {
	start := len(tb.arena)
	grown, err := tb.codec.Encode(tb.arena, d.value)
	if err != nil {
		return err
	}
	if grown == nil {
		grown = []byte{} // nil would be a deletion
	}
	tb.arena = grown
	d.encoded = grown[start:len(grown):len(grown)]
	return nil
}

func (tb *Table[V]) commit() {
	for _, n := range tb.touched {
		d := tb.decoded[n]
		if d.value == nil {
			tb.entries.unset(n)
			delete(tb.decoded, n)
		} else {
			tb.entries.set(n, d.encoded)
			tb.size += len(d.encoded)
		}
		d.isTouched, d.encoded = false, nil
		switch {
		case tb.task.store != nil:
			tb.entries.change(n)
		case d.value == nil:
			tb.entries.remove(n)
		}
	}
	tb.settle()
}

func (tb *Table[V]) abort() {
	for _, n := range tb.touched {
		delete(tb.decoded, n)
		if tb.entries.all[n].flags&(isPresent|isDirty) == 0 {
			tb.entries.remove(n) // it was new
		}
	}
	tb.settle()
}

// settle ends a transaction: few decoded values outlive it.
func (tb *Table[V]) settle() {
	tb.touched = tb.touched[:0]
	tb.arena = tb.arena[:0]
	if cap(tb.arena) > arenaKept {
		tb.arena = nil
	}
	if len(tb.decoded) > decodedKept || tb.size > decodedSize {
		clear(tb.decoded)
		tb.size = 0
	}
	tb.entries.compact()
	tb.entries.bill()
}

// evict makes room: a few entries that the checkpoint holds are forgotten.
func (tb *Table[V]) evict() (evicted int) {
	evicted = tb.entries.evict(func(n uint32) { delete(tb.decoded, n) })
	tb.cold = tb.cold || evicted > 0
	tb.entries.bill()
	return evicted
}
