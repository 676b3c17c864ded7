package consent

import (
	"runtime"
	"strconv"
	"testing"

	"sluice/ingest/eventpb"
	"sluice/internal/vocab"
)

// BenchmarkLookup is a lookup of an account with its device, and what a ranker asks it.
func BenchmarkLookup(b *testing.B) {
	v := crowd(b)
	grantLong(v)
	b.Run("lookup", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Lookup(Person{UserID: "7", AnonymousID: "7"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("lookup, identities, holds", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			a, err := v.Lookup(Person{UserID: "7", AnonymousID: "7"})
			if err != nil || len(a.Identities("personalize")) != 2 || len(a.Blocks().Items) != 0 || !v.Holds(a) {
				b.Fatal("not allowed")
			}
		}
	})
	b.Run("gate", func(b *testing.B) {
		gate := v.Gate()
		events := make([]*eventpb.Event, 20) // of one request
		for i := range events {
			events[i] = &eventpb.Event{UserId: "7", AnonymousId: "7", Type: vocab.Type_VIEW_ITEM, Jurisdiction: "CN"}
		}
		denied := make([]bool, len(events))
		b.ReportAllocs()
		for b.Loop() {
			if err := gate.Admit(events, denied); denied[19] || err != nil {
				b.Fatal("not admitted")
			}
		}
	})
}

// crowd is a view of 20,000 people with an account and a device each.
func crowd(b *testing.B) *View {
	b.Helper()
	v := newStill(b)
	for i := range 20_000 {
		for _, subject := range []string{"u:" + strconv.Itoa(i), "a:" + strconv.Itoa(i)} {
			setRow(b, v, subject, row(v.compiler.register, 10, 3, nil))
		}
	}
	return v
}

// BenchmarkMemory tells what a person of the view takes: one who accepted and chose, and has blocked nothing.
func BenchmarkMemory(b *testing.B) {
	const people = 100_000
	v := newStill(b)
	live := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for b.Loop() {
		before := live()
		for i := range people {
			setRow(b, v, "u:"+strconv.Itoa(i), row(v.compiler.register, int64(i), int64(i), nil))
		}
		b.ReportMetric(float64(live()-before)/people, "bytes/person")
		runtime.KeepAlive(v)
		b.StopTimer()
		v = newStill(b)
		b.StartTimer()
	}
}
