package filter

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"sluice/privacyfilter"
)

// deletions are the footprints that a subject deleted one by one, as sorted dedupe hashes of their events. A single deletion moves no floor, and the dedupe
// forgets within days. Without these a deleted event that is sent again would be collected again.
type deletions []deletion

// deletion is one deleted event, and the day since 1970 on which the deletion was received. Stream time is ahead of that by no more than collectors' clocks
// differ, so a deletion is not forgotten too early.
type deletion struct {
	hash uint64
	day  uint32
}

const (
	maxDeletions     = 4096 // of one subject; the oldest give way
	day              = 24 * time.Hour
	hoursADay        = 24
	defaultRetention = 400 * day // where the register tells none
)

func (d deletions) find(hash uint64) (i int, found bool) {
	return slices.BinarySearchFunc(d, hash, func(e deletion, hash uint64) int { return cmp.Compare(e.hash, hash) })
}

// has tells whether the hash was deleted on the day or later.
func (d deletions) has(hash uint64, since int64) bool {
	i, found := d.find(hash)
	return found && int64(d[i].day) >= since
}

// with adds a deletion, in place. If there are too many, the oldest other one gives way.
func (d deletions) with(hash uint64, on uint32) deletions {
	i, found := d.find(hash)
	if found {
		d[i].day = max(d[i].day, on)
		return d
	}
	if d = slices.Insert(d, i, deletion{hash, on}); len(d) <= maxDeletions {
		return d
	}
	oldest := -1
	for j := range d {
		if j != i && (oldest < 0 || d[j].day < d[oldest].day) {
			oldest = j
		}
	}
	return slices.Delete(d, oldest, oldest+1)
}

// oldest is the day of the oldest deletion, nothingLeft if there is none.
func (d deletions) oldest() uint32 {
	first := uint32(nothingLeft)
	for _, e := range d {
		first = min(first, e.day)
	}
	return first
}

// hashes are the deleted events', without the days.
func (d deletions) hashes() chunk {
	c := make(chunk, len(d))
	for i, e := range d {
		c[i] = e.hash
	}
	return c
}

// isDeleted tells whether the subject deleted the event. Most have deleted nothing, so it costs one look into a small map.
func (f *filter) isDeleted(subject []byte, hash uint64) bool {
	d := f.deletions.Get(subject)
	return d != nil && d.has(hash, f.firstDay())
}

// rememberDeletion keeps the hash of an event that its subject deleted.
func (f *filter) rememberDeletion(subject []byte, hash uint64, received int64) {
	isNew := f.deletions.Get(subject) == nil
	d := f.deletions.Mutate(subject)
	*d = d.with(hash, dayOf(received))
	if isNew {
		f.expires(dueDeletions, subject, f.lastHour(dayOf(received)))
	}
}

// firstDay is the first day with deletions that are still remembered, by the partition's stream time.
func (f *filter) firstDay() int64 { return int64(f.hour/hoursADay) - f.deletionDays }

// lastHour is the last hour in which a deletion of the day is remembered.
func (f *filter) lastHour(on uint32) uint32 {
	return uint32(min((int64(on)+f.deletionDays+1)*hoursADay-1, nothingLeft-1))
}

// expireDeletions forgets the subject's deletions that are so old that no purpose keeps the deleted events any more.
func (f *filter) expireDeletions(subject []byte) {
	d := f.deletions.Get(subject)
	if d == nil {
		return
	}
	if int64(d.oldest()) < f.firstDay() {
		d = f.deletions.Mutate(subject)
		*d = slices.DeleteFunc(*d, func(e deletion) bool { return int64(e.day) < f.firstDay() })
	}
	if len(*d) == 0 {
		f.deletions.Delete(subject)
		return
	}
	f.expires(dueDeletions, subject, f.lastHour(d.oldest()))
}

// deletionDays is how many days a deletion is remembered: as long as any purpose that can lose an event by it keeps its data.
func deletionDays(reg *privacyfilter.Register) int64 {
	var longest time.Duration
	for _, p := range reg.Purposes() {
		if p.Tier != privacyfilter.Legal {
			longest = max(longest, reg.Retention(p.Retention))
		}
	}
	if longest <= 0 {
		longest = defaultRetention
	}
	return int64((longest + day - 1) / day)
}

// dayOf is the day since 1970 of a time in Unix microseconds, 0 for any before.
func dayOf(micros int64) uint32 {
	return hourOf(micros) / hoursADay
}

// deletionsCodec writes hash and day of each, big endian.
type deletionsCodec struct{}

const deletionSize = 8 + 4

func (deletionsCodec) Encode(buf []byte, d *deletions) ([]byte, error) {
	for _, e := range *d {
		buf = binary.BigEndian.AppendUint64(buf, e.hash)
		buf = binary.BigEndian.AppendUint32(buf, e.day)
	}
	return buf, nil
}

func (deletionsCodec) Decode(data []byte) (*deletions, error) {
	if len(data)%deletionSize != 0 {
		return nil, errEncoding
	}
	d := make(deletions, 0, len(data)/deletionSize)
	for ; len(data) > 0; data = data[deletionSize:] {
		d = append(d, deletion{hash: binary.BigEndian.Uint64(data), day: binary.BigEndian.Uint32(data[8:])})
	}
	return &d, nil
}
