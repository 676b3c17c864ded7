package consent

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootClock tells the time since the machine was started, time in suspension included: a lease must not outlive a night with the lid closed.
func bootClock() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("consent: reading the boot clock: " + err.Error()) // every kernel since 2.6.39 has it
	}
	return time.Duration(t.Nano())
}
