package cursor

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/recommend/rank"
)

var began = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

// FuzzCursor: no text is a cursor but one that was sealed, and one that was altered anywhere is none.
func FuzzCursor(f *testing.F) {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails; each of the processes that fuzz has its own, and takes the others' seeds for foreign
	sealer := NewSealer(key)
	genuine := sealer.Seal(&State{Shown: []uint32{1, 2, 3}, Slots: []rank.Slot{{{4}, nil, {5}}}}, began)
	f.Add("", uint16(0), byte(0))
	f.Add(genuine, uint16(7), byte('A'))
	f.Add("AAAA", uint16(len(genuine)-1), byte('_'))
	f.Fuzz(func(t *testing.T, text string, at uint16, c byte) {
		i := int(at) % len(genuine)
		for _, text := range []string{text, genuine[:i] + string(rune(c%128)) + genuine[i+1:]} {
			if state, err := sealer.Open(text, began); (err == nil) != bytes.Equal(sealed(text), sealed(genuine)) {
				t.Errorf("%q is read as %+v, %v", text, state, err)
			}
		}
	})
}

// sealed are the bytes of a text, which may be written in more than one way: base64 passes over ends of lines, and over what is left of the last character.
func sealed(text string) []byte {
	data, _ := base64.RawURLEncoding.DecodeString(text)
	return data
}

// FuzzState: whatever the bytes, reading ends, takes no more memory than they say, and what is read is written and read again the same.
func FuzzState(f *testing.F) {
	f.Add((&State{Because: 3, Shown: []uint32{1, 2, 3}, Slots: []rank.Slot{{{4}, nil, {5}}, {}}}).Append(nil))
	f.Add([]byte{})
	f.Add(make([]byte, 64))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := reader{data: data}
		state := r.state()
		if r.failed || len(r.data) > 0 {
			return
		}
		again := reader{data: state.Append(nil)}
		if diff := cmp.Diff(state, again.state()); diff != "" || again.failed || len(again.data) > 0 {
			t.Errorf("read again: %s", diff)
		}
	})
}
