package history

import (
	"fmt"
	"testing"

	"sluice/features/featurestest"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// BenchmarkEngine is one event of a person who has so many kept, alone in a transaction of 1,000 people.
func BenchmarkEngine(b *testing.B) {
	for _, kept := range []int{24, 30, 200} {
		b.Run(fmt.Sprintf("%d kept", kept), func(b *testing.B) {
			h := newHarness(b, Engine(featurestest.Config(b, "keep: 200", fmt.Sprintf("keep: %d", kept)), nil), nil)
			const people = 1000
			rec := func(n int) *stream.Record {
				ev := &purposepb.HistoryEvent{
					Subject: featurestest.ID('u', n%people), Event: featurestest.ID('e', n), Type: vocab.Type_VIEW_ITEM, Time: featurestest.Day0 + int64(n)*1e5,
					Items: featurestest.Items(fmt.Sprintf("item-%06d", n*7919%100_000)), Floor: featurestest.ID('f', n%people),
				}
				value := featurestest.Encode(b, &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Event{Event: ev}})
				return &stream.Record{Key: ev.Subject, Value: value}
			}
			for n := range people * kept {
				if err := h.Processor.Process(rec(n)); err != nil {
					b.Fatal(err)
				}
			}
			h.Task.Changes()
			made := make([]*stream.Record, 100*people)
			for i := range made {
				made[i] = rec(people*kept + i)
			}
			at := 0
			h.BenchOf(b, func(i int) *stream.Record {
				if at == len(made) {
					b.StopTimer()
					for j := range made {
						made[j] = rec(people*kept + i + j)
					}
					at = 0
					b.StartTimer()
				}
				at++
				return made[at-1]
			})
		})
	}
}
