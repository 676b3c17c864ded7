package collector

import (
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
