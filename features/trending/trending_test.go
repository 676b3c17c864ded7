package trending

import (
	"fmt"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"sluice/features/featurestest"
	"sluice/features/record"
	"sluice/features/scored"
	"sluice/internal/catalog"
	"sluice/internal/itemid"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// harness drives the engine.
type harness struct{ *featurestest.Harness }

func newHarness(t featurestest.T, e stream.Engine, apply func([]stream.Record)) harness {
	return harness{featurestest.New(t, e, apply)}
}

const weekMicros = 7 * featurestest.Day

// week0 is the beginning of a trending window.
const week0 = featurestest.Day0 / weekMicros * weekMicros

func trendingEvent(contributor, n int, time int64, items ...string) *purposepb.TrendingEvent {
	return &purposepb.TrendingEvent{
		Contributor: featurestest.ID('t', contributor), Event: featurestest.ID('e', n), Window: record.FloorDiv(time, weekMicros), Type: vocab.Type_VIEW_ITEM, Time: time, Items: featurestest.Items(items...),
		Established: true,
	}
}

// fresh makes the event one of somebody who does not count yet.
func fresh(ev *purposepb.TrendingEvent) *purposepb.TrendingEvent {
	ev.Established = false
	return ev
}

func (h harness) trending(ev *purposepb.TrendingEvent) {
	h.Send(ev.Contributor, &purposepb.TrendingRecord{Of: &purposepb.TrendingRecord_Event{Event: ev}})
}

func (h harness) purgeTrending(purge *purposepb.TrendingPurge) {
	h.Send(nil, &purposepb.TrendingRecord{Of: &purposepb.TrendingRecord_Purge{Purge: purge}})
}

// TestTrendingLists counts people, not events, and serves nothing of fewer than enough.
func TestTrendingLists(t *testing.T) {
	c := featurestest.Config(t, "clock: wall", "clock: event", "people: 5 ", "people: 2 ")
	view := NewView(stream.Cluster{}, c, itemid.NewTable(), nil, record.ViewOptions{})
	h := newHarness(t, Engine(c, nil), view.apply)
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
	h.Commit()
	want := &Lists{
		Tick:     half / 60e6 * 60e6,
		Trending: []scored.Item{{ItemID: "c", Score: 3.5}, {ItemID: "a", Score: 2}, {ItemID: "b", Score: 1}},
		Popular:  []scored.Item{{ItemID: "c", Score: 4}, {ItemID: "a", Score: 3}, {ItemID: "b", Score: 2}},
	}
	if diff := gocmp.Diff(want, view.Lists()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	h.purgeTrending(&purposepb.TrendingPurge{Contributors: []*purposepb.TrendingPurge_Contributor{
		{Window: week0 / weekMicros, Key: featurestest.ID('t', 3)}, {Window: week0/weekMicros + 1, Key: featurestest.ID('t', 3)},
	}})
	see(4, half+60e6, "z") // the next tick
	h.Commit()
	want = &Lists{
		Tick:     half/60e6*60e6 + 60e6,
		Trending: []scored.Item{{ItemID: "c", Score: 2}, {ItemID: "a", Score: 2 * (0.5 - 60e6/float64(weekMicros))}},
		Popular:  []scored.Item{{ItemID: "a", Score: 2}, {ItemID: "c", Score: 2}},
	}
	if diff := gocmp.Diff(want, view.Lists(), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Errorf("after the purge (-want +got):\n%s", diff)
	}
}

// TestTrendingFoldIsExact runs random contributions, deletions and purges: live equals restored, the order does not show, and nothing is left in the end.
func TestTrendingFoldIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := featurestest.Config(t, "per_person: 50", fmt.Sprintf("per_person: %d", rapid.SampledFrom([]int{4, 25}).Draw(t, "per person")))
		days, people := rapid.SampledFrom([]int64{6, 6 * 7}).Draw(t, "days"), rapid.SampledFrom([]int{1, 4}).Draw(t, "people")
		var events []*purposepb.TrendingEvent
		for n := range rapid.IntRange(1, 50).Draw(t, "events") {
			at := week0 + rapid.Int64Range(0, days).Draw(t, "day")*featurestest.Day
			item := fmt.Sprintf("i%d", rapid.IntRange(0, 5).Draw(t, "item"))
			ev := trendingEvent(rapid.IntRange(1, people).Draw(t, "person"), n, at, item)
			ev.Established = rapid.Bool().Draw(t, "established")
			events = append(events, ev)
		}
		live := NewView(stream.Cluster{}, c, itemid.NewTable(), nil, record.ViewOptions{})
		h := newHarness(t, Engine(c, nil), live.apply)
		for _, ev := range events {
			h.trending(ev)
			h.Commit()
		}
		other := newHarness(t, Engine(c, nil), nil)
		for _, ev := range rapid.Permutation(events).Draw(t, "order") {
			other.trending(ev)
		}
		other.Commit()
		if diff := gocmp.Diff(h.Compared(Projection()), other.Compared(Projection())); diff != "" {
			t.Fatalf("the order shows (-first +second):\n%s", diff)
		}
		restored := NewView(stream.Cluster{}, c, itemid.NewTable(), nil, record.ViewOptions{})
		restored.apply(h.Compacted())
		if diff := gocmp.Diff(trendingPeople(live), trendingPeople(restored)); diff != "" {
			t.Fatalf("restored differs from live (-live +restored):\n%s", diff)
		}
		for _, ev := range events {
			h.purgeTrending(&purposepb.TrendingPurge{
				Contributors: []*purposepb.TrendingPurge_Contributor{{Window: ev.Window, Key: ev.Contributor}}, Event: ev.Event,
			})
			h.Commit()
		}
		if len(live.windows)+live.contributions.Len()+live.ids.Used()+live.newcomers != 0 {
			t.Fatalf("left after everything was deleted: %v", trendingPeople(live))
		}
	})
}

