package record

import "encoding/binary"

// cells keep values without a pointer each: a value lies in a chain of cells of one size, so that values that grow and shrink leave no holes of odd sizes.
type cells struct {
	blocks [][]byte
	free   uint32 // first free cell, chained like a value's; noCell = none
	used   uint32 // cells that were ever given out
}

const (
	cellSize  = 64 // 4 bytes of the next cell's number, and what it holds
	cellHolds = cellSize - 4
	perBlock  = 1024 // cells that are made at a time
	noCell    = 1<<32 - 1
)

// chain is where a value lies.
type chain struct{ first, size uint32 }

func (c *cells) cell(number uint32) []byte {
	from := number % perBlock * cellSize
	return c.blocks[number/perBlock][from : from+cellSize : from+cellSize]
}

func nextOf(cell []byte) uint32 { return binary.LittleEndian.Uint32(cell) }

func setNext(cell []byte, number uint32) { binary.LittleEndian.PutUint32(cell, number) }

// take takes a free cell.
func (c *cells) take() uint32 {
	if number := c.free; number != noCell {
		c.free = nextOf(c.cell(number))
		return number
	}
	if c.used%perBlock == 0 {
		c.blocks = append(c.blocks, make([]byte, perBlock*cellSize))
	}
	c.used++
	return c.used - 1
}

// put copies a value.
func (c *cells) put(value []byte) chain {
	at := chain{first: noCell, size: uint32(len(value))}
	end := (len(value) + cellHolds - 1) / cellHolds * cellHolds
	for from := end - cellHolds; from >= 0; from -= cellHolds { // the last cell first
		number := c.take()
		cell := c.cell(number)
		setNext(cell, at.first)
		copy(cell[4:], value[from:])
		at.first = number
	}
	return at
}

// append appends a value to buf.
func (c *cells) append(buf []byte, at chain) []byte {
	number := at.first
	for left := int(at.size); left > 0; left -= cellHolds {
		cell := c.cell(number)
		buf = append(buf, cell[4:4+min(left, cellHolds)]...)
		number = nextOf(cell)
	}
	return buf
}

// drop gives a value's cells back.
func (c *cells) drop(at chain) {
	number := at.first
	for number != noCell {
		cell := c.cell(number)
		next := nextOf(cell)
		setNext(cell, c.free)
		c.free, number = number, next
	}
}

// values are values by key, without pointers.
type values[K comparable] struct {
	cells cells
	at    map[K]chain
}

func newValues[K comparable]() values[K] {
	return values[K]{cells: cells{free: noCell}, at: make(map[K]chain)}
}

// append appends the value of a key to buf; false if it has none.
func (v *values[K]) append(buf []byte, key K) ([]byte, bool) {
	at, ok := v.at[key]
	if !ok {
		return buf, false
	}
	return v.cells.append(buf, at), true
}

// set copies a value.
func (v *values[K]) set(key K, value []byte) {
	v.drop(key)
	v.at[key] = v.cells.put(value)
}

func (v *values[K]) drop(key K) {
	if at, ok := v.at[key]; ok {
		v.cells.drop(at)
		delete(v.at, key)
	}
}

func (v *values[K]) len() int { return len(v.at) }
