package ingest

import "time"

// What is believed of a client's clock.
const (
	minute      = int64(time.Minute / time.Microsecond)
	day         = 24 * 60 * minute
	longestWait = 366 * day // between capture and sending

	// oldestTime is the beginning of 2000: no event that anybody sends is older, but clocks that were never set are.
	oldestTime = int64(946_684_800_000_000)
)

const (
	detailImplausible = "must be between 2000-01-01 and a day after receipt"
	detailCorrected   = "was moved by the difference between receipt and sent_at: the clock that sent it is more than a minute off"
)

// Date corrects the event's time by its sender's clock. Where sent_at is more than a minute off the time of receipt, it moves both times by the difference, and
// appends a warning. The time between capture and sending stays as it was, since one clock has read both. The fault is a time that cannot be.
func Date(ev *Event, received int64, warnings []Warning) ([]Warning, *Fault) {
	age, off := ev.SentAt-ev.Time, received-ev.SentAt
	if ev.SentAt != 0 && (off > minute || off < -minute) && age >= 0 && age <= longestWait {
		ev.Time, ev.SentAt = ev.Time+off, received
		warnings = append(warnings, Warning{WarnClockCorrected, "/time", detailCorrected})
	}
	if ev.Time < oldestTime || ev.Time > received+day {
		return warnings, &Fault{CodeImplausibleTime, "/time", detailImplausible}
	}
	return warnings, nil
}
