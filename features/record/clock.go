package record

import (
	"encoding/binary"
	"math"
	"sync"
	"time"

	"sluice/internal/stream"
)

// Clock is a task's stream time in whole steps: the newest event time of its partition, rounded down. What has expired is decided by it alone, so that the same
// events leave the same state in whatever order they come. Expired is what lies before the horizon, from the moment that the clock says so; that it is also removed
// is a matter of the steps after. (stream.Clock ticks alike, but cannot be asked where it stands.)
type Clock struct {
	table   *stream.Bytes
	step    int64 // microseconds
	horizon func(now int64) int64
}

var clockKey = []byte{'c'}

// OpenClock declares the clock's table, and opens it. The horizon at the beginning of a step is in the engine's own unit.
func OpenClock(t *stream.Task, step time.Duration, horizon func(now int64) int64) Clock {
	return Clock{table: stream.OpenBytes(t, ClockTable, "clock"), step: step.Microseconds(), horizon: horizon}
}

// Advance moves stream time to at least micros.
func (c Clock) Advance(micros int64) {
	step := FloorDiv(micros, c.step)
	if now := c.table.Get(clockKey); now != nil {
		if at, _ := binary.Varint(now); step <= at {
			return
		}
	}
	c.table.Put(clockKey, binary.AppendVarint(binary.AppendVarint(nil, step), c.horizon(step*c.step)))
}

// Horizon is what everything that lies before it has expired by; the smallest int64 before there is any time.
func (c Clock) Horizon() int64 {
	if now := c.table.Get(clockKey); now != nil {
		return HorizonOf(now)
	}
	return math.MinInt64
}

// HorizonOf is the horizon of a clock's record.
func HorizonOf(value []byte) int64 {
	_, n := binary.Varint(value)
	if n <= 0 {
		return math.MinInt64
	}
	horizon, n := binary.Varint(value[n:])
	if n <= 0 {
		return math.MinInt64
	}
	return horizon
}

// Horizons are the horizons of all partitions, as a view knows them. They are safe for concurrent use.
type Horizons struct {
	mu sync.RWMutex // guards at
	at map[int32]int64
}

// Apply takes a record of the clock.
func (h *Horizons) Apply(rec *stream.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at == nil {
		h.at = make(map[int32]int64)
	}
	h.at[rec.Partition] = HorizonOf(rec.Value)
}

// Of is the time before which everything of a partition has expired.
func (h *Horizons) Of(partition int32) int64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if horizon, ok := h.at[partition]; ok {
		return horizon
	}
	return math.MinInt64
}

// FloorDiv is the quotient rounded down, for a positive divisor.
func FloorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
