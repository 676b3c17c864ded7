package fleet

import (
	"fmt"
	"io"
	"os"
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

// SayFunc prints a line of progress.
type SayFunc func(format string, args ...any)

// Progress prints lines with the time since now before them.
func Progress(w io.Writer) SayFunc {
	began := time.Now()
	return func(format string, args ...any) {
		fmt.Fprintf(w, "%7.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// Seed is the one that was asked for, or a new one if that is 0.
func Seed(asked uint64) uint64 {
	if asked != 0 {
		return asked
	}
	return uint64(time.Now().UnixNano()) % 1_000_000_000
}

// Dir makes sure that the directory is there; an empty name makes a new one. done removes a new one if all is well.
func Dir(name, pattern string) (dir string, done func(err error) error, err error) {
	if name != "" {
		return name, func(err error) error { return err }, os.MkdirAll(name, 0o700)
	}
	if dir, err = os.MkdirTemp("", pattern); err != nil {
		return "", nil, err
	}
	return dir, func(err error) error {
		if err != nil {
			return fmt.Errorf("%w; data and logs are in %s", err, dir)
		}
		return os.RemoveAll(dir)
	}, nil
}