func trendingPeople(v *View) map[string]int32 {
	out := map[string]int32{"newcomers": int32(v.newcomers)}
	for number, w := range v.windows {
		for _, known := range []bool{true, false} {
			for item, n := range w.of(known).people {
				if n > 0 {
					out[fmt.Sprintf("%d %s %t", number, v.ids.ID(uint32(item)), known)] = n
				}
			}
		}
	}
	return out
}

// TestNewcomersDoNotCount holds the view to a plain model: a person is counted for all that they did in a window once one of its events makes them count.
func TestNewcomersDoNotCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := featurestest.Config(t, "kept: 4 ", "kept: 60 ", "window: 7d", "window: 12h")
		const window = 12 * featurestest.Hour
		type choice struct {
			window  int64
			person  int
			item    string
			counted bool
		}
		var all []choice
		view := NewView(stream.Cluster{}, c, itemid.NewTable(), nil, record.ViewOptions{})
		h := newHarness(t, Engine(c, nil), view.apply)
		for n := range rapid.IntRange(1, 45).Draw(t, "events") {
			at := week0 + rapid.Int64Range(0, 3).Draw(t, "window")*window + rapid.Int64Range(0, window-1).Draw(t, "time")
			x := choice{at / window, rapid.IntRange(1, 5).Draw(t, "person"), fmt.Sprintf("i%d", rapid.IntRange(0, 3).Draw(t, "item")), rapid.IntRange(0, 3).Draw(t, "age") == 0}
			all = append(all, x)
			ev := trendingEvent(x.person, n, at, x.item)
			ev.Window, ev.Established = x.window, x.counted
			h.trending(ev)
			if rapid.Bool().Draw(t, "commit") {
				h.Commit()
			}
		}
		h.Commit()
		type contribution struct {
			window int64
			person int
		}
		counts := make(map[contribution]bool)
		for _, x := range all {
			counts[contribution{x.window, x.person}] = counts[contribution{x.window, x.person}] || x.counted
		}
		want := map[string]int32{"newcomers": 0}
		for _, counted := range counts {
			if !counted {
				want["newcomers"]++
			}
		}
		seen := make(map[choice]bool)
		for _, x := range all {
			x.counted = counts[contribution{x.window, x.person}]
			if !seen[x] {
				want[fmt.Sprintf("%d %s %t", x.window, x.item, x.counted)]++
			}
			seen[x] = true
		}
		if diff := gocmp.Diff(want, trendingPeople(view)); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// TestAFloodOfNewcomersMovesNothing: lists are those of before, and the metrics tell of the rise that is held back.
