package recommend

import (
	"slices"

	"sluice/features/items"
	"sluice/internal/catalog"
	"sluice/internal/itemid"
	"sluice/internal/vocab"
	"sluice/privacyfilter/consent"
)

// demotion is what a demoted item's score is multiplied with.
const demotion = 0.5

// gate decides which items a list may hold. Everything but what the person has seen is the same for a stranger with the same page and blocks. What it
// knows of single items beforehand stands in the scratch's cells.
type gate struct {
	snapshot *catalog.Snapshot
	now      int64 // Unix microseconds
	blocks   *consent.Blocks
	blocked  []uint32            // categories of blocks
	category uint32              // itemid.None: no limit
	shown    map[uint32]struct{} // hashes of ids on earlier pages
	page     int                 // items of the page, and those the caller excludes
	nameless []string            // those of them that have no number yet
	seen     int                 // items that the person has seen, where that matters
}

func (m *making) gate() *gate {
	q := m.query
	g := &gate{snapshot: m.snapshot, now: m.now.UnixMicro(), blocks: m.visitor.blocks, category: m.snapshot.CategoryNumber(q.context.Category)}
	for name := range g.blocks.Categories {
		if n := m.snapshot.CategoryNumber(name); n != itemid.None {
			g.blocked = append(g.blocked, n)
		}
	}
	for _, list := range [][]string{q.context.ItemIDs, q.exclude} {
		for _, id := range list {
			g.page++
			if n := m.IDs.Find(id); n != itemid.None {
				m.cell(n).place = refused
			} else {
				g.nameless = append(g.nameless, id)
			}
		}
	}
	if q.cursor != nil {
		g.shown = make(map[uint32]struct{}, len(q.cursor.Shown))
		for _, h := range q.cursor.Shown {
			g.shown[h] = struct{}{}
		}
	}
	return g
}

// admits tells whether an item may be shown, whatever the person has seen. item is nil where the catalogue does not know it.
func (g *gate) admits(id string, item *catalog.Entry) bool {
	if len(g.blocks.Items) > 0 {
		if _, blocked := g.blocks.Items[id]; blocked {
			return false
		}
	}
	if len(g.nameless) > 0 && slices.Contains(g.nameless, id) { // it came meanwhile
		return false
	}
	if item == nil && g.category != itemid.None || item != nil && !g.fits(item) {
		return false
	}
	if len(g.shown) == 0 {
		return true
	}
	_, shown := g.shown[catalog.Hash(id)]
	return !shown
}

// fits tells whether a known item can be offered here and now.
func (g *gate) fits(item *catalog.Entry) bool {
	if !item.AvailableAt(g.now) || g.category != itemid.None && !item.In(g.category) {
		return false
	}
	return !slices.ContainsFunc(g.blocked, item.In)
}

// see notes what the person's touches do to the items they are of.
func (r *retrieval) see(touches []items.Touch, s *Surface) {
	if s.Viewed == Allow && s.Purchased == Allow {
		return
	}
	factors := map[SeenPolicy]float32{Allow: 1, Demote: demotion}
	viewed, purchased := factors[s.Viewed], factors[s.Purchased]
	for i := range touches {
		c, factor := r.cell(touches[i].Item), viewed
		if vocab.Type(touches[i].Type) == vocab.Type_PURCHASE {
			factor = purchased
		}
		if !c.seen {
			c.seen = true
			r.gate.seen++
		}
		c.factor = min(c.factor, factor)
	}
}
