package run

import (
	"slices"
	"time"
)

// Spread says how durations are spread, in milliseconds; all are 0 if there are none.
type Spread struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// SpreadOf sorts the durations.
func SpreadOf(d []time.Duration) Spread {
	if len(d) == 0 {
		return Spread{}
	}
	slices.Sort(d)
	at := func(quantile float64) float64 {
		return float64(d[min(len(d)-1, int(quantile*float64(len(d))))].Microseconds()) / 1000
	}
	return Spread{P50: at(.5), P99: at(.99), Max: at(1)}
}
