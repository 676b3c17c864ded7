package filter

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// outcome is what became of an event, for one purpose or overall: in = allowed + denied + rejected + duplicate, always.
type outcome int

const (
	allowed outcome = iota
	denied
	rejected
	duplicate
	outcomes
)

var outcomeNames = [outcomes]string{"allowed", "denied", "rejected", "duplicate"}

// metrics count what the filter did, over all partitions of the process. No label holds an id.
type metrics struct {
	events    [outcomes]prometheus.Counter
	byPurpose [len(streamed)][outcomes]prometheus.Counter
	controls  *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	events := vec(reg, "sluice_filter_events_total", "Events by outcome: allowed for at least one purpose, denied, rejected, duplicate.", "outcome")
	purposes := vec(reg, "sluice_filter_purpose_events_total", "Events by purpose and outcome.", "purpose", "outcome")
	m := &metrics{controls: vec(reg, "sluice_filter_controls_total", "Control records by act and result (changed, unchanged, ignored, overtaken, rejected).", "act", "result")}
	for o, name := range outcomeNames {
		m.events[o] = events.WithLabelValues(name)
		for i, purpose := range streamed {
			m.byPurpose[i][o] = purposes.WithLabelValues(purpose, name)
		}
	}
	return m
}

// vec is a registered counter. Engines that share a registerer share their counters.
func vec(reg prometheus.Registerer, name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	if known := (prometheus.AlreadyRegisteredError{}); errors.As(err, &known) {
		if same, ok := known.ExistingCollector.(*prometheus.CounterVec); ok {
			return same
		}
	}
	if err != nil {
		panic(err) // a name of ours that is no counter: a broken invariant
	}
	return c
}

// counts are the events of the open transaction.
type counts struct {
	events    [outcomes]int
	byPurpose [len(streamed)][outcomes]int
}

// count books an outcome overall and for every purpose.
func (c *counts) count(o outcome) {
	c.events[o]++
	for i := range c.byPurpose {
		c.byPurpose[i][o]++
	}
}

// add takes over what a transaction did. What was aborted comes again, so that it counts then.
func (m *metrics) add(c *counts, committed bool) {
	if committed {
		for o, n := range c.events {
			addTo(m.events[o], n)
			for i := range c.byPurpose {
				addTo(m.byPurpose[i][o], c.byPurpose[i][o])
			}
		}
	}
	*c = counts{}
}

func addTo(counter prometheus.Counter, n int) {
	if n > 0 {
		counter.Add(float64(n))
	}
}
