package profile

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"sluice/features/featurestest"
	"sluice/features/items"
	"sluice/features/record"
	"sluice/features/spec"
	"sluice/internal/itemid"
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
		newest = max(newest, ev.Time)
	}
	horizon := newest/featurestest.Day*featurestest.Day - 10*featurestest.Day
	events = slices.Clone(events)
	slices.SortFunc(events, func(a, b *purposepb.PersonalEvent) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), slices.Compare(a.Event, b.Event))
	})
	out := &Profile{}
	for _, ev := range events {
		if ev.Time < horizon || !slices.Equal(ev.Subject, featurestest.ID('u', subject)) || ev.Type == vocab.Type_VIEW_ITEM_LIST || ev.Type == vocab.Type_SEARCH {
			continue
		}
		seen := map[string]bool{}
		for _, item := range ev.Items {
			if !seen[item.ItemId] {
				out.Interactions = append(out.Interactions, record.Interaction{Event: record.Hash64(ev.Event), Type: ev.Type, Time: ev.Time, ItemID: item.ItemId, Session: record.Hash64(ev.Session)})
			}
			seen[item.ItemId] = true
		}
	}
	out.Interactions = out.Interactions[max(0, len(out.Interactions)-keep):]
	if len(out.Interactions) == 0 {
		return nil
	}
	return out
}

func newView(t featurestest.T, c *spec.Config, recs []stream.Record) *View {
	v := NewView(stream.Cluster{}, c, itemid.NewTable(), record.ViewOptions{})
	v.apply(recs)
	return v
}

// TestFoldIsExact runs random events, deletions of one event, purges and new floors. In the end the live view must answer as a view that is
// restored from the compacted changelog; after everything is purged nothing may be left. (What the model holds is compared with a naive fold in its package.)
func TestFoldIsExact(t *testing.T) {
	small, large := smallConfig(t), featurestest.Config(t, "keep: 50", "keep: 40")
	rapid.Check(t, func(t *rapid.T) {
		c, few := small, 4
		if rapid.Bool().Draw(t, "long lists") {
			c, few = large, 1
		}
		live := newView(t, c, nil)
		h := newHarness(t, Engine(c, nil), live.apply)
		events := drawPersonal(t, rapid.IntRange(1, 80).Draw(t, "events"))
		for i, ev := range events {
			ev.Subject = featurestest.ID('u', i%few)
			if rapid.IntRange(0, 15).Draw(t, "floor") == 0 {
				ev.Floor = []byte("g") // without a purge between
			}
			subject := ev.Subject
			switch rapid.IntRange(0, 29).Draw(t, "act") {
			case 0, 1, 2:
				h.purgePersonal(&purposepb.Purge{Subject: subject, Event: events[rapid.IntRange(0, i).Draw(t, "event")].Event})
			case 3:
				h.purgePersonal(&purposepb.Purge{Subject: subject, Time: featurestest.Day0})
			case 4:
				h.purgePersonal(&purposepb.Purge{Subject: subject, Floor: []byte("f"), Time: featurestest.Day0})
			default:
				h.personal(ev)
			}
			if rapid.Bool().Draw(t, "commit") {
				h.Commit()
			}
		}
		h.Commit()
		if diff := gocmp.Diff(answers(live), answers(newView(t, c, h.Compacted()))); diff != "" {
			t.Fatalf("restored differs from live (-live +restored):\n%s", diff)
		}
		if n := len(live.fold.pending); n > 0 {
			t.Fatalf("%d chunks still wait for a head", n)
		}
		for subject := range 4 {
			h.purgePersonal(&purposepb.Purge{Subject: featurestest.ID('u', subject)})
		}
		h.Commit()
		if left := live.model.Sizes(); left.People+left.Sessions+left.Interactions+left.Items+live.ids.Used() != 0 {
			t.Fatalf("left after everything was purged: %+v, %d numbers", left, live.ids.Used())
		}
		for i := range live.shards {
			if live.shards[i].people.Len() != 0 {
				t.Fatal("people are left after everything was purged")
			}
		}
	})
}

// answers are what the view says of the people and items that drawPersonal draws.
func answers(v *View) map[string]string {
	out := make(map[string]string)
	now := featurestest.Day0 + 30*featurestest.Day
	for subject := range 4 {
		out[fmt.Sprint("person ", subject)] = fmt.Sprint(v.Profile(featurestest.Identity(subject, "f")))
	}
	for n := range 7 {
		item, other := v.ids.Find(fmt.Sprint("i", n)), v.ids.Find(fmt.Sprint("i", (n+1)%7))
		var text []byte
		for _, s := range v.Together(nil, item, now, 7*24*time.Hour, 10) {
			text = fmt.Append(text, v.ids.ID(s.Item), " ", s.Score, ", ")
		}
		for _, s := range v.Neighbours(nil, []uint32{other, item}, nil, now, knn) {
			text = fmt.Append(text, v.ids.ID(s.Item), " ", s.Score, " ", v.ids.ID(s.Cause), ", ")
		}
		out[fmt.Sprint("item ", n)] = string(fmt.Append(text, v.Linked(item, other, nil)))
	}
	return out
}

