package itemid

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestNumbersAreKeptWhileReferredTo acquires and releases at random: an id has one number, no two ids share one, and a number that nobody refers to keeps
// its id for a minute.
func TestNumbersAreKeptWhileReferredTo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := NewTable()
		now := time.Unix(0, 0)
		table.now = func() time.Time { return now }
		refs := make(map[string]int)
		numbers := make(map[string]uint32)
		freed := make(map[string]time.Time)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			id := fmt.Sprint("item", rapid.IntRange(0, 9).Draw(t, "id"))
			switch {
			case rapid.IntRange(0, 9).Draw(t, "wait") == 0:
				now = now.Add(rest / 2)
			case refs[id] > 0 && rapid.Bool().Draw(t, "release"):
				table.Release(numbers[id])
				if refs[id]--; refs[id] == 0 {
					freed[id] = now
				}
			default:
				n := table.Acquire(id)
				if refs[id] > 0 && n != numbers[id] {
					t.Fatalf("%s had number %d and has %d now", id, numbers[id], n)
				}
				refs[id]++
				numbers[id] = n
			}
			used := 0
			for id, n := range refs {
				if n > 0 {
					used++
				}
				if (n > 0 || now.Sub(freed[id]) < rest) && table.ID(numbers[id]) != id {
					t.Fatalf("number %d of %s means %q", numbers[id], id, table.ID(numbers[id]))
				}
				if n > 0 && table.Find(id) != numbers[id] {
					t.Fatalf("%s is not found", id)
				}
			}
			if table.Used() != used {
				t.Fatalf("%d items are referred to, the table says %d", used, table.Used())
			}
		}
	})
}

// TestReferencesThatComeAndGo: an id that is referred to now and then leaves nothing behind each time.
func TestReferencesThatComeAndGo(t *testing.T) {
	table := NewTable()
	now := time.Unix(0, 0)
	table.now = func() time.Time { return now }
	table.Release(table.Acquire("looked at once"))
	for range 10_000 {
		now = now.Add(time.Second)
		table.Release(table.Acquire("again and again"))
	}
	if n := len(table.resting); n > 70 {
		t.Errorf("%d numbers rest, of two", n)
	}
}

func TestNumbersAreUsedAgain(t *testing.T) {
	table := NewTable()
	now := time.Unix(0, 0)
	table.now = func() time.Time { return now }
	for i := range 10_000 {
		table.Release(table.Acquire(strconv.Itoa(i)))
		now = now.Add(time.Second)
	}
	if table.Len() > 70 {
		t.Errorf("%d numbers for items that came one after the other", table.Len())
	}
	if table.Acquire("") != None || table.Find("unknown") != None || table.ID(None) != "" {
		t.Error("None means an item")
	}
}