func TestAFloodOfNewcomersMovesNothing(t *testing.T) {
	c := featurestest.Config(t, "clock: wall", "clock: event")
	registry := prometheus.NewRegistry()
	view := NewView(stream.Cluster{}, c, itemid.NewTable(), nil, record.ViewOptions{Registerer: registry})
	h := newHarness(t, Engine(c, nil), view.apply)
	n := 0
	for person := range 20 {
		for item := range 10 {
			if person >= item {
				n++
				h.trending(trendingEvent(person, n, week0+int64(n)*1e6, fmt.Sprintf("i%d", item)))
			}
		}
	}
	h.trending(trendingEvent(0, n+1, week0+featurestest.Hour, "i0"))
	h.Commit()
	before := view.Lists()
	for person := range 50_000 {
		n++
		h.trending(fresh(trendingEvent(1000+person, n+1, week0+featurestest.Hour+int64(person), "pushed", "i9")))
		if person%1000 == 999 {
			h.Commit()
		}
	}
	h.trending(trendingEvent(0, n+2, week0+2*featurestest.Hour, "i0")) // the next tick
	h.Commit()
	after := *view.Lists()
	after.Tick = before.Tick
	if diff := gocmp.Diff(before, &after); diff != "" || len(before.Trending) != 10 {
		t.Errorf("the flood moved the lists (-before +after):\n%s", diff)
	}
	if got := metric(t, registry, "sluice_trending_held_back"); got["items"] != 2 || got["people"] != 50_000 {
		t.Errorf("held back: %v", got)
	}
	for person := range 5 { // they come again when they have aged, and what they did counts
		h.trending(trendingEvent(1000+person, n+10+person, week0+featurestest.Day, "i8"))
	}
	h.Commit()
	if lists := view.Lists(); !slices.ContainsFunc(lists.Trending, func(s scored.Item) bool { return s.ItemID == "pushed" && s.Score == 5 }) {
		t.Errorf("people who came again do not count: %v", lists.Trending)
	}
}

// metric reads a metric by its one label.
func metric(t *testing.T, registry *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				out[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}

// stocked is a catalogue.
type stocked struct{ snapshot *catalog.Snapshot }

func (s stocked) Snapshot() *catalog.Snapshot { return s.snapshot }

// TestWhatTheCatalogueLacksTakesNoPlace: thousands of items that nobody offers do not push those out that somebody does.
func TestWhatTheCatalogueLacksTakesNoPlace(t *testing.T) {
	c, ids := featurestest.Config(t, "clock: wall", "clock: event", "people: 5 ", "people: 1 ", "per_person: 50", "per_person: 500"), itemid.NewTable()
	snapshot, err := catalog.NewSnapshot(ids, &catalog.Item{ItemId: "had"}, &catalog.Item{ItemId: "other"})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	view := NewView(stream.Cluster{}, c, ids, stocked{snapshot}, record.ViewOptions{Registerer: registry})
	h := newHarness(t, Engine(c, nil), view.apply)
	h.trending(trendingEvent(0, 0, week0, "had"))
	for n := range 3000 {
		h.trending(trendingEvent(1+n/400, 1+n, week0+int64(n), fmt.Sprintf("junk-%d", n)))
		h.trending(trendingEvent(20+n/400, 10_000+n, week0+int64(n), fmt.Sprintf("junk-%d", n)))
	}
	h.trending(trendingEvent(0, 99_999, week0+featurestest.Hour, "had"))
	h.Commit()
	for name, list := range map[string][]scored.Item{"trending": view.Lists().Trending, "popular": view.Lists().Popular} {
		if len(list) != listLength+1 || list[listLength].ItemID != "had" {
			t.Errorf("%s has %d items and ends with %v", name, len(list), list[len(list)-1])
		}
	}
	if got := metric(t, registry, "sluice_trending_unknown"); got["items"] != 3000 || got["choices"] != 6000 {
		t.Errorf("unknown: %v", got)
	}
}
