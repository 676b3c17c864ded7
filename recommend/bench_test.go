package recommend

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/features/record"
	"sluice/features/scored"
	"sluice/internal/catalog"
	"sluice/internal/vocab"
	"sluice/recommend/rank"
)

// benchSurfaces proposes up to 5,000 candidates, and 500.
const benchSurfaces = `
surfaces:
  wide:
    page_size: 20
    personal:
      - {retriever: session_knn, candidates: 1000, weight: 1.0}
      - {retriever: co_visitation, candidates: 1000, weight: 0.6}
      - {retriever: affinity, candidates: 1000, weight: 0.2}
      - {retriever: popular, candidates: 1000, weight: 0.1}
      - {retriever: latest, candidates: 1000, weight: 0.1}
    non_personal:
      - {retriever: trending, candidates: 1000}
      - {retriever: popular, candidates: 1000}
      - {retriever: latest, candidates: 1000}
    seen: {viewed: demote, purchased: exclude}
    require: [{at_most: 2, same: category, within: 6}, {at_most: 3, same: seller, within: 10}]
    diversify: {method: mmr, lambda: 0.7, similarity: category}
  narrow:
    page_size: 20
    personal:
      - {retriever: session_knn, candidates: 300, weight: 1.0}
      - {retriever: co_visitation, candidates: 100, weight: 0.6}
      - {retriever: popular, candidates: 100, weight: 0.1}
    non_personal:
      - {retriever: trending, candidates: 300}
      - {retriever: popular, candidates: 200}
    require: [{at_most: 2, same: category, within: 6}]
    diversify: {method: mmr, lambda: 0.7, similarity: category}
`

// bigWorld has 20,000 items, of which different retrievers propose different ones.
func bigWorld(b *testing.B) *world {
	w := newWorld(b, benchSurfaces)
	items := make([]*catalog.Item, 20_000)
	for i := range items {
		broad := i % 40
		items[i] = &catalog.Item{
			ItemId: fmt.Sprintf("item-%05d", i), Title: fmt.Sprint("Thing ", i), AvailableFrom: int64(i), Brand: fmt.Sprint("brand", i%200), Seller: fmt.Sprint("seller", i%300),
			Categories: []*catalog.CategoryPath{{Names: []string{fmt.Sprint("broad", broad), fmt.Sprint("narrow", broad, "-", i%7)}}},
		}
	}
	w.stock(items...)
	list := func(from, n int) []scored.Item {
		scores := make([]scored.Item, n)
		for i := range scores {
			scores[i] = scored.Item{ItemID: fmt.Sprintf("item-%05d", (from+i*13)%20_000), Score: 1 / (1 + float64(i)/30), Cause: "item-00001"}
		}
		return scores
	}
	w.lists.Popular, w.lists.Trending = list(3, 1000), list(5, 1000)
	w.personal.neighbours = list(7, 2000)
	var touches []record.Touch
	for i := range 50 {
		touches = append(touches, touch(uint64(i+1), vocab.Type_VIEW_ITEM, fmt.Sprintf("item-%05d", i*37)))
		w.personal.together[touches[i].ItemID] = list(i*100, 200)
	}
	w.allow("u1", touches...)
	return w
}

// BenchmarkRequest is a whole request: JSON in, ranking, JSON out.
func BenchmarkRequest(b *testing.B) {
	for _, c := range []struct{ name, body string }{
		{"personal 20 of 5000", `{"surface":"wide","user_id":"u1","context":{"locale":"en"},"limit":20}`},
		{"everybody's 20 of 3000", `{"surface":"wide","context":{"locale":"en"},"limit":20}`},
		{"personal 20 of 500", `{"surface":"narrow","user_id":"u1","limit":20}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			handler := bigWorld(b).serve()
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/recommendations", strings.NewReader(c.body))
				r.Header.Set("Authorization", "Bearer "+serverKey)
				recorder := httptest.NewRecorder()
				if handler.ServeHTTP(recorder, r); recorder.Code != http.StatusOK {
					b.Fatal(recorder.Body.String())
				}
			}
		})
	}
}

// BenchmarkStages measures retrieving and blending 5,000 candidates, and choosing 20 of them.
func BenchmarkStages(b *testing.B) {
	w := bigWorld(b)
	s := newService(w.options())
	surface, _ := w.config.Surface("wide")
	q := &query{surface: surface, limit: 20, timeout: timeoutUnset}
	v := &visitor{access: w.consents.people["u1"], identities: w.consents.people["u1"].identities, blocks: w.consents.people["u1"].blocks}
	m := &making{service: s, query: q, visitor: v, now: w.now, snapshot: w.shop.snapshot, lists: s.lists.of(w.lists, w.shop.snapshot), scratch: new(scratch)}
	retrieve := func() *retrieval {
		m.begin()
		m.because = ""
		m.decide()
		return m.retrieve()
	}
	b.Run("retrieve", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			retrieve()
		}
	})
	r := retrieve()
	b.Run("choose", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.ranked = r.ranked[:0]
			rank.Make(m.plan(r))
		}
	})
}
