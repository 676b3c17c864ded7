package flood

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sluice/systemtest/run"
)

const (
	items  = 40
	target = "item-39" // what the flood looks at
	ghost  = "ghost"   // what it looks at, too, and the catalogue does not have
	seen   = 12        // items that the people of the shop look at
)

// furnish fills the catalogue and lets people who accepted the policy look at things, so that Trending has an order. It tells who they are.
func (n *node) furnish(ctx context.Context, count int) (people []string, err error) {
	var catalogue strings.Builder
	for i := range items {
		fmt.Fprintf(&catalogue, `{"item_id":"item-%d","title":"Item %d","categories":[["c%d"]],"price":"10","currency":"EUR","available":true}`+"\n", i, i, i%4)
	}
	if err := n.api.Call(ctx, http.MethodPost, "/v1/items", []byte(catalogue.String()), nil); err != nil {
		return nil, err
	}
	for i := range count {
		name := fmt.Sprintf("regular-%d", i)
		people = append(people, name)
		if err := n.api.Call(ctx, http.MethodPut, "/v1/visitors/"+name+"/policy", accepts(n.policy), nil); err != nil {
			return nil, err
		}
	}
	for i, name := range people {
		var views []byte
		for item := range seen {
			if i%(item+1) == 0 { // the first item is everybody's
				views = append(views, view(name, fmt.Sprintf("item-%d", item), item)...)
			}
		}
		if err := n.api.Call(ctx, http.MethodPost, "/v1/events", views, nil); err != nil {
			return nil, err
		}
	}
	settling, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := n.api.Settle(settling); err != nil {
		return nil, err
	}
	run.Sleep(ctx, tick)
	return people, ctx.Err()
}

func accepts(policy string) []byte {
	return fmt.Appendf(nil, `{"version":%q,"accepted":true}`, policy)
}

func view(who, item string, n int) []byte {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	return fmt.Appendf(nil, `{"id":"%s-%d-%d","type":"view_item","time":%q,"sent_at":%q,"anonymous_id":%q,"channel":"web","items":[{"item_id":%q}]}`+"\n", who, time.Now().UnixNano(), n, now, now, who, item)
}

// trending is the list that everybody sees.
func (n *node) trending(ctx context.Context) ([]string, error) {
	var list struct {
		Items []struct {
			ItemID string `json:"item_id"`
		}
	}
	if err := n.api.Call(ctx, http.MethodGet, "/v1/lists/trending?limit=10", nil, &list); err != nil {
		return nil, err
	}
	ids := make([]string, len(list.Items))
	for i, item := range list.Items {
		ids[i] = item.ItemID
	}
	return ids, nil
}
