package trending

import (
	"testing"

	"sluice/features/featurestest"
	"sluice/features/record"
	"sluice/internal/itemid"
	"sluice/internal/stream"
)

// FuzzApply gives the view records of any content: a head and two chunks of one contribution, each written twice. Whatever they hold is taken back exactly when
// they go, and what newcomers and others chose is counted apart.
func FuzzApply(f *testing.F) {
	c := featurestest.Config(f)
	h := newHarness(f, Engine(c, nil), nil)
	for n := range 40 {
		ev := trendingEvent(1, n, week0+int64(n)*1e6, "item-"+string(rune('a'+n%7)), "other")
		ev.Established = n%5 == 0
		h.trending(ev)
		h.Commit()
	}
	values := [][]byte{nil, {0}, {0, 0, 0}}
	for _, r := range h.Log {
		if r.Value != nil && (r.Key[0] == record.Table || r.Key[0] == record.ChunkTable) {
			values = append(values, r.Value)
		}
	}
	for i := range values {
		f.Add(values[i], values[(i+3)%len(values)], values[(i+5)%len(values)])
	}
	head := append([]byte{record.Table}, make([]byte, contributionBytes)...)
	chunk := func(number byte) []byte {
		return append(append([]byte{record.ChunkTable}, make([]byte, contributionBytes)...), 0, 0, 0, 0, number)
	}
	keys := [][]byte{head, chunk(1), chunk(2)}
	f.Fuzz(func(t *testing.T, a, b, d []byte) {
		view := NewView(stream.Cluster{}, c, itemid.NewTable(), nil, record.ViewOptions{})
		for shift := range 2 {
			for i, value := range [][]byte{a, b, d} {
				view.apply([]stream.Record{{Key: keys[(i+shift)%len(keys)], Value: value}})
			}
		}
		for _, w := range view.windows {
			for item := range w.people.people {
				if w.people.people[item] > 0 && w.newcomers.of(uint32(item)) > 0 {
					t.Fatal("one person counts, and does not")
				}
			}
		}
		for _, key := range keys {
			view.apply([]stream.Record{{Key: key}})
		}
		if len(view.windows)+view.contributions.Len()+view.ids.Used()+view.newcomers != 0 {
			t.Fatalf("left after everything has gone: %v", trendingPeople(view))
		}
	})
}
