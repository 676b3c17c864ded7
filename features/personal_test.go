package features

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

var personalTypes = []vocab.Type{vocab.Type_VIEW_ITEM, vocab.Type_SEARCH, vocab.Type_ADD_TO_CART, vocab.Type_PURCHASE}

// drawPersonal draws events of a few people: times collide, some events are of types that leave no trace, some have several items.
func drawPersonal(t *rapid.T, n int) []*purposepb.PersonalEvent {
	var out []*purposepb.PersonalEvent
	for i := range n {
		typ := rapid.SampledFrom(append([]vocab.Type{vocab.Type_VIEW_ITEM_LIST}, personalTypes...)).Draw(t, "type")
		at := day0 + rapid.Int64Range(0, 40).Draw(t, "hours")*hourMicros*12
		ev := personalEvent(rapid.IntRange(0, 3).Draw(t, "subject"), i, typ, at)
		if typ == vocab.Type_SEARCH {
			ev.SearchTerm = rapid.SampledFrom([]string{"lamp", "chair"}).Draw(t, "term")
		} else {
			for range rapid.IntRange(1, 3).Draw(t, "items") {
				ev.Items = append(ev.Items, &vocab.Item{ItemId: fmt.Sprintf("i%d", rapid.IntRange(0, 6).Draw(t, "item"))})
			}
		}
		if rapid.Bool().Draw(t, "has session") {
			ev.Session = id('s', rapid.IntRange(0, 3).Draw(t, "session"))
		}
		out = append(out, ev)
	}
	return out
}

// smallConfig keeps 8 entries for 10 days.
func smallConfig(t fataler) *Config {
	return testConfig(t, "keep: 50", "keep: 8\n    retention: 10d", "people: 3 ", "people: 2 ", "people: 3 ", "people: 1 ")
}

// TestPersonalStateIsAFunctionOfTheEvents sends the same events in two orders and transaction sizes, and compares with a naive oracle.
func TestPersonalStateIsAFunctionOfTheEvents(t *testing.T) {
	c := smallConfig(t)
	rapid.Check(t, func(t *rapid.T) {
		events := drawPersonal(t, rapid.IntRange(1, 60).Draw(t, "events"))
		first := newHarness(t, PersonalEngine(c, nil), nil)
		for _, ev := range events {
			first.personal(ev)
			first.commit()
		}
		second := newHarness(t, PersonalEngine(c, nil), nil)
		for i, ev := range rapid.Permutation(events).Draw(t, "order") {
			second.personal(ev)
			if i%7 == 0 {
				second.commit()
			}
		}
		second.commit()
		if diff := gocmp.Diff(first.state(), second.state()); diff != "" {
			t.Fatalf("the order shows (-first +second):\n%s", diff)
		}
		view := newView(t, c, first.compacted())
		for subject := range 4 {
			want := naiveProfile(events, subject, 8)
			if diff := gocmp.Diff(want, view.Profile(identity(subject, "f")), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("subject %d (-want +got):\n%s", subject, diff)
			}
			if got := view.Profile(identity(subject, "another floor")); got != nil {
				t.Fatalf("subject %d is shown under another floor", subject)
			}
		}
	})
}

// naiveProfile sorts everything and cuts.
func naiveProfile(events []*purposepb.PersonalEvent, subject, keep int) *Profile {
	newest := int64(0)
	for _, ev := range events {
		if ev.Type != vocab.Type_VIEW_ITEM_LIST {
			newest = max(newest, ev.Time)
		}
	}
	horizon := newest/dayMicros*dayMicros - 10*dayMicros
	events = slices.Clone(events)
	slices.SortFunc(events, func(a, b *purposepb.PersonalEvent) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), slices.Compare(a.Event, b.Event))
	})
	out := &Profile{}
	for _, ev := range events {
		if ev.Time < horizon || !slices.Equal(ev.Subject, id('u', subject)) || ev.Type == vocab.Type_VIEW_ITEM_LIST {
			continue
		}
		if ev.Type == vocab.Type_SEARCH {
			out.Searches = append(out.Searches, Search{Event: hash64(ev.Event), Time: ev.Time, Term: ev.SearchTerm})
			continue
		}
		seen := map[string]bool{}
		for _, item := range ev.Items {
			if !seen[item.ItemId] {
				out.Touches = append(out.Touches, Touch{Event: hash64(ev.Event), Type: ev.Type, Time: ev.Time, ItemID: item.ItemId, Session: hash64(ev.Session)})
			}
			seen[item.ItemId] = true
		}
	}
	out.Touches = out.Touches[max(0, len(out.Touches)-keep):]
	if n := len(out.Searches); n > keep {
		out.Searches = out.Searches[n-keep:]
	}
	if len(out.Touches)+len(out.Searches) == 0 {
		return nil
	}
	return out
}

