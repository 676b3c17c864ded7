package stream

import "math/bits"

// slab keeps byte strings in few large blocks, so that the garbage collector sees no pointer for each. A string lives in a slot of its size's class;
// freed slots of a class are used again, and their first bytes name the next free one.
type slab struct {
	blocks  [][]byte
	free    []uint32 // places in blocks that are free again
	classes [slabClasses]slabClass
	live    int64 // bytes of the slots in use
}

type slabClass struct {
	free  slot   // the first free slot; 0 if there is none
	block uint32 // the newest block
	next  int    // its first byte that was never used
	made  int    // blocks made so far: each is twice as large as the one before, up to slabBlock
}

// slot is a place in a slab: block ‖ offset in units of slabUnit. 0 is none.
type slot uint32

const (
	slabUnit    = 8
	slabBlock   = 64 << 10
	slabFirst   = 2 << 10 // smallest block: most tables of most partitions are small
	slabLargest = 8 << 10 // a longer string has a block of its own
	slabShift   = 13      // bits of an offset: slabBlock / slabUnit
	slabExact   = 128     // classes are slabUnit apart up to here, then four a doubling
	slabClasses = slabExact/slabUnit + 4*6 + 1
)

// classOf is the class of a string of n bytes, and the size of its slots. A class of slabClasses is a block of its own.
func classOf(n int) (class, size int) {
	if n <= slabExact {
		class = (max(n, 1) + slabUnit - 1) / slabUnit
		return class, class * slabUnit
	}
	if n > slabLargest {
		return slabClasses, n
	}
	doubling := bits.Len(uint(n-1)) - bits.Len(slabExact) // 0 for 129 to 256
	step := slabExact << doubling / 4
	quarter := (n - slabExact<<doubling + step - 1) / step // 1 to 4
	return slabExact/slabUnit + 4*doubling + quarter, slabExact<<doubling + quarter*step
}

// take is a slot for n bytes, and its bytes.
func (s *slab) take(n int) (slot, []byte) {
	if len(s.blocks) == 0 {
		s.blocks = append(s.blocks, nil) // slot 0 is none
	}
	class, size := classOf(n)
	s.live += int64(size)
	if class == slabClasses {
		at := slot(s.newBlock(size)) << slabShift
		return at, s.at(at)[:n]
	}
	c := &s.classes[class]
	if c.free != 0 {
		at := c.free
		b := s.at(at)
		c.free = slot(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
		return at, b[:n]
	}
	if c.made == 0 || c.next+size > len(s.blocks[c.block]) {
		c.block, c.next = s.newBlock(max(size, min(slabBlock, slabFirst<<c.made))), 0
		c.made = min(c.made+1, 10)
	}
	at := slot(c.block)<<slabShift | slot(c.next/slabUnit)
	c.next += size
	return at, s.at(at)[:n]
}

func (s *slab) newBlock(size int) uint32 {
	if n := len(s.free); n > 0 {
		at := s.free[n-1]
		s.free = s.free[:n-1]
		s.blocks[at] = make([]byte, size)
		return at
	}
	s.blocks = append(s.blocks, make([]byte, size))
	return uint32(len(s.blocks) - 1)
}

// at are the bytes from the slot on, to the end of its block.
func (s *slab) at(at slot) []byte {
	return s.blocks[at>>slabShift][int(at&(1<<slabShift-1))*slabUnit:]
}

// give frees the slot of a string of n bytes.
func (s *slab) give(at slot, n int) {
	class, size := classOf(n)
	s.live -= int64(size)
	if class == slabClasses {
		s.blocks[at>>slabShift] = nil
		s.free = append(s.free, uint32(at>>slabShift))
		return
	}
	c := &s.classes[class]
	b := s.at(at)
	b[0], b[1], b[2], b[3] = byte(c.free), byte(c.free>>8), byte(c.free>>16), byte(c.free>>24)
	c.free = at
}
