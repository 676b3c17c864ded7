package recommend

import (
	"sluice/internal/catalog"
	"sluice/internal/vocab"
	"sluice/privacyfilter/consent"
	"sluice/recommend/rank"
)

// demotion is what a demoted item's score is multiplied with.
const demotion = 0.5

// gate decides which items a list may hold. Everything but seen is the same for a stranger with the same page and blocks.
type gate struct {
	snapshot *catalog.Snapshot
	now      int64 // Unix microseconds
	blocks   *consent.Blocks
	category string              // empty: no limit
	page     map[string]struct{} // items of the page, and those the caller excludes
	shown    map[uint32]struct{} // on earlier pages
	seen     map[string]float64  // what a seen item's score is multiplied with, 0 = excluded; nil in lists that are not personal
}

// admit tells whether an item may be shown, and what its score is multiplied with. item is nil where the catalogue does not know it.
func (g *gate) admit(id string) (item *catalog.Item, factor float64, ok bool) {
	item = g.snapshot.Item(id)
	factor, ok = g.admits(id, item)
	return item, factor, ok
}

func (g *gate) admits(id string, item *catalog.Item) (factor float64, ok bool) {
	if _, ok := g.page[id]; ok {
		return 0, false
	}
	if _, blocked := g.blocks.Items[id]; blocked {
		return 0, false
	}
	if item == nil && g.category != "" || item != nil && !g.fits(item) {
		return 0, false
	}
	if len(g.shown) > 0 {
		if _, shown := g.shown[rank.Hash(id)]; shown {
			return 0, false
		}
	}
	factor = 1
	if f, seen := g.seen[id]; seen {
		factor = f
	}
	return factor, factor > 0
}

// fits tells whether a known item can be offered here and now.
func (g *gate) fits(item *catalog.Item) bool {
	if !item.AvailableAt(g.now) || g.category != "" && !item.InCategory(g.category) {
		return false
	}
	if len(g.blocks.Categories) == 0 {
		return true
	}
	for _, path := range item.Categories {
		for _, name := range path.Names {
			if _, blocked := g.blocks.Categories[name]; blocked {
				return false
			}
		}
	}
	return true
}

// seenFactors is what the person's touches do to the items they are of.
func seenFactors(p *known, s *Surface) map[string]float64 {
	if s.Viewed == Allow && s.Purchased == Allow {
		return nil
	}
	factors := make(map[string]float64)
	for i := range p.touches {
		t := &p.touches[i]
		policy := s.Viewed
		if t.Type == vocab.Type_PURCHASE {
			policy = s.Purchased
		}
		factor := 1.0
		switch policy {
		case Demote:
			factor = demotion
		case Exclude:
			factor = 0
		}
		if old, ok := factors[t.ItemID]; !ok || factor < old {
			factors[t.ItemID] = factor
		}
	}
	return factors
}
