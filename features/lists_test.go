package features

import (
	"fmt"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

const weekMicros = 7 * dayMicros

// week0 is the beginning of a trending window.
const week0 = day0 / weekMicros * weekMicros

func trendingEvent(contributor, n int, time int64, items ...string) *purposepb.TrendingEvent {
	return &purposepb.TrendingEvent{
		Contributor: id('t', contributor), Event: id('e', n), Window: floorDiv(time, weekMicros), Type: vocab.Type_VIEW_ITEM, Time: time, Items: itemsOf(items...),
	}
}

func (h *harness) trending(ev *purposepb.TrendingEvent) {
	h.send(ev.Contributor, &purposepb.TrendingRecord{Of: &purposepb.TrendingRecord_Event{Event: ev}})
}

func (h *harness) purgeTrending(purge *purposepb.TrendingPurge) {
	h.send(nil, &purposepb.TrendingRecord{Of: &purposepb.TrendingRecord_Purge{Purge: purge}})
}

// TestTrendingLists counts people, not events, and serves nothing of fewer than enough.
func TestTrendingLists(t *testing.T) {
	c := testConfig(t, "clock: wall", "clock: event", "people: 5 ", "people: 2 ")
	view := NewTrending(stream.Cluster{}, c, ViewOptions{})
	h := newHarness(t, TrendingEngine(c, nil), view.apply)
	n := 0
	see := func(contributor int, at int64, items ...string) {
		n++
		h.trending(trendingEvent(contributor, n, at, items...))
	}
	for range 5 {
		see(1, week0, "a")
	}
	see(2, week0, "b", "a")
	see(3, week0, "b", "c")
	half := week0 + weekMicros + weekMicros/2
	see(1, half, "c")
	see(2, half, "c")
	see(3, half, "c", "d", "a")
	h.commit()
	want := &Lists{
		Tick:     half / 60e6 * 60e6,
		Trending: []Scored{{ItemID: "c", Score: 3.5}, {ItemID: "a", Score: 2}, {ItemID: "b", Score: 1}},
		Popular:  []Scored{{ItemID: "c", Score: 4}, {ItemID: "a", Score: 3}, {ItemID: "b", Score: 2}},
	}
	if diff := gocmp.Diff(want, view.Lists()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	h.purgeTrending(&purposepb.TrendingPurge{Contributors: []*purposepb.TrendingPurge_Contributor{
		{Window: week0 / weekMicros, Key: id('t', 3)}, {Window: week0/weekMicros + 1, Key: id('t', 3)},
	}})
	see(4, half+60e6, "z") // the next tick
	h.commit()
	want = &Lists{
		Tick:     half/60e6*60e6 + 60e6,
		Trending: []Scored{{ItemID: "c", Score: 2}, {ItemID: "a", Score: 2 * (0.5 - 60e6/float64(weekMicros))}},
		Popular:  []Scored{{ItemID: "a", Score: 2}, {ItemID: "c", Score: 2}},
	}
	if diff := gocmp.Diff(want, view.Lists(), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Errorf("after the purge (-want +got):\n%s", diff)
	}
}

// TestTrendingFoldIsExact runs random contributions, deletions and purges: live equals restored, the order does not show, and nothing is left in the end.
func TestTrendingFoldIsExact(t *testing.T) {
	c := testConfig(t, "per_person: 50", "per_person: 4")
	rapid.Check(t, func(t *rapid.T) {
		var events []*purposepb.TrendingEvent
		for n := range rapid.IntRange(1, 50).Draw(t, "events") {
			at := week0 + rapid.Int64Range(0, 6*7).Draw(t, "day")*dayMicros
			item := fmt.Sprintf("i%d", rapid.IntRange(0, 5).Draw(t, "item"))
			events = append(events, trendingEvent(rapid.IntRange(0, 3).Draw(t, "person"), n, at, item))
		}
		live := NewTrending(stream.Cluster{}, c, ViewOptions{})
		h := newHarness(t, TrendingEngine(c, nil), live.apply)
		for _, ev := range events {
			h.trending(ev)
			h.commit()
		}
		other := newHarness(t, TrendingEngine(c, nil), nil)
		for _, ev := range rapid.Permutation(events).Draw(t, "order") {
			other.trending(ev)
		}
		other.commit()
		if diff := gocmp.Diff(h.state(), other.state()); diff != "" {
			t.Fatalf("the order shows (-first +second):\n%s", diff)
		}
		restored := NewTrending(stream.Cluster{}, c, ViewOptions{})
		restored.apply(h.compacted())
		if diff := gocmp.Diff(trendingPeople(live), trendingPeople(restored)); diff != "" {
			t.Fatalf("restored differs from live (-live +restored):\n%s", diff)
		}
		for _, ev := range events {
			h.purgeTrending(&purposepb.TrendingPurge{
				Contributors: []*purposepb.TrendingPurge_Contributor{{Window: ev.Window, Key: ev.Contributor}}, Event: ev.Event,
			})
			h.commit()
		}
		if len(live.windows)+len(live.contributions) != 0 {
			t.Fatalf("left after everything was deleted: %v", trendingPeople(live))
		}
	})
}

func trendingPeople(v *Trending) map[string]int32 {
	out := make(map[string]int32)
	for window, items := range v.windows {
		for item, n := range items {
			out[fmt.Sprintf("%d %s", window, item.Value())] = n
		}
	}
	return out
}

func (h *harness) footprint(ev *purposepb.HistoryEvent) {
	h.send(ev.Subject, &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Event{Event: ev}})
}

func (h *harness) purgeHistory(purge *purposepb.Purge) {
	h.send(purge.Subject, &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Purge{Purge: purge}})
}