func newView(t fataler, c *Config, recs []stream.Record) *Personal {
	v := NewPersonal(stream.Cluster{}, c, ViewOptions{})
	v.apply(recs)
	return v
}

// TestFoldIsExact runs random events, deletions of one event, purges and new floors. After every commit the live view's item structures must equal those of a view
// that is restored from the compacted changelog, and those of a naive fold over all profiles; after everything is purged nothing may be left.
func TestFoldIsExact(t *testing.T) {
	c := smallConfig(t)
	rapid.Check(t, func(t *rapid.T) {
		live := newView(t, c, nil)
		h := newHarness(t, PersonalEngine(c, nil), live.apply)
		events := drawPersonal(t, rapid.IntRange(1, 80).Draw(t, "events"))
		for i, ev := range events {
			subject := ev.Subject
			switch rapid.IntRange(0, 9).Draw(t, "act") {
			case 0:
				h.purgePersonal(&purposepb.Purge{Subject: subject, Event: events[rapid.IntRange(0, i).Draw(t, "event")].Event})
			case 1:
				h.purgePersonal(&purposepb.Purge{Subject: subject, Time: day0})
			case 2:
				h.purgePersonal(&purposepb.Purge{Subject: subject, Floor: []byte("f"), Time: day0})
			default:
				h.personal(ev)
			}
			if rapid.Bool().Draw(t, "commit") {
				h.commit()
			}
		}
		h.commit()
		structures := dump(live)
		if diff := gocmp.Diff(structures, dump(newView(t, c, h.compacted()))); diff != "" {
			t.Fatalf("restored differs from live (-live +restored):\n%s", diff)
		}
		if diff := gocmp.Diff(naiveFold(live), structures); diff != "" {
			t.Fatalf("the fold is not exact (-naive +live):\n%s", diff)
		}
		for subject := range 4 {
			h.purgePersonal(&purposepb.Purge{Subject: id('u', subject)})
		}
		h.commit()
		if left := dump(live); len(left) != 0 || live.items.len() != 0 || live.total.Load() != 0 {
			t.Fatalf("left after everything was purged: %v, %d items, %d touches", left, live.items.len(), live.total.Load())
		}
		for i := range live.shards {
			if len(live.shards[i].people) != 0 {
				t.Fatal("people are left after everything was purged")
			}
		}
	})
}

// dump writes the item structures down: people and weights by pair, postings by item.
func dump(v *Personal) map[string]int64 {
	out := make(map[string]int64)
	for _, it := range v.items.byID {
		if it == nil {
			continue
		}
		for to, n := range it.people {
			out[it.name+" "+v.items.byID[to].name+" people"] = int64(n)
		}
		for e, sum := range it.weights {
			out[fmt.Sprintf("%s %s weight %x", it.name, v.items.byID[uint32(e)].name, e>>32)] = sum
		}
		for _, chunk := range it.postings.chunks {
			for _, p := range chunk {
				out[fmt.Sprintf("%s posting %d %x", it.name, p.time, p.event)]++
			}
		}
		out[it.name+" postings"] = int64(it.postings.n)
		out[it.name+" refs"] = int64(it.refs)
	}
	return out
}

