package deadletter

import (
	"sluice/ingest/eventpb"
	"sluice/internal/vocab"
)

// Probe makes a Gate of the collector's: it asks about an event with no more in it than what could be read of the input.
// Where an input's type cannot be read, the gate is asked about an item view, the most common browsing: what a person
// has not let us store when it is valid is not stored because it is broken. admit tells whether no purpose may use the event.
func Probe(admit func(ev *eventpb.Event) (denied bool, err error)) Gate { return probe(admit) }

type probe func(ev *eventpb.Event) (bool, error)

func (p probe) Keeps(about About) (bool, error) {
	ev := &eventpb.Event{UserId: about.UserID, AnonymousId: about.AnonymousID, Jurisdiction: about.Jurisdiction, Type: vocab.Type_VIEW_ITEM}
	if t, ok := vocab.ParseType(about.Type); ok {
		ev.Type = t
	}
	denied, err := p(ev)
	return !denied, err
}
