package stream

// Bytes is a table of encoded values. The engine reads and writes them as the changelog has them. Put copies a value into the memory of the transaction; a commit
// copies it into the table.
type Bytes struct {
	keyed
	touched []touchedBytes
	places  map[uint32]int // in touched, by number of the entry
}

// touchedBytes is what the open transaction has made of an entry.
type touchedBytes struct {
	n        uint32
	from, to int // in the arena
	deleted  bool
}

const placesKept = 1024 // of a table and partition: clearing a map takes as long as it ever was

// OpenBytes declares a table of the task and loads it from the checkpoint. An id is used once in an engine, and never for anything else.
func OpenBytes(t *Task, id byte, name string) *Bytes {
	tb := &Bytes{places: make(map[uint32]int)}
	tb.open(t, id, name, tb)
	return tb
}

// Get is the value at key, nil if there is none. It must not be changed, and holds until the transaction ends.
func (tb *Bytes) Get(key []byte) []byte {
	n, ok := tb.find(key)
	if !ok {
		return nil
	}
	if i, ok := tb.places[n]; ok {
		return tb.value(&tb.touched[i])
	}
	value, _ := tb.entries.value(n)
	return value
}

// value is what was put; nil if it was deleted.
func (tb *Bytes) value(c *touchedBytes) []byte {
	if c.deleted {
		return nil
	}
	return tb.arena.bytes[c.from:c.to:c.to]
}

// Put sets the value at key to a copy of value.
func (tb *Bytes) Put(key, value []byte) {
	a := tb.values()
	from := len(a.bytes)
	a.bytes = append(a.bytes, value...)
	tb.touch(touchedBytes{n: tb.findOrAdd(key), from: from, to: len(a.bytes)})
}

// Delete removes the value at key; nothing happens if there is none.
func (tb *Bytes) Delete(key []byte) {
	if tb.Get(key) == nil {
		return
	}
	n, _ := tb.find(key)
	tb.touch(touchedBytes{n: n, deleted: true})
}

func (tb *Bytes) touch(c touchedBytes) {
	if i, ok := tb.places[c.n]; ok {
		tb.touched[i] = c
		return
	}
	tb.places[c.n] = len(tb.touched)
	tb.touched = append(tb.touched, c)
}

func (tb *Bytes) flush(yield func(id byte, key, value []byte)) error {
	for i := range tb.touched {
		c := &tb.touched[i]
		yield(tb.id, tb.entries.key(c.n), tb.value(c))
	}
	return nil
}

func (tb *Bytes) commit() {
	for i := range tb.touched {
		tb.commitEntry(tb.touched[i].n, tb.value(&tb.touched[i]))
	}
	tb.end(true)
}

func (tb *Bytes) abort() {
	for i := range tb.touched {
		tb.abortEntry(tb.touched[i].n)
	}
	tb.end(false)
}

func (tb *Bytes) end(committed bool) {
	if len(tb.touched) > placesKept {
		tb.places = make(map[uint32]int)
	} else {
		clear(tb.places)
	}
	tb.touched = tb.touched[:0]
	tb.settle(committed)
}

func (tb *Bytes) evict() (evicted int) { return tb.forget(func(uint32) {}) }
