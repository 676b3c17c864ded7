// Package record is what the feature engines and their views share: floors, retention and purges of a person's record, touches, stream time, metrics.
package record

import (
	"bytes"
	"time"

	"sluice/features/spec"
	"sluice/internal/stream"
	"sluice/privacyfilter/purposepb"
)

// kept is what the engines personal and history keep of one subject: entries that were collected under one floor.
type kept[V any] interface {
	*V
	Bound() (floor []byte, since int64) // since: when a purge set the floor, 0 = an event brought it
	Bind(floor []byte, since int64)     // drops what was kept under another floor
	Empty() bool
	Oldest() int64            // time of the oldest entry, or since where there is none
	Expire(horizon int64) int // entries that were older, now gone
	Remove(event []byte)
}

// People keeps one record a subject. It knows floors, retention and purges; the engine knows what a record holds.
type People[V any, P kept[V]] struct {
	Table     *stream.Table[V]
	clock     Clock
	retention int64
	metrics   *EngineMetrics
}

// Tables that several engines have.
const (
	Table      byte = 1 // of every engine's first table
	ClockTable byte = 2
)

// OpenPeople opens an engine's table of records and its clock.
func OpenPeople[V any, P kept[V]](t *stream.Task, name string, codec stream.Codec[V], c spec.Profile, m *EngineMetrics) *People[V, P] {
	return &People[V, P]{
		Table: stream.OpenTable(t, Table, name, codec), clock: OpenClock(t, ClockTable, 24*time.Hour), retention: c.Retention, metrics: m,
	}
}

// Admit tells whether an event may leave a trace: retention has not expired it, and it was collected under the floor that holds.
func (p *People[V, P]) Admit(subject, floor []byte, micros int64) bool {
	if p.clock.Advance(micros) {
		p.sweep()
	}
	if micros < p.clock.Horizon(p.retention) {
		p.metrics.Late.Inc()
		return false
	}
	current := p.Table.Get(subject)
	if current == nil {
		return true
	}
	if bound, since := P(current).Bound(); since != 0 && !bytes.Equal(bound, floor) {
		p.metrics.otherFloor.Inc()
		return false
	}
	return true
}

// Record is the subject's record under the floor, to be changed. What was collected under another floor is gone.
func (p *People[V, P]) Record(subject, floor []byte) P {
	v := P(p.Table.Mutate(subject))
	if bound, _ := v.Bound(); !bytes.Equal(bound, floor) {
		v.Bind(floor, 0)
	}
	return v
}

// Purge obeys a control record: one event goes, or everything of another floor. The floor is remembered, so that nothing that was collected before it
// can come in behind it.
func (p *People[V, P]) Purge(purge *purposepb.Purge) {
	current := p.Table.Get(purge.Subject)
	if len(purge.Event) > 0 {
		if current == nil {
			return
		}
		v := P(p.Table.Mutate(purge.Subject))
		v.Remove(purge.Event)
		if _, since := v.Bound(); v.Empty() && since == 0 {
			p.Table.Delete(purge.Subject)
		}
		return
	}
	if len(purge.Floor) == 0 {
		p.Table.Delete(purge.Subject)
		return
	}
	if current != nil {
		if floor, since := P(current).Bound(); since != 0 && bytes.Equal(floor, purge.Floor) {
			return // said again
		}
	}
	P(p.Table.Mutate(purge.Subject)).Bind(purge.Floor, max(1, purge.Time))
}

// sweep removes what retention has expired, and records of which nothing is left.
func (p *People[V, P]) sweep() {
	horizon := p.clock.Horizon(p.retention)
	p.Table.Range(func(subject []byte, v *V) bool {
		if P(v).Oldest() >= horizon {
			return true
		}
		changed := P(p.Table.Mutate(subject))
		p.metrics.Expired.Add(float64(changed.Expire(horizon)))
		if _, since := changed.Bound(); changed.Empty() && since < horizon {
			p.Table.Delete(subject)
		}
		return true
	})
}
