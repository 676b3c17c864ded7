package spill

import (
	"fmt"
	"time"
)

const (
	cleanEvery = time.Second
	cleanLeast = 16        // pieces each time, at least
	cleanShare = 4         // bytes that are looked through for each one that is written, while more than half is garbage
	garbageAge = time.Hour // after which garbage is removed however little it is
)

// cleaner copies what lives in a segment to the end, piece by piece. It is guarded by writing.
type cleaner struct {
	victim *segment // nil = none
	at     int      // up to where it was looked through
	piece  []byte
	debt   int // bytes to be looked through
}

// tick cleans a little.
func (s *Store) tick() {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.measure()
	if s.active != nil && s.isAged(s.active) && !s.roll() {
		return
	}
	everything := int(s.size) / s.limits.piece
	for range max(cleanLeast, everything/int(garbageAge/cleanEvery/2)) {
		if !s.cleanPiece() {
			return
		}
	}
}

// cleanFor cleans as much as a write of this many bytes asks for. The caller holds writing.
func (s *Store) cleanFor(size int) {
	if !s.isMostlyGarbage() {
		s.cleaner.debt = 0
		return
	}
	for s.cleaner.debt += cleanShare * size; s.cleaner.debt >= s.limits.piece; s.cleaner.debt -= s.limits.piece {
		if !s.cleanPiece() {
			s.cleaner.debt = 0
			return
		}
	}
}

func (s *Store) isMostlyGarbage() bool { return s.size > 2*s.live+int64(s.limits.slack) }

func (s *Store) isAged(seg *segment) bool {
	return seg.since != 0 && seg.since <= s.o.Now().Add(-garbageAge).UnixNano()
}

// pick chooses the segment to be cleaned: one with old garbage, or, while there is much, the one that has the largest share of it.
func (s *Store) pick() *segment {
	var best *segment
	for _, seg := range s.segments.all {
		if seg == nil || seg == s.active || seg.damaged || seg.since == 0 {
			continue
		}
		if s.isAged(seg) {
			return seg
		}
		if best == nil || int64(seg.live)*int64(best.end) < int64(best.live)*int64(seg.end) {
			best = seg
		}
	}
	if !s.isMostlyGarbage() {
		return nil
	}
	return best
}

// cleanPiece copies what lives of the next piece, and tells whether there may be more to do. The caller holds writing.
func (s *Store) cleanPiece() bool {
	c := &s.cleaner
	if c.victim == nil {
		if c.victim, c.at = s.pick(), 0; c.victim == nil {
			return false
		}
	}
	victim := c.victim
	records, err := s.readPiece(victim)
	if err == nil && !s.room(len(records)) {
		return false
	}
	if err == nil {
		err = s.moveAll(victim, records)
	}
	if c.at += len(records); err == nil && c.at >= victim.end && c.victim != nil {
		err = fmt.Errorf("%w: %d bytes were not found", ErrDamaged, victim.live)
	}
	if err != nil {
		s.spoil(victim, err)
	}
	return true
}

// spoil leaves a segment as it is: what can be read of it still can.
func (s *Store) spoil(seg *segment, err error) {
	seg.damaged, s.cleaner.victim = true, nil
	s.metrics.errors.WithLabelValues("damaged").Inc()
	s.o.Logger.Error("a file of a view is damaged; answers that need it fail until the next start", "view", s.o.View, "error", err)
}

// readPiece reads whole records of the victim.
func (s *Store) readPiece(victim *segment) ([]byte, error) {
	c := &s.cleaner
	for want := s.limits.piece; ; {
		left := victim.end - c.at
		if cap(c.piece) < want {
			c.piece = make([]byte, want)
		}
		data := c.piece[:min(want, left)]
		if _, err := victim.file.ReadAt(data, int64(c.at)); err != nil {
			return nil, fmt.Errorf("reading a file: %w", err)
		}
		if n := wholeRecords(data); n > 0 {
			return data[:n], nil
		}
		if len(data) < headerBytes || sizeOf(data) > left || sizeOf(data) <= want {
			return nil, ErrDamaged
		}
		want = sizeOf(data)
	}
}

// wholeRecords is how many bytes the records take that data holds whole.
func wholeRecords(data []byte) (n int) {
	for len(data)-n >= headerBytes {
		size := sizeOf(data[n:])
		if size > len(data)-n {
			break
		}
		n += size
	}
	return n
}

// moveAll moves the victim's live records to the end of the buffer.
func (s *Store) moveAll(victim *segment, records []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.cleaner.at
	for n := 0; n < len(records); {
		record := records[n : n+sizeOf(records[n:])]
		owner, at := placeOf(record)
		here := newSpot(at, victim.number, from+n, len(record))
		n += len(record)
		if now, known := s.index.find(owner, at); !known || now != here {
			continue
		}
		if !isWhole(record) {
			return ErrDamaged
		}
		s.buffer = append(s.buffer, record...)
		s.index.set(owner, s.appended(at, len(record)))
		s.forget(here)
	}
	return nil
}
