package recommend

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/features/scored"
	"sluice/features/trending"
	"sluice/internal/vocab"
)

// TestWithoutACatalogueListsHoldWhatEventsName: nothing was ever posted.
func TestWithoutACatalogueListsHoldWhatEventsName(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.stock()
	w.lists = &trending.Lists{Tick: 1, Popular: listed("a", "b"), Trending: listed("b")}
	w.personal.together["a"] = listed("c", "d")
	w.allow("u1", interaction(1, vocab.Type_VIEW_ITEM, "a"))
	w.personal.neighbours = causedBy("a", listed("e"))
	for what, c := range map[string]struct {
		r    *reply
		want []string
	}{
		"popular":  {w.request(http.MethodGet, "/v1/lists/popular", writeKey, ""), []string{"a", "b"}},
		"similar":  {w.request(http.MethodGet, "/v1/items/a/similar", writeKey, ""), []string{"c", "d"}},
		"personal": {w.recommend(`{"surface":"plain","user_id":"u1"}`), []string{"e"}},
	} {
		if diff := cmp.Diff(c.want, c.r.ids()); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	w.stock(demoItems()...)
	if r := w.request(http.MethodGet, "/v1/lists/popular?limit=2", writeKey, ""); !slices.Equal(r.ids(), []string{"i00", "i01"}) {
		t.Errorf("after a catalogue was posted, within the tick: %v", r.ids())
	}
	if r := w.request(http.MethodGet, "/v1/items/a/similar", writeKey, ""); r.status != http.StatusNotFound {
		t.Errorf("similar to what the catalogue lacks: %d", r.status)
	}
}

// without is the list with only what the catalogue has.
func (w *world) without(list []scored.Item) []scored.Item {
	return slices.DeleteFunc(slices.Clone(list), func(s scored.Item) bool { return w.shop.snapshot.Find(s.ItemID) == nil })
}

// TestWhatTheCatalogueLacksChangesNothing: lists are byte for byte those that they would be if nobody had ever named it.
func TestWhatTheCatalogueLacksChangesNothing(t *testing.T) {
	config := defaults(t)
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, t, config)
		page := drawPage(rt)
		ask := func() (own, strangers *reply) {
			return w.recommend(fmt.Sprintf(`{%s,"user_id":"u1","limit":30}`, page)), w.recommend(fmt.Sprintf(`{%s,"limit":30}`, page))
		}
		ownBefore, before := ask()
		w.lists = &trending.Lists{Tick: 8, Trending: w.without(w.lists.Trending), Popular: w.without(w.lists.Popular)}
		w.personal.neighbours = w.without(w.personal.neighbours)
		for item, list := range w.personal.together {
			w.personal.together[item] = w.without(list)
		}
		w.mux, w.registry = nil, nil // nothing is kept in memory
		own, after := ask()
		if !bytes.Equal(own.items, ownBefore.items) || !bytes.Equal(after.items, before.items) {
			rt.Fatalf("with:    %s\n%s\nwithout: %s\n%s", ownBefore.items, before.items, own.items, after.items)
		}
	})
}

// TestADeletedItemIsOnNoList: lists that were made before, kept for the tick, cursors and reasons included.
func TestADeletedItemIsOnNoList(t *testing.T) {
	config := defaults(t)
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, t, config)
		page := drawPage(rt)
		who := rapid.SampledFrom([]string{`"user_id":"u1"`, `"timeout_ms":80`}).Draw(rt, "who")
		body := func(cursor string) string { return fmt.Sprintf(`{%s,%s,"limit":4,"cursor":%q}`, page, who, cursor) }
		first := w.recommend(body(""))
		items := demoItems()
		gone := make(map[string]bool)
		for _, id := range append(drawItems(rt, 0, 20), first.ids()...) {
			gone[id] = true
		}
		kept := items[:0]
		for _, item := range items {
			if !gone[item.ItemId] {
				kept = append(kept, item)
			}
		}
		w.stock(kept...)
		cursors := []string{""}
		if first.NextCursor != nil {
			cursors = append(cursors, *first.NextCursor)
		}
		for _, cursor := range cursors {
			for range 3 {
				r := w.recommend(body(cursor))
				if r.status != http.StatusOK {
					rt.Fatalf("%s", r.raw)
				}
				for _, item := range r.Items {
					for _, reason := range item.Reasons {
						if gone[reason.ItemID] {
							rt.Fatalf("%s names %s, which was deleted", item.ItemID, reason.ItemID)
						}
					}
					if gone[item.ItemID] {
						rt.Fatalf("%s was deleted", item.ItemID)
					}
				}
				if r.NextCursor == nil {
					break
				}
				cursor = *r.NextCursor
			}
		}
	})
}
