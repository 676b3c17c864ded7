// Package spill keeps on disk what a view hardly ever reads. Only where each value lies is in memory, without pointers.
//
// Values are appended to segments: files without a name, which end with the process, however it ends. A view is built anew at each start. What is replaced or
// dropped cannot be read from that moment on. Its bytes go with its segment: a segment is copied to the end without its garbage when more than half of
// everything is garbage, or when it has had garbage for an hour.
//
// Lock order: writing, then mu. Neither is held while a reader waits for the disk.
package spill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options of a store.
type Options struct {
	View       string                // the view that keeps its values here, for metrics
	Dir        string                // of the files; empty = the system's for temporary files
	Create     func() (File, error)  // makes a file; nil = one without a name in Dir
	Now        func() time.Time      // time.Now if nil
	Registerer prometheus.Registerer // nil = no metrics
	Logger     *slog.Logger          // nil = silent
}

var (
	// ErrDamaged is that a file does not hold what was written to it, or that a value was too large to be kept.
	ErrDamaged = errors.New("a value on disk is damaged")
	errEnded   = errors.New("the view has ended")
)

// limits are sizes in bytes, and a time.
type limits struct {
	segment int           // of a segment
	buffer  int           // that are written at once
	piece   int           // that are cleaned at once
	slack   int           // of garbage that is always allowed
	retry   time.Duration // at first, until a write is tried again
}

var usual = limits{segment: maxSegment, buffer: 128 << 10, piece: 64 << 10, slack: 32 << 20, retry: 100 * time.Millisecond}

const retryMost = 5 * time.Second

// Store keeps values by owner and place. It is safe for concurrent use.
type Store struct {
	o       Options
	limits  limits
	metrics *metrics
	cache   cache
	stop    chan struct{}         // closed when Run ends
	failure atomic.Pointer[error] // why nothing can be written now

	writing sync.Mutex // whoever changes something holds it; guards the cleaner too
	cleaner cleaner

	mu       sync.RWMutex // guards what follows; whoever changes it holds writing too
	index    index
	segments segments
	active   *segment // the last one; nil before the first value
	buffer   []byte   // what it holds behind its file's end
	live     int64    // bytes of values that can be read
	size     int64    // bytes of all segments
}

