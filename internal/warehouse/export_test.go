package warehouse

import "time"

// Hasten shortens what a test would have to wait for.
func (w *Writer) Hasten(sessionTimeout, stopGrace time.Duration) {
	w.sessionTimeout, w.stopGrace = sessionTimeout, stopGrace
}

// ParsePromise is for the test that reads what the group keeps.
var ParsePromise = parsePromise
