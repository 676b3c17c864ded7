package profile

import (
	"sluice/features/featurestest"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// harness drives the engine.
type harness struct{ *featurestest.Harness }

func newHarness(t featurestest.T, e stream.Engine, apply func([]stream.Record)) harness {
	return harness{featurestest.New(t, e, apply)}
}

// personalEvent is a subject's event number n at a time, under floor "f".
func personalEvent(subject, n int, typ vocab.Type, time int64, items ...string) *purposepb.PersonalEvent {
	return &purposepb.PersonalEvent{
		Subject: featurestest.ID('u', subject), Event: featurestest.ID('e', n), Type: typ, Time: time, Items: featurestest.Items(items...), Floor: []byte("f"),
	}
}

func (h harness) personal(ev *purposepb.PersonalEvent) {
	h.Send(ev.Subject, &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Event{Event: ev}})
}

func (h harness) purgePersonal(purge *purposepb.Purge) {
	h.Send(purge.Subject, &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Purge{Purge: purge}})
}
