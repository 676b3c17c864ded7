package spill

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	live, garbage prometheus.Gauge
	errors        *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, view string) *metrics {
	labels := prometheus.Labels{"view": view}
	size := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "sluice_features_view_disk_bytes", Help: "Bytes of a view on disk: what can be read (live), and what was replaced or deleted and waits for its removal (garbage).", ConstLabels: labels,
	}, []string{"of"})
	m := &metrics{
		live: size.WithLabelValues("live"), garbage: size.WithLabelValues("garbage"),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_features_view_disk_errors_total", Help: "Attempts of a view to use its files that failed: read, write, or damaged (it does not hold what was written).", ConstLabels: labels,
		}, []string{"what"}),
	}
	for _, what := range []string{"read", "write", "damaged"} {
		m.errors.WithLabelValues(what)
	}
	if reg != nil {
		reg.MustRegister(size, m.errors)
	}
	return m
}
