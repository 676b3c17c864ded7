package filter

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"sluice/privacyfilter"
)

// deletions are the footprints that a subject deleted one by one: their events' dedupe hashes, sorted. Floors do not move for a single deletion, and the
// dedupe forgets within days, so without them a deleted event that is sent again would be collected again.
type deletions []deletion

// deletion is one deleted event and the day since 1970 in which its deletion was received. Stream time is never ahead of that by more than collectors' clocks
// differ, so a deletion is not forgotten too early.
type deletion struct {
	hash uint64
	day  uint32
}

const (
	maxDeletions     = 4096 // of one subject; the oldest give way
	day              = 24 * time.Hour
	defaultRetention = 400 * day // where the register tells none
)

func (d deletions) find(hash uint64) (i int, found bool) {
	return slices.BinarySearchFunc(d, hash, func(e deletion, hash uint64) int { return cmp.Compare(e.hash, hash) })
}

func (d deletions) has(hash uint64) bool {
	_, found := d.find(hash)
	return found
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
	return d != nil && d.has(hash)
}

// rememberDeletion keeps the hash of an event that its subject deleted.
func (f *filter) rememberDeletion(subject []byte, hash uint64, received int64) {
	d := f.deletions.Mutate(subject)
	*d = d.with(hash, dayOf(received))
	f.lowerMark(markDeletion, int64(dayOf(received)))
}

// expireDeletions forgets the deletions of whose events no purpose could have anything left.
func (f *filter) expireDeletions(now int64) {
	cutoff := int64(dayOf(now)) - f.deletionDays
	if mark := f.marks.Get(markDeletion); mark == nil || *mark >= cutoff {
		return
	}
	left := uint32(nothingLeft)
	var expired [][]byte
	f.deletions.Range(func(subject []byte, d *deletions) bool {
		if first := d.oldest(); int64(first) < cutoff {
			expired = append(expired, subject)
		} else {
			left = min(left, first)
		}
		return true
	})
	for _, subject := range expired {
		d := f.deletions.Mutate(subject)
		*d = slices.DeleteFunc(*d, func(e deletion) bool { return int64(e.day) < cutoff })
		if len(*d) == 0 {
			f.deletions.Delete(subject)
			continue
		}
		left = min(left, d.oldest())
	}
	if left == nothingLeft {
		f.marks.Delete(markDeletion)
		return
	}
	*f.marks.Mutate(markDeletion) = int64(left)
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
	return hourOf(micros) / uint32(day/hour)
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
