package trending

import (
	"encoding/binary"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/record"
	"sluice/features/spec"
	"sluice/features/statepb"
	"sluice/internal/stream"
	"sluice/privacyfilter/purposepb"
)

// Engine keeps what each contributor did in each window. Metrics go to reg, nil = nowhere.
func Engine(c *spec.Config, reg prometheus.Registerer) stream.Engine {
	metrics := record.NewEngineMetrics(reg, "trending")
	return stream.Engine{Name: "trending", Inputs: []string{"trending"}, Open: func(t *stream.Task) (stream.Processor, error) {
		e := &engine{c: c.Trending, metrics: metrics, table: stream.OpenTable(t, record.Table, "contributions", &contributionCodec{})}
		e.clock = record.OpenClock(t, c.Trending.Window, e.oldestWindow)
		e.due = record.OpenDue(t, contributorBytes)
		return e, nil
	}}
}

type engine struct {
	c       spec.Trending
	metrics *record.EngineMetrics
	clock   record.Clock // its horizon is a window's number
	due     *record.Due
	table   *stream.Table[contribution]
}

// contribution is what one person did in one window.
type contribution struct{ touches record.Touches }

// Process folds one record of the purpose's stream.
func (e *engine) Process(rec *stream.Record) error {
	var r purposepb.TrendingRecord
	if err := r.UnmarshalVT(rec.Value); err != nil {
		return fmt.Errorf("decoding a record of %s: %w", rec.Topic, err)
	}
	if purge := r.GetPurge(); purge != nil {
		e.purge(purge)
		return nil
	}
	if ev := r.GetEvent(); ev != nil {
		e.event(ev)
	}
	return nil
}

func (e *engine) event(ev *purposepb.TrendingEvent) {
	if !e.c.Types.Has(ev.Type) || !record.AnyItem(ev.Items) {
		e.metrics.Unused.Inc()
		return
	}
	e.clock.Advance(ev.Time)
	oldest := e.clock.Horizon()
	e.due.Step(oldest, dueAtOnce, e.expire)
	if ev.Window < oldest {
		e.metrics.Late.Inc()
		return
	}
	if len(ev.Contributor) != contributorBytes {
		e.metrics.Unused.Inc()
		return
	}
	key := contributionKey(ev.Window, ev.Contributor)
	touch := record.Touch{Event: record.Hash64(ev.Event), Type: ev.Type, Time: ev.Time}
	current := e.table.Get(key)
	if current == nil {
		e.due.Add(ev.Window, ev.Contributor)
	}
	if current != nil && len(current.touches) >= e.c.PerPerson &&
		record.CompareEvents(touch.Time, touch.Event, current.touches[0].Time, current.touches[0].Event) < 0 {
		e.metrics.Older.Inc()
		return
	}
	if e.table.Mutate(key).touches.Insert(touch, ev.Items, e.c.PerPerson) {
		e.metrics.Kept.Inc()
	} else {
		e.metrics.Older.Inc()
	}
}

const (
	contributorBytes = 16
	dueAtOnce        = 2 // contributions that one event looks at for what has expired
)

// oldestWindow is the number of the oldest window that is still kept at a time.
func (e *engine) oldestWindow(now int64) int64 {
	return record.FloorDiv(now, e.c.Window.Microseconds()) - int64(e.c.Kept) + 1
}

// expire removes a contribution of a window that is not kept any more.
func (e *engine) expire(window int64, contributor []byte) {
	key := contributionKey(window, contributor)
	if v := e.table.Get(key); v != nil {
		e.metrics.Expired.Add(float64(len(v.touches)))
		e.table.Delete(key)
	}
}

func (e *engine) purge(purge *purposepb.TrendingPurge) {
	for _, c := range purge.Contributors {
		key := contributionKey(c.Window, c.Key)
		if len(purge.Event) == 0 {
			e.table.Delete(key)
			continue
		}
		if e.table.Get(key) == nil {
			continue
		}
		v := e.table.Mutate(key)
		if v.touches.Remove(record.Hash64(purge.Event)); len(v.touches) == 0 {
			e.table.Delete(key)
		}
	}
}

func contributionKey(window int64, contributor []byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 24), uint64(window)), contributor...)
}

// windowOf is the window of a contribution's key.
func windowOf(key []byte) int64 { return int64(record.Hash64(key)) }

type contributionCodec struct{ columns record.ColumnWriter }

func (c *contributionCodec) Encode(buf []byte, v *contribution) ([]byte, error) {
	return record.AppendMessage(buf, &statepb.Contribution{Touches: c.columns.Write(v.touches)})
}

func (c *contributionCodec) Decode(data []byte) (*contribution, error) {
	var m statepb.Contribution
	if err := m.UnmarshalVT(data); err != nil {
		return nil, err
	}
	ts, err := record.TouchesOf(m.Touches)
	return &contribution{touches: ts}, err
}

// Projection compares the contributions of the windows that are kept.
func Projection() stream.Projection {
	return func(table byte, key, value []byte, yield func(stream.Pair)) {
		switch table {
		case record.ClockTable:
			yield(record.HorizonPair(value))
		case record.Table:
			yield(stream.Pair{Store: "contributions", Key: key, Value: value, At: windowOf(key)})
		}
	}
}
