// Package slab keeps millions of small lists in a few large pages.
package slab

import (
	"math/bits"
	"unsafe"
)

// Slab hands out blocks of a few sizes from large pages, so that millions of small lists are no objects of their own: without pointers the garbage
// collector does not look at them. A block of n elements has room for room(n); a caller that knows n needs to remember nothing else.
type Slab[T any] struct {
	pages [][]T
	used  int // of the last page that is shared
	open  int // number of that page, plus one
	free  [classes][]uint32
}

const (
	pageBits = 13
	pageSize = 1 << pageBits
	classes  = 64 // of sizes, two an octave
)

// room is the size of the block that n elements get: 1, 2, 3, 4, 6, 8, 12, 16 …
func room(n int) int { return sizeOf(class(n)) }

// class is the number of that size.
func class(n int) int {
	if n <= 2 {
		return n
	}
	octave := bits.Len(uint(n-1)) - 1 // its power of two is below n
	return 2*octave + 1 + (n-1)>>(octave-1)&1
}

func sizeOf(class int) int {
	if class <= 2 {
		return class
	}
	octave := (class - 1) / 2
	return (3 + (class-1)&1) << (octave - 1)
}

// Alloc is a block for n elements, 0 < n. What it holds is left over from its last user.
func (s *Slab[T]) Alloc(n int) uint32 {
	class := class(n)
	if free := s.free[class]; len(free) > 0 {
		at := free[len(free)-1]
		s.free[class] = free[:len(free)-1]
		return at
	}
	size := sizeOf(class)
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

// Release gives the block of n elements back.
func (s *Slab[T]) Release(at uint32, n int) {
	if n == 0 {
		return
	}
	class := class(n)
	s.free[class] = append(s.free[class], at)
}

// At are the first n elements of a block; they hold until the block is released.
func (s *Slab[T]) At(at uint32, n int) []T {
	if n == 0 {
		return nil
	}
	page, from := s.pages[at>>pageBits], int(at&(pageSize-1))
	return page[from : from+n : from+room(n)]
}

// Resize is a block with the first elements of the old one, and room for n.
func (s *Slab[T]) Resize(at uint32, old, n int) uint32 {
	if old > 0 && n > 0 && room(old) == room(n) {
		return at
	}
	var next uint32
	if n > 0 {
		next = s.Alloc(n)
		copy(s.At(next, n), s.At(at, old))
	}
	s.Release(at, old)
	return next
}

// Bytes are the memory of all pages.
func (s *Slab[T]) Bytes() int {
	var one T
	n := 0
	for _, page := range s.pages {
		n += cap(page) * int(unsafe.Sizeof(one))
	}
	return n
}
