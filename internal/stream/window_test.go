package stream_test

import (
	"testing"
	"time"

	"sluice/internal/stream"
)

// queue is a log into which more is offered than is settled.
type queue struct {
	offered float64       // entries a second
	served  float64       // entries a second, at most
	takes   time.Duration // at least, until an entry that was written is seen to be settled
}

// run offers entries for so long, looking every 100 ms. It returns how many a second were settled in the last half, and how old the oldest was on average then.
func (q queue) run(w *stream.Window, long time.Duration) (settledPerSecond float64, age time.Duration) {
	const step, every = time.Millisecond, 100 * time.Millisecond
	type written struct {
		at time.Duration
		n  float64 // up to here
	}
	var end, settled, half, oldest float64
	var log []written
	var looks int
	may, refused := w.Look(time.Unix(0, 0), 0, 0, false), false
	for at := time.Duration(0); at < long; at += step {
		if room := float64(may) - (end - settled); room > 0 {
			end += min(room, q.offered*step.Seconds())
			log = append(log, written{at, end})
		} else {
			refused = true
		}
		ready := settled
		for len(log) > 0 && log[0].at+q.takes <= at {
			ready = log[0].n
			if ready-settled > q.served*step.Seconds() {
				break
			}
			log = log[1:]
		}
		settled = min(ready, settled+q.served*step.Seconds())
		if at == long/2 {
			half = settled
		}
		if at%every == 0 {
			may, refused = w.Look(time.Unix(0, 0).Add(at), int64(end), int64(settled), refused), false
			if at > long/2 {
				looks++
				if len(log) > 0 {
					oldest += (at - log[0].at).Seconds()
				}
			}
		}
	}
	return (settled - half) / (long / 2).Seconds(), time.Duration(oldest / float64(looks) * float64(time.Second))
}

// TestTheWindowFollowsTheDelay: everything is settled that can be, and nothing waits much longer than it should, however fast the log and those who read it are.
func TestTheWindowFollowsTheDelay(t *testing.T) {
	const lag = 500 * time.Millisecond
	for _, q := range []queue{
		{100_000, 48_000, 20 * time.Millisecond},
		{100_000, 48_000, 300 * time.Millisecond}, // a window that followed the throughput came down to the least of them
		{50_000, 48_000, 100 * time.Millisecond},  // hardly more is offered
		{1_000_000, 150_000, 50 * time.Millisecond},
		{100_000, 22_000, 200 * time.Millisecond},
	} {
		perSecond, age := q.run(stream.NewWindow(100_000, lag), 20*time.Second)
		t.Logf("%+v: %.0f/s, %s", q, perSecond, age)
		if perSecond < .97*q.served {
			t.Errorf("%+v: %.0f are settled a second", q, perSecond)
		}
		if age > lag*13/10 {
			t.Errorf("%+v: the oldest is %s old", q, age)
		}
	}
}

// TestTheWindowHasBounds: so much may come at once, and no more than the limit waits.
func TestTheWindowHasBounds(t *testing.T) {
	at := time.Unix(1, 0)
	look := func(w *stream.Window, after time.Duration, end, settled int64, refused bool, want int64) {
		t.Helper()
		at = at.Add(after)
		if got := w.Look(at, end, settled, refused); got != want {
			t.Errorf("%d may wait, want %d", got, want)
		}
	}
	w := stream.NewWindow(100_000, 0)
	look(w, 0, 50_000, 0, true, 100_000)
	look(w, time.Hour, 90_000, 0, true, 100_000)
	w = stream.NewWindow(3, time.Second)
	look(w, 0, 3, 0, true, 3)
	look(w, time.Hour, 3, 0, true, 3)
	w = stream.NewWindow(11_000, time.Second)
	look(w, 0, 5_000, 5_000, false, 10_000)
	look(w, time.Second, 6_000, 6_000, true, 11_000)
	look(w, time.Second, 7_000, 6_500, false, 11_000)
	look(w, time.Minute, 8_000, 6_500, true, 10_000) // few wait, for long
	look(w, time.Minute, 8_000, 8_000, false, 10_000)
	w = stream.NewWindow(11_000, 10*time.Millisecond) // less than the time between two looks
	for range 10_000 {
		look(w, 100*time.Millisecond, 10_000, 10_000, true, 10_000)
	}
	w = stream.NewWindow(2_000, 10*time.Millisecond)
	for range 10_000 {
		look(w, 100*time.Millisecond, 10_000, 9_000, true, 2_000)
	}
}
