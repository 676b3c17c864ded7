package risk

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/risk/riskpb"
)

// metrics watch the decisions of a process. Rules and features are names of the configuration; no label holds an id of anyone.
type metrics struct {
	decisions *prometheus.CounterVec
	rules     *prometheus.CounterVec
	missing   *prometheus.CounterVec
	skipped   *prometheus.CounterVec
	copied    prometheus.Counter
	latency   *prometheus.HistogramVec
	modes     map[string]string // of the rules by id
}

func newMetrics(reg prometheus.Registerer, c *Config, now func() time.Time) *metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_risk_" + name, Help: help}, labels)
	}
	m := &metrics{
		decisions: counters("decisions_total", "Decisions made by this process; one made again after a crash counts again.", "source", "outcome", "type"),
		rules:     counters("rule_hits_total", "Rules that hit.", "rule", "mode"),
		missing:   counters("missing_values_total", "Values whose absence kept a rule from being judged.", "value"),
		skipped:   counters("records_skipped_total", "Records of sluice.risk that could not be used, or decisions on them.", "reason"),
		copied: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_risk_decisions_copied_total", Help: "Decisions of the API that the decider copied to sluice.decisions.",
		}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_risk_decision_seconds", Help: "Duration of POST /v1/decisions, by what it came to.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"result"}),
		modes: make(map[string]string),
	}
	for _, r := range c.rules {
		m.modes[r.id] = "shadow"
		if r.live {
			m.modes[r.id] = "live"
		}
		m.rules.WithLabelValues(r.id, m.modes[r.id]) // a rule that never hits shows as 0
	}
	if reg == nil {
		return m
	}
	reg.MustRegister(m.decisions, m.rules, m.missing, m.skipped, m.copied, m.latency)
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_risk_rules_expired", Help: "Rules that do not run because they have expired.",
	}, func() float64 { return float64(len(c.Expired(now().UnixMicro()))) }))
	return m
}

// count takes a decision that this process has made.
func (m *metrics) count(d *riskpb.Decision) {
	m.decisions.WithLabelValues(d.Source, outcomeName(d.Outcome), d.EventType).Inc()
	for _, ids := range [][]string{d.Rules, d.ShadowRules} {
		for _, id := range ids {
			m.rules.WithLabelValues(id, m.modes[id]).Inc()
		}
	}
	for _, u := range d.Undecided {
		for _, name := range u.Missing {
			m.missing.WithLabelValues(name).Inc()
		}
	}
}
