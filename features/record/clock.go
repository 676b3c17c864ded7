package record

import (
	"time"

	"sluice/features/statepb"
	"sluice/internal/stream"
)

// Clock is a task's stream time in whole steps: the newest event time of its partition, rounded down. What has expired is decided by it alone, so that the same
// events leave the same state in whatever order they come. (stream.Clock ticks alike, but cannot be asked where it stands.)
type Clock struct {
	table *stream.Table[statepb.Clock]
	step  int64 // microseconds
}

var clockKey = []byte{'c'}

// OpenClock declares the clock's table, and opens it.
func OpenClock(t *stream.Task, id byte, step time.Duration) Clock {
	return Clock{table: stream.OpenTable(t, id, "clock", stream.ProtoCodec[statepb.Clock]()), step: step.Microseconds()}
}

// Advance moves stream time to at least micros and tells whether it crossed a step.
func (c Clock) Advance(micros int64) bool {
	step := FloorDiv(micros, c.step)
	if now := c.table.Get(clockKey); now != nil && step <= now.Step {
		return false
	}
	c.table.Mutate(clockKey).Step = step
	return true
}

// Now is the beginning of the newest step, the smallest int64 before there is any.
func (c Clock) Now() int64 {
	if now := c.table.Get(clockKey); now != nil {
		return now.Step * c.step
	}
	return -1 << 63
}

// Horizon is the time before which everything has expired.
func (c Clock) Horizon(retention int64) int64 {
	now := c.Now()
	if now < -1<<63+retention {
		return -1 << 63
	}
	return now - retention
}

// FloorDiv is the quotient rounded down, for a positive divisor.
func FloorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
