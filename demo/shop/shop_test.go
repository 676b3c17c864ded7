package shop

import "testing"

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
