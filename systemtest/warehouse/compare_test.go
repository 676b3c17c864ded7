package warehouse

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/warehouse"
)

var table = &warehouse.Table{
	Name: "rows", Time: "time", Subject: "who", Event: "event", Floor: "floor",
	Columns: []warehouse.Column{
		{Name: "who", Kind: warehouse.Bytes},
		{Name: "event", Kind: warehouse.Bytes},
		{Name: "time", Kind: warehouse.Time},
		{Name: "items", Kind: warehouse.Strings},
		{Name: "floor", Kind: warehouse.Bytes},
	},
}

// batch holds a row of each event, all of one person.
func batch(t *testing.T, floor string, events ...string) *warehouse.Batch {
	t.Helper()
	b := warehouse.NewBatch(table)
	for i, event := range events {
		b.Bytes([]byte("a"))
		b.Bytes([]byte(event))
		b.Int(int64(i) * int64(time.Hour/time.Microsecond))
		b.StringList([]string{event, "lamp"})
		b.Bytes([]byte(floor))
		if err := b.End(); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// TestCompareTellsWhatIsWrong: each way in which a store can be wrong is counted as what it is.
func TestCompareTellsWhatIsWrong(t *testing.T) {
	want := &rows{kept: make(map[string][]kept), purged: make(map[digest]int)}
	old := batch(t, "1", "one", "two")
	recent := batch(t, "2", "three", "four", "five")
	want.add(old)
	want.purge(table, &warehouse.Purge{Subject: []byte("a"), Floor: []byte("2")})
	want.add(recent)
	want.purge(table, &warehouse.Purge{Subject: []byte("a"), Event: []byte("five")})

	stored := make(map[digest]int)
	put := func(b *warehouse.Batch, row int) {
		d, _ := digestOf(b, row, nil)
		stored[d]++
	}
	put(recent, 0)
	put(recent, 1)
	right := compared{Table: "rows", Topic: 5, Purged: 3, Stored: 2}
	if diff := cmp.Diff(right, compare("rows", want, stored)); diff != "" {
		t.Error(diff)
	}
	if right.differs() {
		t.Error("what is right differs")
	}

	put(recent, 1)                 // doubled
	put(old, 0)                    // undeleted
	put(batch(t, "1", "three"), 0) // the floor is another
	gone, _ := digestOf(recent, 0, nil)
	delete(stored, gone)
	wrong := compared{Table: "rows", Topic: 5, Purged: 3, Stored: 4, Lost: 1, Doubled: 1, Undeleted: 1, Strange: 1}
	if diff := cmp.Diff(wrong, compare("rows", want, stored)); diff != "" {
		t.Error(diff)
	}
	if !wrong.differs() {
		t.Error("what is wrong does not differ")
	}
	counted := int64(6)
	right.Counted = &counted
	if !right.differs() {
		t.Error("another hourly count does not differ")
	}
}

func TestDifferent(t *testing.T) {
	keys, differing := different(map[string]int{"a": 1, "b": 2}, map[string]int{"a": 1, "b": 3}, map[string]int{"a": 1, "c": 1})
	if keys != 3 || differing != 2 {
		t.Error(keys, differing)
	}
}
