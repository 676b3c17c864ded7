package filter

import (
	"unsafe"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/purposepb"
)

// Projector turns an event into the purposes' types. Each gets only the fields that the register collects for it, and its own pseudonym of every identifier. It
// is safe for concurrent use.
type Projector struct {
	keys *pseudonym.Keys
	of   [len(streamed)]projection
}

// NewProjector compiles the purposes' types and the register's fields.
func NewProjector(reg *privacyfilter.Register, keys *pseudonym.Keys) *Projector {
	p := &Projector{keys: keys}
	for i, purpose := range streamed {
		p.of[i] = newProjection(reg, keys, purpose)
	}
	return p
}

// who is the person of an event, and the event itself, by pseudonyms.
type who struct {
	subject     string
	incarnation uint32
	event       pseudonym.EventHash
}

// Risk is what fraud control may see of the event: exactly what the filter emits for it, in the subject's first incarnation.
func (p *Projector) Risk(ev *eventpb.Event, receivedAt int64) *purposepb.RiskEvent {
	out := new(purposepb.RiskEvent)
	subject := ingest.Subject(ev)
	p.risk(out, new(arena), ev, receivedAt, who{subject: subject, event: p.keys.EventHash(subject, ev.Type, ev.Id)})
	return out
}

// history fills out with what the history may show. It reads a's memory until a is reset, as do the others.
func (p *Projector) history(out *purposepb.HistoryEvent, a *arena, ev *eventpb.Event, received int64, w who, floor privacyfilter.Revision) {
	p.of[history].fill(unsafe.Pointer(out), a, ev)
	out.Subject = a.subject(p.keys, privacyfilter.History, w)
	out.Event = a.event(p.keys, privacyfilter.History, w.event)
	out.Time = min(ev.Time, received)
	out.Floor = a.floor(p.keys, privacyfilter.History, w.subject, floor)
}

func (p *Projector) personal(out *purposepb.PersonalEvent, a *arena, ev *eventpb.Event, received int64, w who, floor privacyfilter.Revision) {
	p.of[personalize].fill(unsafe.Pointer(out), a, ev)
	out.Subject = a.subject(p.keys, privacyfilter.Personalize, w)
	out.Event = a.event(p.keys, privacyfilter.Personalize, w.event)
	out.Time = min(ev.Time, received)
	out.Floor = a.floor(p.keys, privacyfilter.Personalize, w.subject, floor)
}

func (p *Projector) trending(out *purposepb.TrendingEvent, a *arena, ev *eventpb.Event, received int64, w who, windowMicros int64, established bool) {
	p.of[trending].fill(unsafe.Pointer(out), a, ev)
	out.Time = min(ev.Time, received)
	out.Window = windowOf(out.Time, windowMicros)
	out.Contributor = a.contributor(p.keys, w, out.Window)
	out.Established = established
	out.Event = a.event(p.keys, privacyfilter.Trending, w.event)
}

func (p *Projector) risk(out *purposepb.RiskEvent, a *arena, ev *eventpb.Event, received int64, w who) {
	p.of[risk].fill(unsafe.Pointer(out), a, ev)
	out.Subject = a.subject(p.keys, privacyfilter.Risk, w)
	out.Event = a.event(p.keys, privacyfilter.Risk, w.event)
	out.EventHash = pseudonym.Hash(out.Event)
	out.Time = min(ev.Time, received)
}

// windowOf is the number of the window, since 1970, that holds a time.
func windowOf(micros, windowMicros int64) int64 {
	n := micros / windowMicros
	if micros%windowMicros < 0 {
		n--
	}
	return n
}