var knn = items.KNN{Items: 10, Sample: 5, Neighbours: 3, HalfLife: 24 * time.Hour, Decay: 1.5, Distance: 3, Rarity: 0.5, Limit: 20}

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
			for _, interaction := range p.Interactions {
				got = append(got, interaction.ItemID)
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
	together := func(now int64) []items.Scored { return view.Together(nil, view.ids.Find("a"), now, 7*24*time.Hour, 10) }
	if got := together(featurestest.Day0); len(got) != 0 {
		t.Errorf("one person's pair is served: %v", got)
	}
	h.personal(personalEvent(1, 4, vocab.Type_VIEW_ITEM, featurestest.Day0, "b"))
	h.personal(personalEvent(1, 5, vocab.Type_VIEW_ITEM, featurestest.Day0, "a"))
	h.Commit()
	want := []items.Scored{{Item: view.ids.Find("b"), Score: 7, Cause: view.ids.Find("a")}} // 1·3 twice and 1·1
	near := gocmp.Comparer(func(a, b float64) bool { return a-b < 0.01 && b-a < 0.01 })
	if diff := gocmp.Diff(want, together(featurestest.Day0), near); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want[0].Score = 3.5
	if diff := gocmp.Diff(want, together(featurestest.Day0+7*featurestest.Day), near); diff != "" {
		t.Errorf("a half-life later (-want +got):\n%s", diff)
	}
	want[0].Score = 7.0 / 1024 // ten half-lives, across landmarks or not
	if got := together(featurestest.Day0 + 70*featurestest.Day); len(got) != 1 || got[0].Score < want[0].Score*0.99 || got[0].Score > want[0].Score*1.01 {
		t.Errorf("ten half-lives later: %v, want about %v", got, want)
	}
}

// TestSessionNeighbours recommends what followed in like sessions, and only what enough people did.
func TestSessionNeighbours(t *testing.T) {
	c := featurestest.Config(t, "people: 3 ", "people: 2 ", "people: 3 ", "people: 2 ")
	view := newView(t, c, nil)
	h := newHarness(t, Engine(c, nil), view.apply)
	n := 0
	session := func(subject int, start int64, names ...string) (numbers []uint32) {
		for i, name := range names {
			n++
			ev := personalEvent(subject, n, vocab.Type_VIEW_ITEM, start+int64(i)*featurestest.Minute, name)
			ev.Session = featurestest.ID('s', n-i)
			h.personal(ev)
			numbers = append(numbers, view.ids.Acquire(name))
		}
		return numbers
	}
	for subject := range 3 {
		session(subject, featurestest.Day0, "lamp", "bulb", "shade")
		session(subject, featurestest.Day0+featurestest.Hour, "desk", "chair")
	}
	session(3, featurestest.Day0, "lamp", "secret") // one person's alone
	mine := session(4, featurestest.Day0+2*featurestest.Hour, "table", "lamp")
	h.Commit()
	own := []items.Subject{featurestest.Identity(4, "f").Subject}
	o := items.KNN{Items: 10, Sample: 100, Neighbours: 10, HalfLife: 24 * time.Hour, Decay: 1.5, Distance: 3, Limit: 5}
	got := view.Neighbours(nil, mine, own, featurestest.Day0+3*featurestest.Hour, o)
	var ids []string
	for _, s := range got {
		ids = append(ids, view.ids.ID(s.Item))
		if view.ids.ID(s.Cause) != "lamp" || s.Score <= 0 || s.Score > 1 {
			t.Errorf("%+v: expected cause lamp and a score in (0, 1]", s)
		}
	}
	if diff := gocmp.Diff([]string{"lamp", "bulb", "shade"}, ids); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := view.Neighbours(nil, nil, own, featurestest.Day0, o); got != nil {
		t.Errorf("of no session: %v", got)
	}
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
	if p == nil || len(p.Interactions) != 1 || p.Interactions[0].ItemID != "d" {
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
				if interactions := view.Interactions(nil, featurestest.Identity(n%20, "f")); len(interactions) > 0 {
					present := []uint32{interactions[0].Item}
					view.Neighbours(nil, present, nil, featurestest.Day0+featurestest.Day, knn)
					view.Together(nil, present[0], featurestest.Day0+featurestest.Day, time.Hour, 10)
					view.Linked(present[0], interactions[len(interactions)-1].Item, nil)
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
