package collector

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"sluice/internal/catalog"
	"sluice/internal/topics"
)

func TestItems(t *testing.T) {
	s := start(t, nil)
	cases := []struct {
		name string
		ask  ask
		want string
	}{
		{"two", ask{kind: typeNDJSON, body: `{"item_id":"i1","title":"Lamp","price":"12.50","currency":"EUR"}` + "\n\n" + `{"item_id":"i2","price":3}`}, "202 accepted=2"},
		{"declared as JSON", ask{body: `{"item_id":"i3","stock":1}`}, "202 accepted=1 [0 i3 unknown_field /stock]"},
		{"one of two", ask{kind: typeNDJSON, body: `{"title":"x"}` + "\n" + `{"item_id":"i/4","availability":"out_of_stock"}`}, "202 accepted=1 rejected=1 [0 missing_field /item_id]"},
		{"none of two", ask{kind: typeNDJSON, body: `{"item_id":"i","price":"dear"}` + "\n" + `{"item_id"`}, "422 rejected rejected=2 [0 invalid_value /price] [1 broken_json]"},
		{"nothing", ask{kind: typeNDJSON, body: " \n"}, "400 empty_body"},
		{"text", ask{kind: typeText, body: `{"item_id":"i"}`}, "415 unsupported_media_type"},
		{"gzip", ask{kind: typeNDJSON, body: zip(t, `{"item_id":"i2","title":"Two"}`), headers: encoded("gzip")}, "202 accepted=1"},
	}
	for _, c := range cases {
		c.ask.path = "/v1/items"
		if got := s.post(t, c.ask); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	for _, id := range []string{"i1", "i%2F4", "never"} {
		if answer, body := s.do(t, ask{method: http.MethodDelete, path: "/v1/items/" + id}); answer.StatusCode != http.StatusNoContent || body != "" {
			t.Errorf("deleting %s: %d %s", id, answer.StatusCode, body)
		}
	}
	got := make(map[string]*catalog.Item)
	for _, r := range s.records(t, topics.Items, 8) {
		if r.Value == nil {
			delete(got, string(r.Key))
			continue
		}
		item := new(catalog.Item)
		if err := item.UnmarshalVT(r.Value); err != nil {
			t.Fatal(err)
		}
		got[string(r.Key)] = item
	}
	at := now.UnixMicro()
	want := map[string]*catalog.Item{"i2": {ItemId: "i2", Title: "Two", UpdatedAt: at}, "i3": {ItemId: "i3", UpdatedAt: at}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	counts := map[string]float64{"accepted": 5, "rejected": 3, "deleted": 3}
	if diff := cmp.Diff(counts, s.counted(t, "sluice_ingest_items_total")); diff != "" {
		t.Error(diff)
	}
}

// TestNothingToDeleteFrom: the first record of the catalogue must be an item, or lists would be empty from then on.
func TestNothingToDeleteFrom(t *testing.T) {
	s := start(t, nil)
	gone := ask{method: http.MethodDelete, path: "/v1/items/i1"}
	if answer, body := s.do(t, gone); answer.StatusCode != http.StatusConflict || !strings.Contains(body, `"code":"no_catalogue"`) {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
	if got := s.post(t, ask{path: "/v1/items", kind: typeNDJSON, body: `{"item_id":"i1"}`}); got != "202 accepted=1" {
		t.Fatal(got)
	}
	for range 2 {
		if answer, body := s.do(t, gone); answer.StatusCode != http.StatusNoContent {
			t.Errorf("%d %s", answer.StatusCode, body)
		}
	}
}

// shelf stands for lists that hold the item here.
type shelf struct {
	waited []int64 // offsets
	err    error
}

func (s *shelf) Offer(id string, _ int64) bool { return id == "here" }

func (s *shelf) Obey(_ context.Context, _ int32, next int64) error {
	s.waited = append(s.waited, next)
	return s.err
}

// TestWhatLeavesListsIsAcknowledgedWhenItHas: a deletion, and a post that takes an item away that lists may hold, wait for all lists; no other post does.
func TestWhatLeavesListsIsAcknowledgedWhenItHas(t *testing.T) {
	view := new(shelf)
	s := start(t, func(o *Options) { o.Lists = view })
	for _, c := range []struct {
		name, method, path, body string
		waits                    int
	}{
		{"new and changed items", http.MethodPost, "", `{"item_id":"here","price":"2"}` + "\n" + `{"item_id":"new"}`, 0},
		{"unavailable ones that are on no list", http.MethodPost, "", `{"item_id":"out","availability":"discontinued"}` + "\n" + `{"item_id":"other","availability":"out_of_stock"}`, 0},
		{"one that is", http.MethodPost, "", `{"item_id":"new"}` + "\n" + `{"item_id":"here","availability":"discontinued"}`, 1},
		{"an item that shops sell from a later day", http.MethodPost, "", `{"item_id":"here","available_from":"2199-01-01T00:00:00Z"}`, 1},
		{"a deletion", http.MethodDelete, "/here", "", 1},
		{"a deletion of what is not there", http.MethodDelete, "/never", "", 1},
	} {
		view.waited = nil
		answer, body := s.do(t, ask{method: c.method, path: "/v1/items" + c.path, kind: typeNDJSON, body: c.body})
		if answer.StatusCode/100 != 2 || len(view.waited) != c.waits {
			t.Errorf("%s: %d %s, waited for %v", c.name, answer.StatusCode, body, view.waited)
		}
	}
	view.err = context.DeadlineExceeded
	if answer, body := s.do(t, ask{method: http.MethodDelete, path: "/v1/items/here"}); answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("lists do not obey, and the answer is %d %s", answer.StatusCode, body)
	}
}

func TestManyItems(t *testing.T) {
	s := start(t, nil)
	var lines strings.Builder
	for i := range 3_000 {
		fmt.Fprintf(&lines, `{"item_id":"i%d","title":"A thing","categories":[["Home","Lamps"]]}`+"\n", i)
	}
	if got := s.post(t, ask{path: "/v1/items", kind: typeNDJSON, body: lines.String()}); got != "202 accepted=3000" {
		t.Fatal(got)
	}
	partitions := make(map[int32]int)
	for _, r := range s.records(t, topics.Items, 3_000) {
		partitions[r.Partition]++
	}
	if len(partitions) != 16 {
		t.Errorf("%d partitions", len(partitions))
	}
}
