package features

import (
	"bytes"
	"time"

	"sluice/internal/stream"
	"sluice/privacyfilter/purposepb"
)

// kept is what the engines personal and history keep of one subject: entries that were collected under one floor.
type kept[V any] interface {
	*V
	bound() (floor []byte, since int64) // since: when a purge set the floor, 0 = an event brought it
	bind(floor []byte, since int64)     // drops what was kept under another floor
	empty() bool
	oldest() int64            // time of the oldest entry, or since where there is none
	expire(horizon int64) int // entries that were older, now gone
	remove(event []byte)
}

// people keeps one record a subject. It knows floors, retention and purges; the engine knows what a record holds.
type people[V any, P kept[V]] struct {
	table     *stream.Table[V]
	clock     clock
	retention int64
	metrics   *engineMetrics
}

const (
	recordTable byte = 1 // of every engine's first table
	clockTable  byte = 2
)

func openPeople[V any, P kept[V]](t *stream.Task, name string, codec stream.Codec[V], c profileConfig, m *engineMetrics) *people[V, P] {
	return &people[V, P]{
		table: stream.OpenTable(t, recordTable, name, codec), clock: openClock(t, clockTable, 24*time.Hour), retention: c.retention, metrics: m,
	}
}

// admit tells whether an event may leave a trace: retention has not expired it, and it was collected under the floor that holds.
func (p *people[V, P]) admit(subject, floor []byte, micros int64) bool {
	if p.clock.advance(micros) {
		p.sweep()
	}
	if micros < p.clock.horizon(p.retention) {
		p.metrics.late.Inc()
		return false
	}
	current := p.table.Get(subject)
	if current == nil {
		return true
	}
	if bound, since := P(current).bound(); since != 0 && !bytes.Equal(bound, floor) {
		p.metrics.otherFloor.Inc()
		return false
	}
	return true
}

// record is the subject's record under the floor, to be changed. What was collected under another floor is gone.
func (p *people[V, P]) record(subject, floor []byte) P {
	v := P(p.table.Mutate(subject))
	if bound, _ := v.bound(); !bytes.Equal(bound, floor) {
		v.bind(floor, 0)
	}
	return v
}

// purge obeys a control record: one event goes, or everything of another floor. The floor is remembered, so that nothing that was collected before it
// can come in behind it.
func (p *people[V, P]) purge(purge *purposepb.Purge) {
	current := p.table.Get(purge.Subject)
	if len(purge.Event) > 0 {
		if current == nil {
			return
		}
		v := P(p.table.Mutate(purge.Subject))
		v.remove(purge.Event)
		if _, since := v.bound(); v.empty() && since == 0 {
			p.table.Delete(purge.Subject)
		}
		return
	}
	if len(purge.Floor) == 0 {
		p.table.Delete(purge.Subject)
		return
	}
	if current != nil {
		if floor, since := P(current).bound(); since != 0 && bytes.Equal(floor, purge.Floor) {
			return // said again
		}
	}
	P(p.table.Mutate(purge.Subject)).bind(purge.Floor, max(1, purge.Time))
}

// sweep removes what retention has expired, and records of which nothing is left.
func (p *people[V, P]) sweep() {
	horizon := p.clock.horizon(p.retention)
	p.table.Range(func(subject []byte, v *V) bool {
		if P(v).oldest() >= horizon {
			return true
		}
		changed := P(p.table.Mutate(subject))
		p.metrics.expired.Add(float64(changed.expire(horizon)))
		if _, since := changed.bound(); changed.empty() && since < horizon {
			p.table.Delete(subject)
		}
		return true
	})
}
