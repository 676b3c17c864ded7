package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/demo/shop"
)

// What a first visit must be worth: of twelve items, after two of one kind were looked at.
const (
	page      = 12
	ownItems  = 8 // differ from what is trending
	ofTaste   = 6 // are of the kind that was looked at
	kindItems = 30
)

// TestFirstVisitShowsATaste: two items of one kind make a newcomer's list another one than everybody's, and one of that kind: as the median over all kinds of
// things that the shop has enough of.
func TestFirstVisitShowsATaste(t *testing.T) {
	d := startDemo(t, t.TempDir(), "--shoppers", "20")
	eventually(t, "the shop's past", func() bool {
		_, home := d.call(http.MethodGet, "/", nil)
		return strings.Contains(string(home), "The past of this shop is real")
	})
	items, err := shop.Items()
	if err != nil {
		t.Fatal(err)
	}
	kinds, kindOf := make(map[string][]string), make(map[string]string)
	for _, item := range items { // the most ordered first
		kinds[item.Subcategory] = append(kinds[item.Subcategory], item.ID)
		kindOf[item.ID] = item.Subcategory
	}
	trending := d.list(http.MethodGet, fmt.Sprintf("/v1/lists/trending?limit=%d", page), nil)
	var differ, suit []int
	for kind, ids := range kinds {
		if len(ids) < kindItems {
			continue
		}
		own, same := 0, 0
		for _, id := range d.firstVisit(t, ids[2], ids[7]) {
			if !slices.Contains(trending.ids(), id) {
				own++
			}
			if kindOf[id] == kind {
				same++
			}
		}
		t.Logf("%s: %d of %d differ from what is trending, %d are of the kind", kind, own, page, same)
		differ, suit = append(differ, own), append(suit, same)
	}
	slices.Sort(differ)
	slices.Sort(suit)
	if n := len(differ); n < 10 || differ[n/2] < ownItems || suit[n/2] < ofTaste {
		t.Errorf("over %d kinds: differ from what is trending %v, want a median of %d; of the kind %v, want %d", n, differ, ownItems, suit, ofTaste)
	}
	for _, item := range trending.Items {
		if item.Reasons[0].Code == "catalogue" {
			t.Errorf("%s is trending for want of anything else", item.ItemID)
		}
	}
	d.expectDecisions(t)
}

// ranked is a list as the API answers it.
type ranked struct {
	Personalized bool
	Items        []struct {
		ItemID  string `json:"item_id"`
		Reasons []struct{ Code string }
	}
}

func (r *ranked) ids() []string {
	ids := make([]string, len(r.Items))
	for i := range r.Items {
		ids[i] = r.Items[i].ItemID
	}
	return ids
}

func (d *demo) list(method, path string, body any) (answer ranked) {
	d.ask(method, path, body, &answer)
	return answer
}

// firstVisit is what a newcomer's list shows after two items.
func (d *demo) firstVisit(t *testing.T, items ...string) []string {
	t.Helper()
	me := "newcomer-" + items[0]
	var policy struct{ Version string }
	d.ask(http.MethodGet, "/v1/policy", nil, &policy)
	var accepted struct{ Revision string }
	d.ask(http.MethodPut, "/v1/visitors/"+me+"/policy", map[string]any{"version": policy.Version, "accepted": true}, &accepted)
	for i, item := range items {
		d.ask(http.MethodPost, "/v1/events", map[string]any{
			"id": fmt.Sprintf("%s-%d", me, i), "type": "view_item", "time": time.Now().UTC().Format(time.RFC3339Nano), "anonymous_id": me, "channel": "web",
			"items": []map[string]any{{"item_id": item}}, "consent": map[string]any{"revision": accepted.Revision},
		}, nil)
	}
	var answer ranked
	eventually(t, "a list made from both items", func() bool {
		answer = d.list(http.MethodPost, "/v1/recommendations", map[string]any{"surface": "home", "anonymous_id": me, "limit": page})
		var history struct{ Items []any }
		d.ask(http.MethodGet, "/v1/visitors/"+me+"/history", nil, &history)
		return answer.Personalized && len(history.Items) == len(items)
	})
	return answer.ids()
}

// expectDecisions: what the cheats tried is there for an analyst to see.
func (d *demo) expectDecisions(t *testing.T) {
	t.Helper()
	for outcome, rule := range map[string]string{"review": "instrument_shared", "challenge": "card_testing_burst", "block": "credential_stuffing"} {
		eventually(t, outcome+" by "+rule, func() bool {
			var found struct{ Items []struct{ Rules []string } }
			d.ask(http.MethodGet, "/v1/decisions?limit=100&outcome="+outcome, nil, &found)
			return slices.ContainsFunc(found.Items, func(made struct{ Rules []string }) bool { return slices.Contains(made.Rules, rule) })
		})
	}
}
