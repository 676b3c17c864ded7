package trending

import (
	"fmt"
	"testing"

	"sluice/features/featurestest"
	"sluice/features/record"
	"sluice/internal/itemid"
	"sluice/internal/stream"
	"sluice/privacyfilter/purposepb"
)

// BenchmarkEngine is one event of a contributor who has so many kept in the window, alone in a transaction of 1,000 people.
func BenchmarkEngine(b *testing.B) {
	for _, kept := range []int{24, 50} {
		b.Run(fmt.Sprintf("%d kept", kept), func(b *testing.B) {
			h := newHarness(b, Engine(featurestest.Config(b, "per_person: 50", fmt.Sprintf("per_person: %d", kept)), nil), nil)
			h.Bench(b, seen(b, h, kept))
		})
	}
}

// BenchmarkApply is one such event's records in the view.
func BenchmarkApply(b *testing.B) {
	c := featurestest.Config(b)
	view := NewView(stream.Cluster{}, c, itemid.NewTable(), nil, record.ViewOptions{})
	h := newHarness(b, Engine(c, nil), view.apply)
	recs := seen(b, h, 24)
	h.Apply, h.Log = nil, nil
	var batches [][]stream.Record
	for i := range recs {
		if err := h.Processor.Process(&recs[i]); err != nil {
			b.Fatal(err)
		}
		before := len(h.Log)
		h.Commit()
		batches = append(batches, h.Log[before:])
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		view.apply(batches[i%len(batches)])
	}
}

// seen fills the contributions of 1,000 people, and returns 20 events more of each.
func seen(b *testing.B, h harness, kept int) []stream.Record {
	const people = 1000
	recs := make([]stream.Record, people*(kept+20))
	for n := range recs {
		ev := trendingEvent(n%people, n, week0+int64(n)*1e5, fmt.Sprintf("item-%06d", n*7919%100_000))
		recs[n] = stream.Record{Key: ev.Contributor, Value: featurestest.Encode(b, &purposepb.TrendingRecord{Of: &purposepb.TrendingRecord_Event{Event: ev}})}
	}
	for i := range people * kept {
		if err := h.Processor.Process(&recs[i]); err != nil {
			b.Fatal(err)
		}
	}
	h.Commit()
	return recs[people*kept:]
}
