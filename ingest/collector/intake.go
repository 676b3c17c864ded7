package collector

import (
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

func (f foreign) Decode(data []byte) (*ingest.Event, *inbound.Fault) {
	ev, _, fault := ingest.Decode(data)
	if fault != nil {
		return ev, new(inbound.Fault(*fault))
	}
	return ev, nil
}

func (f foreign) Admit(ev *ingest.Event) (denied bool, err error) { return f.c.admitOne(ev) }

func (f foreign) Append(ctx context.Context, events []*ingest.Event, received time.Time) error {
	who := trustedCaller(received)
	accepted := make([]ingest.Accepted, len(events))
	for i, ev := range events {
		if _, fault := who.settle(ev); fault != nil {
			return fault // cannot be: Decode has validated it, and a trusted caller may say everything
		}
		accepted[i] = ingest.Accepted{Event: ev, ReceivedAt: who.received, TrustedClock: true}
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

// Prepare decodes, validates and admits an event that is to be decided on; role is the caller's. The problem is ready to be answered.
// A decision does not wait for consent: where it cannot be known now, the event goes on as if the browser had sent GPC, which denies all that a switch could allow.
// body is not kept.
func (c *Collector) Prepare(body []byte, role httpx.Role) (*ingest.Event, *httpx.Problem) {
	stage := c.events[stageDecision]
	ev, _, fault := ingest.Decode(body)
	if fault == nil {
		_, fault = (&caller{role: role, trusted: role == httpx.RoleServer || c.o.Config.TrustClientIdentity}).settle(ev)
	}
	if fault != nil {
		stage.rejected.Inc()
		return nil, faultProblem(fault)
	}
	denied, err := c.admitOne(ev)
	if err != nil {
		c.o.Logger.Warn("deciding without knowing consent", "error", err)
		denyByGPC(ev)
	}
	if denied {
		stage.denied.Inc()
		return nil, httpx.NewProblem(http.StatusForbidden, "denied", "No purpose may use this event. Nothing was stored.")
	}
	return ev, nil
}

func faultProblem(fault *ingest.Fault) *httpx.Problem {
	e := httpx.FieldError{Pointer: fault.Pointer, Code: fault.Code, Detail: fault.Detail}
	switch fault.Code {
	case ingest.CodeBrokenJSON:
		return httpx.NewProblem(http.StatusBadRequest, "broken_json", "One event as a JSON object expected.", e)
	case ingest.CodeTooLarge:
		return httpx.NewProblem(http.StatusRequestEntityTooLarge, "too_large", "An event of at most 32 KiB expected.", e)
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
