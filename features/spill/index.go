package spill

import (
	"cmp"
	"slices"

	"sluice/features/slab"
	"sluice/internal/dense"
)

// Owner is the person, by pseudonym, that values belong to.
type Owner = [16]byte

// Place tells the values of an owner apart.
type Place struct {
	List   uint8
	Number uint32
}

// spot is where a value lies, in 12 bytes: its place, the segment's number, and the offset and size of its record in units of 8 bytes.
type spot struct{ number, high, low uint32 }

const (
	unit        = 8
	offsetBits  = 20
	sizeBits    = 18
	segmentBits = 18
	listShift   = offsetBits + sizeBits + segmentBits // the rest are 8 bits
)

func newSpot(at Place, segment uint32, offset, size int) spot {
	bits := uint64(at.List)<<listShift | uint64(segment)<<(offsetBits+sizeBits) | uint64(offset/unit)<<sizeBits | uint64(size/unit)
	return spot{number: at.Number, high: uint32(bits >> 32), low: uint32(bits)}
}

// lostSpot is the spot of a value that could not be kept.
func lostSpot(at Place) spot { return newSpot(at, 0, 0, 0) }

func (s spot) bits() uint64 { return uint64(s.high)<<32 | uint64(s.low) }
func (s spot) place() Place { return Place{List: uint8(s.bits() >> listShift), Number: s.number} }

func (s spot) segment() uint32 { return uint32(s.bits()>>(offsetBits+sizeBits)) & (1<<segmentBits - 1) }
func (s spot) offset() int     { return int(s.bits()>>sizeBits) & (1<<offsetBits - 1) * unit }
func (s spot) size() int       { return int(s.bits()) & (1<<sizeBits - 1) * unit }
func (s spot) isLost() bool    { return s.size() == 0 }

func (s spot) compare(at Place) int {
	own := s.place()
	return cmp.Or(cmp.Compare(own.List, at.List), cmp.Compare(own.Number, at.Number))
}

// index knows the spots of each owner, in the order of places.
type index struct {
	blocks dense.Map[Owner, block]
	spots  slab.Slab[spot]
}

type block struct{ at, n uint32 }

// leastRoom is the size of the smallest block. An owner with a few values then leaves no smaller blocks behind.
const leastRoom = 4

func room(n int) int { return max(n, leastRoom) }

func (x *index) owners() int { return x.blocks.Len() }

// of are an owner's spots.
func (x *index) of(owner Owner) []spot {
	b, ok := x.blocks.Get(owner)
	if !ok {
		return nil
	}
	return x.spots.At(b.at, room(int(b.n)))[:b.n]
}

// find is the spot of a place.
func (x *index) find(owner Owner, at Place) (spot, bool) {
	spots := x.of(owner)
	i, found := slices.BinarySearchFunc(spots, at, spot.compare)
	if !found {
		return spot{}, false
	}
	return spots[i], true
}

// set notes a spot, and returns the one that it replaces.
func (x *index) set(owner Owner, s spot) (old spot, replaced bool) {
	b, known := x.blocks.Get(owner)
	n := int(b.n)
	if !known {
		b.at = x.spots.Alloc(leastRoom)
	}
	spots := x.spots.At(b.at, room(n))
	i, found := slices.BinarySearchFunc(spots[:n], s.place(), spot.compare)
	if found {
		old, spots[i] = spots[i], s
		return old, true
	}
	b.at = x.spots.Resize(b.at, room(n), room(n+1))
	b.n++
	spots = x.spots.At(b.at, room(n+1))
	copy(spots[i+1:n+1], spots[i:n])
	spots[i] = s
	x.blocks.Set(owner, b)
	return spot{}, false
}

// drop forgets the spot of a place, and returns it.
func (x *index) drop(owner Owner, at Place) (old spot, known bool) {
	b, _ := x.blocks.Get(owner)
	spots := x.of(owner)
	i, found := slices.BinarySearchFunc(spots, at, spot.compare)
	if !found {
		return spot{}, false
	}
	old = spots[i]
	copy(spots[i:], spots[i+1:])
	n := len(spots)
	if n == 1 {
		x.spots.Release(b.at, leastRoom)
		x.blocks.Delete(owner)
		return old, true
	}
	b.at = x.spots.Resize(b.at, room(n), room(n-1))
	b.n--
	x.blocks.Set(owner, b)
	return old, true
}
