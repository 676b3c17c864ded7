package admission

import (
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
