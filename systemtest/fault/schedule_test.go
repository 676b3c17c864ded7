package fault

import (
	"testing"
	"time"
)

var menu = []Choice{
	{Kind: Kill, Targets: []string{"a", "b"}, Weight: 3},
	{Kind: Pause, Targets: []string{"b"}, Weight: 1, Min: time.Second, Max: 2 * time.Second},
}

func TestEqualSeedsGiveEqualFaults(t *testing.T) {
	one, same, other := NewSchedule(7, menu, 0, time.Second), NewSchedule(7, menu, 0, time.Second), NewSchedule(8, menu, 0, time.Second)
	differs := false
	for range 50 {
		f := one.Next()
		if g := same.Next(); f != g {
			t.Fatalf("%v and %v", f, g)
		}
		differs = differs || f != other.Next()
	}
	if !differs {
		t.Error("another seed gives the same faults")
	}
}

func TestFaultsKeepTheirBounds(t *testing.T) {
	s := NewSchedule(1, menu, time.Millisecond, time.Second)
	seen := make(map[Kind]int)
	for n := range 1000 {
		f := s.Next()
		seen[f.Kind]++
		long := f.For >= time.Second && f.For <= 2*time.Second
		if f.N != n+1 || f.After < time.Millisecond || f.After > time.Second || (f.Kind == Pause) != long || f.Kind == Pause && f.Target != "b" {
			t.Fatalf("%v after %v", f, f.After)
		}
	}
	if seen[Kill] < 650 || seen[Kill] > 850 {
		t.Errorf("of 1,000 faults with weights 3 to 1: %v", seen)
	}
}

func TestBadMenus(t *testing.T) {
	for what, bad := range map[string][]Choice{
		"nothing": nil, "no target": {{Kind: Kill, Weight: 1}}, "no weight": {{Kind: Kill, Targets: []string{"a"}}},
		"bounds": {{Kind: Pause, Targets: []string{"a"}, Weight: 1, Min: 2, Max: 1}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", what)
				}
			}()
			NewSchedule(1, bad, 0, 0)
		}()
	}
}
