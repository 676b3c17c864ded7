package history

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"sluice/features/featurestest"
	"sluice/features/record"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// BenchmarkView reports the live heap of the view a person at 24 events.
func BenchmarkView(b *testing.B) {
	const people, events = 20_000, 24
	for b.Loop() {
		c := featurestest.Config(b)
		view := NewView(stream.Cluster{}, c, record.ViewOptions{Dir: b.TempDir()})
		h := newHarness(b, Engine(c, nil), nil)
		var m, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		for n := range people * events {
			h.footprint(seen(n%people, n, featurestest.Day0+int64(n)*1e5))
			if n%1000 == 999 {
				view.apply(h.Task.Changes())
			}
		}
		h.Harness = nil
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-m.HeapAlloc)/people, "view-B/person")
		runtime.KeepAlive(view)
	}
}

// BenchmarkApply is one event's records in the view, of people who have so many kept.
func BenchmarkApply(b *testing.B) {
	for _, kept := range []int{24, 200} {
		b.Run(fmt.Sprintf("%d kept", kept), func(b *testing.B) {
			const people, batches = 1000, 40
			c := featurestest.Config(b, "keep: 200", fmt.Sprintf("keep: %d", kept))
			view := NewView(stream.Cluster{}, c, record.ViewOptions{Dir: b.TempDir()})
			h := newHarness(b, Engine(c, nil), nil)
			n := 0
			next := func() []stream.Record {
				for range people {
					h.footprint(seen(n%people, n, featurestest.Day0+int64(n)*1e5))
					n++
				}
				return h.Task.Changes()
			}
			for range kept {
				view.apply(next())
			}
			made := make([][]stream.Record, batches) // each person has as many events in these as chunks begin anew
			for i := range made {
				made[i] = next()
			}
			b.ReportAllocs()
			at := 0
			for b.Loop() { // of one event; a batch has those of 1,000
				if at++; at%people == 0 {
					view.apply(made[at/people%batches])
				}
			}
		})
	}
}

// BenchmarkPage reads a person's newest 50 footprints from files: without the cache, which runs with the view.
func BenchmarkPage(b *testing.B) {
	for _, kept := range []int{24, 200} {
		b.Run(fmt.Sprintf("%d kept", kept), func(b *testing.B) {
			const people = 500
			view := crowded(b, record.ViewOptions{Dir: b.TempDir()}, people, kept)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				page, _, err := view.Page(featurestest.Identity(n%people, "f"), nil, 50)
				if err != nil || len(page) != min(kept, 50) {
					b.Fatalf("%d footprints: %v", len(page), err)
				}
			}
		})
	}
}

// BenchmarkExpiry lets 62,500 people expire at once, which is the share of a task when a million do, and reports the longest transaction of 1,000 events after.
func BenchmarkExpiry(b *testing.B) {
	const people = 62_500
	for b.Loop() {
		h := newHarness(b, Engine(featurestest.Config(b), nil), nil)
		n := 0
		for ; n < 4*people; n++ {
			h.footprint(seen(n%people, n, featurestest.Day0+int64(n)*1e3))
			if n%1000 == 999 {
				h.Task.Changes()
			}
		}
		h.Task.Changes()
		var longest time.Duration
		removed := 0
		for removed < people {
			began := time.Now()
			for range 1000 {
				h.footprint(seen(people, n, featurestest.Day0+500*featurestest.Day+int64(n)))
				n++
			}
			changes := h.Task.Changes()
			longest = max(longest, time.Since(began))
			before := removed
			for _, r := range changes {
				if r.Value == nil && len(r.Key) == 1+16 {
					removed++
				}
			}
			if removed == before {
				b.Fatalf("%d of %d people were removed", removed, people)
			}
		}
		b.ReportMetric(longest.Seconds()*1e3, "longest-ms")
	}
}

func seen(person, n int, at int64) *purposepb.HistoryEvent {
	return &purposepb.HistoryEvent{
		Subject: featurestest.ID('u', person), Event: featurestest.ID('e', n), Type: vocab.Type_VIEW_ITEM, Time: at,
		Items: featurestest.Items(fmt.Sprintf("item-%05d", n*7919%20_000)), Floor: featurestest.ID('f', person),
	}
}
