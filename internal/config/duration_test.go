package config

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{"30m": 30 * time.Minute, "1h30m": 90 * time.Minute, "7d": 7 * 24 * time.Hour} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "d", "-1h", "0s", "0d", "7 days", "1.5d", "99999999d"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%s: read as %v", in, got)
		}
	}
}
