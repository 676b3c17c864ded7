package stream

import (
	"encoding/binary"
	"errors"
	"time"
)

// Clock tells when a task's stream time crosses a step, so that a processor sweeps what has expired at the same records on every run.
// Only the newest step is kept, in a table of its own, and so survives a restart.
type Clock struct {
	table *Table[int64]
	step  int64 // microseconds
}

// OpenClock declares a clock that ticks every step of stream time.
func OpenClock(t *Task, id byte, step time.Duration) *Clock {
	return &Clock{table: OpenTable[int64](t, id, "clock", int64Codec{}), step: step.Microseconds()}
}

// Advance moves stream time to at least micros (Unix microseconds) and tells whether it crossed a step boundary.
func (c *Clock) Advance(micros int64) bool {
	step := micros / c.step
	if now := c.table.Get(clockKey); now != nil && step <= *now {
		return false
	}
	*c.table.Mutate(clockKey) = step
	return true
}

// Now is the number of the newest step since 1970, 0 before there is one.
func (c *Clock) Now() int64 {
	if now := c.table.Get(clockKey); now != nil {
		return *now
	}
	return 0
}

var clockKey = []byte{'c'}

type int64Codec struct{}

func (int64Codec) Encode(buf []byte, v *int64) ([]byte, error) {
	return binary.AppendVarint(buf, *v), nil
}

func (int64Codec) Decode(data []byte) (*int64, error) {
	v, n := binary.Varint(data)
	if n <= 0 {
		return nil, errors.New("not a varint")
	}
	return &v, nil
}
