package spill

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"
)

// disk makes files in memory, and fails when it is told to.
type disk struct {
	mu    sync.Mutex // guards what follows
	files []*memory  // that are open
	err   error      // of every write
	tried chan struct{}
}

type memory struct {
	disk *disk
	data []byte
}

func (d *disk) create() (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &memory{disk: d}
	d.files = append(d.files, f)
	return f, nil
}

func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

// holds tells whether an open file holds the text.
func (d *disk) holds(text string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.files, func(f *memory) bool { return bytes.Contains(f.data, []byte(text)) })
}

func (d *disk) open() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.files)
}

func (f *memory) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if !slices.Contains(f.disk.files, f) {
		return 0, os.ErrClosed
	}
	if off+int64(len(p)) > int64(len(f.data)) {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(p, f.data[off:]), nil
}

func (f *memory) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	err := f.disk.err
	if err == nil {
		f.data = append(f.data[:off], p...)
	}
	f.disk.mu.Unlock()
	if err != nil {
		f.disk.tried <- struct{}{}
		return 0, err
	}
	return len(p), nil
}

func (f *memory) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	before := len(f.disk.files)
	f.disk.files = slices.DeleteFunc(f.disk.files, func(other *memory) bool { return other == f })
	if len(f.disk.files) == before {
		return errors.New("closed twice")
	}
	return nil
}

// small is a store with small files in memory, which has garbage soon.
func small(d *disk) *Store {
	d.tried = make(chan struct{})
	s := New(Options{View: "test", Create: d.create})
	s.limits = limits{segment: 4 << 10, buffer: 512, piece: 1 << 10, slack: 8 << 10, retry: time.Millisecond}
	return s
}

func ownerOf(n int) Owner {
	var o Owner
	binary.BigEndian.PutUint64(o[:], uint64(n))
	return o
}

// get is a value, as whoever reads just one sees it.
func get(s *Store, owner Owner, at Place) (string, bool, error) {
	var v Values
	if err := s.Look(&v, owner); err != nil {
		return "", false, err
	}
	defer v.Close()
	value, known, err := v.Append(nil, at)
	return string(value), known, err
}

func expect(t interface{ Fatalf(string, ...any) }, s *Store, owner Owner, at Place, want string, wantKnown bool) {
	got, known, err := get(s, owner, at)
	if err != nil || known != wantKnown || got != want {
		t.Fatalf("owner %x, place %v: %d bytes (known: %t, error: %v), want %d (%t)", owner[:8], at, len(got), known, err, len(want), wantKnown)
	}
}

// TestAgainstModel sets and drops values of random sizes, which are cleaned on the way, and gives all memory and files back in the end.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := new(disk)
		s := small(d)
		type key struct {
			owner int
			at    Place
		}
		model := make(map[key]string)
		for n := range rapid.IntRange(1, 600).Draw(t, "acts") {
			k := key{rapid.IntRange(0, 5).Draw(t, "owner"), Place{uint8(rapid.IntRange(0, 2).Draw(t, "list")), uint32(rapid.IntRange(0, 7).Draw(t, "number"))}}
			switch rapid.IntRange(0, 5).Draw(t, "act") {
			case 0:
				s.Drop(ownerOf(k.owner), k.at)
				delete(model, k)
			case 1:
				s.tick()
			default:
				model[k] = strings.Repeat(string(rune('a'+n%26)), rapid.SampledFrom([]int{0, 1, 7, 8, 100, 900, 5000}).Draw(t, "size"))
				s.Set(ownerOf(k.owner), k.at, []byte(model[k]))
			}
			if s.size > 2*s.live+int64(s.limits.slack)+2*5100+int64(s.limits.segment) {
				t.Fatalf("%d bytes, of which %d live", s.size, s.live)
			}
		}
		for owner := range 6 {
			for list := range uint8(3) {
				for number := range uint32(8) {
					want, known := model[key{owner, Place{list, number}}]
					expect(t, s, ownerOf(owner), Place{list, number}, want, known)
				}
			}
		}
		for k := range model {
			s.Drop(ownerOf(k.owner), k.at)
		}
		if s.Owners() != 0 || s.live != 0 {
			t.Fatalf("%d owners and %d bytes are left", s.Owners(), s.live)
		}
		if err := s.close(); err != nil || d.open() != 0 {
			t.Fatalf("%d files are left (%v)", d.open(), err)
		}
	})
}

