package shop

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestDataIsWhole(t *testing.T) {
	items, err := Items()
	if err != nil {
		t.Fatal(err)
	}
	orders, err := Orders()
	if err != nil {
		t.Fatal(err)
	}
	seen, categories := make(map[string]bool), make(map[string]bool)
	for _, item := range items {
		if seen[item.ID] || item.Title == "" || item.Price == "" || item.Category == "" {
			t.Errorf("item %+v", item)
		}
		seen[item.ID] = true
		categories[item.Category+"/"+item.Subcategory] = true
	}
	if len(items) < 2000 || len(categories) < 12 {
		t.Errorf("%d items in %d categories", len(items), len(categories))
	}
	customers := make(map[int]bool)
	for i, o := range orders {
		customers[o.Customer] = true
		if i > 0 && o.Time.Before(orders[i-1].Time) {
			t.Fatal("orders are not in time order")
		}
		for _, l := range o.Lines {
			if l.Item < 0 || l.Item >= len(items) || l.Quantity < 1 {
				t.Fatalf("order line %+v", l)
			}
		}
	}
	if len(orders) < 3000 || len(customers) < 900 {
		t.Errorf("%d orders of %d customers", len(orders), len(customers))
	}
}

func TestSomeShoppersOptOut(t *testing.T) {
	s, err := NewShoppers(Options{N: 100})
	if err != nil {
		t.Fatal(err)
	}
	out, none := 0, 0
	for i := range s.N() {
		if isOptedOut(i) {
			out++
		}
		if declines(i) {
			none++
		}
		if len(s.baskets[i]) == 0 {
			t.Errorf("shopper %d has no taste", i)
		}
	}
	if out == 0 || none == 0 || out+none > 50 {
		t.Errorf("%d opt out, %d decline", out, none)
	}
}

// TestShoppersAreCountedOnce: the workers share the shoppers, and one who has opted out has done so for all of them.
func TestShoppersAreCountedOnce(t *testing.T) {
	denials := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			denials++
			if denials == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}
		_, _ = io.WriteString(w, "{}")
	}))
	defer api.Close()
	s, err := NewShoppers(Options{N: 10, BaseURL: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	for worker := range uint64(4) {
		random := rand.New(rand.NewPCG(1, worker)) //nolint:gosec // a simulation
		if err := s.act(t.Context(), 8, random); (err != nil) != (worker == 0) {
			t.Errorf("worker %d: %v", worker, err)
		}
	}
	if denials != 2 || s.OptedOut() != 1 {
		t.Errorf("%d denials were sent, the first in vain, and %d shoppers counted", denials, s.OptedOut())
	}
}

// TestLoadInsists: a server that is busy for a moment is asked again, and one that refuses is not.
func TestLoadInsists(t *testing.T) {
	var answers []int
	asked := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(answers[min(asked, len(answers)-1)])
		asked++
	}))
	defer api.Close()
	answers = []int{http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusAccepted}
	if err := Load(t.Context(), api.URL, "key", nil); err != nil || asked < len(answers) {
		t.Errorf("asked %d times: %v", asked, err)
	}
	answers, asked = []int{http.StatusUnauthorized}, 0
	if err := Load(t.Context(), api.URL, "key", nil); err == nil || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}
