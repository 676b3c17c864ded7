package dense

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestMapAgainstModel sets and deletes at random.
func TestMapAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Map[[2]byte, int]
		model := make(map[[2]byte]int)
		most := rapid.SampledFrom([]int{4, 100, 5000}).Draw(t, "keys")
		for i, n := range rapid.SliceOfN(rapid.IntRange(0, most), 0, 4*min(most, 1000)).Draw(t, "steps") {
			key := [2]byte{byte(n), byte(n >> 8)}
			if rapid.IntRange(0, 2).Draw(t, "delete") == 0 {
				m.Delete(key)
				delete(model, key)
			} else {
				m.Set(key, i)
				model[key] = i
			}
			got, ok := m.Get(key)
			if want, wanted := model[key]; got != want || ok != wanted || m.Len() != len(model) {
				t.Fatalf("step %d: %d (%t), want %d (%t); %d entries, want %d", i, got, ok, want, wanted, m.Len(), len(model))
			}
		}
		if diff := cmp.Diff(model, maps.Collect(m.All)); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
