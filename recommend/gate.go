package recommend

import (
	"slices"

	"sluice/features/items"
	"sluice/internal/catalog"
	"sluice/internal/itemid"
	"sluice/internal/vocab"
)

// demotion is what a demoted item's score is multiplied with.
const demotion = 0.5

// gate decides which items a list may hold. Everything but what the person has seen is the same for a stranger with the same page and blocks. What it
// knows of single items beforehand stands in the scratch's cells.
type gate struct {
	snapshot *catalog.Snapshot
	ids      *itemid.Table
	now      int64               // Unix microseconds
	blocked  []uint32            // categories of blocks
	category uint32              // itemid.None: no limit
	shown    map[uint32]struct{} // hashes of ids on earlier pages
	page     int                 // items of the page, and those the caller excludes
	nameless []string            // refused ids that have no number yet
	seen     int                 // items that the person has seen, where that matters
}

func (m *making) gate() *gate {
	q, blocks := m.query, m.visitor.blocks
	g := &gate{snapshot: m.snapshot, ids: m.IDs, now: m.now.UnixMicro(), category: m.snapshot.CategoryNumber(q.context.Category)}
	for name := range blocks.Categories {
		if n := m.snapshot.CategoryNumber(name); n != itemid.None {
			g.blocked = append(g.blocked, n)
		}
	}
	for id := range blocks.Items {
		m.refuse(g, id)
	}
	for _, list := range [][]string{q.context.ItemIDs, q.exclude} {
		for _, id := range list {
			g.page++
			m.refuse(g, id)
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

// refuse keeps an item out of the list.
func (m *making) refuse(g *gate, id string) {
	n := m.IDs.Find(id)
	if n == itemid.None {
		g.nameless = append(g.nameless, id)
		return
	}
	c, f := m.cell(n), g.snapshot.Facts(n)
	if c.place = refused; !g.lists(&f) {
		c.place = absent
	}
}

// lists tells whether a list may hold an item with such facts at all: none holds what the catalogue lacks. Where nothing was ever posted there is no
// catalogue, and lists hold what events name.
func (g *gate) lists(f *catalog.Facts) bool { return f.Known() || !g.snapshot.Posted() }

// admits tells whether an item that lists may hold may be shown here, whatever the person has seen, unless it is refused by its cell.
func (g *gate) admits(number uint32, f *catalog.Facts) bool {
	if f.Known() && !g.fits(f) {
		return false
	}
	if len(g.nameless) > 0 && slices.Contains(g.nameless, g.id(number)) { // it came meanwhile
		return false
	}
	if len(g.shown) == 0 {
		return true
	}
	hash := f.Hash
	if !f.Known() {
		hash = catalog.Hash(g.id(number))
	}
	_, shown := g.shown[hash]
	return !shown
}

// fits tells whether a known item can be offered here and now.
func (g *gate) fits(f *catalog.Facts) bool {
	if !f.AvailableAt(g.now) {
		return false
	}
	if g.category == itemid.None && len(g.blocked) == 0 {
		return true
	}
	shape := g.snapshot.ShapeOf(f)
	return (g.category == itemid.None || shape.In(g.category)) && !slices.ContainsFunc(g.blocked, shape.In)
}

// id is an item's id.
func (g *gate) id(number uint32) string {
	if item := g.snapshot.At(number); item != nil {
		return item.ItemId
	}
	return g.ids.ID(number)
}

// see notes what the person's interactions do to the items they are of.
func (r *retrieval) see(interactions []items.Interaction, s *Surface) {
	if s.Viewed == Allow && s.Purchased == Allow {
		return
	}
	factors := map[SeenPolicy]float32{Allow: 1, Demote: demotion}
	viewed, purchased := factors[s.Viewed], factors[s.Purchased]
	for i := range interactions {
		c, factor := r.cell(interactions[i].Item), viewed
		if vocab.Type(interactions[i].Type) == vocab.Type_PURCHASE {
			factor = purchased
		}
		if !c.seen {
			c.seen = true
			r.gate.seen++
		}
		c.factor = min(c.factor, factor)
	}
}
