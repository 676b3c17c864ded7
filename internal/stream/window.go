package stream

import (
	"math"
	"slices"
	"time"
)

const (
	// leastWindow is a window's least size, unless the limit is smaller: a burst of so many entries is taken, however slowly they are settled.
	leastWindow = 10_000
	// windowGain is how much of the way to the target one look goes, on a logarithmic scale: what it changes shows half a second later, and it must not swing.
	windowGain = 1. / 16
)

// window is how many entries may wait, so that none waits longer than it should: a congestion window that follows the delay, as that of LEDBAT (RFC 6817) does. It is
// learned from how old the oldest entry is, not from the throughput: a window that is too small lowers the throughput, too, and would then be held to be large enough.
type window struct {
	limit  int64         // entries, at most
	target time.Duration // 0 = limit alone
	size   float64
	ends   []ended // the oldest first
}

// ended is where the input ended at a look.
type ended struct {
	at  time.Time
	end int64
}

func newWindow(limit int64, target time.Duration) window {
	w := window{limit: limit, target: target, size: float64(limit)}
	if target > 0 {
		w.size = w.least()
	}
	return w
}

func (w *window) least() float64 { return float64(min(w.limit, leastWindow)) }

// entries is how many may wait.
func (w *window) entries() int64 { return int64(w.size) }

// age notes where the input ends and returns how old the oldest record is, at least, that is not settled.
func (w *window) age(at time.Time, end, settled int64) time.Duration {
	if n := len(w.ends); n == 0 || w.ends[n-1].end < end {
		w.ends = append(w.ends, ended{at, end})
	}
	oldest := slices.IndexFunc(w.ends, func(e ended) bool { return e.end > settled })
	if oldest < 0 {
		w.ends = w.ends[:0]
		return 0
	}
	w.ends = slices.Delete(w.ends, 0, oldest)
	return at.Sub(w.ends[0].at)
}

// move makes the window smaller where the oldest entry is older than it should be, and larger where somebody was refused and it need not have been.
func (w *window) move(age time.Duration, waiting int64, refused bool) {
	switch {
	case w.target == 0:
	case age > w.target:
		w.size = max(w.least(), min(w.size, float64(waiting))*w.pull(age))
	case refused:
		w.size = min(float64(w.limit), w.size*max(1, w.pull(max(age, backlogEvery)))) // an age below the time between two looks is not known
	}
}

// pull is the factor by which an age moves the window.
func (w *window) pull(age time.Duration) float64 {
	return math.Pow(w.target.Seconds()/age.Seconds(), windowGain)
}
