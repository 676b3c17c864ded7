package history

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/features/featurestest"
	"sluice/features/record"
	"sluice/features/spill"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/consent"
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
	view := NewView(stream.Cluster{}, c, record.ViewOptions{Dir: t.TempDir()})
	h := newHarness(t, Engine(c, nil), view.apply)
	see := func(n int, typ vocab.Type, term string, items ...string) {
		h.footprint(&purposepb.HistoryEvent{
			Subject: featurestest.ID('u', 1), Event: fmt.Appendf(nil, "sealed id %d", n), Type: typ, Time: featurestest.Day0 + int64(n), Items: featurestest.Items(items...), SearchTerm: term, Floor: []byte("f"),
		})
	}
	expect := func(want ...string) {
		t.Helper()
		h.Commit()
		footprints, err := view.Footprints(featurestest.Identity(1, "f"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range footprints {
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
	for _, other := range []consent.Identity{featurestest.Identity(1, "another floor"), featurestest.Identity(2, "f")} {
		if f, err := view.Footprints(other); f != nil || err != nil {
			t.Errorf("footprints are shown to others: %v (%v)", f, err)
		}
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

// crowded is a view of so many people, each with footprints of which pairs have one time, most of them written out.
func crowded(t featurestest.T, o record.ViewOptions, people, events int) *View {
	c := featurestest.Config(t)
	view := NewView(stream.Cluster{}, c, o)
	h := newHarness(t, Engine(c, nil), view.apply)
	for n := range people * events {
		ev := seen(n%people, n, featurestest.Day0+int64(n/people/2)*1e6)
		ev.Floor = []byte("f")
		h.footprint(ev)
		if n%500 == 499 {
			h.Commit()
		}
	}
	h.Commit()
	return view
}

// TestPages reads pages of any size, which together are everything.
func TestPages(t *testing.T) {
	const people = 100
	view := crowded(t, record.ViewOptions{Dir: t.TempDir()}, people, 60)
	rapid.Check(t, func(t *rapid.T) {
		who := featurestest.Identity(rapid.IntRange(0, people-1).Draw(t, "who"), "f")
		limit := rapid.IntRange(1, 70).Draw(t, "limit")
		want, err := view.Footprints(who)
		if err != nil || len(want) != 60 {
			t.Fatalf("%d footprints (%v)", len(want), err)
		}
		slices.Reverse(want)
		var got []Footprint
		var before *record.Entry
		for more := true; more; {
			var page []Footprint
			if page, more, err = view.Page(who, before, limit); err != nil {
				t.Fatal(err)
			}
			if len(page) > limit || more && len(page) < limit {
				t.Fatalf("a page of %d, limit %d", len(page), limit)
			}
			got = append(got, page...)
			if len(page) > 0 {
				last := page[len(page)-1]
				before = &record.Entry{Time: last.Time, ID: last.Event}
			}
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Fatalf("(-all +pages):\n%s", diff)
		}
	})
}

// unreadable is a file that can be written alone.
type unreadable struct{}

var errUnreadable = errors.New("input/output error")

func (unreadable) ReadAt([]byte, int64) (int, error)      { return 0, errUnreadable }
func (unreadable) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (unreadable) Close() error                           { return nil }

// TestUnreadableFile shows nothing rather than a part.
func TestUnreadableFile(t *testing.T) {
	c := featurestest.Config(t)
	view := NewView(stream.Cluster{}, c, record.ViewOptions{})
	view.people = record.NewCopy(lists, spill.Options{Create: func() (spill.File, error) { return unreadable{}, nil }})
	h := newHarness(t, Engine(c, nil), view.apply)
	const people = 100
	for n := range people * 30 {
		h.footprint(seen(n%people, n, featurestest.Day0+int64(n)*1e6))
		if n%people == people-1 {
			h.Commit()
		}
	}
	who := featurestest.Identity(0, string(featurestest.ID('f', 0)))
	if f, err := view.Footprints(who); !errors.Is(err, errUnreadable) || f != nil {
		t.Errorf("%d footprints (%v), want %v", len(f), err, errUnreadable)
	}
	if f, more, err := view.Page(who, nil, 30); !errors.Is(err, errUnreadable) || f != nil || more {
		t.Errorf("a page of %d (%v), want %v", len(f), err, errUnreadable)
	}
	h.purgeHistory(&purposepb.Purge{Subject: featurestest.ID('u', 0)})
	h.Commit()
	if f, err := view.Footprints(who); f != nil || err != nil {
		t.Errorf("%d footprints of a person who has none (%v)", len(f), err)
	}
}
