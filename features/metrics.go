package features

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// engineMetrics count what becomes of an engine's input events. No label holds an id.
type engineMetrics struct {
	kept, unused, late, older, otherFloor, expired prometheus.Counter
}

func newEngineMetrics(reg prometheus.Registerer, engine string) *engineMetrics {
	labels := prometheus.Labels{"engine": engine}
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_features_events_total", Help: "Input events by what became of them.", ConstLabels: labels,
	}, []string{"result"})
	expired := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sluice_features_expired_total", Help: "Kept entries that retention has removed.", ConstLabels: labels,
	})
	if reg != nil {
		reg.MustRegister(events, expired)
	}
	return &engineMetrics{
		kept:       events.WithLabelValues("kept"),
		unused:     events.WithLabelValues("unused"),      // of a type that leaves no trace, without an item, or of an unknown kind of entity
		late:       events.WithLabelValues("expired"),     // older than retention when it came
		older:      events.WithLabelValues("older"),       // older than all that a full record keeps, or there already
		otherFloor: events.WithLabelValues("other_floor"), // collected under another floor than the one that holds
		expired:    expired,
	}
}

// viewMetrics watch one view.
type viewMetrics struct {
	entries *prometheus.GaugeVec
	apply   prometheus.Histogram
	broken  prometheus.Counter
}

func newViewMetrics(reg prometheus.Registerer, view string) *viewMetrics {
	labels := prometheus.Labels{"view": view}
	m := &viewMetrics{
		entries: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_features_view_entries", Help: "Entries of a view in memory by what they are.", ConstLabels: labels,
		}, []string{"of"}),
		apply: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_features_view_apply_seconds", Help: "Duration of applying one batch of changelog records.", ConstLabels: labels,
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 14),
		}),
		broken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_features_view_broken_total", Help: "Changelog records that could not be read and were passed over.", ConstLabels: labels,
		}),
	}
	if reg != nil {
		reg.MustRegister(m.entries, m.apply, m.broken)
	}
	return m
}

// applied notes the duration of a batch and the sizes after it.
func (m *viewMetrics) applied(began time.Time, sizes map[string]int) {
	m.apply.Observe(time.Since(began).Seconds())
	for of, n := range sizes {
		m.entries.WithLabelValues(of).Set(float64(n))
	}
}
