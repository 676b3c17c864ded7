package record

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/spill"
	"sluice/internal/stream"
)

// ViewOptions says what a view needs beside its changelog.
type ViewOptions struct {
	Now        func() time.Time // what "now" is with clock: wall; time.Now if nil
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil = no metrics
	Checkpoint *stream.Store         // of the engine, if this process works it: the view starts from it
	Dir        string                // of what a view keeps on disk; empty = the system's for temporary files
}

// Fill sets what is left out.
func (o *ViewOptions) Fill() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Follower is how a view follows its engine's changelog. It looks at these tables alone.
func (o *ViewOptions) Follower(apply func(recs []stream.Record), tables ...byte) stream.FollowerOptions {
	return stream.FollowerOptions{Apply: apply, Logger: o.Logger, Source: stream.Source{Store: o.Checkpoint, Tables: tables}}
}

// Spill is how a view keeps on disk what is hardly ever read.
func (o *ViewOptions) Spill(view string) spill.Options {
	return spill.Options{View: view, Dir: o.Dir, Registerer: o.Registerer, Logger: o.Logger}
}

// Shards is into how many parts, with a lock each, views split what they hold.
const Shards = 64

// ViewMetrics watch one view.
type ViewMetrics struct {
	entries *prometheus.GaugeVec
	apply   prometheus.Histogram
	Broken  prometheus.Counter
}

// NewViewMetrics registers a view's metrics; reg nil = nowhere.
func NewViewMetrics(reg prometheus.Registerer, view string) *ViewMetrics {
	labels := prometheus.Labels{"view": view}
	m := &ViewMetrics{
		entries: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_features_view_entries", Help: "Entries of a view in memory by what they are.", ConstLabels: labels,
		}, []string{"of"}),
		apply: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_features_view_apply_seconds", Help: "Duration of applying changelog records, at most 512 at a time.", ConstLabels: labels,
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 14),
		}),
		Broken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_features_view_broken_total", Help: "Changelog records that could not be read: passed over, or the answer was refused.", ConstLabels: labels,
		}),
	}
	if reg != nil {
		reg.MustRegister(m.entries, m.apply, m.Broken)
	}
	return m
}

// Applied notes the duration of a batch and the sizes after it.
func (m *ViewMetrics) Applied(began time.Time, sizes map[string]int) {
	m.apply.Observe(time.Since(began).Seconds())
	for of, n := range sizes {
		m.entries.WithLabelValues(of).Set(float64(n))
	}
}
