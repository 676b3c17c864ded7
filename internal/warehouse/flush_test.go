package warehouse

import (
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/stream"
)

// reading is a session with one partition, in which one row was read.
func reading(t *testing.T, o Options) (*session, *assignment) {
	t.Helper()
	source := packed()
	s := &session{Writer: New(stream.Cluster{}, []*Source{source}, nil, o)}
	a := s.assign()
	a.ctx = t.Context()
	p := a.part(s.Writer, source, 0, 0, nil)
	a.parts[topicPartition{"packed", 0}] = p
	if err := p.add(&kgo.Record{Value: pack('r', 1, 0)}, "packed", time.Now()); err != nil {
		t.Fatal(err)
	}
	p.measure()
	return s, a
}

func TestFlushesWorkAtAPaceUntilTheyAreUrgent(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(a *assignment, f *flush)
		pressed bool
	}{
		{"nothing", func(*assignment, *flush) {}, false},
		{"a row is as old as it may become", func(_ *assignment, f *flush) { f.oldest = f.oldest.Add(-time.Hour) }, true},
		{"it has worked at a purge for long", func(_ *assignment, f *flush) { f.purge, f.began = time.Now(), time.Now().Add(-purgeLate) }, true},
		{"a purge has waited for others", func(_ *assignment, f *flush) { f.purge = time.Now().Add(-purgeLate) }, false},
		{"memory is near its bound", func(a *assignment, _ *flush) { a.parts[topicPartition{"packed", 0}].bytes += 48 << 20 }, true},
		{"columns wait for the next blocks", func(a *assignment, _ *flush) { a.spares.bytes += 48 << 20 }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, a := reading(t, Options{Flush: time.Hour, MaxBytes: 64 << 20})
			a.flight = a.gather(nil, true, purgeDelay)
			c.change(a, a.flight)
			if pressed := s.pressed(a); pressed != c.pressed {
				t.Errorf("pressed is %v, must be %v", pressed, c.pressed)
			}
		})
	}
}

func TestAFlushKnowsItsOldestRowAndPurge(t *testing.T) {
	_, a := reading(t, Options{})
	p := a.parts[topicPartition{"packed", 0}]
	since, purge := p.oldest().since, time.Now()
	p.purge = purge
	if f := a.gather(nil, true, purgeDelay); f.oldest != since || f.purge != purge {
		t.Errorf("oldest row %v, purge %v", f.oldest, f.purge)
	}
}

func TestTheLastFlushHurries(t *testing.T) {
	s, a := reading(t, Options{})
	f := a.gather(nil, true, purgeDelay)
	a.flight = f
	go func() {
		for !f.hurry.Load() {
			runtime.Gosched()
		}
		close(f.done)
	}()
	if s.finish(t.Context(), a); a.flight != nil {
		t.Error("the flush did not end")
	}
}
