package stream

import (
	"fmt"
	"slices"
)

// Table is a task's typed state by key. It keeps committed values as bytes: in memory as far as the process's Memory allows, and in the checkpoint. It decodes
// a value when it is asked for, and keeps a few decoded.
type Table[V any] struct {
	keyed
	codec   Codec[V]
	decoded map[uint32]*decoded[V] // by number of the entry
	size    int                    // bytes that were decoded into these
	touched []uint32
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
)

// OpenTable declares a table of the task and loads it from the checkpoint. An id is used once in an engine, and never for anything else.
func OpenTable[V any](t *Task, id byte, name string, codec Codec[V]) *Table[V] {
	tb := &Table[V]{codec: codec, decoded: make(map[uint32]*decoded[V])}
	tb.open(t, id, name, tb)
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
	n := tb.findOrAdd(key)
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
	n := tb.findOrAdd(key)
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
	err := tb.scanCold(func(key, value []byte) (bool, error) {
		v, err := tb.codec.Decode(value)
		if err != nil {
			return false, tb.decodingError(err)
		}
		return yield(key, v), nil
	})
	if err != nil {
		tb.task.fail(err)
	}
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

// encode writes a value into the transaction's arena.
func (tb *Table[V]) encode(d *decoded[V]) error {
	a := tb.values()
	start := len(a.bytes)
	grown, err := tb.codec.Encode(a.bytes, d.value)
	if err != nil {
		return err
	}
	a.bytes = grown
	d.encoded = grown[start:len(grown):len(grown)]
	return nil
}

func (tb *Table[V]) commit() {
	for _, n := range tb.touched {
		d := tb.decoded[n]
		tb.commitEntry(n, d.encoded)
		if d.value == nil {
			delete(tb.decoded, n)
		}
		tb.size += len(d.encoded)
		d.isTouched, d.encoded = false, nil
	}
	tb.end(true)
}

func (tb *Table[V]) abort() {
	for _, n := range tb.touched {
		delete(tb.decoded, n)
		tb.abortEntry(n)
	}
	tb.end(false)
}

// end ends a transaction: few decoded values outlive it.
func (tb *Table[V]) end(committed bool) {
	tb.touched = tb.touched[:0]
	if len(tb.decoded) > decodedKept || tb.size > decodedSize {
		clear(tb.decoded)
		tb.size = 0
	}
	tb.settle(committed)
}

func (tb *Table[V]) evict() (evicted int) {
	return tb.forget(func(n uint32) { delete(tb.decoded, n) })
}
