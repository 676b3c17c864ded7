package app

import "testing"

// TestMemoryLimit: the budget holds until what lives needs more; then garbage is bounded by what lives.
func TestMemoryLimit(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct{ live, other, want int64 }{
		{0, 0, 1024},
		{600, 100, 1024},
		{640, 100, 1060},
		{2000, 100, 2868},
	} {
		if got := memoryLimit(1024*mib, c.live*mib, c.other*mib); got != c.want*mib {
			t.Errorf("%d MiB live, %d beside: %d MiB, want %d", c.live, c.other, got/mib, c.want)
		}
	}
	if live, other := memoryUse(); live < 0 || other <= 0 {
		t.Errorf("%d bytes live, %d beside", live, other)
	}
}
