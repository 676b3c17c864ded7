package entity

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/record"
	"sluice/features/spec"
	"sluice/features/statepb"
	"sluice/internal/stream"
	"sluice/privacyfilter/purposepb"
)

const (
	entityKeyBytes = 1 + 16             // kind ‖ pseudonym
	dayKeyBytes    = entityKeyBytes + 4 // ‖ day
	hourKeyBytes   = dayKeyBytes + 1    // ‖ hour
)

// Engine keeps each risk entity's days: their events one by one, and beyond exactEntries a day, by minute. Features are computed from the days
// when they are asked for, so that a new one needs no rebuild. Metrics go to reg, nil = nowhere.
func Engine(c *spec.Config, reg prometheus.Registerer) stream.Engine {
	metrics := record.NewEngineMetrics(reg, "entity")
	return stream.Engine{Name: "entity", Inputs: []string{"entities"}, Open: func(t *stream.Task) (stream.Processor, error) {
		e := &engine{exact: c.Exact, retention: c.Longest() + dayMicros, metrics: metrics}
		// Hours come before days in a transaction: a reader that sees a day folded has its hours already.
		e.hours = stream.OpenTable(t, record.HourTable, "entity_hours", stream.ProtoCodec[statepb.EntityHour]())
		e.days = stream.OpenTable(t, record.Table, "entity_days", &entityDayCodec{})
		e.clock = record.OpenClock(t, 24*time.Hour, e.oldestDay)
		e.due = record.OpenDue(t, entityKeyBytes)
		return e, nil
	}}
}

type engine struct {
	exact     int
	retention int64
	metrics   *record.EngineMetrics
	clock     record.Clock // its horizon is a day's number
	due       *record.Due
	days      *stream.Table[entityDay]
	hours     *stream.Table[statepb.EntityHour]
}

// Process folds one event into its entity's day.
func (e *engine) Process(rec *stream.Record) error {
	var delta purposepb.EntityDelta
	if err := delta.UnmarshalVT(rec.Value); err != nil {
		return fmt.Errorf("decoding a record of %s: %w", rec.Topic, err)
	}
	ev := delta.Event
	if len(rec.Key) != entityKeyBytes || spec.Kind(rec.Key[0]).Place() < 0 || ev == nil {
		e.metrics.Unused.Inc()
		return nil
	}
	e.clock.Advance(ev.Time)
	oldest := e.clock.Horizon()
	e.due.Step(oldest, dueAtOnce, e.expire)
	day := record.FloorDiv(ev.Time, dayMicros)
	if day < oldest || ev.Time < 0 {
		e.metrics.Late.Inc()
		return nil
	}
	entry := entryOf(ev, spec.Kind(rec.Key[0]))
	entry.time -= day * dayMicros
	if e.add(dayKey(rec.Key, day), entry) {
		e.metrics.Kept.Inc()
	} else {
		e.metrics.Older.Inc()
	}
	return nil
}

func (e *engine) add(key []byte, added entry) bool {
	if e.days.Get(key) == nil {
		e.due.Add(dayNumber(key), key[:entityKeyBytes])
	}
	day := e.days.Mutate(key)
	if day.folded > 0 {
		day.stamp(added)
		e.fold(key, &added)
		return true
	}
	if !day.insert(added) {
		return false
	}
	if len(day.entries) <= exactEntries {
		return true
	}
	all := day.entries
	day.entries = nil
	for i := range all {
		day.stamp(all[i])
		e.fold(key, &all[i])
	}
	return true
}

func (e *engine) fold(day []byte, added *entry) {
	hour := append(append(make([]byte, 0, hourKeyBytes), day...), byte(added.time/hourMicros))
	foldInto(e.hours.Mutate(hour), added, e.exact)
}

// oldestDay is the oldest day that may still matter to the longest window.
func (e *engine) oldestDay(now int64) int64 {
	return max(0, record.FloorDiv(now-e.retention, dayMicros))
}

// dueAtOnce is how many days of entities one event looks at for what has expired.
const dueAtOnce = 2

// expire removes an entity's day that matters no more.
func (e *engine) expire(number int64, entity []byte) {
	key := dayKey(entity, number)
	day := e.days.Get(key)
	if day == nil {
		return
	}
	e.metrics.Expired.Add(float64(max(day.folded, uint64(len(day.entries)))))
	for hour := byte(0); day.folded > 0 && hour < hoursOfDay; hour++ {
		e.hours.Delete(append(slices.Clone(key), hour))
	}
	e.days.Delete(key)
}

func dayKey(entity []byte, day int64) []byte {
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, dayKeyBytes), entity...), uint32(day))
}

// dayNumber is the day of a day's or an hour's key.
func dayNumber(key []byte) int64 {
	if len(key) < dayKeyBytes {
		return 0
	}
	return int64(binary.BigEndian.Uint32(key[entityKeyBytes:]))
}

// Projection compares the days that still matter, and the hours of folded ones, whose keys differ in length.
func Projection() stream.Projection {
	return func(table byte, key, value []byte, yield func(stream.Pair)) {
		switch table {
		case record.ClockTable:
			yield(record.HorizonPair(value))
		case record.Table, record.HourTable:
			yield(stream.Pair{Store: "entities", Key: key, Value: value, At: dayNumber(key)})
		}
	}
}
