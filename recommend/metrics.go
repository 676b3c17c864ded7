package recommend

import "github.com/prometheus/client_golang/prometheus"

// metrics count requests by surface and mode. No label tells a person.
type metrics struct {
	requests    *prometheus.CounterVec // surface, mode
	notPersonal *prometheus.CounterVec // reason
	refused     *prometheus.CounterVec // reason
	stages      *prometheus.HistogramVec
	candidates  *prometheus.HistogramVec
	relaxed     *prometheus.CounterVec // surface
	recomputed  prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_recommend_requests_total", Help: "Answered lists by surface and mode (personal, non_personal).",
		}, []string{"surface", "mode"}),
		notPersonal: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_recommend_not_personalized_total", Help: "Lists that were not personal, by the reason that the answer names.",
		}, []string{"reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_recommend_refused_total", Help: "Requests that got a problem instead of a list, by its code.",
		}, []string{"code"}),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_recommend_stage_seconds", Help: "Seconds by stage (retrieve, rank) of lists that were made, not taken from those of the tick.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 12),
		}, []string{"stage"}),
		candidates: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_recommend_candidates", Help: "Candidates that a list was chosen from.", Buckets: prometheus.ExponentialBuckets(1, 4, 8),
		}, []string{"surface"}),
		relaxed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_recommend_relaxed_total", Help: "Lists that could not keep every constraint of their surface.",
		}, []string{"surface"}),
		recomputed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_recommend_recomputed_total", Help: "Lists that were made again because consent had changed while they were made.",
		}),
	}
	if registerer != nil {
		registerer.MustRegister(m.requests, m.notPersonal, m.refused, m.stages, m.candidates, m.relaxed, m.recomputed)
	}
	return m
}

func (m *metrics) answered(surface string, o *outcome) {
	mode := "personal"
	if o.because != "" {
		mode = "non_personal"
		m.notPersonal.WithLabelValues(o.because).Inc()
	}
	m.requests.WithLabelValues(surface, mode).Inc()
	if !o.shared {
		m.stages.WithLabelValues("retrieve").Observe(o.retrieve.Seconds())
		m.stages.WithLabelValues("rank").Observe(o.rank.Seconds())
	}
	m.candidates.WithLabelValues(surface).Observe(float64(o.candidates))
	if o.relaxed {
		m.relaxed.WithLabelValues(surface).Inc()
	}
}
