package recommend

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/features/items"
	"sluice/features/record"
	"sluice/features/scored"
	"sluice/internal/catalog"
	"sluice/internal/httpx"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
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
	var interactions []record.Interaction
	for i := range 50 {
		interactions = append(interactions, interaction(uint64(i+1), vocab.Type_VIEW_ITEM, fmt.Sprintf("item-%05d", i*37)))
		w.personal.together[interactions[i].ItemID] = list(i*100, 200)
	}
	w.allow("u1", interactions...)
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
		return m.personal()
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

// modelled is Personal over a real model.
type modelled struct {
	personal
	model *items.Model
}

func (p *modelled) Interactions(out []items.Interaction, id consent.Identity) []items.Interaction {
	return p.model.Interactions(out, id.Subject)
}

func (p *modelled) Together(out []items.Scored, item uint32, now int64, halfLife time.Duration, limit int) []items.Scored {
	o := items.Pairs{Weights: [64]float64{vocab.Type_VIEW_ITEM: 1}, Positions: 5, People: 3, Sample: 500, HalfLife: halfLife, Limit: limit}
	return p.model.Together(out, item, now, &o)
}

func (p *modelled) Neighbours(out []items.Scored, present []uint32, own []items.Subject, now int64, o items.KNN) []items.Scored {
	o.People = 3
	return p.model.Neighbours(out, present, own, now, &o)
}

func (p *modelled) Linked(a, b uint32, own []items.Subject) bool {
	return p.model.Linked(a, b, 3, own)
}

// BenchmarkHome is a request for the built-in first page in a shop of 100,000 items (zipf 1.1) and 50,000 people with 24 interactions each.
func BenchmarkHome(b *testing.B) {
	w := newWorld(b, string(Defaults))
	p := &modelled{personal: *w.personal, model: items.New(w.personal.ids, items.Options{Gap: 30 * 60e6})}
	shelf := make([]*catalog.Item, 100_000)
	numbers := make([]uint32, len(shelf))
	for i := range shelf {
		broad := i % 40
		shelf[i] = &catalog.Item{
			ItemId: fmt.Sprintf("item-%06d", i), Title: fmt.Sprint("Thing ", i), AvailableFrom: int64(i), Brand: fmt.Sprint("brand", i%200), Seller: fmt.Sprint("seller", i%300),
			Categories: []*catalog.CategoryPath{{Names: []string{fmt.Sprint("broad", broad), fmt.Sprint("narrow", broad, "-", i%7)}}},
		}
		numbers[i] = p.ids.Acquire(shelf[i].ItemId)
	}
	w.stock(shelf...)
	random := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(random, 1.1, 1, uint64(len(shelf)-1))
	for person := range 50_000 {
		name := fmt.Sprint("u", person)
		w.consents.people[name] = &access{
			known: true, decision: privacyfilter.Decision{Allow: true}, blocks: new(consent.Blocks), identities: []consent.Identity{{Subject: subject(name), Floor: []byte("f")}},
		}
		at := start.UnixMicro() - random.Int64N(20*24*3600e6)
		var interactions []items.Interaction
		for n := range 24 {
			at += random.Int64N(300e6)
			interactions = append(interactions, items.Interaction{
				Event: uint64(person)<<8 | uint64(n), Session: uint64(person)<<8 | uint64(n/5+1), Time: at, Item: numbers[zipf.Uint64()], Type: uint8(vocab.Type_VIEW_ITEM),
			})
		}
		p.model.Apply([]items.Change{{Subject: subject(name), Interactions: interactions}})
	}
	for i := range 1000 {
		w.lists.Popular = append(w.lists.Popular, scored.Item{ItemID: shelf[i].ItemId, Score: 1 / float64(i+1)})
		w.lists.Trending = append(w.lists.Trending, scored.Item{ItemID: shelf[i*3].ItemId, Score: 1 / float64(i+1)})
	}
	o := w.options()
	o.Personal = p
	api := httpx.NewAPI("test", httpx.NewKeys(map[string]httpx.Role{serverKey: httpx.RoleServer}))
	Register(api, o)
	for _, c := range []struct {
		name, body string
		others     int // requests that differ
	}{
		{"person", `{"surface":"home","user_id":"u%d","limit":20}`, 50_000},
		{"stranger", `{"surface":"home","context":{"bucket":%d},"limit":20}`, 1 + maxBucket},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			began := cpuTime(b)
			for i := 0; b.Loop(); i++ {
				r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/recommendations", strings.NewReader(fmt.Sprintf(c.body, i*7919%c.others)))
				r.Header.Set("Authorization", "Bearer "+serverKey)
				recorder := httptest.NewRecorder()
				if api.Mux.ServeHTTP(recorder, r); recorder.Code != http.StatusOK {
					b.Fatal(recorder.Body.String())
				}
			}
			b.ReportMetric(float64(cpuTime(b)-began)/1e3/float64(b.N), "cpu-us/op")
		})
	}
}

// cpuTime is the process's time on the processor, which others on the machine do not change.
func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
