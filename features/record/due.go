package record

import "sluice/internal/stream"

// Due names the keys that expire in each bucket of time.
type Due = stream.Due

// OpenDue opens the index of keys of this many bytes.
func OpenDue(t *stream.Task, size int) *Due { return stream.OpenDue(t, DueTable, size) }
