package risk

import (
	"bytes"

	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/privacyfilter/purposepb"
	"sluice/risk/riskpb"
)

// DeciderEngine reads sluice.risk and gives every sign-up, login and payment its decision on sluice.decisions: the API's, as it was answered,
// or one of its own. Key: the event's risk pseudonym; partition: the input's. It keeps no state; the filter lets an event through once.
// Start it when the entity view has caught up, or the first decisions are made without a past. With a nil decider it only tells its name and inputs.
func DeciderEngine(d *Decider) stream.Engine {
	return stream.Engine{Name: "decider", Inputs: []string{topics.Risk}, Open: func(t *stream.Task) (stream.Processor, error) {
		return &processor{decider: d, task: t}, nil
	}}
}

type processor struct {
	decider *Decider
	task    *stream.Task
}

var _ stream.Processor = (*processor)(nil)

// Process never fails on a record: what cannot be read is counted and passed over.
func (p *processor) Process(rec *stream.Record) error {
	in := new(purposepb.RiskRecord) // not used again: the overlay may keep the event
	if rec.Value == nil || in.UnmarshalVT(rec.Value) != nil || in.Event == nil || len(in.Event.Event) == 0 {
		p.skip("unreadable_record")
		return nil
	}
	ev := in.Event
	if len(in.Decision) > 0 {
		if decides(in.Decision, ev) {
			p.decider.entities.Overlay(ev)
			p.decider.metrics.copied.Inc()
			p.emit(rec, ev, in.Decision)
			return nil
		}
		p.skip("unreadable_decision")
	}
	if !decided(ev.Type) {
		p.decider.entities.Overlay(ev)
		return nil
	}
	made := p.decider.decide(ev, sourceLog, ev.Time)
	value, err := made.MarshalVT()
	if err != nil {
		p.skip("decision_not_encoded")
		return nil
	}
	p.decider.metrics.count(made)
	p.emit(rec, ev, value)
	return nil
}

func (p *processor) skip(reason string) { p.decider.metrics.skipped.WithLabelValues(reason).Inc() }

func (p *processor) emit(rec *stream.Record, ev *purposepb.RiskEvent, value []byte) {
	p.task.Emit(topics.Decisions, rec.Partition, ev.Event, value)
}

// decides tells whether data is a decision on the event.
func decides(data []byte, ev *purposepb.RiskEvent) bool {
	var d riskpb.Decision
	if d.UnmarshalVT(data) != nil {
		return false
	}
	return bytes.Equal(d.Event, ev.Event) && d.DecisionId == idOf(ev.Event).String() && d.Outcome != riskpb.Decision_OUTCOME_UNSPECIFIED
}
