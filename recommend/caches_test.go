package recommend

import (
	"testing"
)

// TestRecentLists: after a tick a personal list makes one list anew and takes the others as they were; one that is not personal takes none of them.
func TestRecentLists(t *testing.T) {
	w := newWorld(t, testSurfaces)
	numbers := make([]uint32, 3)
	for i, id := range []string{"i00", "i01", "i02"} {
		numbers[i] = w.personal.ids.Acquire(id)
		w.personal.together[id] = listed("i10")
	}
	c := newSimilarCache(w.personal)
	best := func(tick int64, at int, remade *int) string {
		return w.personal.ids.ID(c.recent(numbers[at], halfLifeUnset, tick, remade).best[0].item)
	}
	for at := range numbers {
		if remade := 0; best(1, at, &remade) != "i10" || remade != 0 {
			t.Error("a first list is not made at once")
		}
	}
	for _, id := range []string{"i00", "i01", "i02"} {
		w.personal.together[id] = listed("i11")
	}
	var remade int
	for at, want := range []string{"i11", "i10", "i10"} {
		if got := best(2, at, &remade); got != want {
			t.Errorf("list %d begins with %s", at, got)
		}
	}
	if got := w.personal.ids.ID(c.get(numbers[1], halfLifeUnset, 2).best[0].item); got != "i11" {
		t.Errorf("a list that is not personal has %s of the tick before", got)
	}
	if remade = 0; best(3, 2, &remade) != "i11" {
		t.Error("a list of two ticks before is taken")
	}
}
