package filter

import (
	"fmt"

	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/purposepb"
)

// scratch holds the projections of the event that is being processed, so that they cost no allocation: they are encoded before the next event comes.
type scratch struct {
	arena    arena
	history  purposepb.HistoryEvent
	personal purposepb.PersonalEvent
	trending purposepb.TrendingEvent
	risk     purposepb.RiskEvent

	historyRecord  purposepb.HistoryRecord
	personalRecord purposepb.PersonalRecord
	trendingRecord purposepb.TrendingRecord
	riskRecord     purposepb.RiskRecord
	entity         purposepb.EntityDelta
}

func (s *scratch) init() {
	s.historyRecord.Of = &purposepb.HistoryRecord_Event{Event: &s.history}
	s.personalRecord.Of = &purposepb.PersonalRecord_Event{Event: &s.personal}
	s.trendingRecord.Of = &purposepb.TrendingRecord_Event{Event: &s.trending}
	s.riskRecord.Event, s.entity.Event = &s.risk, &s.risk
}

// emit projects the event to the purpose at place i of streamed and sends it.
func (f *filter) emit(i int, in *input, state *purposepb.PurposeState) error {
	s, floor := &f.scratch, privacyfilter.RevisionFromPB(state.GetFloor())
	s.arena.reset()
	switch i {
	case history:
		s.history.Reset()
		f.projector.history(&s.history, &s.arena, in.ev, in.lr.ReceivedAt, in.who, floor)
		return f.send(topics.History, in.rec.Partition, nil, s.history.Subject, &s.historyRecord)
	case trending:
		s.trending.Reset()
		f.projector.trending(&s.trending, &s.arena, in.ev, in.lr.ReceivedAt, in.who, f.TrendingWindow.Microseconds())
		f.raiseMark(markWindow, s.trending.Window*f.TrendingWindow.Microseconds())
		return f.send(topics.Trending, in.rec.Partition, nil, s.trending.Contributor, &s.trendingRecord)
	case personalize:
		s.personal.Reset()
		f.projector.personal(&s.personal, &s.arena, in.ev, in.lr.ReceivedAt, in.who, floor)
		return f.send(topics.Personalize, in.rec.Partition, nil, s.personal.Subject, &s.personalRecord)
	default:
		s.risk.Reset()
		f.projector.risk(&s.risk, &s.arena, in.ev, in.lr.ReceivedAt, in.who)
		s.riskRecord.Decision = in.decision
		if err := f.send(topics.Risk, in.rec.Partition, nil, s.risk.Subject, &s.riskRecord); err != nil {
			return err
		}
		return f.emitEntities(&s.risk)
	}
}

// Kinds of entities: the first byte of their keys on sluice.entities.
const (
	EntityAccount      = 'a' // a subject
	EntityDevice       = 'd'
	EntityIP           = 'i'
	EntityInstrument   = 'p'
	EntityCounterparty = 'c'
)

// emitEntities sends the event to every entity that it names and of which a feature counts such events.
func (f *filter) emitEntities(ev *purposepb.RiskEvent) error {
	var value []byte
	for _, e := range [...]struct {
		kind byte
		id   []byte
	}{
		{EntityAccount, ev.Subject}, {EntityDevice, ev.Device}, {EntityIP, ev.Ip}, {EntityInstrument, ev.Instrument}, {EntityCounterparty, ev.Counterparty},
	} {
		if len(e.id) == 0 || f.Counts != nil && !f.Counts(e.kind, ev.Type) {
			continue
		}
		if value == nil {
			var err error
			if value, err = f.scratch.entity.MarshalVT(); err != nil {
				return fmt.Errorf("encoding an entity's event: %w", err)
			}
		}
		key := make([]byte, 0, 1+pseudonym.Size)
		f.task.Emit(topics.Entities, stream.PartitionOf(e.id), append(append(key, e.kind), e.id...), value)
	}
	return nil
}

// message is a generated message.
type message interface {
	SizeVT() int
	MarshalToSizedBufferVT(data []byte) (int, error)
}

// send encodes m and emits it under the key prefix ‖ id. Key and value share one allocation.
func (f *filter) send(topic string, partition int32, prefix, id []byte, m message) error {
	k := len(prefix) + len(id)
	buf := make([]byte, k+m.SizeVT())
	copy(buf[copy(buf, prefix):], id)
	if _, err := m.MarshalToSizedBufferVT(buf[k:]); err != nil {
		return fmt.Errorf("encoding a record of %s: %w", topic, err)
	}
	f.task.Emit(topic, partition, buf[:k:k], buf[k:])
	return nil
}
