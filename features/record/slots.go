package record

// slots keep many small values without a pointer each: a value lies in a slot of the next multiple of 16 bytes, and a slot that is given back is used again.
type slots struct {
	classes [maxSlot / slotStep]slotClass
}

const (
	slotStep  = 16
	maxSlot   = 4096     // bytes; no greater value fits
	slabBytes = 16 << 10 // slots are made so many bytes at a time
)

type slotClass struct {
	slabs [][]byte
	free  []uint32 // slots
	used  uint32   // slots that were ever given out
}

// slot is where a value lies.
type slot struct {
	number uint32
	size   uint16
}

func classOf(size int) int { return max(0, size-1) / slotStep }

// put copies a value of at most maxSlot bytes.
func (s *slots) put(value []byte) slot {
	c := &s.classes[classOf(len(value))]
	at := slot{number: c.used, size: uint16(len(value))}
	if n := len(c.free); n > 0 {
		at.number, c.free = c.free[n-1], c.free[:n-1]
	} else {
		c.used++
	}
	width, perSlab := slotWidth(len(value))
	if int(at.number)/perSlab == len(c.slabs) {
		c.slabs = append(c.slabs, make([]byte, perSlab*width))
	}
	copy(s.get(at), value)
	return at
}

// slotWidth is how wide the slots of values of a size are, and how many of them a slab has.
func slotWidth(size int) (width, perSlab int) {
	width = (classOf(size) + 1) * slotStep
	return width, max(1, slabBytes/width)
}

// get is the value of a slot, as long as it is not given back.
func (s *slots) get(at slot) []byte {
	width, perSlab := slotWidth(int(at.size))
	slab := s.classes[classOf(int(at.size))].slabs[int(at.number)/perSlab]
	from := int(at.number) % perSlab * width
	return slab[from : from+int(at.size)]
}

// drop gives a slot back.
func (s *slots) drop(at slot) {
	c := &s.classes[classOf(int(at.size))]
	c.free = append(c.free, at.number)
}

// values are small values by key, without pointers.
type values[K comparable] struct {
	slots slots
	at    map[K]slot
	large map[K][]byte // beyond maxSlot
}

func newValues[K comparable]() values[K] {
	return values[K]{at: make(map[K]slot), large: make(map[K][]byte)}
}

// get is the value of a key, nil if it has none, as long as it is not set anew.
func (v *values[K]) get(key K) []byte {
	if at, ok := v.at[key]; ok {
		return v.slots.get(at)
	}
	return v.large[key]
}

// set copies a value; nil = none.
func (v *values[K]) set(key K, value []byte) {
	at, known := v.at[key]
	if known && value != nil && len(value) <= maxSlot && classOf(len(value)) == classOf(int(at.size)) {
		at.size = uint16(len(value))
		copy(v.slots.get(at), value)
		v.at[key] = at
		return
	}
	if known {
		v.slots.drop(at)
		delete(v.at, key)
	}
	delete(v.large, key)
	switch {
	case value == nil:
	case len(value) > maxSlot:
		v.large[key] = append([]byte(nil), value...)
	default:
		v.at[key] = v.slots.put(value)
	}
}

func (v *values[K]) len() int { return len(v.at) + len(v.large) }
