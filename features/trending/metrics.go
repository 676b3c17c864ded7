package trending

import (
	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/record"
)

// metrics watch the view, and what it keeps from lists. What they say is of the newest tick.
type metrics struct {
	*record.ViewMetrics
	held    *prometheus.GaugeVec // of
	unknown *prometheus.GaugeVec // of
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		ViewMetrics: record.NewViewMetrics(reg, "trending"),
		held: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_trending_held_back",
			Help: "What newcomers chose and lists do not count: people, by window, and items that as many of them chose in one window as make a list.",
		}, []string{"of"}),
		unknown: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_trending_unknown", Help: "What people chose in the kept windows and the catalogue lacks: items, and choices of them (people by item and window).",
		}, []string{"of"}),
	}
	if reg != nil {
		reg.MustRegister(m.held, m.unknown)
	}
	return m
}
