package items

import "math/bits"

// slab hands out blocks of a few sizes from large pages, so that millions of small lists are no objects of their own: without pointers the garbage
// collector does not look at them. A block of n elements has room for room(n); a caller that knows n needs to remember nothing else.
type slab[T any] struct {
	pages [][]T
	used  int // of the last page that is shared
	open  int // number of that page, plus one
	free  map[int][]uint32
}

const (
	pageBits = 13
	pageSize = 1 << pageBits
)

// room is the size of the block that n elements get: 1, 2, 3, 4, 6, 8, 12, 16 …
func room(n int) int {
	if n <= 4 {
		return n
	}
	power := 1 << (bits.Len(uint(n-1)) - 1) // below n
	if half := power + power/2; n <= half {
		return half
	}
	return 2 * power
}

// alloc is a block for n elements, 0 < n. What it holds is left over from its last user.
func (s *slab[T]) alloc(n int) uint32 {
	size := room(n)
	if free := s.free[size]; len(free) > 0 {
		at := free[len(free)-1]
		s.free[size] = free[:len(free)-1]
		return at
	}
	if size > pageSize/4 { // a page of its own
		s.pages = append(s.pages, make([]T, size))
		return uint32(len(s.pages)-1) << pageBits
	}
	if s.open == 0 || s.used+size > pageSize {
		s.pages = append(s.pages, make([]T, pageSize))
		s.open, s.used = len(s.pages), 0
	}
	at := uint32(s.open-1)<<pageBits | uint32(s.used)
	s.used += size
	return at
}

// release gives the block of n elements back.
func (s *slab[T]) release(at uint32, n int) {
	if n == 0 {
		return
	}
	if s.free == nil {
		s.free = make(map[int][]uint32)
	}
	size := room(n)
	s.free[size] = append(s.free[size], at)
}

// at are the first n elements of a block; they hold until the block is released.
func (s *slab[T]) at(at uint32, n int) []T {
	if n == 0 {
		return nil
	}
	page, from := s.pages[at>>pageBits], int(at&(pageSize-1))
	return page[from : from+n : from+room(n)]
}

// resize is a block with the first elements of the old one, and room for n.
func (s *slab[T]) resize(at uint32, old, n int) uint32 {
	if old > 0 && n > 0 && room(old) == room(n) {
		return at
	}
	var next uint32
	if n > 0 {
		next = s.alloc(n)
		copy(s.at(next, n), s.at(at, old))
	}
	s.release(at, old)
	return next
}

func (s *slab[T]) bytes() int {
	n := 0
	for _, page := range s.pages {
		n += bytesOf(page)
	}
	return n
}
