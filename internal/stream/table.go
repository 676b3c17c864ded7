package stream

import "fmt"

// Table is a task's typed state by key, in memory, with its committed bytes in the checkpoint.
//
// An entry is touched while a transaction changes it, and dirty from the commit until a checkpoint holds it:
//
//	clean ──Mutate/Delete──▶ touched ──commit──▶ dirty ──checkpoint──▶ clean
//	                            └──abort──▶ as it was (from its saved bytes if dirty, else from the checkpoint)
type Table[V any] struct {
	task    *Task
	id      byte
	name    string
	codec   Codec[V]
	live    map[string]*entry[V]
	touched []*entry[V]
	dirty   []*entry[V]
	arena   []byte
	cold    bool // the checkpoint holds entries that memory does not
}

type entry[V any] struct {
	key       string
	value     *V     // nil: deleted
	saved     []byte // committed bytes of a dirty entry; nil: deleted
	encoded   []byte // bytes of the open transaction
	isTouched bool
	isDirty   bool
}

// arenaSize is the size of the blocks that committed bytes share until the next checkpoint.
const arenaSize = 64 << 10

// OpenTable declares a table of the task and loads it from the checkpoint. An id is used once in an engine, and never for anything else.
func OpenTable[V any](t *Task, id byte, name string, codec Codec[V]) *Table[V] {
	tb := &Table[V]{task: t, id: id, name: name, codec: codec, live: make(map[string]*entry[V])}
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
		if len(tb.live) >= t.store.limit {
			tb.cold = true
			return false, nil
		}
		v, err := codec.Decode(value)
		if err != nil {
			return false, fmt.Errorf("decoding a record of table %s: %w", name, err)
		}
		k := string(key)
		tb.live[k] = &entry[V]{key: k, value: v}
		return true, nil
	})
	if err != nil {
		t.fail(err)
	}
	return tb
}

// Get is the value at key, nil if there is none. It must not be changed.
func (tb *Table[V]) Get(key []byte) *V {
	if e := tb.find(key); e != nil {
		return e.value
	}
	return nil
}

// Mutate is the value at key, to be changed in place; it is made if there is none. The changelog gets one record of it per transaction.
func (tb *Table[V]) Mutate(key []byte) *V {
	e := tb.find(key)
	if e == nil {
		e = &entry[V]{key: string(key)}
		tb.live[e.key] = e
	}
	if e.value == nil {
		e.value = new(V)
	}
	tb.touch(e)
	return e.value
}

// Put sets the value at key. The table owns v from here on.
func (tb *Table[V]) Put(key []byte, v *V) {
	e := tb.find(key)
	if e == nil {
		e = &entry[V]{key: string(key)}
		tb.live[e.key] = e
	}
	e.value = v
	tb.touch(e)
}

// Delete removes the value at key; nothing happens if there is none.
func (tb *Table[V]) Delete(key []byte) {
	e := tb.find(key)
	if e == nil || e.value == nil {
		return
	}
	e.value = nil
	tb.touch(e)
}

// Range yields all values in any order, read-only; deleting the yielded key is allowed.
func (tb *Table[V]) Range(yield func(key []byte, v *V) bool) {
	for k, e := range tb.live {
		if e.value != nil && !yield([]byte(k), e.value) {
			return
		}
	}
	if !tb.cold {
		return
	}
	err := tb.task.store.scan(tb.id, func(key, value []byte) (bool, error) {
		if _, ok := tb.live[string(key)]; ok {
			return true, nil
		}
		v, err := tb.codec.Decode(value)
		if err != nil {
			return false, fmt.Errorf("decoding a record of table %s: %w", tb.name, err)
		}
		return yield(append([]byte(nil), key...), v), nil
	})
	if err != nil {
		tb.task.fail(err)
	}
}

// Len is the number of values in memory.
func (tb *Table[V]) Len() int { return len(tb.live) }

func (tb *Table[V]) find(key []byte) *entry[V] {
	if e := tb.live[string(key)]; e != nil || !tb.cold {
		return e
	}
	e, err := tb.load(string(key))
	if err != nil {
		tb.task.fail(err)
		return nil
	}
	if e != nil {
		tb.live[e.key] = e
	}
	return e
}

