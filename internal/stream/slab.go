package stream

import "sync"

// slab keeps byte strings in few large blocks, so that the garbage collector sees no pointer for each. A string is appended to the open block. One that is
// given back leaves a hole; a block with too many is emptied by its owner, who moves what lives in it. So holes are bounded, whatever sizes come and go.
type slab struct {
	blocks []block
	unused []uint32 // places in blocks
	open   uint32   // the block that is appended to; 0 if there is none
	made   int      // blocks opened so far: each is twice as large as the one before, up to slabBlock
	held   int64    // bytes of all blocks
	holes  int64    // bytes in them that were given back
}

// block is a piece of memory: its length is what was appended, its capacity what it takes.
type block struct {
	data []byte
	live int // bytes that were not given back
}

// slot is a place in a slab: block ‖ offset in units of slabUnit. 0 is none.
type slot uint32

const (
	slabUnit    = 4
	slabBlock   = 64 << 10
	slabFirst   = 1 << 10 // smallest block: most tables of most partitions are small
	slabLargest = 8 << 10 // a longer string has a block of its own
	slabShift   = 14      // bits of an offset: slabBlock / slabUnit
	slabHoles   = 6       // one part in so many of a slab may be holes
)

// slabSize is what a string of n bytes takes of a block.
func slabSize(n int) int { return (n + slabUnit - 1) &^ (slabUnit - 1) }

// take is a slot for n bytes, and its bytes.
func (s *slab) take(n int) (slot, []byte) {
	if len(s.blocks) == 0 {
		s.blocks = append(s.blocks, block{}) // slot 0 is none
	}
	size := slabSize(n)
	at := s.open
	switch {
	case size > slabLargest:
		at = s.add(size)
	case at == 0 || len(s.blocks[at].data)+size > cap(s.blocks[at].data):
		at = s.add(max(slabSize(size), min(slabBlock, slabFirst<<s.made)))
		s.made = min(s.made+1, 10)
		last := s.open
		s.open = at
		s.dropEmpty(last)
	}
	b := &s.blocks[at]
	from := len(b.data)
	b.data = b.data[:from+size]
	b.live += size
	return slot(at)<<slabShift | slot(from/slabUnit), b.data[from : from+n]
}

// slabMemory are blocks of slabBlock bytes that nobody uses now.
var slabMemory = sync.Pool{New: func() any { return new([slabBlock]byte) }}

func (s *slab) add(size int) uint32 {
	s.held += int64(size)
	var made block
	if size == slabBlock {
		made.data = slabMemory.Get().(*[slabBlock]byte)[:0] //nolint:forcetypeassert // the pool's New makes nothing else
	} else {
		made.data = make([]byte, 0, size)
	}
	if n := len(s.unused); n > 0 {
		at := s.unused[n-1]
		s.unused = s.unused[:n-1]
		s.blocks[at] = made
		return at
	}
	if len(s.blocks) == 1<<(32-slabShift) {
		panic("stream: a table of one partition has too many blocks for a slot")
	}
	s.blocks = append(s.blocks, made)
	return uint32(len(s.blocks) - 1)
}

// at are the bytes from the slot on, to the end of its block.
func (s *slab) at(at slot) []byte {
	return s.blocks[at>>slabShift].data[int(at&(1<<slabShift-1))*slabUnit:]
}

// give frees the slot of a string of n bytes, which must not be looked at any more.
func (s *slab) give(at slot, n int) {
	place, size := uint32(at>>slabShift), slabSize(n)
	s.blocks[place].live -= size
	s.holes += int64(size)
	if place != s.open {
		s.dropEmpty(place)
	}
}

// dropEmpty drops a block if nothing in it is alive.
func (s *slab) dropEmpty(at uint32) {
	b := &s.blocks[at]
	if at == 0 || b.live > 0 {
		return
	}
	s.held -= int64(cap(b.data))
	s.holes -= int64(len(b.data))
	if cap(b.data) == slabBlock {
		slabMemory.Put((*[slabBlock]byte)(b.data[:slabBlock]))
	}
	*b = block{}
	s.unused = append(s.unused, at)
}

// worst is the block with the most holes, if it has enough of them to be emptied.
func (s *slab) worst() (at uint32, ok bool) {
	if s.holes <= max(slabBlock, s.held/slabHoles) {
		return 0, false
	}
	most := 0
	for i := range s.blocks {
		b := &s.blocks[i]
		if holes := len(b.data) - b.live; holes > most && uint32(i) != s.open {
			at, most = uint32(i), holes
		}
	}
	return at, at != 0
}
