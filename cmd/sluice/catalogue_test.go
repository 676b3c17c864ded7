package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// quickLists makes lists each second, so that tests need not wait for a minute to pass.
func quickLists(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "quick.yaml")
	if err := os.WriteFile(path, []byte("item_structures: {trending: {tick: 1s}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// offer posts items to the catalogue, each with a category of its own and one that all have.
func (d *demo) offer(availability string, ids ...string) {
	d.t.Helper()
	var lines strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&lines, `{"item_id":%q,"title":"Thing %s","categories":[["Things","Of %s"]],"availability":%q}`+"\n", id, id, id, availability)
	}
	d.ask(http.MethodPost, "/v1/items", lines.String(), nil, "Content-Type", "application/x-ndjson")
}

func (d *demo) withdraw(id string) {
	d.t.Helper()
	if status, body := d.call(http.MethodDelete, "/v1/items/"+id, nil); status != http.StatusNoContent {
		d.t.Fatalf("deleting %s: %d %s", id, status, body)
	}
}

// listing is what a list holds, and how it goes on.
type listing struct {
	Items []struct {
		ItemID  string `json:"item_id"`
		Reasons []struct {
			Code   string
			ItemID string `json:"item_id"`
		}
	}
	NextCursor *string `json:"next_cursor"`
}

func (l *listing) ids() []string {
	var ids []string
	for _, item := range l.Items {
		ids = append(ids, item.ItemID)
	}
	return ids
}

// named are all items that the list holds or gives as a reason.
func (l *listing) named() []string {
	ids := l.ids()
	for _, item := range l.Items {
		for _, reason := range item.Reasons {
			ids = append(ids, reason.ItemID)
		}
	}
	return ids
}

// pageAsk is one way to ask for a list.
type pageAsk struct{ name, method, path, body string }

func (d *demo) listing(p pageAsk) *listing {
	d.t.Helper()
	var l listing
	var body any
	if p.body != "" {
		body = p.body
	}
	status, data := d.patiently(p.method, p.path, body)
	if status == http.StatusNotFound { // similar to an item that is not there
		return &l
	}
	if status != http.StatusOK {
		d.t.Fatalf("%s: %d %s", p.name, status, data)
	}
	if err := json.Unmarshal(data, &l); err != nil {
		d.t.Fatal(err)
	}
	return &l
}

// patiently is call, again while the node cannot know consent: on a busy machine a lease may lapse for a moment.
func (d *demo) patiently(method, path string, body any) (status int, data []byte) {
	d.t.Helper()
	eventually(d.t, "an answer of "+path, func() bool {
		status, data = d.call(method, path, body)
		return status != http.StatusServiceUnavailable
	})
	return status, data
}

// everyPage is every surface that there is, for a stranger, for who has a history, and for who has blocked a category.
func everyPage() []pageAsk {
	pages := []pageAsk{
		{"similar", http.MethodGet, "/v1/items/item-1/similar?limit=50", ""},
		{"trending", http.MethodGet, "/v1/lists/trending?limit=50", ""},
		{"popular", http.MethodGet, "/v1/lists/popular?limit=50", ""},
		{"latest", http.MethodGet, "/v1/lists/latest?limit=50", ""},
		{"trending of a category", http.MethodGet, "/v1/lists/trending?limit=50&category=Things", ""},
		{"popular without a category", http.MethodGet, "/v1/lists/popular?limit=50&anonymous_id=blocker", ""},
	}
	for _, surface := range []string{"home", "item", "cart", "category", "search", "feed"} {
		for _, who := range []string{"", `,"anonymous_id":"regular","session_id":"s"`, `,"anonymous_id":"blocker"`} {
			body := fmt.Sprintf(`{"surface":%q,"limit":50,"context":{"item_ids":["item-1"],"search_term":"thing"}%s}`, surface, who)
			pages = append(pages, pageAsk{surface + " " + who, http.MethodPost, "/v1/recommendations", body})
		}
	}
	return pages
}

// nowhere checks that no page holds or names any of the items.
func (d *demo) nowhere(why string, gone ...string) {
	d.t.Helper()
	d.none(why, (*listing).named, gone)
}

// none checks that what is taken of each page has none of the items.
func (d *demo) none(why string, of func(*listing) []string, gone []string) {
	d.t.Helper()
	for _, p := range everyPage() {
		for _, id := range of(d.listing(p)) {
			if slices.Contains(gone, id) {
				d.t.Fatalf("%s: %s is still there: %s", p.name, id, why)
			}
		}
	}
}

var trendingList = pageAsk{"trending", http.MethodGet, "/v1/lists/trending?limit=50", ""}

