// Package ingest is the event: its JSON form with strict decoding and validation, the gate that is asked before it is stored, and the log that it is appended to.
package ingest

import (
	"crypto/sha256"

	"sluice/ingest/eventpb"
)

// Event is one thing a person did. Times are Unix microseconds, money is int64 micros.
type Event = eventpb.Event

// Gate is asked before a durable write. privacyfilter/consent.Gate is one.
type Gate interface {
	// Admit writes into each event's Consent.Denied what the device denies, and what GPC denies, and into denied whether no purpose may use it.
	// denied is as long as events. An error means that consent cannot be known now (503), and says nothing about any of them.
	Admit(events []*Event, denied []bool) error
}

// AdmitOne asks a gate about one event.
func AdmitOne(g Gate) func(ev *Event) (denied bool, err error) {
	return func(ev *Event) (bool, error) {
		var denied [1]bool
		err := g.Admit([]*Event{ev}, denied[:])
		return err == nil && denied[0], err
	}
}

// Subject is the person that the event belongs to: "u:" and the user id, else "a:" and the anonymous id, empty if the event has neither.
func Subject(ev *Event) string {
	return string(AppendSubject(nil, ev))
}

// AppendSubject appends Subject.
func AppendSubject(to []byte, ev *Event) []byte {
	kind, id := subject(ev)
	return append(append(to, kind...), id...)
}

// subject is Subject in its two parts.
func subject(ev *Event) (kind, id string) {
	switch {
	case ev.UserId != "":
		return "u:", ev.UserId
	case ev.AnonymousId != "":
		return "a:", ev.AnonymousId
	default:
		return "", ""
	}
}

// DenyAll stands in an event's Consent.Denied for all purposes that can be denied.
const DenyAll = "*"

// ContentHash identifies what an event says, however its JSON is written. It leaves out what the client knew of consent, and when it sent the event. It is taken
// before Date, which corrects a retry by another difference.
func ContentHash(ev *Event) ([]byte, error) {
	said := ev.CloneVT()
	said.Consent, said.SentAt = nil, 0
	data, err := said.MarshalVT()
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(data)
	return hash[:], nil
}

// Fault is why an event was rejected. It never holds a value.
type Fault struct {
	Code    string // stable: missing_field, invalid_value, …
	Pointer string // RFC 6901, empty for the event as a whole
	Detail  string // what was expected
}

// Error makes a fault usable as an error.
func (f *Fault) Error() string {
	if f.Pointer == "" {
		return f.Code + ": " + f.Detail
	}
	return f.Code + " at " + f.Pointer + ": " + f.Detail
}

// Warning tells what was set aside of an accepted event. It never holds a value.
type Warning struct {
	Code    string // unknown_field, order_not_taken, …
	Pointer string // RFC 6901
	Detail  string
}
