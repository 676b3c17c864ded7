package collector

import (
	"cmp"
	"context"
	"net/http"

	"sluice/ingest"
	"sluice/internal/httpx"
	"sluice/internal/quota"
)

const maxWarnings = 100

// batch is one request's events on their way.
type batch struct {
	c         *Collector
	who       *caller
	room      *room
	counted   quota.Batch
	accepted  []ingest.Accepted
	forbidden int // of the rejected: what the key may not do
	eventsAnswer
}

// postEvents is POST /v1/events.
func (c *Collector) postEvents(w http.ResponseWriter, r *http.Request) {
	who, problem := c.callerOf(r, httpx.RoleWrite, httpx.RoleServer)
	if problem == nil {
		problem = c.collect(w, r, who)
	}
	if problem == nil {
		return
	}
	if problem.Code == quota.Code {
		who.quota.Hold(r.Context()) // it holds neither memory nor a place by now
	}
	httpx.WriteProblem(w, problem)
}

// collect takes a request's events and answers, unless there is a problem.
func (c *Collector) collect(w http.ResponseWriter, r *http.Request, who *caller) *httpx.Problem {
	if problem := who.quota.Post(); problem != nil {
		return problem
	}
	if problem := c.open(); problem != nil {
		return problem
	}
	body, problem := c.read(w, r, typeJSON, typeNDJSON, typeText)
	if problem != nil {
		return problem
	}
	defer body.free()
	counted, problem := who.quota.Batch(roomOf(body)) // before room is kept, which others need
	if problem != nil {
		return problem
	}
	room, problem := c.reserve(body)
	if problem != nil {
		counted.Return()
		return problem
	}
	defer room.leave()
	b := &batch{c: c, who: who, room: room, counted: counted, eventsAnswer: eventsAnswer{Errors: []httpx.FieldError{}, Warnings: []httpx.FieldError{}}}
	if problem := b.decode(r.Context(), body); problem != nil {
		return problem
	}
	if problem := b.append(r.Context()); problem != nil {
		return problem
	}
	b.count()
	b.write(w)
	return nil
}

// decode takes every event as far as it gets, when the request's turn comes. The problem is that none can be taken.
func (b *batch) decode(ctx context.Context, body *body) *httpx.Problem {
	leave, ok := b.c.enter(ctx)
	if !ok {
		b.counted.Return()
		return httpx.Overloaded()
	}
	defer leave()
	e, problem := split(body)
	if problem != nil {
		return problem
	}
	b.who.sentAt = e.sentAt
	b.accepted = make([]ingest.Accepted, 0, len(e.entries))
	for _, pointer := range e.unknown {
		b.warn(-1, "", &ingest.Warning{Code: ingest.WarnUnknownField, Pointer: pointer, Detail: "this member of the envelope is not known; it was set aside"})
	}
	return b.take(e.entries)
}

// append makes what was accepted durable. The problem is that nothing can be stored now.
func (b *batch) append(ctx context.Context) *httpx.Problem {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*b.c.o.Config.Timeout)
	defer cancel()
	if problem := b.room.take(len(b.accepted)); problem != nil {
		b.counted.Return()
		return problem
	}
	duplicates, err := b.c.appendNew(ctx, b.accepted)
	if err != nil {
		return unavailable(err)
	}
	b.Duplicate, b.Accepted = duplicates, len(b.accepted)-duplicates
	return nil
}

// take makes the events what the caller may say and asks quotas and the gate about them. The problem is that none can be taken.
func (b *batch) take(entries []entry) *httpx.Problem {
	events, places := make([]*ingest.Event, 0, len(entries)), make([]int, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		if e.fault == nil {
			e.fault = b.settle(e)
		}
		if e.fault != nil {
			b.reject(i, e.event, e.fault)
			continue
		}
		events, places = append(events, e.event), append(places, i)
	}
	if problem := b.charge(events, len(entries)); problem != nil {
		return problem
	}
	denied, err := b.c.admit(events)
	if err != nil {
		return unavailable(err)
	}
	if problem := b.introduce(events, denied); problem != nil {
		return problem
	}
	for k, ev := range events {
		told := entries[places[k]].warnings
		b.c.told(stageHTTP, told)
		for _, w := range told {
			b.warn(places[k], ev.Id, &w)
		}
		if denied[k] {
			b.Denied++
			continue
		}
		b.accepted = append(b.accepted, ingest.Accepted{Event: ev, ReceivedAt: b.who.received, TrustedClock: b.who.role == httpx.RoleServer})
	}
	return nil
}

// charge counts the events by subject, and all that came, those that were rejected too, by address and key.
func (b *batch) charge(events []*ingest.Event, came int) *httpx.Problem {
	for _, ev := range events {
		b.counted.Event(subjectOf(ev))
	}
	return b.counted.Settle(came)
}

func subjectOf(ev *ingest.Event) string { return cmp.Or(ev.UserId, ev.AnonymousId) }

// introduce counts the people of whom an admitted event would be the first thing that is kept.
func (b *batch) introduce(events []*ingest.Event, denied []bool) *httpx.Problem {
	if !b.who.quota.Limited() || b.c.o.Introduces == nil {
		return nil
	}
	last, people := "", make(map[string]struct{})
	for i, ev := range events {
		subject := subjectOf(ev)
		if denied[i] || subject == last || !b.c.o.Introduces(ev) {
			continue
		}
		people[subject], last = struct{}{}, subject
	}
	return b.counted.Identities(len(people))
}

func (b *batch) settle(e *entry) (fault *ingest.Fault) {
	if e.warnings, fault = b.c.settle(b.who, e.event, e.warnings); fault == nil {
		e.warnings, fault = b.c.date(b.who, e.event, e.warnings)
	}
	return fault
}

func (b *batch) reject(index int, ev *ingest.Event, fault *ingest.Fault) {
	b.Rejected++
	if fault.Code == CodeServerKey {
		b.forbidden++
	}
	e := httpx.FieldError{Index: new(index), Pointer: fault.Pointer, Code: fault.Code, Detail: fault.Detail}
	if ev != nil && len(ev.Id) <= 256 {
		e.ID = ev.Id
	}
	b.Errors = append(b.Errors, e)
}

// warn notes what was set aside of an event, or of the envelope where index is negative.
func (b *batch) warn(index int, id string, w *ingest.Warning) {
	if len(b.Warnings) == maxWarnings {
		b.WarningsOmitted++
		return
	}
	e := httpx.FieldError{ID: id, Pointer: w.Pointer, Code: w.Code, Detail: w.Detail}
	if index >= 0 {
		e.Index = new(index)
	}
	b.Warnings = append(b.Warnings, e)
}

func (b *batch) count() {
	s := b.c.events[stageHTTP]
	s.accepted.Add(float64(b.Accepted))
	s.duplicate.Add(float64(b.Duplicate))
	s.denied.Add(float64(b.Denied))
	s.rejected.Add(float64(b.Rejected))
}

// write answers: 202, or a problem with the same members where something was rejected and nothing accepted.
func (b *batch) write(w http.ResponseWriter) {
	switch {
	case b.Accepted > 0 || b.Rejected == 0:
		writeJSON(w, http.StatusAccepted, &b.eventsAnswer)
	case b.forbidden == b.Rejected:
		writeJSON(w, http.StatusForbidden, &eventsRefused{refusal(http.StatusForbidden, "wrong_key", "This key may not post such events."), b.eventsAnswer})
	default:
		writeJSON(w, http.StatusUnprocessableEntity, &eventsRefused{refusal(http.StatusUnprocessableEntity, "rejected", "No event was accepted."), b.eventsAnswer})
	}
}
