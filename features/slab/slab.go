// Package slab keeps millions of small lists in a few large pages.
package slab

import (
	"math/bits"
	"unsafe"
)

// Slab hands out blocks of a few sizes from large pages, so that millions of small lists are no objects of their own. Without pointers the garbage collector
// does not look at them. A block of n elements has room for room(n), and a caller that knows n need remember nothing else.
//
// A page has blocks of one size. When the last of them is released, blocks of any size may have it: lists that grow together leave no small blocks behind.
type Slab[T any] struct {
	pages  [][]T
	states []state           // of the pages
	roomy  [classes][]uint32 // pages that may have room, by class
	empty  []uint32          // pages without blocks
	gone   []uint32          // numbers of pages that were given back
	held   int               // elements of all pages
}

// state is what is handed out of a page.
type state struct {
	free   []uint16 // offsets that came back
	fresh  uint16   // from here on nothing was ever handed out
	live   uint16   // blocks
	class  uint8
	listed bool // in roomy
}

const (
	pageBits  = 10
	pageSize  = 1 << pageBits
	shared    = pageSize / 4 // a larger block has a page of its own
	classes   = 64           // of sizes, two an octave
	keptEmpty = 64           // pages; further ones are given back
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
	size := sizeOf(class)
	if size > shared {
		return s.add(make([]T, size)) << pageBits
	}
	number := s.roomyPage(class)
	page := &s.states[number]
	page.live++
	from := page.fresh
	if last := len(page.free) - 1; last >= 0 {
		from, page.free = page.free[last], page.free[:last]
	} else {
		page.fresh += uint16(size)
	}
	if len(page.free) == 0 && int(page.fresh)+size > pageSize {
		page.listed = false
		s.roomy[class] = s.roomy[class][:len(s.roomy[class])-1]
	}
	return number<<pageBits | uint32(from)
}

// roomyPage is the last page of the class's that have room; one is made if there is none.
func (s *Slab[T]) roomyPage(class int) uint32 {
	list := s.roomy[class]
	for len(list) > 0 {
		number := list[len(list)-1]
		if page := &s.states[number]; page.listed && int(page.class) == class {
			s.roomy[class] = list
			return number
		}
		list = list[:len(list)-1] // it was emptied since
	}
	var number uint32
	if last := len(s.empty) - 1; last >= 0 {
		number, s.empty = s.empty[last], s.empty[:last]
	} else {
		number = s.add(make([]T, pageSize))
	}
	s.states[number] = state{class: uint8(class), listed: true}
	s.roomy[class] = append(list, number)
	return number
}

func (s *Slab[T]) add(page []T) uint32 {
	s.held += len(page)
	if last := len(s.gone) - 1; last >= 0 {
		number := s.gone[last]
		s.gone = s.gone[:last]
		s.pages[number] = page
		return number
	}
	s.pages, s.states = append(s.pages, page), append(s.states, state{})
	return uint32(len(s.pages) - 1)
}

// Release gives the block of n elements back.
func (s *Slab[T]) Release(at uint32, n int) {
	if n == 0 {
		return
	}
	number := at >> pageBits
	if room(n) > shared {
		s.giveBack(number)
		return
	}
	page := &s.states[number]
	if page.live--; page.live == 0 {
		*page = state{}
		if len(s.empty) == keptEmpty {
			s.giveBack(number)
			return
		}
		s.empty = append(s.empty, number)
		return
	}
	page.free = append(page.free, uint16(at&(pageSize-1)))
	if !page.listed {
		page.listed = true
		s.roomy[page.class] = append(s.roomy[page.class], number)
	}
}

func (s *Slab[T]) giveBack(number uint32) {
	s.held -= len(s.pages[number])
	s.pages[number] = nil
	s.gone = append(s.gone, number)
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

// Bytes are the memory of all pages, without the lists of what came back.
func (s *Slab[T]) Bytes() int {
	var one T
	return s.held*int(unsafe.Sizeof(one)) + cap(s.pages)*int(unsafe.Sizeof(s.pages[0])+unsafe.Sizeof(state{}))
}
