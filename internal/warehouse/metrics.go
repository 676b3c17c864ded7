package warehouse

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics watch one writer. No label holds an id.
type metrics struct {
	rows                                           *prometheus.CounterVec
	blocks, purges, letters, storeErrors, restarts prometheus.Counter
	buffered, memory, lag, oldest                  prometheus.Gauge
	flush                                          prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_warehouse_" + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_warehouse_" + name, Help: help})
		reg.MustRegister(g)
		return g
	}
	m := &metrics{
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_warehouse_rows_total", Help: "Rows stored by this process, by table. Rows of a block that is stored again after a crash count again.",
		}, []string{"table"}),
		blocks:      counter("blocks_total", "Blocks stored."),
		purges:      counter("purges_total", "Purges carried out."),
		letters:     counter("letters_total", "Records that could not be decoded and became dead letters."),
		storeErrors: counter("store_errors_total", "Attempts of the store, or to keep a dead letter, that failed; they are repeated."),
		restarts:    counter("restarts_total", "Sessions as a member of the group that ended with an error and were started anew."),
		buffered:    gauge("buffered_rows", "Rows read and not stored yet."),
		memory:      gauge("buffered_bytes", "Memory of the rows and purges that are read and not stored yet, with room for further ones."),
		lag:         gauge("lag_records", "Records of this member's partitions that are not stored yet."),
		oldest:      gauge("oldest_unflushed_seconds", "Age of the oldest record that was read and is not stored yet."),
		flush: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_warehouse_flush_seconds", Help: "Duration of a flush: promising its blocks, storing them (at a quarter of a core while nothing is urgent), committing.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 15),
		}),
	}
	reg.MustRegister(m.rows, m.flush)
	return m
}

// stored counts what a flush has stored.
func (m *metrics) stored(f *flush, took time.Duration) {
	for _, b := range f.blocks {
		m.blocks.Inc()
		m.purges.Add(float64(len(b.Purges)))
		for i, t := range b.Source.Tables {
			m.rows.WithLabelValues(t.Name).Add(float64(b.Batches[i].Rows()))
		}
	}
	m.flush.Observe(took.Seconds())
}
