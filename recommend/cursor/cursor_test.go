package cursor_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/recommend/cursor"
	"sluice/recommend/rank"
)

var now = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

func TestStateComesBackAsItWas(t *testing.T) {
	sealer := cursor.NewSealer([32]byte{1})
	rapid.Check(t, func(t *rapid.T) {
		hashes := func(name string, most int) []uint32 {
			list := rapid.SliceOfN(rapid.Uint32(), 0, most).Draw(t, name)
			if len(list) == 0 {
				return nil
			}
			return list
		}
		state := &cursor.State{Because: rapid.Uint8().Draw(t, "because"), Shown: hashes("shown", cursor.MaxShown)}
		copy(state.Page[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "page"))
		copy(state.Grant[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "grant"))
		for range rapid.IntRange(0, 100).Draw(t, "slots") {
			state.Slots = append(state.Slots, rank.Slot{hashes("categories", 16), hashes("brand", 1), hashes("seller", 1)})
		}
		text := sealer.Seal(state, now)
		if len(text) > cursor.MaxLength {
			t.Fatalf("%d bytes", len(text))
		}
		got, err := sealer.Open(text, now.Add(cursor.Lifetime-time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(state, got); diff != "" {
			t.Fatal(diff)
		}
		if sealer.Seal(state, now) == text {
			t.Fatal("two cursors are equal: they could be joined")
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	sealer := cursor.NewSealer([32]byte{1})
	text := sealer.Seal(&cursor.State{Shown: []uint32{1, 2, 3}}, now)
	for name, c := range map[string]struct {
		sealer *cursor.Sealer
		text   string
		at     time.Time
		want   error
	}{
		"another key":  {cursor.NewSealer([32]byte{2}), text, now, cursor.ErrBroken},
		"nothing":      {sealer, "", now, cursor.ErrBroken},
		"no base64":    {sealer, "///", now, cursor.ErrBroken},
		"cut off":      {sealer, text[:len(text)-4], now, cursor.ErrBroken},
		"far too long": {sealer, strings.Repeat("A", cursor.MaxLength+1), now, cursor.ErrBroken},
		"too old":      {sealer, text, now.Add(cursor.Lifetime), cursor.ErrExpired},
	} {
		if _, err := c.sealer.Open(c.text, c.at); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheLongestCursorFits(t *testing.T) {
	state := &cursor.State{Shown: make([]uint32, cursor.MaxShown)}
	for range 99 { // what the widest promise looks at
		state.Slots = append(state.Slots, rank.Slot{make([]uint32, 16), make([]uint32, 1), make([]uint32, 1)})
	}
	sealer := cursor.NewSealer([32]byte{1})
	if _, err := sealer.Open(sealer.Seal(state, now), now); err != nil {
		t.Error(err)
	}
}
