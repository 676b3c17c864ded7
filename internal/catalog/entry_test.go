package catalog

import (
	"slices"
	"testing"

	"sluice/internal/itemid"
)

// TestShapesAreShared: items of the same paths share one, which goes with the last of them; an older snapshot still has it.
func TestShapesAreShared(t *testing.T) {
	item := func(id string, names ...string) *Item {
		return &Item{ItemId: id, Categories: []*CategoryPath{{Names: names}}}
	}
	s, err := NewSnapshot(itemid.NewTable(), item("a", "Home", "Lamps"), item("b", "Home", "Lamps"), item("c", "Home"))
	if err != nil {
		t.Fatal(err)
	}
	a, c := s.Find("a"), s.Find("c")
	if a.Shape != s.Find("b").Shape || a.Shape == c.Shape || s.Shape(a.Number) != a.Shape || len(s.numbers.shapes) != 2 {
		t.Fatal("shapes are not shared as they should be")
	}
	next := s.with(map[string]change{"a": {}, "b": {item: item("b", "Home")}})
	if next.Find("b").Shape != c.Shape || len(s.numbers.shapes) != 1 || next.Shape(a.Number).Placed() {
		t.Error("a shape that nobody has is still there")
	}
	last := next.with(map[string]change{"d": {item: item("d", "Kitchen", "Mugs", "Kitchen")}})
	if d := last.Find("d"); d.place != a.place || !slices.Equal(last.Shape(d.Number).Flat, d.Flat) || len(d.Flat) != 2 {
		t.Error("a place that was free has another shape")
	}
	if s.Shape(a.Number) != a.Shape || !slices.Equal(a.Narrowest, []uint32{Hash("Lamps")}) {
		t.Error("an older snapshot has lost a shape")
	}
}
