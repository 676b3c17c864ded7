package recommend

import (
	"cmp"
	"slices"

	"sluice/internal/itemid"
	"sluice/recommend/rank"
)

// maxReasons is how many causes an item names.
const maxReasons = 3

// causes say, by retriever, why an item is there.
var causes = map[string]RecommendationReason{
	"session_knn":   {Code: "session", Text: "People whose visits resemble this one went on to it."},
	"co_visitation": {Code: "viewed_together", Text: "Often looked at together with an item you looked at."},
	"affinity":      {Code: "category", Text: "From a category that you often look at."},
	"popular":       {Code: "popular", Text: "Popular in the shop."},
	"trending":      {Code: "trending", Text: "More people than usual look at it now."},
	"latest":        {Code: "new", Text: "New in the shop."},
	"same_category": {Code: "same_category", Text: "From the same category."},
	"similar":       {Code: "viewed_together", Text: "Often looked at together with an item on this page."},
	"search":        {Code: "search", Text: "Matches the search."},
}

// fromCatalogue is the reason of an item that fills a list.
var fromCatalogue = RecommendationReason{Code: "catalogue", Text: "From the catalogue: there is nothing else to go by."}

// reasons are the causes of a pick, the one that gave the most first; a code and item once.
func (m *making) reasons(r *retrieval, pick *rank.Pick) []RecommendationReason {
	if pick.Filler {
		return []RecommendationReason{fromCatalogue}
	}
	retrievers := m.query.surface.NonPersonal
	if m.because == "" {
		retrievers = m.query.surface.Personal
	}
	var room [8]*hit
	hits := room[:0]
	for at := r.entries[pick.Tag].hit; at >= 0; at = r.hits[at].before {
		hits = append(hits, &r.hits[at])
	}
	slices.SortFunc(hits, func(a, b *hit) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.retriever, b.retriever))
	})
	reasons := make([]RecommendationReason, 0, min(len(hits), maxReasons))
	for _, h := range hits {
		reason := causes[retrievers[h.retriever].Name]
		reason.ItemID = m.cause(r, h, retrievers)
		same := func(other RecommendationReason) bool {
			return other.Code == reason.Code && other.ItemID == reason.ItemID
		}
		if len(reasons) < maxReasons && !slices.ContainsFunc(reasons, same) {
			reasons = append(reasons, reason)
		}
	}
	return reasons
}

// cause is the id of the item that a reason may name: one that a list may hold. An item that like sessions brought may have been found by a few people among
// many others: the pair is named only if enough have it.
func (m *making) cause(r *retrieval, h *hit, retrievers []Retriever) string {
	number := r.entries[h.entry].number
	if f := m.snapshot.Facts(h.cause); h.cause == itemid.None || h.cause == number || !r.gate.lists(&f) || retrievers[h.retriever].Name == "session_knn" && !m.Personal.Linked(h.cause, number, r.own) {
		return ""
	}
	return m.IDs.ID(h.cause)
}
