package stream

import (
	"testing"
	"time"
)

func TestFollowerKnowsThatItWasAway(t *testing.T) {
	var c fetchClock
	at := time.Unix(1_800_000_000, 0)
	for range 3 {
		c.succeeded(at)
		at = at.Add(awayLimit)
	}
	if c.stale.Load() {
		t.Error("stale within the limit")
	}
	c.succeeded(at.Add(time.Second))
	if !c.stale.Load() {
		t.Error("not stale beyond the limit")
	}
}
