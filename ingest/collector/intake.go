package collector

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"sluice/ingest"
	"sluice/ingest/inbound"
	"sluice/internal/httpx"
)

// Inbound is the way in for foreign producers' events, who are trusted like a server key.
func (c *Collector) Inbound() inbound.Intake { return foreign{c} }

type foreign struct{ c *Collector }

func (f foreign) Decode(data []byte, received time.Time) (*ingest.Event, *inbound.Fault) {
	who := trustedCaller(received)
	ev, warnings, fault := ingest.Decode(data)
	if fault == nil {
		warnings, fault = f.c.settle(who, ev, warnings)
	}
	if fault == nil {
		warnings, fault = f.c.date(who, ev, warnings)
	}
	if fault != nil {
		return ev, new(inbound.Fault(*fault))
	}
	f.c.told(stageInbound, warnings)
	return ev, nil
}

func (f foreign) Admit(ev *ingest.Event) (denied bool, err error) { return f.c.admitOne(ev) }

func (f foreign) Append(ctx context.Context, events []*ingest.Event, received time.Time) error {
	accepted := make([]ingest.Accepted, len(events))
	for i, ev := range events {
		accepted[i] = ingest.Accepted{Event: ev, ReceivedAt: received.UnixMicro(), TrustedClock: true}
	}
	if f.c.o.Backlog != nil {
		if err := f.c.o.Backlog.TakeLater(ctx, len(accepted)); err != nil {
			return err
		}
	}
	if err := f.c.append(ctx, accepted); err != nil {
		return err
	}
	for _, ev := range events {
		f.c.recent.remember(ev)
	}
	return nil
}

// Prepared is an event that is to be decided on.
type Prepared struct {
	Event    *ingest.Event
	Hash     []byte           // of what it says, see ingest.ContentHash
	Warnings []ingest.Warning // of what it says; those about its clock, which a retry would not repeat, are left out
}

// Prepare decodes, validates and admits an event that is to be decided on; role is the caller's. The problem is ready to be answered.
// A decision does not wait for consent: where it cannot be known now, the event goes on as if the browser had sent GPC, which denies all that a switch could allow.
// body is not kept.
func (c *Collector) Prepare(body []byte, role httpx.Role, received time.Time) (*Prepared, *httpx.Problem) {
	stage := c.events[stageDecision]
	p, fault, err := c.prepare(body, &caller{role: role, trusted: role == httpx.RoleServer || c.o.Config.TrustClientIdentity, received: received.UnixMicro()})
	if fault != nil {
		stage.rejected.Inc()
		return nil, faultProblem(fault)
	}
	if err != nil {
		c.o.Logger.Error("could not prepare a decision", "error", err)
		return nil, httpx.NewProblem(http.StatusInternalServerError, "internal", "Something went wrong here.")
	}
	denied, err := c.admitOne(p.Event)
	if err != nil {
		c.o.Logger.Warn("a decision was made without knowing consent", "error", err)
		denyByGPC(p.Event)
	}
	if denied {
		stage.denied.Inc()
		return nil, httpx.NewProblem(http.StatusForbidden, "denied", "No purpose may use this event. Nothing was stored.")
	}
	return p, nil
}

func (c *Collector) prepare(body []byte, who *caller) (p *Prepared, fault *ingest.Fault, err error) {
	p = new(Prepared)
	if p.Event, p.Warnings, fault = ingest.Decode(bytes.TrimPrefix(body, bom)); fault != nil {
		return nil, fault, nil
	}
	if p.Warnings, fault = c.settle(who, p.Event, p.Warnings); fault != nil {
		return nil, fault, nil
	}
	if p.Hash, err = ingest.ContentHash(p.Event); err != nil {
		return nil, nil, err
	}
	told, fault := c.date(who, p.Event, p.Warnings)
	if fault == nil {
		c.told(stageDecision, told)
	}
	return p, fault, nil
}

func faultProblem(fault *ingest.Fault) *httpx.Problem {
	e := httpx.FieldError{Pointer: fault.Pointer, Code: fault.Code, Detail: fault.Detail}
	switch fault.Code {
	case ingest.CodeBrokenJSON:
		return httpx.NewProblem(http.StatusBadRequest, "broken_json", "The body must be one event as a JSON object.", e)
	case ingest.CodeTooLarge:
		return httpx.NewProblem(http.StatusRequestEntityTooLarge, "too_large", "An event must be at most 32 KiB.", e)
	case CodeServerKey:
		return httpx.NewProblem(http.StatusForbidden, "wrong_key", "This key may not post such an event.", e)
	}
	return httpx.NewProblem(http.StatusUnprocessableEntity, "invalid", "The event is not valid.", e)
}

// Collect makes a prepared event durable together with its decision. trusted is whether it came with a server key.
func (c *Collector) Collect(ctx context.Context, ev *ingest.Event, received time.Time, trusted bool, decision []byte) error {
	if ev.SentAt == 0 && trusted {
		ev.SentAt = received.UnixMicro()
	}
	if err := c.append(ctx, []ingest.Accepted{{Event: ev, ReceivedAt: received.UnixMicro(), TrustedClock: trusted, Decision: decision}}); err != nil {
		return err
	}
	c.recent.remember(ev)
	c.events[stageDecision].accepted.Inc()
	return nil
}
