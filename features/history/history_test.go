package history

import (
	"fmt"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"sluice/features/featurestest"
	"sluice/features/record"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// harness drives the engine.
type harness struct{ *featurestest.Harness }

func newHarness(t featurestest.T, e stream.Engine, apply func([]stream.Record)) harness {
	return harness{featurestest.New(t, e, apply)}
}

func (h harness) footprint(ev *purposepb.HistoryEvent) {
	h.Send(ev.Subject, &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Event{Event: ev}})
}

func (h harness) purgeHistory(purge *purposepb.Purge) {
	h.Send(purge.Subject, &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Purge{Purge: purge}})
}

// TestFootprints keeps the newest, forgets one, and all.
func TestFootprints(t *testing.T) {
	c := featurestest.Config(t, "keep: 200", "keep: 3")
	view := NewView(stream.Cluster{}, c, record.ViewOptions{})
	h := newHarness(t, Engine(c, nil), view.apply)
	see := func(n int, typ vocab.Type, term string, items ...string) {
		h.footprint(&purposepb.HistoryEvent{
			Subject: featurestest.ID('u', 1), Event: fmt.Appendf(nil, "sealed id %d", n), Type: typ, Time: featurestest.Day0 + int64(n), Items: featurestest.Items(items...), SearchTerm: term, Floor: []byte("f"),
		})
	}
	expect := func(want ...string) {
		t.Helper()
		h.Commit()
		var got []string
		for _, e := range view.Footprints(featurestest.Identity(1, "f")) {
			got = append(got, fmt.Sprintf("%s %s %v %s", e.Event, e.Type.Name(), e.ItemIDs, e.SearchTerm))
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
	h.purgeHistory(&purposepb.Purge{Subject: featurestest.ID('u', 1), Event: []byte("sealed id 2")})
	expect("sealed id 1 search [] lamp", "sealed id 3 purchase [a b] ")
	if view.Footprints(featurestest.Identity(1, "another floor")) != nil || view.Footprints(featurestest.Identity(2, "f")) != nil {
		t.Error("footprints are shown to others")
	}
	h.purgeHistory(&purposepb.Purge{Subject: featurestest.ID('u', 1), Floor: []byte("g"), Time: featurestest.Day0})
	expect()
	see(5, vocab.Type_VIEW_ITEM, "", "d") // collected under the floor before
	expect()
	h.purgeHistory(&purposepb.Purge{Subject: featurestest.ID('u', 1)})
	h.Commit()
	if view.people.Len() != 0 {
		t.Error("a record is left after the purge")
	}
}
