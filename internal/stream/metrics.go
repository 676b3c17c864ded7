package stream

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"
)

// runnerMetrics watch one role, and each of its engines. No label holds an id.
type runnerMetrics struct {
	committed, aborted, restarts prometheus.Counter
	completed, torn              prometheus.Counter // that the brokers committed in part
	freshness, transaction       prometheus.Histogram
	engines                      []engineMetrics // in the order of the role's
}

type engineMetrics struct {
	records      prometheus.Counter
	lag, restore prometheus.Gauge
	checkpoint   prometheus.Histogram
	entries      *prometheus.GaugeVec
	bytes        *prometheus.GaugeVec
}

func newRunnerMetrics(reg prometheus.Registerer, role Role) *runnerMetrics {
	of := instruments{reg, prometheus.Labels{"role": role.Name}}
	m := &runnerMetrics{
		committed: of.counter("transactions_total", "Transactions by result.", prometheus.Labels{"result": "committed"}),
		aborted:   of.counter("transactions_total", "Transactions by result.", prometheus.Labels{"result": "aborted"}),
		completed: of.counter("transactions_total", "Transactions by result.", prometheus.Labels{"result": "completed"}),
		torn:      of.counter("transactions_total", "Transactions by result.", prometheus.Labels{"result": "torn"}),
		restarts:  of.counter("restarts_total", "Sessions that ended with an error and were started anew.", nil),
		freshness: of.histogram("freshness_seconds", "From the oldest record's time to the commit of its transaction."),
		transaction: of.histogramOf("transaction_seconds", "Duration of committed transactions.",
			.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10),
	}
	for _, engine := range role.Engines {
		of := instruments{reg, prometheus.Labels{"engine": engine.Name}}
		e := engineMetrics{
			records:    of.counter("records_total", "Input records processed and committed; a pack counts as what it holds.", nil),
			lag:        of.gauge("lag_records", "Records behind the high watermark at the last fetch."),
			restore:    of.gauge("restore_seconds", "Duration of the last restore."),
			checkpoint: of.histogram("checkpoint_seconds", "Duration of writing one task's checkpoint."),
			entries: prometheus.NewGaugeVec(prometheus.GaugeOpts{
				Name: "sluice_stream_state_entries", Help: "Entries in memory by table.", ConstLabels: of.labels,
			}, []string{"table"}),
		}
		e.bytes = prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_stream_state_bytes", Help: "Bytes in memory by table.", ConstLabels: of.labels,
		}, []string{"table"})
		reg.MustRegister(e.entries, e.bytes)
		m.engines = append(m.engines, e)
	}
	return m
}

// instruments makes and registers instruments with the same labels.
type instruments struct {
	reg    prometheus.Registerer
	labels prometheus.Labels
}

func (i instruments) counter(name, help string, more prometheus.Labels) prometheus.Counter {
	all := maps.Clone(i.labels)
	maps.Copy(all, more)
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_stream_" + name, Help: help, ConstLabels: all})
	i.reg.MustRegister(c)
	return c
}

func (i instruments) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_stream_" + name, Help: help, ConstLabels: i.labels})
	i.reg.MustRegister(g)
	return g
}

func (i instruments) histogram(name, help string) prometheus.Histogram {
	return i.histogramOf(name, help, prometheus.ExponentialBuckets(0.001, 2, 14)...)
}

func (i instruments) histogramOf(name, help string, buckets ...float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sluice_stream_" + name, Help: help, ConstLabels: i.labels, Buckets: buckets})
	i.reg.MustRegister(h)
	return h
}
