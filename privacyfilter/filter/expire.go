package filter

// State expires at an hour of the partition's stream time. From that hour on it counts as unknown, and it is removed a little later: each event removes a few
// keys that are due. So nothing searches a table, and no transaction has much to remove.

// Kinds of what expires: the first byte of a key in the index.
const (
	dueAccepted  = 'a' // a subject's accepted events
	dueRun       = 'r' // a block of a replay's rows
	dueDeletions = 'd' // a subject's deletions
)

const (
	dueBytes  = 1 + 16
	dueAtOnce = 4 // keys that one event looks at: more than it can add
)

// expires notes that the key is to be looked at after the hour.
func (f *filter) expires(kind byte, key []byte, last uint32) {
	var entry [dueBytes]byte
	entry[0] = kind
	copy(entry[1:], key)
	f.due.Add(int64(last), entry[:])
	f.expiring = f.expiring || last < f.hour
}

// cutoff is the first hour with accepted events and settled rows that are still known.
func (f *filter) cutoff() uint32 { return max(f.hour, dedupeHours) - dedupeHours }

// readHour takes the stream time from the state, which a transaction may have left as it was.
func (f *filter) readHour() {
	f.hour, f.expiring = uint32(max(0, min(f.clock.Now(), nothingLeft-1))), true
}

// advance moves the partition's stream time, and forgets a little of what has expired.
func (f *filter) advance(micros int64) {
	if f.clock.Advance(micros) {
		f.hour, f.expiring = hourOf(micros), true
	}
	if !f.expiring {
		return
	}
	f.due.Step(int64(f.hour), dueAtOnce, f.expire)
	f.expiring = f.due.Any(int64(f.hour))
}

func (f *filter) expire(_ int64, entry []byte) {
	key := entry[1:]
	switch entry[0] {
	case dueAccepted:
		if oldest := f.dedupe.expire(key, f.cutoff()); oldest != nothingLeft {
			f.expires(dueAccepted, key, oldest+dedupeHours)
		}
	case dueRun:
		f.expireRun(key)
	case dueDeletions:
		f.expireDeletions(key)
	}
}