// crowdItems are what crowdOf looks at.
func crowdItems() (ids []string) {
	for i := range 12 {
		ids = append(ids, fmt.Sprintf("item-%d", i))
	}
	return ids
}

// TestListsObeyTheCatalogue: what the catalogue does not know, has deleted or has not available is on no list at the next response; also where lists and cursors
// were made before; also after a restart, and after everything was deleted.
func TestListsObeyTheCatalogue(t *testing.T) {
	dir, config := t.TempDir(), quickLists(t)
	d := startDemo(t, dir, "--shop", "none", "--config", config)
	if status, body := d.call(http.MethodDelete, "/v1/items/item-1", nil); status != http.StatusConflict || !strings.Contains(string(body), "no_catalogue") {
		t.Fatalf("deleting where nothing was ever posted: %d %s", status, body)
	}
	d.crowdOf(30)
	eventually(t, "lists of what events name", func() bool { return len(d.listing(trendingList).Items) == 12 })
	var ready struct{ Notes map[string]string }
	d.ask(http.MethodGet, "/readyz", nil, &ready)
	if d.metric("sluice_catalog_posted") != 0 || ready.Notes["catalogue"] == "" {
		t.Errorf("nothing says that there is no catalogue: %v", ready.Notes)
	}

	late := "item-11"
	d.offer("", append(crowdItems()[:11], "unsold")...)
	eventually(t, "the catalogue", func() bool { return d.metric("sluice_catalog_items") == 12 })
	d.nowhere("the catalogue never had it", late)
	ready.Notes = nil
	if d.ask(http.MethodGet, "/readyz", nil, &ready); ready.Notes["catalogue"] != "" {
		t.Errorf("there is a catalogue: %v", ready.Notes)
	}
	eventually(t, "the count of what the catalogue lacks", func() bool { return d.metric(`sluice_trending_unknown{of="items"}`) == 1 })

	revision := d.accept("regular")
	d.accept("blocker")
	d.set(http.MethodPut, "/v1/visitors/blocker/blocks/category/Of%20item-3", nil)
	d.post(view("r-1", "regular", "item-5", revision, time.Now(), 0), view("r-2", "regular", "item-6", revision, time.Now(), 0), view("r-3", "regular", late, revision, time.Now(), 0))
	d.settled()
	first := pageAsk{"a page before", http.MethodPost, "/v1/recommendations", `{"surface":"home","limit":3,"anonymous_id":"regular"}`}
	cursor := *d.listing(first).NextCursor
	for _, p := range everyPage() {
		d.listing(p) // they are kept for the tick
	}
	d.withdraw("item-5")
	d.nowhere("it was deleted", late, "item-5")
	d.offer("discontinued", "item-6")
	d.none("it cannot be had", (*listing).ids, []string{late, "item-5", "item-6"}) // a reason may name what a person looked at
	next := d.listing(pageAsk{"the next page", http.MethodPost, "/v1/recommendations", fmt.Sprintf(`{"surface":"home","limit":50,"anonymous_id":"regular","cursor":%q}`, cursor)})
	for _, id := range []string{late, "item-5", "item-6"} {
		if slices.Contains(next.ids(), id) {
			t.Errorf("the next page holds %s", id)
		}
	}

	d.offer("", late, "item-5")
	eventually(t, "what came late, with what people had done before, and what came again", func() bool {
		reasons := make(map[string]string)
		for _, item := range d.listing(trendingList).Items {
			reasons[item.ItemID] = item.Reasons[0].Code
		}
		return reasons[late] == "trending" && reasons["item-5"] == "trending"
	})

	for _, id := range append(crowdItems(), "unsold") {
		d.withdraw(id)
	}
	empty := func(when string) {
		t.Helper()
		for _, p := range everyPage() {
			if l := d.listing(p); len(l.Items) > 0 {
				t.Errorf("%s: %v are there %s", p.name, l.ids(), when)
			}
		}
		if d.metric("sluice_catalog_posted") != 1 || d.metric("sluice_catalog_items") != 0 {
			t.Errorf("metrics %s: posted %v, items %v", when, d.metric("sluice_catalog_posted"), d.metric("sluice_catalog_items"))
		}
	}
	empty("after everything was deleted")
	if code := d.stop(); code != 0 {
		t.Fatalf("exit %d: %s", code, d.logs)
	}
	d = startDemo(t, dir, "--shop", "none", "--config", config)
	empty("after a restart")
	d.offer("", "item-2")
	eventually(t, "a new beginning", func() bool { return slices.Equal(d.listing(trendingList).ids(), []string{"item-2"}) })
}

