//go:build !linux

package consent

import "time"

var started = time.Now()

// bootClock tells the time since the process was started. Outside Linux it may stand still while the machine is suspended:
// such a machine is for development, not for serving.
func bootClock() time.Duration { return time.Since(started) }
