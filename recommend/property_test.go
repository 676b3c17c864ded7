package recommend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/features/record"
	"sluice/features/scored"
	"sluice/features/trending"
	"sluice/internal/catalog"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
	"sluice/recommend/rank"
)

func drawItem(t *rapid.T) string { return fmt.Sprintf("i%02d", rapid.IntRange(0, 62).Draw(t, "item")) } // 60–62 are unknown

func drawItems(t *rapid.T, least, most int) []string {
	ids := make([]string, rapid.IntRange(least, most).Draw(t, "items"))
	for i := range ids {
		ids[i] = drawItem(t)
	}
	return ids
}

func drawScored(t *rapid.T, most int) []scored.Item {
	var list []scored.Item
	for i, id := range drawItems(t, 0, most) {
		if !slices.ContainsFunc(list, func(s scored.Item) bool { return s.ItemID == id }) {
			list = append(list, scored.Item{ItemID: id, Score: float64(most - i), Cause: drawItem(t)})
		}
	}
	return list
}

// drawWorld draws everything that a list can be made from, and the person u1 who may allow it or not.
func drawWorld(t *rapid.T, tb testing.TB, config *Config) *world {
	w := &world{
		t: tb, consents: &consents{people: make(map[string]*access)}, shop: &shop{}, now: start, config: config,
		personal: newPersonal(), lists: &trending.Lists{Tick: 7, Trending: drawScored(t, 20), Popular: drawScored(t, 30)},
	}
	items, gone := demoItems(), drawItems(t, 0, 15)
	for _, item := range items {
		if slices.Contains(gone, item.ItemId) {
			item.Availability = catalog.OutOfStock
		}
	}
	w.stock(items...)
	var interactions []record.Interaction
	for i, id := range drawItems(t, 1, 20) {
		interactions = append(interactions, interaction(uint64(i+1), rapid.SampledFrom([]vocab.Type{vocab.Type_VIEW_ITEM, vocab.Type_ADD_TO_CART, vocab.Type_PURCHASE}).Draw(t, "type"), id))
	}
	a := w.allow("u1", interactions...)
	a.blocks = drawBlocks(t)
	w.personal.neighbours = drawScored(t, 30)
	for range 5 {
		id := drawItem(t)
		w.personal.ids.Acquire(id) // as a view does when it learns of an item
		w.personal.together[id] = drawScored(t, 15)
	}
	return w
}

func drawBlocks(t *rapid.T) *consent.Blocks {
	return &consent.Blocks{
		Items:      set(drawItems(t, 0, 5)...),
		Categories: set(rapid.SliceOfN(rapid.SampledFrom([]string{"C1", "C2", "C3/0", "none"}), 0, 2).Draw(t, "blocked categories")...),
	}
}

// drawPage draws the page's part of a request's body.
func drawPage(t *rapid.T) string {
	return fmt.Sprintf(
		`"surface":%q,"context":{"item_ids":%s,"category":%q,"search_term":%q,"bucket":%d},"exclude_item_ids":%s`,
		rapid.SampledFrom([]string{"home", "item", "cart", "search", "category", "feed"}).Draw(t, "surface"), quoted(drawItems(t, 0, 3)),
		rapid.SampledFrom([]string{"", "", "C4", "none"}).Draw(t, "category"), rapid.SampledFrom([]string{"", "thing 1"}).Draw(t, "term"),
		rapid.IntRange(0, 15).Draw(t, "bucket"), quoted(drawItems(t, 0, 3)),
	)
}

func quoted(ids []string) string {
	data, _ := json.Marshal(ids) // of strings: cannot fail
	return string(data)
}

func defaults(t *testing.T) *Config {
	c, err := load(t, string(Defaults))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestOffIsAStrangersList: with personalization off, items and config_version are byte for byte those of someone else with the same page and blocks, whatever
// either has done.
func TestOffIsAStrangersList(t *testing.T) {
	config := defaults(t)
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, t, config)
		w.consents.people["u1"].decision = privacyfilter.Decision{Because: rapid.SampledFrom([]string{privacyfilter.BecauseChoice, privacyfilter.BecauseDefault}).Draw(rt, "because")}
		other := *w.consents.people["u1"]
		other.identities, other.hidden = nil, map[uint64]struct{}{1: {}}
		w.consents.people["u2"] = &other
		noBlocks := len(other.blocks.Items) == 0 && len(other.blocks.Categories) == 0
		page := drawPage(rt)
		cursors := []string{"", ""}
		for range 3 {
			person := rapid.SampledFrom([]string{`"user_id":"u1"`, `"anonymous_id":"u1","session_id":"s"`}).Draw(rt, "person")
			limit := rapid.IntRange(1, 30).Draw(rt, "limit")
			ask := func(who, cursor string) *reply {
				return w.recommend(fmt.Sprintf(`{%s,%s,"limit":%d,"cursor":%q}`, page, who, limit, cursor))
			}
			stranger := `"user_id":"u2"`
			if noBlocks {
				stranger = `"timeout_ms":80` // nobody at all
			}
			a, b := ask(person, cursors[0]), ask(stranger, cursors[1])
			if a.status != 200 || b.status != 200 {
				rt.Fatalf("%s %s", a.raw, b.raw)
			}
			if !bytes.Equal(a.items, b.items) || a.ConfigVersion != b.ConfigVersion || a.RecommendationID != b.RecommendationID || a.Personalized || b.Personalized {
				rt.Fatalf("off:      %s\nstranger: %s", a.raw, b.raw)
			}
			if (a.NextCursor == nil) != (b.NextCursor == nil) {
				rt.Fatal("one list ends before the other")
			}
			if a.NextCursor == nil {
				return
			}
			cursors = []string{*a.NextCursor, *b.NextCursor}
		}
	})
}

