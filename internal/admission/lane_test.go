package admission

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestTheLaneIsNarrowWhileSomebodyHurries: those in it stay in, those behind wait for one to leave or for nobody to hurry any more.
func TestTheLaneIsNarrowWhileSomebodyHurries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLane(3)
		in := 0
		enter := func() {
			go func() {
				l.Enter()
				in++ // synctest.Wait orders it
			}()
			synctest.Wait()
		}
		expect := func(want int) {
			t.Helper()
			synctest.Wait()
			if in != want {
				t.Fatalf("%d in the lane, want %d", in, want)
			}
		}
		leave := func() { in--; l.Leave() }

		for range 5 {
			enter()
		}
		expect(5) // nobody hurries
		first, second := l.Hurry(), l.Hurry()
		enter()
		expect(5)
		leave()
		expect(4)
		for range 3 {
			leave()
		}
		expect(2) // of three processors; the sixth came in
		enter()
		first()
		expect(2)
		second()
		expect(3)
		for range 3 {
			leave()
		}
	})
}

// TestOneProcessor leaves it to the lane and to requests in turn.
func TestOneProcessor(t *testing.T) {
	l := NewLane(1)
	defer l.Hurry()()
	l.Enter()
	l.Leave()
}

func TestNoLaneHasRoom(t *testing.T) {
	var l *Lane
	l.Enter()
	l.Hurry()()
	l.Leave()
}

func BenchmarkLane(b *testing.B) {
	l := NewLane(2)
	b.ReportAllocs()
	for b.Loop() {
		l.Enter()
		l.Leave()
	}
}

// TestPassTakesNoRoom: whoever passes waits for room, and leaves it to the next one.
func TestPassTakesNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLane(2)
		defer l.Hurry()()
		l.Enter()
		var passed, entered atomic.Int32
		for range 2 {
			go func() { l.Pass(); passed.Add(1) }()
		}
		go func() { l.Enter(); entered.Add(1) }()
		synctest.Wait()
		if passed.Load() != 0 || entered.Load() != 0 {
			t.Fatal("there was room")
		}
		l.Leave()
		synctest.Wait()
		if entered.Load() != 1 {
			t.Fatal("the room was taken")
		}
		l.Leave()
		synctest.Wait()
		if passed.Load() != 2 {
			t.Errorf("%d of 2 have passed", passed.Load())
		}
		(*Lane)(nil).Pass()
	})
}