// TestFootprints keeps the newest, forgets one, and all.
func TestFootprints(t *testing.T) {
	c := testConfig(t, "keep: 200", "keep: 3")
	view := NewHistory(stream.Cluster{}, c, ViewOptions{})
	h := newHarness(t, HistoryEngine(c, nil), view.apply)
	see := func(n int, typ vocab.Type, term string, items ...string) {
		h.footprint(&purposepb.HistoryEvent{
			Subject: id('u', 1), Event: fmt.Appendf(nil, "sealed id %d", n), Type: typ, Time: day0 + int64(n), Items: itemsOf(items...), SearchTerm: term, Floor: []byte("f"),
		})
	}
	expect := func(want ...string) {
		t.Helper()
		h.commit()
		var got []string
		for _, e := range view.Footprints(identity(1, "f")).GetEntries() {
			got = append(got, fmt.Sprintf("%s %s %v %s", e.Event, e.Type.Name(), e.ItemIds, e.SearchTerm))
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	see(3, vocab.Type_PURCHASE, "", "a", "b", "a")
	see(1, vocab.Type_SEARCH, "lamp")
	see(2, vocab.Type_VIEW_ITEM, "", "c")
	see(2, vocab.Type_VIEW_ITEM, "", "c") // cannot come, and would change nothing
	see(0, vocab.Type_VIEW_ITEM, "", "too old")
	expect("sealed id 1 search [] lamp", "sealed id 2 view_item [c] ", "sealed id 3 purchase [a b] ")
	h.purgeHistory(&purposepb.Purge{Subject: id('u', 1), Event: []byte("sealed id 2")})
	expect("sealed id 1 search [] lamp", "sealed id 3 purchase [a b] ")
	if view.Footprints(identity(1, "another floor")) != nil || view.Footprints(identity(2, "f")) != nil {
		t.Error("footprints are shown to others")
	}
	h.purgeHistory(&purposepb.Purge{Subject: id('u', 1), Floor: []byte("g"), Time: day0})
	expect()
	see(5, vocab.Type_VIEW_ITEM, "", "d") // collected under the floor before
	expect()
	h.purgeHistory(&purposepb.Purge{Subject: id('u', 1)})
	h.commit()
	if len(view.people) != 0 {
		t.Error("a record is left after the purge")
	}
}

// TestProjectionsHoldNoFloor compares two histories that were collected under different floors.
func TestProjectionsHoldNoFloor(t *testing.T) {
	c := testConfig(t)
	projected := func(floor string, since int64) map[string]string {
		h := newHarness(t, PersonalEngine(c, nil), nil)
		h.purgePersonal(&purposepb.Purge{Subject: id('u', 1), Floor: []byte(floor), Time: since})
		h.purgePersonal(&purposepb.Purge{Subject: id('u', 2), Floor: []byte(floor), Time: since})
		ev := personalEvent(1, 1, vocab.Type_VIEW_ITEM, day0, "a")
		ev.Floor = []byte(floor)
		h.personal(ev)
		h.commit()
		out := make(map[string]string)
		for _, r := range h.compacted() {
			Projections()["personal"](r.Key[0], r.Key[1:], r.Value, func(store string, key, value []byte) { out[store+string(key)] = string(value) })
		}
		return out
	}
	one, two := projected("one", day0), projected("two", day0+7)
	if diff := gocmp.Diff(one, two); diff != "" || len(one) != 1 {
		t.Errorf("%d pairs (-one +two):\n%s", len(one), diff)
	}
}

// TestRetentionExpires ticks past retention: people of whom nothing is left are gone, what comes late is not taken.
func TestRetentionExpires(t *testing.T) {
	c := smallConfig(t) // ten days
	view := newView(t, c, nil)
	h := newHarness(t, PersonalEngine(c, nil), view.apply)
	h.personal(personalEvent(1, 1, vocab.Type_VIEW_ITEM, day0, "a"))
	h.personal(personalEvent(2, 2, vocab.Type_VIEW_ITEM, day0+11*dayMicros, "b"))
	h.personal(personalEvent(3, 3, vocab.Type_VIEW_ITEM, day0, "c"))
	h.personal(personalEvent(3, 4, vocab.Type_VIEW_ITEM, day0+dayMicros, "d"))
	h.commit()
	if view.Profile(identity(1, "f")) != nil {
		t.Error("subject 1 has not expired")
	}
	p := view.Profile(identity(3, "f"))
	if p == nil || len(p.Touches) != 1 || p.Touches[0].ItemID != "d" {
		t.Errorf("subject 3: %+v, expected d alone", p)
	}
	if view.Now() < time.Now().Add(-time.Hour).UnixMicro() {
		t.Error("clock: wall does not tell the machine's time")
	}
}
