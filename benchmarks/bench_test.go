package main

import (
	"math"
	"testing"
)

// TestLongestTransaction: the answer is the bound of the last bucket that grew, whatever stood in it before.
func TestLongestTransaction(t *testing.T) {
	before := buckets{.01: 5, .1: 7, 1: 8, math.Inf(1): 8} // one took almost a second
	for _, c := range []struct {
		name  string
		after buckets
		want  float64
		ok    bool
	}{
		{"none", buckets{.01: 5, .1: 7, 1: 8, math.Inf(1): 8}, 0, false},
		{"short ones", buckets{.01: 9, .1: 11, 1: 12, math.Inf(1): 12}, .01, true},
		{"one of a tenth of a second", buckets{.01: 9, .1: 12, 1: 13, math.Inf(1): 13}, .1, true},
		{"one that is too long for the buckets", buckets{.01: 9, .1: 11, 1: 12, math.Inf(1): 13}, math.Inf(1), true},
	} {
		if got, ok := c.after.longestSince(before); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %v, %v", c.name, got, ok)
		}
	}
}

func TestQuickSetAndNames(t *testing.T) {
	names := map[string]bool{}
	for _, s := range scenarios {
		if names[s.name] || s.doc == "" || s.limit == 0 || s.run == nil {
			t.Errorf("%s: named twice, or not described", s.name)
		}
		names[s.name] = true
	}
	quick, err := (&runCommand{}).choose()
	if err != nil || len(quick) == 0 || len(quick) == len(scenarios) {
		t.Errorf("the quick set has %d scenarios: %v", len(quick), err)
	}
	if _, err := (&runCommand{Scenarios: []string{"hom"}}).choose(); err == nil {
		t.Error("a misspelt name was taken")
	}
}
