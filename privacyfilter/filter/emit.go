package filter

import (
	"fmt"

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

// emit projects the event to the purpose at place i of streamed, which may use it under the grant, and sends it.
func (f *filter) emit(i int, in *input, grant privacyfilter.Grant) error {
	s := &f.scratch
	s.arena.reset()
	switch i {
	case history:
		s.history.Reset()
		f.projector.history(&s.history, &s.arena, in.ev, in.lr.ReceivedAt, in.who, grant.Floor)
		return f.pack(topics.History, in.rec.Partition, nil, &s.historyRecord)
	case trending:
		s.trending.Reset()
		f.projector.trending(&s.trending, &s.arena, in.ev, in.lr.ReceivedAt, in.who, f.TrendingWindow.Microseconds(), f.established(in, grant))
		f.raiseMark(markWindow, s.trending.Window*f.TrendingWindow.Microseconds())
		return f.pack(topics.Trending, in.rec.Partition, nil, &s.trendingRecord)
	case personalize:
		s.personal.Reset()
		f.projector.personal(&s.personal, &s.arena, in.ev, in.lr.ReceivedAt, in.who, grant.Floor)
		return f.pack(topics.Personalize, in.rec.Partition, nil, &s.personalRecord)
	default:
		s.risk.Reset()
		f.projector.risk(&s.risk, &s.arena, in.ev, in.lr.ReceivedAt, in.who)
		s.riskRecord.Decision = in.decision
		if err := f.pack(topics.Risk, in.rec.Partition, nil, &s.riskRecord); err != nil {
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

// emitEntities sends the event to every entity that it names, if a feature counts such events for the entity.
func (f *filter) emitEntities(ev *purposepb.RiskEvent) error {
	for _, e := range [...]struct {
		kind byte
		id   []byte
	}{
		{EntityAccount, ev.Subject}, {EntityDevice, ev.Device}, {EntityIP, ev.Ip}, {EntityInstrument, ev.Instrument}, {EntityCounterparty, ev.Counterparty},
	} {
		if len(e.id) == 0 || f.Counts != nil && !f.Counts(e.kind, ev.Type) {
			continue
		}
		key := [1 + pseudonym.Size]byte{e.kind}
		copy(key[1:], e.id)
		if err := f.pack(topics.Entities, f.task.PartitionOf(e.id), key[:], &f.scratch.entity); err != nil {
			return err
		}
	}
	return nil
}

// message is a generated message.
type message interface {
	SizeVT() int
	MarshalToSizedBufferVT(data []byte) (int, error)
}

// pack encodes m into what the transaction puts on the partition.
func (f *filter) pack(topic string, partition int32, key []byte, m message) error {
	if _, err := m.MarshalToSizedBufferVT(f.task.Pack(topic, partition, 0, key, m.SizeVT())); err != nil {
		return fmt.Errorf("encoding an entry of %s: %w", topic, err)
	}
	return nil
}
