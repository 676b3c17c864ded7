package features

import (
	"github.com/prometheus/client_golang/prometheus"
)

// engineMetrics count what becomes of an engine's input events. No label holds an id.
type engineMetrics struct {
	kept, unused, late, older, otherFloor, expired prometheus.Counter
}

func newEngineMetrics(reg prometheus.Registerer, engine string) *engineMetrics {
	labels := prometheus.Labels{"engine": engine}
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_features_events_total", Help: "Input events by what became of them.", ConstLabels: labels,
	}, []string{"result"})
	expired := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sluice_features_expired_total", Help: "Kept entries that retention has removed.", ConstLabels: labels,
	})
	if reg != nil {
		reg.MustRegister(events, expired)
	}
	return &engineMetrics{
		kept:       events.WithLabelValues("kept"),
		unused:     events.WithLabelValues("unused"),      // of a type that leaves no trace, without an item, or of an unknown kind of entity
		late:       events.WithLabelValues("expired"),     // older than retention when it came
		older:      events.WithLabelValues("older"),       // older than all that a full record keeps, or there already
		otherFloor: events.WithLabelValues("other_floor"), // collected under another floor than the one that holds
		expired:    expired,
	}
}
