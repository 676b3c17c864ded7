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

// Admit writes into the event's consent.denied what the device denies beside an account, and what GPC denies, and tells whether no purpose may use it.
// An event of a legal duty is let through without a lease, for that duty alone. Any other then gives ErrLeaseLapsed.
func (g *gate) Admit(ev *ingest.Event) (denied bool, err error) {
	subject := ingest.Subject(ev)
	if ev.Type <= 0 || int(ev.Type) >= len(g.takers) || subject == "" {
		return true, nil
	}
	if !g.view.Leased() {
		if !g.duty[ev.Type] {
			return false, ErrLeaseLapsed
		}
		for _, purpose := range g.free {
			deny(ev, purpose)
		}
		return false, nil
	}
	acting := g.view.side(subject)
	var device side
	if ev.UserId != "" && ev.AnonymousId != "" {
		device = g.view.side("a:" + ev.AnonymousId)
	}
	return !g.narrow(ev, &acting, &device), nil
}

// narrow denies what the subject's own partition cannot know, and tells whether a purpose is left that may use the event.
func (g *gate) narrow(ev *ingest.Event, acting, device *side) (usable bool) {
	compiler, gpc := g.view.compiler, ev.Consent.GetGpc()
	for _, purpose := range g.takers[ev.Type] {
		allowed := compiler.decide(acting.row, purpose, ev.Type, ev.Jurisdiction)
		if device.recorded() {
			// An account without records is neutral for a response, but not here: the filter decides by the account's own partition.
			if !compiler.decide(device.row, purpose, ev.Type, ev.Jurisdiction) {
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
