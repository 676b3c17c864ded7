package consent

import "github.com/prometheus/client_golang/prometheus"

// metrics watch the view. No label holds an id.
type metrics struct {
	heartbeats, failed prometheus.Counter
	acknowledged       prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, v *View) *metrics {
	m := &metrics{
		heartbeats: prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_consent_heartbeats_total", Help: "Heartbeats that are durable."}),
		failed:     prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_consent_heartbeat_failures_total", Help: "Heartbeats that could not be written."}),
		acknowledged: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_consent_acknowledgement_seconds", Help: "From a durable change to its being obeyed by every node.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 12),
		}),
	}
	if reg == nil {
		return m
	}
	gauge := func(name, help string, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sluice_consent_" + name, Help: help}, value))
	}
	reg.MustRegister(m.heartbeats, m.failed, m.acknowledged)
	gauge("lease_age_seconds", "Age of the lease; requests that name a subject are refused from 1 s on.", func() float64 { return (v.boot() - v.lease.load().from).Seconds() })
	gauge("rows", "Subjects with a row.", func() float64 { return float64(v.people.rows.Load()) })
	gauge("restrictions", "Restrictions that no row has overtaken yet.", func() float64 { return float64(v.people.restrictions.Load()) })
	gauge("nodes", "Other nodes that speak.", func() float64 { return float64(v.nodes.live(v.boot())) })
	reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "sluice_consent_broken_records_total", Help: "Records of sluice.consent that could not be read.",
	}, func() float64 { return float64(v.people.broken.Load()) }))
	reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "sluice_consent_unhidden_total", Help: "Deleted events that were hidden for less than an hour, since there were too many.",
	}, func() float64 { return float64(v.people.lost()) }))
	return m
}
