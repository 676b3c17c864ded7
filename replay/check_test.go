package replay

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// TestCutKeepsCharactersWhole: what is cut off a text ends with a whole character.
func TestCutKeepsCharactersWhole(t *testing.T) {
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"müller", 7, "müller"}, {"müller", 3, "mü"}, {"müller", 2, "m"}, {"日本", 5, "日"}, {"日本", 3, "日"}, {"日本", 2, ""}, {"\x80\x80\x80\x80\x80\x80", 5, "\x80\x80\x80\x80\x80"},
	} {
		if got := cut(c.text, c.most); got != c.want {
			t.Errorf("%q, %d: %q", c.text, c.most, got)
		}
	}
}

// nothing is a reader that never gives anything.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

// TestReadersWithoutProgress: an input that gives nothing, and no end either, ends the reading.
func TestReadersWithoutProgress(t *testing.T) {
	r := newValuesReader(io.MultiReader(strings.NewReader(`{"id":"a"}{"id":`), nothing{}))
	if cells, err := r.Read(); err != nil || len(cells) != 1 {
		t.Fatalf("%q, %v", cells, err)
	}
	if _, err := r.Read(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("%v", err)
	}
}