// naiveFold makes the same from all profiles at once.
func naiveFold(v *Personal) map[string]int64 {
	out := make(map[string]int64)
	for i := range v.shards {
		for _, p := range v.shards[i].people {
			list := p.state.Load().touches
			pairs := make(map[[2]string]bool)
			for y := range list {
				item := v.items.byID[list[y].item].name
				out[fmt.Sprintf("%s posting %d %x", item, list[y].time, list[y].event)]++
				out[item+" postings"]++
				out[item+" refs"]++
				for x := max(0, y-v.c.coVisits.positions); x < y; x++ {
					other := v.items.byID[list[x].item].name
					w := v.c.coVisits.weights[list[x].typ] * v.c.coVisits.weights[list[y].typ]
					if item == other || w == 0 {
						continue
					}
					landmark, growth := v.decays[0].landmark(list[y].time)
					by := int64(w*growth*contributionUnit + 0.5)
					out[fmt.Sprintf("%s %s weight %x", item, other, landmark)] += by
					out[fmt.Sprintf("%s %s weight %x", other, item, landmark)] += by
					pairs[[2]string{item, other}], pairs[[2]string{other, item}] = true, true
				}
			}
			for pair := range pairs {
				out[pair[0]+" "+pair[1]+" people"]++
			}
		}
	}
	return out
}

// TestFloors follows one subject through grants and withdrawals.
func TestFloors(t *testing.T) {
	c := smallConfig(t)
	view := newView(t, c, nil)
	h := newHarness(t, PersonalEngine(c, nil), view.apply)
	n := 0
	event := func(floor, item string) {
		n++
		ev := personalEvent(0, n, vocab.Type_VIEW_ITEM, day0+int64(n), item)
		ev.Floor = []byte(floor)
		h.personal(ev)
	}
	purge := func(floor string) {
		h.purgePersonal(&purposepb.Purge{Subject: id('u', 0), Floor: []byte(floor), Time: day0 + int64(n)})
	}
	expect := func(floor string, want ...string) {
		t.Helper()
		h.commit()
		var got []string
		if p := view.Profile(identity(0, floor)); p != nil {
			for _, touch := range p.Touches {
				got = append(got, touch.ItemID)
			}
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("floor %s (-want +got):\n%s", floor, diff)
		}
	}
	event("1", "a")
	expect("1", "a")
	event("2", "b") // without a purge between: the newer floor wins
	expect("1")
	expect("2", "b")
	purge("3")
	expect("2")
	event("2", "c") // collected before the purge
	event("3", "d")
	expect("3", "d")
	purge("3") // said again
	expect("3", "d")
	purge("")
	expect("3")
	event("4", "e")
	expect("4", "e")
}

// TestCoVisitedNeedsPeople serves a pair only once enough people have it, and decays it.
func TestCoVisitedNeedsPeople(t *testing.T) {
	c := smallConfig(t) // two people, half-life of a week
	view := newView(t, c, nil)
	h := newHarness(t, PersonalEngine(c, nil), view.apply)
	h.personal(personalEvent(0, 1, vocab.Type_VIEW_ITEM, day0, "a"))
	h.personal(personalEvent(0, 2, vocab.Type_PURCHASE, day0, "b"))
	h.personal(personalEvent(0, 3, vocab.Type_VIEW_ITEM, day0+1, "a"))
	h.commit()
	if got := view.CoVisited("a", day0, time.Hour, 10); len(got) != 0 {
		t.Errorf("one person's pair is served: %v", got)
	}
	h.personal(personalEvent(1, 4, vocab.Type_VIEW_ITEM, day0, "b"))
	h.personal(personalEvent(1, 5, vocab.Type_VIEW_ITEM, day0, "a"))
	h.commit()
	want := []Scored{{ItemID: "b", Score: 7, Cause: "a"}} // 1·3 twice and 1·1
	near := gocmp.Comparer(func(a, b float64) bool { return a-b < 0.01 && b-a < 0.01 })
	if diff := gocmp.Diff(want, view.CoVisited("a", day0, 7*24*time.Hour, 10), near); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want[0].Score = 3.5
	if diff := gocmp.Diff(want, view.CoVisited("a", day0+7*dayMicros, 7*24*time.Hour, 10), near); diff != "" {
		t.Errorf("a half-life later (-want +got):\n%s", diff)
	}
	want[0].Score = 7.0 / 1024 // ten half-lives, across landmarks or not
	if got := view.CoVisited("a", day0+70*dayMicros, 7*24*time.Hour, 10); len(got) != 1 || got[0].Score < want[0].Score*0.99 || got[0].Score > want[0].Score*1.01 {
		t.Errorf("ten half-lives later: %v, want about %v", got, want)
	}
}

