package profile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"sluice/features/featurestest"
	"sluice/features/record"
	"sluice/features/scored"
	"sluice/features/spec"
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
		at := featurestest.Day0 + rapid.Int64Range(0, 40).Draw(t, "hours")*featurestest.Hour*12
		ev := personalEvent(rapid.IntRange(0, 3).Draw(t, "subject"), i, typ, at)
		if typ == vocab.Type_SEARCH {
			ev.SearchTerm = rapid.SampledFrom([]string{"lamp", "chair"}).Draw(t, "term")
		} else {
			for range rapid.IntRange(1, 3).Draw(t, "items") {
				ev.Items = append(ev.Items, &vocab.Item{ItemId: fmt.Sprintf("i%d", rapid.IntRange(0, 6).Draw(t, "item"))})
			}
		}
		if rapid.Bool().Draw(t, "has session") {
			ev.Session = featurestest.ID('s', rapid.IntRange(0, 3).Draw(t, "session"))
		}
		out = append(out, ev)
	}
	return out
}

// smallConfig keeps 8 entries for 10 days.
func smallConfig(t featurestest.T) *spec.Config {
	return featurestest.Config(t, "keep: 50", "keep: 8\n    retention: 10d", "people: 3 ", "people: 2 ", "people: 3 ", "people: 1 ")
}