// TestListsKeepTheirPromises follows lists page by page: nothing is blocked, out of stock, excluded or shown twice, and what exceeds a promise is named.
func TestListsKeepTheirPromises(t *testing.T) {
	config := defaults(t)
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, t, config)
		if rapid.Bool().Draw(rt, "off") {
			w.consents.people["u1"].decision = privacyfilter.Decision{Because: privacyfilter.BecauseChoice}
		}
		blocks, page := w.consents.people["u1"].blocks, drawPage(rt)
		surface := ""
		_, _ = fmt.Sscanf(page, `"surface":%q`, &surface)
		s, _ := config.Surface(surface)
		limited := bytes.Contains([]byte(page), []byte(`"category":"C4"`))
		var exempt []uint32
		if limited {
			exempt = []uint32{catalog.Hash("C4"), catalog.Hash("C4/1")}
		}
		seen := make(map[string]bool)
		var slots []rank.Slot
		cursor := ""
		for range 4 {
			r := w.recommend(fmt.Sprintf(`{%s,"user_id":"u1","limit":%d,"cursor":%q}`, page, rapid.IntRange(1, 20).Draw(rt, "limit"), cursor))
			if r.status != 200 {
				rt.Fatalf("%s", r.raw)
			}
			for i, got := range r.Items {
				item := w.shop.snapshot.Item(got.ItemID)
				if item == nil {
					rt.Fatalf("%s is not in the catalogue", got.ItemID)
				}
				if seen[got.ItemID] || bytes.Contains([]byte(page), []byte(`"`+got.ItemID+`"`)) {
					rt.Fatalf("%s is shown again", got.ItemID)
				}
				seen[got.ItemID] = true
				if _, blocked := blocks.Items[got.ItemID]; blocked {
					rt.Fatalf("%s is blocked", got.ItemID)
				}
				if limited && !item.InCategory("C4") {
					rt.Fatalf("%s is not of the page's category", got.ItemID)
				}
				if !item.AvailableAt(start.UnixMicro()) {
					rt.Fatalf("%s cannot be had", got.ItemID)
				}
				for name := range blocks.Categories {
					if item.InCategory(name) {
						rt.Fatalf("%s is of the blocked category %s", got.ItemID, name)
					}
				}
				if len(got.Reasons) == 0 || len(got.Reasons) > maxReasons || got.Score < 0 || got.Score > 1 {
					rt.Fatalf("%s: score %v, reasons %v", got.ItemID, got.Score, got.Reasons)
				}
				slots = append(slots, rank.SlotOf(w.shop.snapshot.Find(got.ItemID), exempt))
				for _, rule := range s.Rules {
					if exceeds(rule, slots) != named(rule, i, r.Relaxed) {
						rt.Fatalf("slot %d of the page: rule %v is exceeded: %t, relaxed: %v", i, rule, exceeds(rule, slots), r.Relaxed)
					}
				}
			}
			if r.NextCursor == nil {
				return
			}
			cursor = *r.NextCursor
		}
	})
}

// exceeds tells whether the last slot breaks the rule.
func exceeds(rule rank.Rule, slots []rank.Slot) bool {
	window := slots[max(0, len(slots)-rule.Within):]
	for _, value := range slots[len(slots)-1][rule.Same] {
		n := 0
		for _, s := range window {
			if slices.Contains(s[rule.Same], value) {
				n++
			}
		}
		if n > rule.AtMost {
			return true
		}
	}
	return false
}

// named tells whether relaxed says so of the slot.
func named(rule rank.Rule, slot int, relaxed []RelaxedConstraint) bool {
	return slices.ContainsFunc(relaxed, func(r RelaxedConstraint) bool {
		return r.Code == "at_most" && sameKinds[r.Same] == rule.Same && r.AtMost == rule.AtMost && r.Within == rule.Within && slices.Contains(r.Slots, slot)
	})
}

func TestEqualRequestsGetEqualPersonalItems(t *testing.T) {
	config := defaults(t)
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, t, config)
		body := fmt.Sprintf(`{%s,"user_id":"u1"}`, drawPage(rt))
		a, b := w.recommend(body), w.recommend(body)
		if diff := cmp.Diff(string(a.items), string(b.items)); diff != "" {
			rt.Fatal(diff)
		}
	})
}
