package filter

import (
	"math"
	"time"

	"sluice/internal/stream"
)

const dayMicros = int64(24 * time.Hour / time.Microsecond)

// horizons say, by purpose, which events its retention has expired. They follow the newest day of an event that the purpose was given in this partition, and
// never a clock. So a replay of old events into an empty log expires nothing, and an event expires here when the purpose's engine would let it go, in whatever
// order events come.
type horizons struct {
	kept   [len(streamed)]int64 // microseconds
	newest [len(streamed)]int64 // beginning of the day
}

// read takes the newest days from the state, which a transaction may have left as it was.
func (h *horizons) read(marks *stream.Table[int64]) {
	for i := range h.newest {
		h.newest[i] = math.MinInt64
		if day := marks.Get(markDays[i]); day != nil {
			h.newest[i] = *day
		}
	}
}

// see tells whether the purpose keeps an event of a time, and moves the purpose's day if it is the newest.
func (h *horizons) see(marks *stream.Table[int64], i int, micros int64) bool {
	newest := h.newest[i]
	if micros < newest {
		return micros >= newest-h.kept[i]
	}
	if newest == math.MinInt64 || micros-newest >= dayMicros {
		h.newest[i] = micros - (micros%dayMicros+dayMicros)%dayMicros
		*marks.Mutate(markDays[i]) = h.newest[i]
	}
	return true
}