// TestPersonalStateIsAFunctionOfTheEvents sends the same events in two orders and transaction sizes, and compares with a naive oracle.
func TestPersonalStateIsAFunctionOfTheEvents(t *testing.T) {
	c := smallConfig(t)
	rapid.Check(t, func(t *rapid.T) {
		events := drawPersonal(t, rapid.IntRange(1, 60).Draw(t, "events"))
		first := newHarness(t, Engine(c, nil), nil)
		for _, ev := range events {
			first.personal(ev)
			first.Commit()
		}
		second := newHarness(t, Engine(c, nil), nil)
		for i, ev := range rapid.Permutation(events).Draw(t, "order") {
			second.personal(ev)
			if i%7 == 0 {
				second.Commit()
			}
		}
		second.Commit()
		if diff := gocmp.Diff(first.Compared(Projection()), second.Compared(Projection())); diff != "" {
			t.Fatalf("the order shows (-first +second):\n%s", diff)
		}
		view := newView(t, c, first.Compacted())
		for subject := range 4 {
			want := naiveProfile(events, subject, 8)
			if diff := gocmp.Diff(want, view.Profile(featurestest.Identity(subject, "f")), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("subject %d (-want +got):\n%s", subject, diff)
			}
			if got := view.Profile(featurestest.Identity(subject, "another floor")); got != nil {
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
	horizon := newest/featurestest.Day*featurestest.Day - 10*featurestest.Day
	events = slices.Clone(events)
	slices.SortFunc(events, func(a, b *purposepb.PersonalEvent) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), slices.Compare(a.Event, b.Event))
	})
	out := &Profile{}
	for _, ev := range events {
		if ev.Time < horizon || !slices.Equal(ev.Subject, featurestest.ID('u', subject)) || ev.Type == vocab.Type_VIEW_ITEM_LIST {
			continue
		}
		if ev.Type == vocab.Type_SEARCH {
			out.Searches = append(out.Searches, Search{Event: record.Hash64(ev.Event), Time: ev.Time, Term: ev.SearchTerm})
			continue
		}
		seen := map[string]bool{}
		for _, item := range ev.Items {
			if !seen[item.ItemId] {
				out.Touches = append(out.Touches, record.Touch{Event: record.Hash64(ev.Event), Type: ev.Type, Time: ev.Time, ItemID: item.ItemId, Session: record.Hash64(ev.Session)})
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

func newView(t featurestest.T, c *spec.Config, recs []stream.Record) *View {
	v := NewView(stream.Cluster{}, c, record.ViewOptions{})
	v.apply(recs)
	return v
}

// TestFoldIsExact runs random events, deletions of one event, purges and new floors. After every commit the live view's item structures must equal those of a view
// that is restored from the compacted changelog, and those of a naive fold over all profiles; after everything is purged nothing may be left.
func TestFoldIsExact(t *testing.T) {
	c := smallConfig(t)
	rapid.Check(t, func(t *rapid.T) {
		live := newView(t, c, nil)
		h := newHarness(t, Engine(c, nil), live.apply)
		events := drawPersonal(t, rapid.IntRange(1, 80).Draw(t, "events"))
		for i, ev := range events {
			subject := ev.Subject
			switch rapid.IntRange(0, 9).Draw(t, "act") {
			case 0:
				h.purgePersonal(&purposepb.Purge{Subject: subject, Event: events[rapid.IntRange(0, i).Draw(t, "event")].Event})
			case 1:
				h.purgePersonal(&purposepb.Purge{Subject: subject, Time: featurestest.Day0})
			case 2:
				h.purgePersonal(&purposepb.Purge{Subject: subject, Floor: []byte("f"), Time: featurestest.Day0})
			default:
				h.personal(ev)
			}
			if rapid.Bool().Draw(t, "commit") {
				h.Commit()
			}
		}
		h.Commit()
		structures := dump(live)
		if diff := gocmp.Diff(structures, dump(newView(t, c, h.Compacted()))); diff != "" {
			t.Fatalf("restored differs from live (-live +restored):\n%s", diff)
		}
		if diff := gocmp.Diff(naiveFold(live), structures); diff != "" {
			t.Fatalf("the fold is not exact (-naive +live):\n%s", diff)
		}
		for subject := range 4 {
			h.purgePersonal(&purposepb.Purge{Subject: featurestest.ID('u', subject)})
		}
		h.Commit()
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
func dump(v *View) map[string]int64 {
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
func naiveFold(v *View) map[string]int64 {
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
				for x := max(0, y-v.c.CoVisits.Positions); x < y; x++ {
					other := v.items.byID[list[x].item].name
					w := v.c.CoVisits.Weights[list[x].typ] * v.c.CoVisits.Weights[list[y].typ]
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
	h := newHarness(t, Engine(c, nil), view.apply)
	n := 0
	event := func(floor, item string) {
		n++
		ev := personalEvent(0, n, vocab.Type_VIEW_ITEM, featurestest.Day0+int64(n), item)
		ev.Floor = []byte(floor)
		h.personal(ev)
	}
	purge := func(floor string) {
		h.purgePersonal(&purposepb.Purge{Subject: featurestest.ID('u', 0), Floor: []byte(floor), Time: featurestest.Day0 + int64(n)})
	}
	expect := func(floor string, want ...string) {
		t.Helper()
		h.Commit()
		var got []string
		if p := view.Profile(featurestest.Identity(0, floor)); p != nil {
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
	h := newHarness(t, Engine(c, nil), view.apply)
	h.personal(personalEvent(0, 1, vocab.Type_VIEW_ITEM, featurestest.Day0, "a"))
	h.personal(personalEvent(0, 2, vocab.Type_PURCHASE, featurestest.Day0, "b"))
	h.personal(personalEvent(0, 3, vocab.Type_VIEW_ITEM, featurestest.Day0+1, "a"))
	h.Commit()
	if got := view.CoVisited("a", featurestest.Day0, time.Hour, 10); len(got) != 0 {
		t.Errorf("one person's pair is served: %v", got)
	}
	h.personal(personalEvent(1, 4, vocab.Type_VIEW_ITEM, featurestest.Day0, "b"))
	h.personal(personalEvent(1, 5, vocab.Type_VIEW_ITEM, featurestest.Day0, "a"))
	h.Commit()
	want := []scored.Item{{ItemID: "b", Score: 7, Cause: "a"}} // 1·3 twice and 1·1
	near := gocmp.Comparer(func(a, b float64) bool { return a-b < 0.01 && b-a < 0.01 })
	if diff := gocmp.Diff(want, view.CoVisited("a", featurestest.Day0, 7*24*time.Hour, 10), near); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want[0].Score = 3.5
	if diff := gocmp.Diff(want, view.CoVisited("a", featurestest.Day0+7*featurestest.Day, 7*24*time.Hour, 10), near); diff != "" {
		t.Errorf("a half-life later (-want +got):\n%s", diff)
	}
	want[0].Score = 7.0 / 1024 // ten half-lives, across landmarks or not
	if got := view.CoVisited("a", featurestest.Day0+70*featurestest.Day, 7*24*time.Hour, 10); len(got) != 1 || got[0].Score < want[0].Score*0.99 || got[0].Score > want[0].Score*1.01 {
		t.Errorf("ten half-lives later: %v, want about %v", got, want)
	}
}

// TestDecayAcrossALandmark sums what lies on both sides of a landmark.
func TestDecayAcrossALandmark(t *testing.T) {
	c := smallConfig(t)
	view := newView(t, c, nil)
	h := newHarness(t, Engine(c, nil), view.apply)
	d := view.decays[0]
	landmark := (featurestest.Day0/d.period + 1) * d.period
	for subject, at := range []int64{landmark - 1, landmark} {
		h.personal(personalEvent(subject, 2*subject, vocab.Type_VIEW_ITEM, at, "a"))
		h.personal(personalEvent(subject, 2*subject+1, vocab.Type_VIEW_ITEM, at, "b"))
	}
	h.Commit()
	got := view.CoVisited("a", landmark, 7*24*time.Hour, 1)
	if len(got) != 1 || got[0].Score < 1.99 || got[0].Score > 2.01 {
		t.Errorf("got %v, want b with about 2", got)
	}
}

// TestSessionNeighbours recommends what followed in like sessions, and only what enough people did.
func TestSessionNeighbours(t *testing.T) {
	c := featurestest.Config(t, "people: 3 ", "people: 2 ", "people: 3 ", "people: 2 ")
	view := newView(t, c, nil)
	h := newHarness(t, Engine(c, nil), view.apply)
	n := 0
	session := func(subject int, start int64, items ...string) []record.Touch {
		var touches []record.Touch
		for i, item := range items {
			n++
			ev := personalEvent(subject, n, vocab.Type_VIEW_ITEM, start+int64(i)*featurestest.Minute, item)
			ev.Session = featurestest.ID('s', n-i)
			h.personal(ev)
			touches = append(touches, record.Touch{Event: record.Hash64(ev.Event), Type: ev.Type, Time: ev.Time, ItemID: item, Session: record.Hash64(ev.Session)})
		}
		return touches
	}
	for subject := range 3 {
		session(subject, featurestest.Day0, "lamp", "bulb", "shade")
		session(subject, featurestest.Day0+featurestest.Hour, "desk", "chair")
	}
	session(3, featurestest.Day0, "lamp", "secret") // one person's alone
	mine := session(4, featurestest.Day0+2*featurestest.Hour, "table", "lamp")
	h.Commit()
	got := view.SessionNeighbours(mine, featurestest.Day0+3*featurestest.Hour, KNN{Neighbours: 10, Sample: 100, Limit: 5})
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
	if got := view.SessionNeighbours(nil, featurestest.Day0, KNN{}); got != nil {
		t.Errorf("of no session: %v", got)
	}
}

func TestAffinity(t *testing.T) {
	p := &Profile{Touches: []record.Touch{
		{Type: vocab.Type_PURCHASE, Time: featurestest.Day0 - 7*featurestest.Day, ItemID: "a"}, // 4 · ½
		{Type: vocab.Type_VIEW_ITEM, Time: featurestest.Day0, ItemID: "b"},                     // 1, in two categories
		{Type: vocab.Type_VIEW_ITEM, Time: featurestest.Day0, ItemID: "unknown"},
	}}
	categories := map[string][]string{"a": {"Lamps"}, "b": {"Lamps", "Chairs"}}
	got := Affinity(p, func(item string) []string { return categories[item] }, featurestest.Day0, 7*24*time.Hour)
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

// TestRetentionExpires ticks past retention: people of whom nothing is left are gone, what comes late is not taken.
func TestRetentionExpires(t *testing.T) {
	c := smallConfig(t) // ten days
	view := newView(t, c, nil)
	h := newHarness(t, Engine(c, nil), view.apply)
	h.personal(personalEvent(1, 1, vocab.Type_VIEW_ITEM, featurestest.Day0, "a"))
	h.personal(personalEvent(2, 2, vocab.Type_VIEW_ITEM, featurestest.Day0+11*featurestest.Day, "b"))
	h.personal(personalEvent(3, 3, vocab.Type_VIEW_ITEM, featurestest.Day0, "c"))
	h.personal(personalEvent(3, 4, vocab.Type_VIEW_ITEM, featurestest.Day0+featurestest.Day, "d"))
	h.Commit()
	if view.Profile(featurestest.Identity(1, "f")) != nil {
		t.Error("subject 1 has not expired")
	}
	p := view.Profile(featurestest.Identity(3, "f"))
	if p == nil || len(p.Touches) != 1 || p.Touches[0].ItemID != "d" {
		t.Errorf("subject 3: %+v, expected d alone", p)
	}
	if view.Now() < time.Now().Add(-time.Hour).UnixMicro() {
		t.Error("clock: wall does not tell the machine's time")
	}
}

// TestReadersBesideTheWriter reads the view while it changes, for the race detector.
func TestReadersBesideTheWriter(t *testing.T) {
	c := featurestest.Config(t, "keep: 50", "keep: 8", "people: 3 ", "people: 1 ", "people: 3 ", "people: 1 ")
	view := newView(t, c, nil)
	h := newHarness(t, Engine(c, nil), view.apply)
	done := make(chan struct{})
	var readers errgroup.Group
	for range 2 {
		readers.Go(func() error {
			for n := 0; ; n++ {
				select {
				case <-done:
					return nil
				default:
				}
				if p := view.Profile(featurestest.Identity(n%20, "f")); p != nil {
					view.SessionNeighbours(p.Touches, featurestest.Day0+featurestest.Day, KNN{})
					view.CoVisited(p.Touches[0].ItemID, featurestest.Day0+featurestest.Day, time.Hour, 10)
				}
			}
		})
	}
	for n := range 400 {
		h.personal(personalEvent(n%20, n, vocab.Type_VIEW_ITEM, featurestest.Day0+int64(n)*1e6, fmt.Sprintf("i%d", n*n%37)))
		h.Commit()
	}
	close(done)
	if err := readers.Wait(); err != nil {
		t.Error(err)
	}
}