// TestDeletionsUnderLoad deletes and posts items while many ask for lists: no list that is asked for after the acknowledgement holds what was deleted.
func TestDeletionsUnderLoad(t *testing.T) {
	d := startDemo(t, t.TempDir(), "--shop", "none", "--config", quickLists(t))
	d.offer("", crowdItems()...)
	d.crowdOf(30)
	d.set(http.MethodPut, "/v1/visitors/crowd-1/blocks/category/nothing", nil)
	eventually(t, "full lists", func() bool { return len(d.listing(trendingList).Items) == 12 })
	const item = "item-4"
	var epoch atomic.Int64 // odd: the item is deleted
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asking sync.WaitGroup
	var asked, wrong atomic.Int64
	for client := range 4 {
		asking.Go(func() {
			own := &demo{t: t, url: d.url}
			pages := everyPage()
			for n := client; ctx.Err() == nil; n++ {
				p, began := pages[n%len(pages)], epoch.Load()
				held := slices.Contains(own.listing(p).ids(), item)
				if began%2 == 1 && epoch.Load() == began && held {
					wrong.Add(1)
				}
				asked.Add(1)
			}
		})
	}
	for round := range 20 {
		if round%2 == 0 {
			d.withdraw(item)
		} else {
			d.offer("out_of_stock", item)
		}
		epoch.Add(1)
		for enough := asked.Load() + 8; asked.Load() < enough; {
			d.listing(trendingList)
		}
		epoch.Add(1)
		d.offer("", item)
		eventually(t, "the item again", func() bool { return slices.Contains(d.listing(trendingList).ids(), item) })
	}
	cancel()
	asking.Wait()
	if wrong.Load() > 0 || asked.Load() < 160 {
		t.Errorf("%d of %d lists held what was deleted", wrong.Load(), asked.Load())
	}
}

// TestInventedVisitorsMoveNothing: some hundreds of visitors who have just accepted the policy choose one item, one that the catalogue lacks, and one that trends:
// Trending stays as it is, and a stranger's home page names nothing of theirs. Regulars count.
func TestInventedVisitorsMoveNothing(t *testing.T) {
	d := startDemo(t, t.TempDir(), "--shop", "none", "--config", quickLists(t))
	d.offer("", append(crowdItems(), "pushed")...)
	d.crowdOf(30)
	trends := func() (ids []string) {
		for _, item := range d.listing(trendingList).Items {
			if item.Reasons[0].Code == "trending" {
				ids = append(ids, item.ItemID)
			}
		}
		return ids
	}
	eventually(t, "lists", func() bool { return len(trends()) == 12 })
	before := trends()

	const flood, evil = 300, "BUY-AT-evil.example"
	policy := d.policy()
	var bots sync.WaitGroup
	for client := range 4 {
		bots.Go(func() {
			for n := client; n < flood; n += 4 {
				who := fmt.Sprintf("bot-%d", n)
				_, data := d.patiently(http.MethodPut, "/v1/visitors/"+who+"/policy", map[string]any{"version": policy, "accepted": true, "jurisdiction": "CN"})
				var written struct{ Revision string }
				if err := json.Unmarshal(data, &written); err != nil {
					t.Errorf("%s: %v", data, err)
				}
				revision := written.Revision
				var events []any
				for _, item := range []string{"pushed", evil, before[11]} {
					events = append(events, view("v"+item, who, item, revision, time.Now(), 0))
					cart := view("c"+item, who, item, revision, time.Now(), 0)
					cart["type"] = "add_to_cart"
					events = append(events, cart)
				}
				if status, data := d.patiently(http.MethodPost, "/v1/events", events); status != http.StatusAccepted {
					t.Errorf("%d %s", status, data)
				}
			}
		})
	}
	bots.Wait()
	d.settled()
	eventually(t, "lists of after the flood, with what is held back", func() bool {
		return d.metric(`sluice_trending_held_back{of="people"}`) == flood && d.metric(`sluice_trending_held_back{of="items"}`) == 3
	})
	if after := trends(); !slices.Equal(before, after) {
		t.Errorf("the flood moved Trending:\nbefore %v\nafter  %v", before, after)
	}
	for _, p := range everyPage() {
		if slices.Contains(d.listing(p).named(), evil) {
			t.Errorf("%s names what the catalogue never had", p.name)
		}
	}

	var imports strings.Builder
	var events []any
	for n := range 40 {
		who := fmt.Sprintf("regular-%d", n)
		fmt.Fprintf(&imports, `{"subject":"a:%s","policy_version":%q,"jurisdiction":"CN","grants":[]}`+"\n", who, d.policy())
		events = append(events, view("e", who, "pushed", "", time.Now(), 0))
	}
	d.ask(http.MethodPost, "/v1/imports", imports.String(), nil, "Content-Type", "application/x-ndjson")
	d.post(events...)
	eventually(t, "what regulars choose", func() bool { return trends()[0] == "pushed" })
}
