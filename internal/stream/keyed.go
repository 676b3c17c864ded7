package stream

import (
	"fmt"
	"slices"
	"sync"
)

// keyed is what all tables are made of: entries in memory, those that the open transaction has changed, and the checkpoint behind them.
//
// An entry is touched while a transaction changes it, and dirty from the commit until a checkpoint holds it:
//
//	clean ──Mutate/Put/Delete──▶ touched ──commit──▶ dirty ──checkpoint──▶ clean ──evict──▶ in the checkpoint alone
//	                                └──abort──▶ as it was: its bytes have not changed
type keyed struct {
	task    *Task
	id      byte
	name    string
	entries entries
	arena   *arena // values of the open transaction; nil if there are none yet
	cold    bool   // the checkpoint holds entries that memory does not
}

// arena is memory that values of a transaction share.
type arena struct{ bytes []byte }

const (
	arenaBegin = 1 << 10
	arenaKept  = 4 << 20 // a larger one is let go after its transaction
)

// arenas are those that no transaction uses now.
var arenas = sync.Pool{New: func() any { return &arena{make([]byte, 0, arenaBegin)} }}

// values is the arena of the open transaction. It is never nil: a value in it is not nil, which would be a deletion, also if it is empty.
func (k *keyed) values() *arena {
	if k.arena == nil {
		k.arena = arenas.Get().(*arena) //nolint:forcetypeassert // the pool's New makes nothing else
	}
	return k.arena
}

// open declares the table and loads it from the checkpoint.
func (k *keyed) open(t *Task, id byte, name string, self table) {
	memory := NewMemory(0)
	if t.store != nil {
		memory = t.store.memory
	}
	k.task, k.id, k.name, k.entries = t, id, name, newEntries(memory)
	for _, other := range t.tables {
		if other.tableID() == id {
			t.fail(fmt.Errorf("table %s: id %d is the id of table %s", name, id, other.tableName()))
		}
	}
	t.tables = append(t.tables, self)
	if t.store == nil {
		return
	}
	err := t.store.scan(id, func(key, value []byte) (bool, error) {
		if memory.isFull() {
			k.cold = true
			return false, nil
		}
		k.entries.load(key, value)
		k.entries.bill()
		return true, nil
	})
	if err != nil {
		t.fail(err)
	}
}

// Len is the number of entries in memory.
func (k *keyed) Len() int { return k.entries.len() }

// find is the number of the key's entry, which comes from the checkpoint if memory lacks it.
func (k *keyed) find(key []byte) (n uint32, ok bool) {
	if n, ok = k.entries.find(key); ok || !k.cold {
		return n, ok
	}
	ok, err := k.task.store.get(k.id, key, func(value []byte) error {
		n = k.entries.load(key, value)
		return nil
	})
	if err != nil {
		k.task.fail(fmt.Errorf("reading table %s: %w", k.name, err))
	}
	return n, ok
}

// findOrAdd is the number of the key's entry, which is made if there is none.
func (k *keyed) findOrAdd(key []byte) uint32 {
	n, ok := k.find(key)
	if !ok {
		n = k.entries.add(key)
	}
	return n
}

// scanCold yields what the checkpoint alone holds.
func (k *keyed) scanCold(yield func(key, value []byte) (bool, error)) error {
	if !k.cold {
		return nil
	}
	return k.task.store.scan(k.id, func(key, value []byte) (bool, error) {
		if _, ok := k.entries.find(key); ok {
			return true, nil
		}
		return yield(slices.Clone(key), value)
	})
}

// commitEntry makes the entry's value what the transaction has made of it, nil = deleted.
func (k *keyed) commitEntry(n uint32, value []byte) {
	if value == nil {
		k.entries.unset(n)
	} else {
		k.entries.set(n, value)
	}
	switch {
	case k.task.store != nil:
		k.entries.change(n)
	case value == nil:
		k.entries.remove(n)
	}
}

// abortEntry forgets an entry that was new in the transaction.
func (k *keyed) abortEntry(n uint32) {
	if k.entries.all[n].flags&(isPresent|isDirty) == 0 {
		k.entries.remove(n)
	}
}

// settle ends a transaction. If it was committed, nobody reads its arena any more.
func (k *keyed) settle(committed bool) {
	if k.arena != nil && committed && cap(k.arena.bytes) <= arenaKept {
		k.arena.bytes = k.arena.bytes[:0]
		arenas.Put(k.arena)
	}
	k.arena = nil
	k.entries.compact()
	k.entries.bill()
}

// forget makes room: it drops a few entries that the checkpoint holds, and calls gone for each.
func (k *keyed) forget(gone func(n uint32)) (evicted int) {
	evicted = k.entries.evict(gone)
	k.cold = k.cold || evicted > 0
	k.entries.bill()
	return evicted
}

func (k *keyed) tableID() byte     { return k.id }
func (k *keyed) tableName() string { return k.name }
func (k *keyed) state() *entries   { return &k.entries }