// New makes an empty store. Without Run it has no cache, does not clean while nothing is written, and waits for a full disk for ever.
func New(o Options) *Store {
	if o.Create == nil {
		o.Create = func() (File, error) { return createUnnamed(o.Dir) }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Store{o: o, limits: usual, metrics: newMetrics(o.Registerer, o.View), stop: make(chan struct{})}
}

// createUnnamed makes a file that has no name any more.
func createUnnamed(dir string) (File, error) {
	f, err := os.CreateTemp(dir, "spill-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Run keeps the cache, and cleans, until ctx ends. Then the store gives up its files, and nothing can be read any more.
func (s *Store) Run(ctx context.Context) error {
	if err := s.cache.open(); err != nil {
		return fmt.Errorf("opening the cache of %s: %w", s.o.View, err)
	}
	defer s.cache.close()
	tick := time.NewTicker(cleanEvery)
	defer tick.Stop()
	defer context.AfterFunc(ctx, func() { close(s.stop) })() // also ends a wait for a full disk
	for {
		select {
		case <-s.stop:
			return s.close()
		case <-tick.C:
			s.tick()
		}
	}
}

// close ends everything.
func (s *Store) close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs error
	for _, seg := range s.segments.all {
		if seg != nil {
			errs = errors.Join(errs, seg.unref())
		}
	}
	s.segments, s.active, s.buffer, s.index, s.cleaner = segments{}, nil, nil, index{}, cleaner{}
	s.live, s.size = 0, 0
	return errs
}

// Set makes value what the owner has at the place. While the disk is full or broken it waits, and readers get the reason meanwhile.
func (s *Store) Set(owner Owner, at Place, value []byte) {
	s.writing.Lock()
	defer s.writing.Unlock()
	size := recordSize(len(value))
	if size > maxRecord {
		s.lose(owner, at)
		return
	}
	if !s.room(size) {
		return
	}
	s.mu.Lock()
	old, known := s.index.set(owner, s.append(owner, at, value))
	if known {
		s.forget(old)
	}
	s.mu.Unlock()
	s.cleanFor(size)
}

// Drop takes away what the owner has at the place.
func (s *Store) Drop(owner Owner, at Place) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, known := s.index.drop(owner, at); known {
		s.forget(old)
	}
}

// lose notes that there is a value which cannot be kept: reading it is an error.
func (s *Store) lose(owner Owner, at Place) {
	s.metrics.errors.WithLabelValues("write").Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, known := s.index.set(owner, lostSpot(at)); known {
		s.forget(old)
	}
}

// forget counts the value at a spot that is referred to no more. A segment goes with its last value. The caller holds both locks.
func (s *Store) forget(old spot) {
	if old.isLost() {
		return
	}
	seg := s.segments.all[old.segment()]
	seg.live -= old.size()
	s.live -= int64(old.size())
	if seg.since == 0 {
		seg.since = s.o.Now().UnixNano()
	}
	if seg.live == 0 && seg != s.active {
		s.remove(seg)
	}
}

// remove gives a segment up; readers of it finish. The caller holds both locks.
func (s *Store) remove(seg *segment) {
	if s.cleaner.victim == seg {
		s.cleaner.victim = nil
	}
	s.segments.remove(seg)
	s.size -= int64(seg.end)
	if err := seg.unref(); err != nil {
		s.o.Logger.Warn("could not close a file of a view", "view", s.o.View, "error", err)
	}
}

// append adds a record to the buffer, which has room for it. The caller holds both locks.
func (s *Store) append(owner Owner, at Place, value []byte) spot {
	s.buffer = appendRecord(s.buffer, owner, at, value)
	return s.appended(at, recordSize(len(value)))
}

// appended counts a record that was added to the buffer.
func (s *Store) appended(at Place, size int) spot {
	from := s.active.end
	s.active.end += size
	s.active.live += size
	s.live += int64(size)
	s.size += int64(size)
	return newSpot(at, s.active.number, from, size)
}

// room makes room for this many bytes in the buffer and the active segment; false once the store has ended. The caller holds writing.
func (s *Store) room(size int) bool {
	if s.ended() {
		return false
	}
	if s.active != nil && s.active.end+size > max(s.limits.segment, size) {
		return s.roll()
	}
	if s.active == nil {
		return s.begin()
	}
	if len(s.buffer) > 0 && len(s.buffer)+size > s.limits.buffer {
		return s.flush()
	}
	return true
}

// roll ends the active segment and begins another.
func (s *Store) roll() bool { return s.flush() && s.begin() }

func (s *Store) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.active; old != nil && old.live == 0 {
		s.remove(old)
	}
	s.active = s.segments.add()
	return true
}

// flush writes the buffer out, and waits while that cannot be done; false once the store has ended. What is in the buffer can be read meanwhile, but the store
// refuses readers: it has fallen behind.
func (s *Store) flush() bool {
	for wait := s.limits.retry; ; wait = min(2*wait, retryMost) {
		err := s.write()
		if err == nil {
			break
		}
		s.fail(err)
		select {
		case <-s.stop:
			return false
		case <-time.After(wait):
		}
	}
	s.failure.Store(nil)
	s.mu.Lock()
	s.active.flushed = s.active.end
	if s.buffer = s.buffer[:0]; cap(s.buffer) > 2*s.limits.buffer {
		s.buffer = nil // one value was large
	}
	s.mu.Unlock()
	s.measure()
	return true
}

// write writes the buffer to the active segment's file, which it makes if there is none.
func (s *Store) write() error {
	seg := s.active
	if seg.file == nil {
		f, err := s.o.Create()
		if err != nil {
			return fmt.Errorf("making a file: %w", err)
		}
		s.mu.Lock()
		seg.file = f
		s.mu.Unlock()
	}
	if _, err := seg.file.WriteAt(s.buffer, int64(seg.flushed)); err != nil {
		return fmt.Errorf("writing a file: %w", err)
	}
	return nil
}

func (s *Store) fail(err error) {
	if s.failure.Swap(&err) == nil {
		s.o.Logger.Error("a view cannot write what it keeps on disk; it waits until it can", "view", s.o.View, "error", err)
	}
	s.metrics.errors.WithLabelValues("write").Inc()
}

func (s *Store) measure() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.metrics.live.Set(float64(s.live))
	s.metrics.garbage.Set(float64(s.size - s.live))
}

func (s *Store) ended() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// Owners is the number of owners that have something.
func (s *Store) Owners() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index.owners()
}
