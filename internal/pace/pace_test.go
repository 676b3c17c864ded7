package pace

import (
	"testing"
	"time"
)

// bench is a pacer with a clock that moves only by work and by rests.
type bench struct {
	*Pacer
	clock  time.Time
	urgent bool
	rests  []time.Duration
}

func newBench() *bench {
	b := &bench{clock: time.Unix(1000, 0)}
	b.Pacer = newPacer(func() bool { return b.urgent }, func() time.Time { return b.clock }, func(d time.Duration) {
		b.rests = append(b.rests, d)
		b.clock = b.clock.Add(d)
	})
	return b
}

// work does a number of pieces that take d each.
func (b *bench) work(pieces int, d time.Duration) {
	for range pieces {
		b.clock = b.clock.Add(d)
		b.Yield()
	}
}

func TestPacerTakesItsShare(t *testing.T) {
	b := newBench()
	began := b.clock
	b.work(1000, 100*time.Microsecond)
	if took := b.clock.Sub(began); took != share*100*time.Millisecond {
		t.Errorf("100 ms of work took %v, must be %d times as long", took, share)
	}
	for _, rest := range b.rests {
		if rest != (share-1)*slice {
			t.Fatalf("a rest of %v after a slice of %v", rest, slice)
		}
	}
}

func TestPacerRestsInProportion(t *testing.T) {
	b := newBench()
	b.work(1, 4*slice)
	b.work(1, time.Hour)
	if len(b.rests) != 2 || b.rests[0] != 4*(share-1)*slice || b.rests[1] != longestRest {
		t.Errorf("rests of %v after 4 slices and an hour", b.rests)
	}
}

func TestUrgentWorkDoesNotRest(t *testing.T) {
	b := newBench()
	b.urgent = true
	b.work(1000, slice)
	if len(b.rests) > 0 {
		t.Errorf("%d rests", len(b.rests))
	}
	b.urgent = false
	b.work(1, slice)
	if len(b.rests) != 1 || b.rests[0] != (share-1)*slice {
		t.Errorf("rests of %v once it is not urgent any more: those who worked at full speed owe nothing", b.rests)
	}
}

func TestWorkWithoutPacerIsUrgent(t *testing.T) {
	if p := From(t.Context()); p != nil {
		t.Errorf("pacer %v of a context without one", p)
	}
	From(t.Context()).Yield()
	p := New(nil)
	if got := From(With(t.Context(), p)); got != p {
		t.Errorf("pacer %v", got)
	}
	if got := From(With(With(t.Context(), p), nil)); got != nil {
		t.Errorf("pacer %v of urgent work within paced work", got)
	}
}
