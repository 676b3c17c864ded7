package spill

import (
	"fmt"
	"slices"
)

// Values are an owner's values as they stood when they were looked up. Close gives them back.
type Values struct {
	store  *Store
	owner  Owner
	spots  []spot
	held   []*segment // that each value is read from; nil = it was not written out yet
	bytes  []byte     // the records of these, one after the other
	record []byte     // that is being read
}

// Look finds what the owner has. It fails while the store has fallen behind since it cannot write: what it knows may have been dropped meanwhile.
func (s *Store) Look(v *Values, owner Owner) error {
	v.Close()
	v.store, v.owner = s, owner
	if failure := s.failure.Load(); failure != nil {
		return *failure
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.ended() {
		return errEnded
	}
	v.spots = append(v.spots, s.index.of(owner)...)
	for _, at := range v.spots {
		v.held = append(v.held, s.hold(v, at))
	}
	return nil
}

// hold keeps the segment of a value, or copies the value's record if it is not written out. The caller holds mu.
func (s *Store) hold(v *Values, at spot) *segment {
	if at.isLost() {
		return nil
	}
	seg := s.segments.all[at.segment()]
	if at.offset() >= seg.flushed {
		from := at.offset() - seg.flushed
		v.bytes = append(v.bytes, s.buffer[from:from+at.size()]...)
		return nil
	}
	seg.refs.Add(1)
	return seg
}

// Close lets go of the files. The memory stays for the next owner.
func (v *Values) Close() {
	for _, seg := range v.held {
		if seg != nil {
			_ = seg.unref() // what was to be read was read
		}
	}
	v.spots, v.held, v.bytes = v.spots[:0], v.held[:0], v.bytes[:0]
}

// Append appends the value at the place to buf; false if there is none.
func (v *Values) Append(buf []byte, at Place) (_ []byte, known bool, err error) {
	i, known := slices.BinarySearchFunc(v.spots, at, spot.compare)
	if !known {
		return buf, false, nil
	}
	value, err := v.value(i)
	if err != nil {
		return buf, true, err
	}
	return append(buf, value...), true, nil
}

// value reads a value. It holds until the next one is read.
func (v *Values) value(i int) ([]byte, error) {
	at, seg := v.spots[i], v.held[i]
	switch {
	case at.isLost():
		v.store.metrics.errors.WithLabelValues("damaged").Inc()
		return nil, ErrDamaged
	case seg == nil:
		return valueOf(v.unwritten(i)), nil
	}
	key := seg.serial<<offsetBits | uint64(at.offset()/unit)
	if value, ok := v.store.cache.get(key); ok {
		return value, nil
	}
	v.record = slices.Grow(v.record[:0], at.size())[:at.size()]
	if _, err := seg.file.ReadAt(v.record, int64(at.offset())); err != nil {
		v.store.metrics.errors.WithLabelValues("read").Inc()
		return nil, fmt.Errorf("reading a file of %s: %w", v.store.o.View, err)
	}
	if !isWhole(v.record) {
		v.store.metrics.errors.WithLabelValues("damaged").Inc()
		return nil, ErrDamaged
	}
	if owner, place := placeOf(v.record); owner != v.owner || place != at.place() {
		v.store.metrics.errors.WithLabelValues("damaged").Inc()
		return nil, ErrDamaged
	}
	value := valueOf(v.record)
	v.store.cache.set(key, value)
	return value, nil
}

// unwritten is the record of a value that was copied from the buffer.
func (v *Values) unwritten(i int) []byte {
	from := 0
	for j, at := range v.spots[:i] {
		if v.held[j] == nil {
			from += at.size()
		}
	}
	return v.bytes[from : from+v.spots[i].size()]
}
