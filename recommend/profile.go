package recommend

import (
	"cmp"
	"slices"

	"sluice/features/profile"
	"sluice/features/record"
	"sluice/internal/vocab"
)

const (
	// recent bounds the items that a list is made from: of a person's interest the newest say the most.
	recent = 10
	// maxSession bounds the touches of a session that are looked at.
	maxSession = 20
)

// interest is how much a touch of a type says; types that are not named say nothing.
var interest = map[vocab.Type]float64{
	vocab.Type_VIEW_ITEM: 1, vocab.Type_SELECT_ITEM: 1, vocab.Type_ADD_TO_WISHLIST: 1.5, vocab.Type_ADD_TO_CART: 2, vocab.Type_PURCHASE: 2,
}

// known is what is known of the person: the touches of every identity that allows it, the oldest first.
type known struct {
	touches []record.Touch
	parts   []*profile.Profile // one an identity, without what was deleted
}

// profileOf reads the person's profiles; nil where nothing is known to go by.
func (s *service) profileOf(v *visitor) *known {
	hidden := v.access.HiddenEvents()
	p := new(known)
	for _, id := range v.identities {
		if kept := s.Personal.Profile(id); kept != nil {
			part := visible(kept, hidden)
			p.parts = append(p.parts, part)
			p.touches = append(p.touches, part.Touches...)
		}
	}
	p.touches = slices.DeleteFunc(p.touches, func(t record.Touch) bool { return interest[t.Type] == 0 || t.ItemID == "" })
	if len(p.touches) == 0 {
		return nil
	}
	if len(p.parts) > 1 {
		slices.SortStableFunc(p.touches, func(a, b record.Touch) int { return cmp.Compare(a.Time, b.Time) })
	}
	return p
}

// visible is the profile without the events that were deleted just now.
func visible(kept *profile.Profile, hidden map[uint64]struct{}) *profile.Profile {
	if len(hidden) == 0 {
		return kept
	}
	part := &profile.Profile{Touches: slices.Clone(kept.Touches), Searches: slices.Clone(kept.Searches)}
	part.Touches = slices.DeleteFunc(part.Touches, func(t record.Touch) bool { _, ok := hidden[t.Event]; return ok })
	part.Searches = slices.DeleteFunc(part.Searches, func(t profile.Search) bool { _, ok := hidden[t.Event]; return ok })
	return part
}

// session is what the person is doing now, the oldest first: the touches of the named session if there are any, else the newest ones; then the items of the page.
func (p *known) session(named uint64, page []string, now int64) []record.Touch {
	var session []record.Touch
	for _, t := range p.touches {
		if named != 0 && t.Session == named {
			session = append(session, t)
		}
	}
	if len(session) == 0 {
		session = slices.Clone(p.touches[max(0, len(p.touches)-recent):])
	}
	for _, id := range page {
		if len(session) == 0 || session[len(session)-1].ItemID != id {
			session = append(session, record.Touch{Type: vocab.Type_VIEW_ITEM, Time: now, ItemID: id, Session: named})
		}
	}
	return session[max(0, len(session)-maxSession):]
}

// newest yields the newest touch of each of the items touched last, at most recent of them.
func (p *known) newest() []record.Touch {
	found := make([]record.Touch, 0, recent)
	for i := len(p.touches) - 1; i >= 0 && len(found) < recent; i-- {
		t := p.touches[i]
		if !slices.ContainsFunc(found, func(f record.Touch) bool { return f.ItemID == t.ItemID }) {
			found = append(found, t)
		}
	}
	return found
}
