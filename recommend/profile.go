package recommend

import (
	"cmp"
	"slices"

	"sluice/features/items"
	"sluice/internal/itemid"
	"sluice/internal/vocab"
)

const (
	// recent bounds the items that a list is made from: of a person's interest the newest say the most.
	recent = 10
	// maxSession bounds the interactions of a session that are looked at.
	maxSession = 20
)

// interest is how much an interaction of a type says; types that are not named say nothing.
var interest = [64]float64{
	vocab.Type_VIEW_ITEM: 1, vocab.Type_SELECT_ITEM: 1, vocab.Type_ADD_TO_WISHLIST: 1.5, vocab.Type_ADD_TO_CART: 2, vocab.Type_PURCHASE: 2,
}

// read reads what is known of the person: every identity's interactions into parts, and those that say something into interactions, the oldest first. It tells
// whether there are any.
func (m *making) read() bool {
	hidden := m.visitor.access.HiddenEvents()
	for _, id := range m.visitor.identities {
		from := len(m.kept)
		m.kept = m.Personal.Interactions(m.kept, id)
		if len(hidden) > 0 { // deleted just now
			visible := slices.DeleteFunc(m.kept[from:], func(t items.Interaction) bool { _, ok := hidden[t.Event]; return ok })
			m.kept = m.kept[:from+len(visible)]
		}
		m.ends = append(m.ends, len(m.kept))
	}
	from := 0
	for _, end := range m.ends {
		m.parts = append(m.parts, m.kept[from:end:end])
		from = end
	}
	for i := range m.kept {
		if t := &m.kept[i]; interest[t.Type&63] > 0 && t.Item != itemid.None {
			m.interactions = append(m.interactions, *t)
		}
	}
	if len(m.parts) > 1 {
		slices.SortStableFunc(m.interactions, func(a, b items.Interaction) int { return cmp.Compare(a.Time, b.Time) })
	}
	return len(m.interactions) > 0
}

// session is what the person is doing now, the oldest item first. It has the interactions of the named session, or the newest ones if there are none, and then
// the items of the page.
func (r *retrieval) session(named uint64) []uint32 {
	for i := range r.interactions {
		if t := &r.interactions[i]; named != 0 && t.Session == named {
			r.present = append(r.present, t.Item)
		}
	}
	if len(r.present) == 0 {
		for _, t := range r.interactions[max(0, len(r.interactions)-recent):] {
			r.present = append(r.present, t.Item)
		}
	}
	for _, id := range r.query.context.ItemIDs {
		if n := r.service.IDs.Find(id); n != itemid.None && (len(r.present) == 0 || r.present[len(r.present)-1] != n) {
			r.present = append(r.present, n)
		}
	}
	return r.present[max(0, len(r.present)-maxSession):]
}

// newest yields the newest interaction of each of the items of the newest interactions, at most recent of them.
func (r *retrieval) newest(yield func(*items.Interaction) bool) {
	var found [recent]uint32
	n := 0
	for i := len(r.interactions) - 1; i >= 0 && n < recent; i-- {
		t := &r.interactions[i]
		if slices.Contains(found[:n], t.Item) {
			continue
		}
		found[n] = t.Item
		n++
		if !yield(t) {
			return
		}
	}
}
