package server

import "testing"

func TestLabel(t *testing.T) {
	const sample = `seconds_bucket{role="filter",le="0.1"}`
	for _, c := range []struct {
		metric, label, want string
		ok                  bool
	}{
		{"seconds_bucket", "le", "0.1", true}, // and not the end of role
		{"seconds_bucket", "role", "filter", true},
		{"seconds_bucket", "engine", "", false},
		{"seconds", "le", "", false},
	} {
		if got, ok := Label(sample, c.metric, c.label); got != c.want || ok != c.ok {
			t.Errorf("%s of %s: %q, %v", c.label, c.metric, got, ok)
		}
	}
}
