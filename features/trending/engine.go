package trending

import (
	"encoding/binary"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/record"
	"sluice/features/spec"
	"sluice/internal/stream"
	"sluice/privacyfilter/purposepb"
)

// Engine keeps the newest interactions of each contributor in each window. Metrics go to reg, nil = nowhere.
func Engine(c *spec.Config, reg prometheus.Registerer) stream.Engine {
	metrics := record.NewEngineMetrics(reg, "trending")
	return stream.Engine{Name: "trending", Inputs: []string{"trending"}, Open: func(t *stream.Task) (stream.Processor, error) {
		return &engine{types: c.Trending.Types, metrics: metrics, contributions: record.OpenPeople(t, record.Options{
			Name: "contributions", Key: contributionBytes, Keep: []int{c.Trending.PerPerson}, ID: record.EventID, Suffix: 1, Metrics: metrics,
			Step: c.Trending.Window, Retention: int64(c.Trending.Kept-1) * c.Trending.Window.Microseconds(),
		})}, nil
	}}
}

type engine struct {
	types         spec.TypeSet
	metrics       *record.EngineMetrics
	contributions *record.People // by window and contributor
	key           []byte         // of the contribution at hand
	made          record.Builder
}

// lists of a contribution: the interactions.
const lists = 1

const (
	contributorBytes  = 16
	contributionBytes = 8 + contributorBytes // window ‖ contributor
)

// What an entry's body begins with; the item's id follows.
var (
	newcomer    = []byte{0}
	established = []byte{1} // the person counts
)

// Process folds one record of the purpose's stream. What is decoded are pieces of the record; whatever is kept is copied into tables.
func (e *engine) Process(rec *stream.Record) error {
	var r purposepb.TrendingRecord
	if err := r.UnmarshalVTUnsafe(rec.Value); err != nil {
		return fmt.Errorf("decoding a record of %s: %w", rec.Topic, err)
	}
	if purge := r.GetPurge(); purge != nil {
		return e.purge(purge)
	}
	if ev := r.GetEvent(); ev != nil {
		return e.event(ev)
	}
	return nil
}

func (e *engine) event(ev *purposepb.TrendingEvent) error {
	e.contributions.See(ev.Time)
	if !e.types.Has(ev.Type) || len(ev.Contributor) != contributorBytes {
		e.metrics.Unused.Inc()
		return nil
	}
	e.made.Reset()
	standing := newcomer
	if ev.Established {
		standing = established
	}
	for i, item := range ev.Items {
		if record.Named(ev.Items[:i], item) {
			e.made.Add(ev.Event, ev.Time, standing, item.ItemId)
		}
	}
	return e.contributions.Add(e.keyOf(ev.Window, ev.Contributor), nil, 0, e.made.Entries...)
}

func (e *engine) purge(purge *purposepb.TrendingPurge) error {
	for _, c := range purge.Contributors {
		if err := e.contributions.Purge(&purposepb.Purge{Subject: e.keyOf(c.Window, c.Key), Event: purge.Event}); err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) keyOf(window int64, contributor []byte) []byte {
	e.key = append(binary.BigEndian.AppendUint64(e.key[:0], uint64(window)), contributor...)
	return e.key
}

// windowOf is the window of a contribution's key.
func windowOf(key []byte) int64 { return int64(record.Hash64(key)) }

// Projection compares the interactions of the windows that are kept.
func Projection() stream.Projection { return record.Projection("contributions", lists) }
