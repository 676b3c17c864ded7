package field_test

import (
	"testing"
	"unsafe"

	"sluice/internal/field"
	"sluice/internal/vocab"
)

var line = field.Of(new(vocab.Item))

// TestAt: a field is where its Go struct has it.
func TestAt(t *testing.T) {
	at := unsafe.Pointer(&vocab.Item{ItemId: "i", Index: 2, Quantity: 3_000_000, Price: 4})
	if *field.At[string](line.Field("item_id"), at) != "i" || *field.At[uint32](line.Field("index"), at) != 2 ||
		*field.At[int64](line.Field("quantity"), at) != 3_000_000 || *field.At[int64](line.Field("price"), at) != 4 {
		t.Error("another field's value")
	}
}

// TestPool: messages are empty, each its own, and the same ones come again after a reset as far as they are kept.
func TestPool(t *testing.T) {
	pool := field.Pool{Of: line}
	seen := make(map[unsafe.Pointer]bool)
	for round := range 3 {
		for range 200 {
			at := pool.New()
			item := (*vocab.Item)(at)
			if item.ItemId != "" || item.Price != 0 {
				t.Fatal("the message is not empty")
			}
			item.ItemId, item.Price = "i", 1
			seen[at] = true
		}
		if want := 200 + round*(200-128); len(seen) != want {
			t.Errorf("round %d: %d messages, expected %d", round, len(seen), want)
		}
		pool.Reset(128)
	}
}
