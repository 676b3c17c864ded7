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
				v.set(key, nil)
				delete(model, key)
				continue
			}
			size := rapid.SampledFrom([]int{0, 1, 15, 16, 17, 100, 4095, 4096, 4097}).Draw(t, "size")
			model[key] = bytes.Repeat([]byte{byte(n)}, size)
			v.set(key, model[key])
		}
		for key := range 21 {
			if want, ok := model[key]; !bytes.Equal(want, v.get(key)) || ok != (v.get(key) != nil) {
				t.Fatalf("key %d: %x, want %x", key, v.get(key), want)
			}
		}
		if v.len() != len(model) {
			t.Fatalf("%d values, want %d", v.len(), len(model))
		}
	})
}
