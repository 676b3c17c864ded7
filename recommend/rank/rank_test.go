package rank_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/internal/catalog"
	"sluice/internal/itemid"
	"sluice/recommend/rank"
)

// shelf is the items of a test.
type shelf struct {
	ids   *itemid.Table
	items map[string]*catalog.Item
}

func newShelf() *shelf { return &shelf{itemid.NewTable(), make(map[string]*catalog.Item)} }

// put puts an item into the catalogue and tells its number.
func (s *shelf) put(id, brand, seller string, categories ...string) uint32 {
	i := &catalog.Item{ItemId: id, Brand: brand, Seller: seller}
	if len(categories) > 0 {
		i.Categories = []*catalog.CategoryPath{{Names: categories}}
	}
	s.items[id] = i
	return s.ids.Acquire(id)
}

func (s *shelf) catalogue(t interface{ Fatal(...any) }) *catalog.Snapshot {
	snapshot, err := catalog.NewSnapshot(s.ids, slices.Collect(maps.Values(s.items))...)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

// drawCandidates draws candidates, the best first, with scores that often tie.
func (s *shelf) drawCandidates(t *rapid.T, prefix string, most int) []rank.Candidate {
	n := rapid.IntRange(0, most).Draw(t, prefix+"n")
	list := make([]rank.Candidate, n)
	for i := range list {
		id := prefix + strconv.Itoa(i)
		list[i] = rank.Candidate{Number: s.ids.Acquire(id), Tag: int32(i), Score: float64(rapid.IntRange(0, 8).Draw(t, "score")) / 8}
		if rapid.IntRange(0, 9).Draw(t, "known") > 0 {
			s.put(
				id, rapid.SampledFrom([]string{"", "b1", "b2"}).Draw(t, "brand"), rapid.SampledFrom([]string{"s1", "s2", "s3"}).Draw(t, "seller"),
				rapid.SampledFrom([]string{"A", "B"}).Draw(t, "broad"), rapid.SampledFrom([]string{"p", "q", "r", "s"}).Draw(t, "narrow"),
			)
		}
	}
	slices.SortStableFunc(list, func(a, b rank.Candidate) int {
		switch {
		case a.Score > b.Score:
			return -1
		case a.Score < b.Score:
			return 1
		}
		return strings.Compare(s.ids.ID(a.Number), s.ids.ID(b.Number))
	})
	return list
}

func drawRules(t *rapid.T) []rank.Rule {
	rules := make([]rank.Rule, rapid.IntRange(0, 3).Draw(t, "rules"))
	for i := range rules {
		within := rapid.IntRange(2, 7).Draw(t, "within")
		rules[i] = rank.Rule{
			AtMost: rapid.IntRange(1, within-1).Draw(t, "at most"), Within: within,
			Same: rapid.SampledFrom([]rank.Kind{rank.Category, rank.Brand, rank.Seller}).Draw(t, "same"),
		}
	}
	return rules
}

func fillerOf(list []rank.Candidate) func() (rank.Candidate, bool) {
	return func() (rank.Candidate, bool) {
		if len(list) == 0 {
			return rank.Candidate{}, false
		}
		c := list[0]
		list = list[1:]
		return c, true
	}
}

func (s *shelf) picked(list rank.List) []string {
	ids := make([]string, len(list.Picks))
	for i := range list.Picks {
		ids[i] = s.ids.ID(list.Picks[i].Number)
	}
	return ids
}

// exceeds tells whether the slot at the end of the list breaks the rule.
func exceeds(r rank.Rule, slots []rank.Slot) bool {
	last := slots[len(slots)-1]
	window := slots[max(0, len(slots)-r.Within):]
	for _, value := range last[r.Same] {
		n := 0
		for _, s := range window {
			if slices.Contains(s[r.Same], value) {
				n++
			}
		}
		if n > r.AtMost {
			return true
		}
	}
	return false
}

// oracle is what Make should do, worked out from the whole history for every slot.
func oracle(p *rank.Plan, fillers []rank.Candidate) []string {
	pool, slots := slices.Clone(p.Candidates), slices.Clone(p.Before)
	var top float64
	for _, c := range pool {
		top = max(top, c.Score)
	}
	keeps := func(c rank.Candidate) bool {
		with := append(slices.Clone(slots), rank.SlotOf(p.Catalogue.At(c.Number), p.Exempt))
		return !slices.ContainsFunc(p.Rules, func(r rank.Rule) bool { return exceeds(r, with) })
	}
	var chosen []rank.Candidate
	value := func(c rank.Candidate) float64 {
		relevance := 0.0
		if top > 0 {
			relevance = p.Lambda * c.Score / top
		}
		alike := 0.0
		for i := range chosen {
			alike = max(alike, p.Similarity(chosen[i].Number)(c.Number))
		}
		return relevance - (1-p.Lambda)*alike
	}
	best := func(keeping bool) int {
		at := -1
		for i, c := range pool {
			if (!keeping || keeps(c)) && (at < 0 || value(c) > value(pool[at])) {
				at = i
			}
		}
		return at
	}
	take := func(list *[]rank.Candidate, at int) rank.Candidate {
		c := (*list)[at]
		*list = slices.Concat((*list)[:at], (*list)[at+1:])
		return c
	}
	for len(chosen) < p.Limit {
		var c rank.Candidate
		if at := best(true); at >= 0 {
			c = take(&pool, at)
		} else if at := slices.IndexFunc(fillers, keeps); at >= 0 {
			c = take(&fillers, at)
		} else if at := best(false); at >= 0 {
			c = take(&pool, at)
		} else if len(fillers) > 0 {
			c = take(&fillers, 0)
		} else {
			break
		}
		chosen = append(chosen, c)
		slots = append(slots, rank.SlotOf(p.Catalogue.At(c.Number), p.Exempt))
	}
	ids := make([]string, len(chosen))
	for i := range chosen {
		ids[i] = p.ID(chosen[i].Number)
	}
	return ids
}

func TestMakeIsWhatTheOracleSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newShelf()
		fillers, candidates := s.drawCandidates(t, "f", 8), s.drawCandidates(t, "c", 25)
		s.put("x", "b1", "s1", "A", "p")
		catalogue := s.catalogue(t)
		p := &rank.Plan{
			Limit: rapid.IntRange(0, 12).Draw(t, "limit"), Catalogue: catalogue, ID: s.ids.ID, Candidates: candidates, Filler: fillerOf(fillers), Rules: drawRules(t),
			Lambda: rapid.SampledFrom([]float64{0, 0.3, 0.7, 1}).Draw(t, "lambda"), Similarity: rank.ByCategory(catalogue),
			Exempt: rapid.SampledFrom([][]uint32{nil, {catalog.Hash("p")}, {catalog.Hash("q"), catalog.Hash("r")}}).Draw(t, "exempt"),
		}
		for range rapid.IntRange(0, 5).Draw(t, "before") {
			p.Before = append(p.Before, rank.SlotOf(catalogue.Find("x"), nil))
		}
		want := oracle(p, fillers)
		if diff := cmp.Diff(want, s.picked(rank.Make(p))); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestPromisesHoldAcrossPages follows a list page by page: what exceeds a promise is named, and what is named exceeds it.
func TestPromisesHoldAcrossPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newShelf()
		left, fillers, rules := s.drawCandidates(t, "c", 30), s.drawCandidates(t, "f", 10), drawRules(t)
		catalogue := s.catalogue(t)
		var shown []rank.Slot
		var before []rank.Slot
		used := make(map[uint32]bool)
		for range 4 {
			fresh := func(list []rank.Candidate) []rank.Candidate {
				return slices.DeleteFunc(slices.Clone(list), func(c rank.Candidate) bool { return used[c.Number] })
			}
			list := rank.Make(&rank.Plan{
				Limit: rapid.IntRange(1, 8).Draw(t, "limit"), Catalogue: catalogue, ID: s.ids.ID, Candidates: fresh(left), Filler: fillerOf(fresh(fillers)), Rules: rules,
				Before: before, Lambda: 0.7, Similarity: rank.ByCategory(catalogue),
			})
			before = list.Slots
			for _, pick := range list.Picks {
				if used[pick.Number] {
					t.Fatalf("%s comes twice", s.ids.ID(pick.Number))
				}
				used[pick.Number] = true
				shown = append(shown, rank.SlotOf(catalogue.At(pick.Number), nil))
				for i, r := range rules {
					if exceeds(r, shown) != slices.Contains(pick.Broken, i) {
						t.Fatalf("slot %d, rule %d: exceeded is %t, named is %v", len(shown), i, exceeds(r, shown), pick.Broken)
					}
				}
			}
		}
		if len(before) > rank.Span(rules) {
			t.Fatalf("%d slots are handed on, %d are looked at", len(before), rank.Span(rules))
		}
	})
}

