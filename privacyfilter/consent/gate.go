package consent

import (
	"slices"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
)

// gate decides before an event is stored, from the leased view.
type gate struct {
	view   *View
	takers [64][]*privacyfilter.Purpose // by event type: the purposes that take it
	duty   [64]bool                     // by event type: a legal purpose takes it, whatever the person chose
	free   []string                     // purposes that are no legal duty
}

var _ ingest.Gate = (*gate)(nil)

func newGate(v *View) *gate {
	g := &gate{view: v}
	for _, purpose := range v.compiler.purposes {
		legal := purpose.Tier == privacyfilter.Legal
		if !legal {
			g.free = append(g.free, purpose.Name)
		}
		for _, name := range vocab.Types() {
			t, _ := vocab.ParseType(name)
			if int(t) >= len(g.takers) || !purpose.Takes(t) {
				continue
			}
			g.takers[t] = append(g.takers[t], purpose)
			if legal && !purpose.AfterAcceptance(t) {
				g.duty[t] = true
			}
		}
	}
	return g
}

// Admit writes into each event's consent.denied what the device denies beside an account, and what GPC denies, and tells whether no purpose may use it.
// An event of a legal duty is let through without a lease, for that duty alone. Any other then gives ErrLeaseLapsed.
//
// The lease is looked up before the view is read and must hold after it: what the view had applied by then is all that the lease stands for. So one look at the
// clock, a system call, does for all events.
func (g *gate) Admit(events []*ingest.Event, denied []bool) error {
	lease := g.view.lease.state.Load()
	var acting, other known
	for i, ev := range events {
		if denied[i] = !g.takes(ev); denied[i] {
			continue
		}
		var beside *side // the device of an account
		if ev.UserId == "" {
			acting.look(g.view, device, ev.AnonymousId)
		} else {
			acting.look(g.view, account, ev.UserId)
			if ev.AnonymousId != "" {
				other.look(g.view, device, ev.AnonymousId)
				beside = &other.side
			}
		}
		denied[i] = !g.narrow(ev, &acting.side, beside)
	}
	if g.view.lease.held(lease, g.view.boot()) {
		return nil
	}
	return g.unleased(events, denied)
}

// Introduces tells whether an event that the gate admits would be the first thing that is recorded of its subject: a legal duty needs no acceptance.
func (v *View) Introduces(ev *ingest.Event) bool {
	duty := func(p *privacyfilter.Purpose) bool {
		return p.Tier == privacyfilter.Legal && p.Takes(ev.Type) && !p.AfterAcceptance(ev.Type)
	}
	if !slices.ContainsFunc(v.compiler.purposes, duty) {
		return false
	}
	kind, id := device, ev.AnonymousId
	if ev.UserId != "" {
		kind, id = account, ev.UserId
	}
	known := v.people.find(v.ring.LogKey(kind, id))
	return known.empty()
}

// takes tells whether the event has a subject, and a type that a purpose may take.
func (g *gate) takes(ev *ingest.Event) bool {
	return ev.Type > 0 && int(ev.Type) < len(g.takers) && (ev.UserId != "" || ev.AnonymousId != "")
}

// unleased lets through what is a legal duty, for that duty alone.
func (g *gate) unleased(events []*ingest.Event, denied []bool) error {
	for i, ev := range events {
		if !g.takes(ev) {
			continue
		}
		if !g.duty[ev.Type] {
			return ErrLeaseLapsed
		}
		for _, purpose := range g.free {
			deny(ev, purpose)
		}
		denied[i] = false
	}
	return nil
}

// known is the side that was looked up last: the events of a request are mostly one person's.
type known struct{ side }

func (k *known) look(v *View, kind, id string) {
	if k.kind != kind || k.id != id {
		k.side = v.side(kind, id)
	}
}

// narrow denies what the subject's own partition cannot know, and tells whether a purpose is left that may use the event.
func (g *gate) narrow(ev *ingest.Event, acting, beside *side) (usable bool) {
	gpc := ev.Consent.GetGpc()
	for _, purpose := range g.takers[ev.Type] {
		allowed := acting.allows(purpose, ev.Type, ev.Jurisdiction)
		if beside != nil && beside.recorded() {
			// An account without records is neutral for a response, but not here: the filter decides by the account's own partition.
			if !beside.allows(purpose, ev.Type, ev.Jurisdiction) {
				deny(ev, purpose.Name)
				allowed = false
			}
		}
		if purpose.Narrows(gpc) {
			deny(ev, purpose.Name)
			allowed = false
		}
		usable = usable || allowed && !deniedBy(ev, purpose)
	}
	return usable
}

// deniedBy tells whether the event itself denies the purpose. A legal duty cannot be denied.
func deniedBy(ev *ingest.Event, purpose *privacyfilter.Purpose) bool {
	if purpose.Tier == privacyfilter.Legal && !purpose.AfterAcceptance(ev.Type) {
		return false
	}
	return slices.Contains(ev.Consent.GetDenied(), purpose.Name)
}

func deny(ev *ingest.Event, purpose string) {
	if slices.Contains(ev.Consent.GetDenied(), purpose) {
		return
	}
	if ev.Consent == nil {
		ev.Consent = new(eventpb.Consent)
	}
	ev.Consent.Denied = append(ev.Consent.Denied, purpose)
}
