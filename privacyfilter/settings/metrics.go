package settings

import "github.com/prometheus/client_golang/prometheus"

// metrics watch the writes. No label holds an id.
type metrics struct {
	writes  *prometheus.CounterVec
	seconds prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, s *service) *metrics {
	m := &metrics{
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_settings_writes_total", Help: "Writes by act and result: obeyed, late (recorded, not obeyed in time), overtaken (a permission that yielded to a newer restriction), refused.",
		}, []string{"act", "result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_settings_write_seconds", Help: "From a request to its change being obeyed by every node.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
	}
	for _, act := range []string{"policy", "choice", "block", "unblock", "delete_history", "delete_footprint", "import"} {
		m.writes.WithLabelValues(act, "late") // an alert sees its first
	}
	if reg == nil {
		return m
	}
	reg.MustRegister(m.writes, m.seconds)
	for kind, places := range map[string]chan struct{}{"restrict": s.restrictions, "permit": s.permissions, "stranger": s.strangers, "import": s.imports} {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sluice_settings_writes_in_flight", Help: "Writes that wait to be obeyed everywhere, by kind (restrict, permit, stranger, import).",
			ConstLabels: prometheus.Labels{"kind": kind},
		}, func() float64 { return float64(len(places)) }))
	}
	return m
}