func TestMake(t *testing.T) {
	s := newShelf()
	lamp := func(id string, score float64) rank.Candidate {
		return rank.Candidate{Number: s.put(id, "", "", "Home", "Lamps"), Score: score}
	}
	mug := rank.Candidate{Number: s.put("mug", "", "", "Kitchen", "Mugs"), Score: 0.1}
	unknown := func(id string) rank.Candidate { return rank.Candidate{Number: s.ids.Acquire(id), Score: 1} }
	lamps := []rank.Candidate{lamp("l1", 0.9), lamp("l2", 0.8), lamp("l3", 0.7)}
	lamp("l4", 0)
	lamp("l5", 0)
	catalogue := s.catalogue(t)
	alike := rank.ByCategory(catalogue)
	oneInTwo := []rank.Rule{{AtMost: 1, Within: 2, Same: rank.Category}}
	cases := []struct {
		name   string
		plan   rank.Plan
		want   []string
		broken []string // of which picks
	}{
		{"relevance alone", rank.Plan{Limit: 2, Candidates: lamps}, []string{"l1", "l2"}, nil},
		{"diversity", rank.Plan{Limit: 2, Candidates: append(slices.Clone(lamps), mug), Lambda: 0.5, Similarity: alike}, []string{"l1", "mug"}, nil},
		{"a promise", rank.Plan{Limit: 3, Candidates: append(slices.Clone(lamps), mug), Rules: oneInTwo}, []string{"l1", "mug", "l2"}, nil},
		{"a filler keeps it", rank.Plan{Limit: 2, Candidates: lamps, Rules: oneInTwo, Filler: fillerOf([]rank.Candidate{lamp("l4", 0), mug})}, []string{"l1", "mug"}, nil},
		{"nothing keeps it", rank.Plan{Limit: 3, Candidates: lamps, Rules: oneInTwo}, []string{"l1", "l2", "l3"}, []string{"l2", "l3"}},
		{"the page before", rank.Plan{Limit: 1, Candidates: append(slices.Clone(lamps), mug), Rules: oneInTwo, Before: []rank.Slot{{rank.Category: {catalog.Hash("Lamps")}}}}, []string{"mug"}, nil},
		{"all are of it", rank.Plan{Limit: 2, Candidates: lamps, Rules: oneInTwo, Exempt: []uint32{catalog.Hash("Home"), catalog.Hash("Lamps")}}, []string{"l1", "l2"}, nil},
		{"unknown items share nothing", rank.Plan{Limit: 2, Candidates: []rank.Candidate{unknown("x"), unknown("y")}, Rules: oneInTwo, Similarity: alike}, []string{"x", "y"}, nil},
		{"nothing at all", rank.Plan{Limit: 2}, []string{}, nil},
		{"skipped fillers come at last", rank.Plan{Limit: 3, Candidates: lamps[:1], Rules: oneInTwo, Filler: fillerOf([]rank.Candidate{lamp("l4", 0), lamp("l5", 0)})}, []string{"l1", "l4", "l5"}, []string{"l4", "l5"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.plan.Catalogue, c.plan.ID = catalogue, s.ids.ID
			c.plan.Candidates = slices.Clone(c.plan.Candidates) // Make changes them
			list := rank.Make(&c.plan)
			if diff := cmp.Diff(c.want, s.picked(list)); diff != "" {
				t.Error(diff)
			}
			var broken []string
			for _, p := range list.Picks {
				if len(p.Broken) > 0 {
					broken = append(broken, s.ids.ID(p.Number))
				}
			}
			if diff := cmp.Diff(c.broken, broken); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func BenchmarkMake20Of500(b *testing.B)  { benchmark(b, 500) }
func BenchmarkMake20Of5000(b *testing.B) { benchmark(b, 5000) }

func benchmark(b *testing.B, n int) {
	s, candidates := newShelf(), make([]rank.Candidate, n)
	for i := range candidates {
		id := fmt.Sprint("i", i)
		broad := i * 7 % 12
		candidates[i] = rank.Candidate{
			Score:  1 / (1 + float64(i)/50),
			Number: s.put(id, fmt.Sprint("brand", i%40), fmt.Sprint("seller", i%9), fmt.Sprint("broad", broad), fmt.Sprint("narrow", broad, i%3)),
		}
	}
	catalogue := s.catalogue(b)
	plan := &rank.Plan{
		Limit: 20, Catalogue: catalogue, ID: s.ids.ID, Candidates: candidates, Lambda: 0.7, Similarity: rank.ByCategory(catalogue),
		Rules: []rank.Rule{{AtMost: 2, Within: 6, Same: rank.Category}, {AtMost: 3, Within: 10, Same: rank.Seller}},
	}
	order := slices.Clone(candidates)
	b.ReportAllocs()
	for b.Loop() {
		copy(candidates, order)
		if list := rank.Make(plan); len(list.Picks) != 20 {
			b.Fatal("too few")
		}
	}
}
