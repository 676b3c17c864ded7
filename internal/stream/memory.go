package stream

import "sync/atomic"

// Memory is what the tables of a process may keep in memory, in bytes. Beyond it they forget what their checkpoints hold, and read it from there when it is
// asked for.
type Memory struct {
	limit int64
	used  atomic.Int64
}

// DefaultMemory is the limit where none is given.
const DefaultMemory = 256 << 20

// NewMemory makes a budget that any number of stores share; DefaultMemory if limit is 0.
func NewMemory(limit int64) *Memory {
	if limit == 0 {
		limit = DefaultMemory
	}
	return &Memory{limit: limit}
}

// Used are the bytes that tables take now.
func (m *Memory) Used() int64 { return m.used.Load() }

// Limit are the bytes that they may take.
func (m *Memory) Limit() int64 { return m.limit }

func (m *Memory) add(n int64)  { m.used.Add(n) }
func (m *Memory) isFull() bool { return m.used.Load() > m.limit }

// isTight tells whether so little is left that who makes room should go on: the next transactions need some.
func (m *Memory) isTight() bool { return m.used.Load() > m.limit-m.limit/16 }

// isOver tells whether tables take so much more than they may that nothing else must come before it is less.
func (m *Memory) isOver() bool { return m.used.Load() > m.limit+m.limit/16 }
