package record

import (
	"github.com/prometheus/client_golang/prometheus"
)

// EngineMetrics count what becomes of an engine's input events. No label holds an id.
type EngineMetrics struct {
	Kept, Unused, Late, Older, OtherFloor, Expired prometheus.Counter
}

// NewEngineMetrics registers an engine's metrics; reg nil = nowhere.
func NewEngineMetrics(reg prometheus.Registerer, engine string) *EngineMetrics {
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
	return &EngineMetrics{
		Kept:       events.WithLabelValues("kept"),
		Unused:     events.WithLabelValues("unused"),      // of a type that leaves no trace, without an item, or of an unknown kind of entity
		Late:       events.WithLabelValues("expired"),     // older than retention when it came
		Older:      events.WithLabelValues("older"),       // older than all that a full record keeps, or there already
		OtherFloor: events.WithLabelValues("other_floor"), // collected under another floor than the one that holds
		Expired:    expired,
	}
}
