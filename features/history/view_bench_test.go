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
	const people, events = 5000, 24
	for b.Loop() {
		c := featurestest.Config(b)
		view := NewView(stream.Cluster{}, c, record.ViewOptions{})
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
