package record

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestValuesAgainstModel sets values of random sizes anew and takes them away.
func TestValuesAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, model := newValues[int](), make(map[int][]byte)
		for n := range rapid.IntRange(1, 300).Draw(t, "acts") {
			key := rapid.IntRange(0, 20).Draw(t, "key")
			if rapid.IntRange(0, 3).Draw(t, "act") == 0 {
				v.drop(key)
				delete(model, key)
				continue
			}
			size := rapid.SampledFrom([]int{0, 1, 59, 60, 61, 120, 121, 70_000}).Draw(t, "size")
			model[key] = bytes.Repeat([]byte{byte(n)}, size)
			v.set(key, model[key])
		}
		for key := range 21 {
			want, ok := model[key]
			if got, known := v.append(nil, key); !bytes.Equal(want, got) || ok != known {
				t.Fatalf("key %d: %x, want %x", key, got, want)
			}
		}
		if v.len() != len(model) {
			t.Fatalf("%d values, want %d", v.len(), len(model))
		}
		for key := range model {
			v.drop(key)
		}
		for range v.cells.used {
			v.cells.take() // panics unless all cells came back
		}
		if v.cells.free != noCell {
			t.Fatal("a cell came back twice")
		}
	})
}