// TestDecayAcrossALandmark sums what lies on both sides of a landmark.
func TestDecayAcrossALandmark(t *testing.T) {
	c := smallConfig(t)
	view := newView(t, c, nil)
	h := newHarness(t, PersonalEngine(c, nil), view.apply)
	d := view.decays[0]
	landmark := (day0/d.period + 1) * d.period
	for subject, at := range []int64{landmark - 1, landmark} {
		h.personal(personalEvent(subject, 2*subject, vocab.Type_VIEW_ITEM, at, "a"))
		h.personal(personalEvent(subject, 2*subject+1, vocab.Type_VIEW_ITEM, at, "b"))
	}
	h.commit()
	got := view.CoVisited("a", landmark, 7*24*time.Hour, 1)
	if len(got) != 1 || got[0].Score < 1.99 || got[0].Score > 2.01 {
		t.Errorf("got %v, want b with about 2", got)
	}
}

// TestSessionNeighbours recommends what followed in like sessions, and only what enough people did.
func TestSessionNeighbours(t *testing.T) {
	c := testConfig(t, "people: 3 ", "people: 2 ", "people: 3 ", "people: 2 ")
	view := newView(t, c, nil)
	h := newHarness(t, PersonalEngine(c, nil), view.apply)
	n := 0
	session := func(subject int, start int64, items ...string) []Touch {
		var touches []Touch
		for i, item := range items {
			n++
			ev := personalEvent(subject, n, vocab.Type_VIEW_ITEM, start+int64(i)*minuteMicros, item)
			ev.Session = id('s', n-i)
			h.personal(ev)
			touches = append(touches, Touch{Event: hash64(ev.Event), Type: ev.Type, Time: ev.Time, ItemID: item, Session: hash64(ev.Session)})
		}
		return touches
	}
	for subject := range 3 {
		session(subject, day0, "lamp", "bulb", "shade")
		session(subject, day0+hourMicros, "desk", "chair")
	}
	session(3, day0, "lamp", "secret") // one person's alone
	mine := session(4, day0+2*hourMicros, "table", "lamp")
	h.commit()
	got := view.SessionNeighbours(mine, day0+3*hourMicros, KNN{Neighbours: 10, Sample: 100, Limit: 5})
	var ids []string
	for _, s := range got {
		ids = append(ids, s.ItemID)
		if s.Cause != "lamp" || s.Score <= 0 || s.Score > 1 {
			t.Errorf("%+v: expected cause lamp and a score in (0, 1]", s)
		}
	}
	if diff := gocmp.Diff([]string{"bulb", "shade"}, ids); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := view.SessionNeighbours(nil, day0, KNN{}); got != nil {
		t.Errorf("of no session: %v", got)
	}
}

func TestAffinity(t *testing.T) {
	p := &Profile{Touches: []Touch{
		{Type: vocab.Type_PURCHASE, Time: day0 - 7*dayMicros, ItemID: "a"}, // 4 · ½
		{Type: vocab.Type_VIEW_ITEM, Time: day0, ItemID: "b"},              // 1, in two categories
		{Type: vocab.Type_VIEW_ITEM, Time: day0, ItemID: "unknown"},
	}}
	categories := map[string][]string{"a": {"Lamps"}, "b": {"Lamps", "Chairs"}}
	got := Affinity(p, func(item string) []string { return categories[item] }, day0, 7*24*time.Hour)
	if diff := gocmp.Diff(map[string]float64{"Lamps": 2.5 / 3, "Chairs": 0.5 / 3}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := Affinity(nil, nil, 0, time.Hour); got != nil {
		t.Errorf("of nobody: %v", got)
	}
}

// TestPostingsAgainstModel inserts and removes at random places.
func TestPostingsAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p postings
		model := make(map[int64]bool)
		for _, n := range rapid.SliceOfN(rapid.Int64Range(0, 3000), 1, 3000).Draw(t, "times") {
			if model[n] {
				p.remove(n, 7)
				delete(model, n)
			} else {
				p.insert(posting{time: n, event: 7})
				model[n] = true
			}
		}
		want := slices.Sorted(maps.Keys(model))
		slices.Reverse(want)
		var got []int64
		for _, x := range p.newest(nil, len(want)+1) {
			got = append(got, x.time)
		}
		if !slices.Equal(want, got) || p.n != len(want) {
			t.Fatalf("want %v, got %v (%d)", want, got, p.n)
		}
	})
}
