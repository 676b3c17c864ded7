package stream

import "github.com/prometheus/client_golang/prometheus"

// runnerMetrics watch one engine. No label holds an id.
type runnerMetrics struct {
	records, committed, aborted, restarts prometheus.Counter
	lag, restore                          prometheus.Gauge
	freshness, checkpoint                 prometheus.Histogram
	entries                               *prometheus.GaugeVec
}

func newRunnerMetrics(reg prometheus.Registerer, engine string) *runnerMetrics {
	labels := prometheus.Labels{"engine": engine}
	counter := func(name, help string, more prometheus.Labels) prometheus.Counter {
		all := prometheus.Labels{"engine": engine}
		for k, v := range more {
			all[k] = v
		}
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_stream_" + name, Help: help, ConstLabels: all})
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_stream_" + name, Help: help, ConstLabels: labels})
		reg.MustRegister(g)
		return g
	}
	histogram := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sluice_stream_" + name, Help: help, ConstLabels: labels, Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)})
		reg.MustRegister(h)
		return h
	}
	m := &runnerMetrics{
		records:    counter("records_total", "Input records processed and committed.", nil),
		committed:  counter("transactions_total", "Transactions by result.", prometheus.Labels{"result": "committed"}),
		aborted:    counter("transactions_total", "Transactions by result.", prometheus.Labels{"result": "aborted"}),
		restarts:   counter("restarts_total", "Sessions that ended with an error and were started anew.", nil),
		lag:        gauge("lag_records", "Records behind the high watermark at the last fetch."),
		restore:    gauge("restore_seconds", "Duration of the last restore."),
		freshness:  histogram("freshness_seconds", "From the oldest record's time to the commit of its transaction."),
		checkpoint: histogram("checkpoint_seconds", "Duration of writing one task's checkpoint."),
		entries: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_stream_state_entries", Help: "Entries in memory by table.", ConstLabels: labels,
		}, []string{"table"}),
	}
	reg.MustRegister(m.entries)
	return m
}
