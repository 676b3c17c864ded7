package trending

import (
	"fmt"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"sluice/features/featurestest"
	"sluice/features/record"
	"sluice/features/scored"
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
	}
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
	view := NewView(stream.Cluster{}, c, itemid.NewTable(), record.ViewOptions{})
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
			events = append(events, trendingEvent(rapid.IntRange(1, people).Draw(t, "person"), n, at, item))
		}
		live := NewView(stream.Cluster{}, c, itemid.NewTable(), record.ViewOptions{})
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
		restored := NewView(stream.Cluster{}, c, itemid.NewTable(), record.ViewOptions{})
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
		if len(live.windows)+live.contributions.Len()+live.ids.Used() != 0 {
			t.Fatalf("left after everything was deleted: %v", trendingPeople(live))
		}
	})
}

func trendingPeople(v *View) map[string]int32 {
	out := make(map[string]int32)
	for number, w := range v.windows {
		for item, n := range w.people {
			if n > 0 {
				out[fmt.Sprintf("%d %s", number, v.ids.ID(uint32(item)))] = n
			}
		}
	}
	return out
}
