// Package dense is a map for millions of entries that is as large as what it holds.
package dense

import "hash/maphash"

// Map keeps its entries one behind the other in pages, with an index of their places. Go's own map keeps up to half of its slots free; here a page of
// entries and a few bytes each are all. If neither keys nor values have pointers, the garbage collector looks at none of it. The zero value is empty.
type Map[K comparable, V any] struct {
	seed  maphash.Seed
	index []uint32 // place of an entry plus 1, open addressing; 0 = empty
	pages [][]entry[K, V]
	n     int
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

const (
	pageBits  = 8
	pageSize  = 1 << pageBits
	firstSize = 16 // of the index
)

// Len is the number of entries.
func (m *Map[K, V]) Len() int { return m.n }

// Get is the value at key, the zero value if there is none.
func (m *Map[K, V]) Get(key K) (value V, ok bool) {
	if m.n == 0 {
		return value, false
	}
	if at := m.find(key); m.index[at] != 0 {
		return m.at(m.index[at] - 1).value, true
	}
	return value, false
}

// Set sets the value at key.
func (m *Map[K, V]) Set(key K, value V) {
	if 4*(m.n+1) > 3*len(m.index) {
		m.grow()
	}
	at := m.find(key)
	if m.index[at] == 0 {
		if m.n>>pageBits == len(m.pages) {
			m.pages = append(m.pages, make([]entry[K, V], pageSize))
		}
		m.n++
		m.index[at] = uint32(m.n)
	}
	*m.at(m.index[at] - 1) = entry[K, V]{key, value}
}

// Delete deletes what is at key, if there is anything.
func (m *Map[K, V]) Delete(key K) {
	if m.n == 0 {
		return
	}
	at := m.find(key)
	if m.index[at] == 0 {
		return
	}
	hole, last := m.index[at], uint32(m.n)
	if hole != last { // the last entry takes the place
		moved := *m.at(last - 1)
		m.index[m.find(moved.key)] = hole
		*m.at(hole - 1) = moved
	}
	m.close(at)
	*m.at(last - 1) = entry[K, V]{}
	m.n--
	if empty := (m.n + pageSize - 1) >> pageBits; empty+1 < len(m.pages) { // one is kept for what comes next
		m.pages[len(m.pages)-1] = nil
		m.pages = m.pages[:len(m.pages)-1]
	}
}

// All yields all entries in any order. The map must not be changed meanwhile.
func (m *Map[K, V]) All(yield func(K, V) bool) {
	for place := range uint32(m.n) {
		if e := m.at(place); !yield(e.key, e.value) {
			return
		}
	}
}

func (m *Map[K, V]) at(place uint32) *entry[K, V] {
	return &m.pages[place>>pageBits][place&(pageSize-1)]
}

// find is where the index has the key, or would have it.
func (m *Map[K, V]) find(key K) uint32 {
	mask := uint32(len(m.index) - 1)
	i := m.home(key)
	for m.index[i] != 0 && m.at(m.index[i]-1).key != key {
		i = (i + 1) & mask
	}
	return i
}

func (m *Map[K, V]) home(key K) uint32 {
	return uint32(maphash.Comparable(m.seed, key)) & uint32(len(m.index)-1)
}

// close empties a place of the index, and closes the gap.
func (m *Map[K, V]) close(i uint32) {
	mask := uint32(len(m.index) - 1)
	for next := (i + 1) & mask; m.index[next] != 0; next = (next + 1) & mask {
		if home := m.home(m.at(m.index[next] - 1).key); (next-home)&mask >= (next-i)&mask {
			m.index[i] = m.index[next]
			i = next
		}
	}
	m.index[i] = 0
}

func (m *Map[K, V]) grow() {
	if m.index == nil {
		m.seed = maphash.MakeSeed()
	}
	m.index = make([]uint32, max(firstSize, 2*len(m.index)))
	mask := uint32(len(m.index) - 1)
	for place := range uint32(m.n) {
		i := m.home(m.at(place).key)
		for m.index[i] != 0 {
			i = (i + 1) & mask
		}
		m.index[i] = place + 1
	}
}