// load reads a clean entry from the checkpoint; nil if it holds none.
func (tb *Table[V]) load(key string) (*entry[V], error) {
	if tb.task.store == nil {
		return nil, nil //nolint:nilnil // absence is not an error
	}
	var v *V
	found, err := tb.task.store.get(tb.id, key, func(data []byte) (err error) {
		v, err = tb.codec.Decode(data)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading table %s: %w", tb.name, err)
	}
	if !found {
		return nil, nil //nolint:nilnil // absence is not an error
	}
	return &entry[V]{key: key, value: v}, nil
}

func (tb *Table[V]) touch(e *entry[V]) {
	if !e.isTouched {
		e.isTouched = true
		tb.touched = append(tb.touched, e)
	}
}

func (tb *Table[V]) tableID() byte     { return tb.id }
func (tb *Table[V]) tableName() string { return tb.name }
func (tb *Table[V]) size() int         { return len(tb.live) }

func (tb *Table[V]) flush(yield func(id byte, key, value []byte)) error {
	for _, e := range tb.touched {
		e.encoded = nil
		if e.value != nil {
			encoded, err := tb.encode(e.value)
			if err != nil {
				return fmt.Errorf("encoding a record of table %s: %w", tb.name, err)
			}
			e.encoded = encoded
		}
		yield(tb.id, []byte(e.key), e.encoded)
	}
	return nil
}

// encode writes v into the arena, so that small records share an allocation.
func (tb *Table[V]) encode(v *V) ([]byte, error) {
	if cap(tb.arena)-len(tb.arena) < arenaSize/8 {
		tb.arena = make([]byte, 0, arenaSize)
	}
	start := len(tb.arena)
	grown, err := tb.codec.Encode(tb.arena, v)
	if err != nil {
		return nil, err
	}
	tb.arena = grown
	return grown[start:len(grown):len(grown)], nil
}

func (tb *Table[V]) commit() {
	for _, e := range tb.touched {
		e.isTouched = false
		e.saved, e.encoded = e.encoded, nil
		if tb.task.store == nil {
			tb.settle(e) // nothing to check-point: keep no bytes
			continue
		}
		if !e.isDirty {
			e.isDirty = true
			tb.dirty = append(tb.dirty, e)
		}
	}
	tb.touched = tb.touched[:0]
}

func (tb *Table[V]) abort() error {
	for _, e := range tb.touched {
		e.isTouched, e.encoded = false, nil
		if err := tb.revert(e); err != nil {
			return err
		}
	}
	tb.touched = tb.touched[:0]
	return nil
}

func (tb *Table[V]) revert(e *entry[V]) error {
	if e.isDirty {
		e.value = nil
		if e.saved == nil {
			return nil
		}
		v, err := tb.codec.Decode(e.saved)
		e.value = v
		return err
	}
	before, err := tb.load(e.key)
	if err != nil {
		return err
	}
	if before == nil {
		delete(tb.live, e.key)
		return nil
	}
	e.value = before.value
	return nil
}

// checkpoint hands over the committed bytes of every dirty entry. It must run between transactions.
func (tb *Table[V]) checkpoint(set func(key, value []byte) error) error {
	for _, e := range tb.dirty {
		if err := set([]byte(e.key), e.saved); err != nil {
			return err
		}
		tb.settle(e)
	}
	tb.dirty = tb.dirty[:0]
	tb.arena = nil
	return nil
}

// settle makes a committed entry clean.
func (tb *Table[V]) settle(e *entry[V]) {
	e.isDirty, e.saved = false, nil
	if e.value == nil {
		delete(tb.live, e.key)
	}
}

// evict forgets clean entries until at most nine tenths of limit are in memory. The checkpoint holds them.
func (tb *Table[V]) evict(limit int) {
	if len(tb.live) <= limit {
		return
	}
	tb.cold = true
	for k, e := range tb.live {
		if len(tb.live) <= limit-limit/10 {
			return
		}
		if !e.isDirty && !e.isTouched {
			delete(tb.live, k)
		}
	}
}