// TestFilesHaveNoName writes to a directory, which stays empty, and reads back.
func TestFilesHaveNoName(t *testing.T) {
	dir := t.TempDir()
	s := New(Options{View: "test", Dir: dir})
	value := strings.Repeat("v", 1000)
	for n := range 1000 {
		s.Set(ownerOf(n), Place{}, []byte(value))
	}
	if s.active.flushed == 0 {
		t.Fatal("nothing was written out")
	}
	for n := range 1000 {
		expect(t, s, ownerOf(n), Place{}, value, true)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("the directory holds %v (%v)", entries, err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// TestFullDisk refuses readers while nothing can be written, and goes on without a loss.
func TestFullDisk(t *testing.T) {
	d := new(disk)
	s := small(d)
	full := errors.New("no space left on device")
	d.fail(full)
	const n = 20
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range n {
			s.Set(ownerOf(i), Place{}, bytes.Repeat([]byte{byte(i)}, 100))
		}
	}()
	<-d.tried
	<-d.tried // the first failure is known
	if _, _, err := get(s, ownerOf(0), Place{}); !errors.Is(err, full) {
		t.Errorf("reading while the disk is full: %v, want %v", err, full)
	}
	if got := testutil.ToFloat64(s.metrics.errors.WithLabelValues("write")); got < 1 {
		t.Errorf("%v failures are counted", got)
	}
	d.fail(nil)
	for done := false; !done; {
		select {
		case <-d.tried:
		case <-written:
			done = true
		}
	}
	for i := range n {
		expect(t, s, ownerOf(i), Place{}, strings.Repeat(string([]byte{byte(i)}), 100), true)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// TestEndWhileTheDiskIsFull ends although a write waits.
func TestEndWhileTheDiskIsFull(t *testing.T) {
	d := new(disk)
	s := small(d)
	d.fail(errors.New("no space left on device"))
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	group.Go(func() {
		for i := range 20 {
			s.Set(ownerOf(i), Place{}, make([]byte, 100))
		}
	})
	<-d.tried
	cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		group.Wait()
	}()
	for done := false; !done; {
		select {
		case <-d.tried:
		case <-ended:
			done = true
		}
	}
	if _, _, err := get(s, ownerOf(0), Place{}); err == nil {
		t.Error("a store that has ended shows something")
	}
	if d.open() != 0 {
		t.Errorf("%d files are left open", d.open())
	}
}

// TestDamage tells of a damaged value, and shows the others, also when its segment is to be cleaned.
func TestDamage(t *testing.T) {
	d := new(disk)
	s := small(d)
	const n = 100
	for i := range n {
		s.Set(ownerOf(i), Place{}, fmt.Appendf(nil, "value of %04d", i))
	}
	at := bytes.Index(d.files[0].data, []byte("value of 0003"))
	d.files[0].data[at] ^= 1
	check := func() {
		t.Helper()
		for i := range n {
			if i == 3 {
				if _, _, err := get(s, ownerOf(3), Place{}); !errors.Is(err, ErrDamaged) {
					t.Errorf("a damaged value: %v, want %v", err, ErrDamaged)
				}
				continue
			}
			expect(t, s, ownerOf(i), Place{}, fmt.Sprintf("value of %04d", i), true)
		}
	}
	check()
	s.Set(ownerOf(0), Place{}, []byte("value of 0000"))
	s.o.Now = func() time.Time { return time.Now().Add(2 * garbageAge) }
	s.tick()
	if !s.segments.all[0].damaged {
		t.Error("the segment is not known to be damaged")
	}
	s.tick()
	check()
	s.Set(ownerOf(3), Place{}, []byte("again"))
	expect(t, s, ownerOf(3), Place{}, "again", true)
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// TestTooLarge tells of a value that cannot be kept.
func TestTooLarge(t *testing.T) {
	s := small(new(disk))
	s.Set(ownerOf(1), Place{}, []byte("small"))
	s.Set(ownerOf(1), Place{}, make([]byte, maxRecord))
	if _, _, err := get(s, ownerOf(1), Place{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("reading a value that was too large: %v, want %v", err, ErrDamaged)
	}
	s.Set(ownerOf(1), Place{}, []byte("small"))
	expect(t, s, ownerOf(1), Place{}, "small", true)
}

// TestDeleted cannot be read at once, and is not on the disk an hour later, however little garbage there is.
func TestDeleted(t *testing.T) {
	d := new(disk)
	s := small(d)
	now := time.Now()
	s.o.Now = func() time.Time { return now }
	for i := range 200 {
		s.Set(ownerOf(i), Place{}, fmt.Appendf(nil, "value of %04d", i))
	}
	s.Drop(ownerOf(7), Place{})   // in an old segment
	s.Drop(ownerOf(190), Place{}) // in the active one
	expect(t, s, ownerOf(7), Place{}, "", false)
	expect(t, s, ownerOf(190), Place{}, "", false)
	if !d.holds("value of 0007") {
		t.Fatal("the value was never written out")
	}
	s.tick()
	if !d.holds("value of 0007") {
		t.Error("a segment was copied for one value that was just deleted")
	}
	now = now.Add(garbageAge)
	s.tick()
	for _, gone := range []string{"value of 0007", "value of 0190"} {
		if d.holds(gone) {
			t.Errorf("%q is still on the disk", gone)
		}
	}
	if s.size != s.live {
		t.Errorf("%d bytes are left, of which %d live", s.size, s.live)
	}
	for i := range 200 {
		if i != 7 && i != 190 {
			expect(t, s, ownerOf(i), Place{}, fmt.Sprintf("value of %04d", i), true)
		}
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// TestReadersBesideWriters reads whole and never older values, while others are written and cleaned.
func TestReadersBesideWriters(t *testing.T) {
	const owners, rounds = 50, 300
	d := new(disk)
	s := small(d)
	ctx, cancel := context.WithCancel(t.Context())
	var running, reading sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	written := make(chan struct{})
	for range 4 {
		reading.Go(func() {
			var seen [owners]uint32
			var v Values
			for n := 0; ; n++ {
				select {
				case <-written:
					return
				default:
				}
				owner := n % owners
				if err := s.Look(&v, ownerOf(owner)); err != nil {
					t.Error(err)
					return
				}
				value, known, err := v.Append(nil, Place{List: 1})
				v.Close()
				if err != nil {
					t.Error(err)
					return
				}
				if !known {
					continue
				}
				round := binary.BigEndian.Uint32(value)
				if want := valueIn(owner, round); !bytes.Equal(value, want) || round < seen[owner] {
					t.Errorf("owner %d: %x after round %d", owner, value, seen[owner])
					return
				}
				seen[owner] = round
			}
		})
	}
	for round := range uint32(rounds) {
		for owner := range owners {
			s.Set(ownerOf(owner), Place{List: 1}, valueIn(owner, round))
		}
	}
	s.tick()
	close(written)
	reading.Wait()
	cancel()
	running.Wait()
	if d.open() != 0 {
		t.Errorf("%d files are left open", d.open())
	}
}

func valueIn(owner int, round uint32) []byte {
	value := binary.BigEndian.AppendUint32(nil, round)
	return append(value, bytes.Repeat([]byte{byte(owner)}, 20+int(round)%50)...)
}

// TestCacheIsBounded reads more than the cache may hold.
func TestCacheIsBounded(t *testing.T) {
	d := new(disk)
	s := New(Options{View: "test", Create: d.create})
	if err := s.cache.open(); err != nil {
		t.Fatal(err)
	}
	defer s.cache.close()
	value := strings.Repeat("v", 2000)
	for n := range 5000 {
		s.Set(ownerOf(n), Place{}, []byte(value))
	}
	for n := range 5000 {
		expect(t, s, ownerOf(n%3000), Place{}, value, true)
	}
	s.cache.values.Wait()
	if used := s.cache.values.MaxCost() - s.cache.values.RemainingCost(); used <= 0 || used > cacheBytes {
		t.Errorf("%d bytes are in the cache, want at most %d", used, cacheBytes)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
