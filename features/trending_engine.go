package features

import (
	"encoding/binary"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/statepb"
	"sluice/internal/stream"
	"sluice/privacyfilter/purposepb"
)

// TrendingEngine keeps what each contributor did in each window. Metrics go to reg, nil = nowhere.
func TrendingEngine(c *Config, reg prometheus.Registerer) stream.Engine {
	metrics := newEngineMetrics(reg, "trending")
	return stream.Engine{Name: "trending", Inputs: []string{"trending"}, Open: func(t *stream.Task) (stream.Processor, error) {
		return &trendingEngine{
			c: c.trending, metrics: metrics, clock: openClock(t, clockTable, c.trending.window),
			table: stream.OpenTable(t, recordTable, "contributions", &contributionCodec{}),
		}, nil
	}}
}

type trendingEngine struct {
	c       trendingConfig
	metrics *engineMetrics
	clock   clock
	table   *stream.Table[contribution]
}

// contribution is what one person did in one window.
type contribution struct{ touches touches }

// Process folds one record of the purpose's stream.
func (e *trendingEngine) Process(rec *stream.Record) error {
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

func (e *trendingEngine) event(ev *purposepb.TrendingEvent) {
	if !e.c.types.has(ev.Type) || !anyItem(ev.Items) {
		e.metrics.unused.Inc()
		return
	}
	if e.clock.advance(ev.Time) {
		e.sweep()
	}
	if ev.Window < e.oldestWindow() {
		e.metrics.late.Inc()
		return
	}
	key := contributionKey(ev.Window, ev.Contributor)
	touch := Touch{Event: hash64(ev.Event), Type: ev.Type, Time: ev.Time}
	if current := e.table.Get(key); current != nil && len(current.touches) >= e.c.perPerson &&
		compareEvents(touch.Time, touch.Event, current.touches[0].Time, current.touches[0].Event) < 0 {
		e.metrics.older.Inc()
		return
	}
	if e.table.Mutate(key).touches.insert(touch, ev.Items, e.c.perPerson) {
		e.metrics.kept.Inc()
	} else {
		e.metrics.older.Inc()
	}
}

// oldestWindow is the number of the oldest window that is still kept.
func (e *trendingEngine) oldestWindow() int64 {
	now := e.clock.now()
	if now == -1<<63 {
		return now
	}
	return floorDiv(now, e.c.window.Microseconds()) - int64(e.c.kept) + 1
}

func (e *trendingEngine) sweep() {
	oldest := e.oldestWindow()
	e.table.Range(func(key []byte, v *contribution) bool {
		if windowOf(key) < oldest {
			e.metrics.expired.Add(float64(len(v.touches)))
			e.table.Delete(key)
		}
		return true
	})
}

func (e *trendingEngine) purge(purge *purposepb.TrendingPurge) {
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
		if v.touches.remove(hash64(purge.Event)); len(v.touches) == 0 {
			e.table.Delete(key)
		}
	}
}

func contributionKey(window int64, contributor []byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 24), uint64(window)), contributor...)
}

// windowOf is the window of a contribution's key.
func windowOf(key []byte) int64 { return int64(hash64(key)) }

type contributionCodec struct{ columns columnWriter }

func (c *contributionCodec) Encode(buf []byte, v *contribution) ([]byte, error) {
	return appendMessage(buf, &statepb.Contribution{Touches: c.columns.write(v.touches)})
}

func (c *contributionCodec) Decode(data []byte) (*contribution, error) {
	var m statepb.Contribution
	if err := m.UnmarshalVT(data); err != nil {
		return nil, err
	}
	ts, err := touchesOf(m.Touches)
	return &contribution{touches: ts}, err
}

// trendingProjection compares contributions as they are.
func trendingProjection() stream.Projection { return only("contributions", recordTable, asItIs) }
