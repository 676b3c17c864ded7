package profile

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"sluice/features/featurestest"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// shopEvents are events of people who each walk through items near each other; popular items are seen more often.
func shopEvents(n, subjects, items int) []*purposepb.PersonalEvent {
	random := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(random, 1.1, 1, uint64(items-1))
	out := make([]*purposepb.PersonalEvent, n)
	for i := range out {
		subject := random.IntN(subjects)
		ev := personalEvent(subject, i, vocab.Type_VIEW_ITEM, featurestest.Day0+int64(i)*1e6, fmt.Sprintf("item-%05d", zipf.Uint64()))
		ev.Session = featurestest.ID('s', subject<<20|i/(subjects*5))
		out[i] = ev
	}
	return out
}

// BenchmarkPersonalEngine is one event, with its share of a transaction of 1,000.
func BenchmarkPersonalEngine(b *testing.B) {
	h := newHarness(b, Engine(featurestest.Config(b), nil), nil)
	events := shopEvents(100_000, 2000, 20_000)
	recs := make([]stream.Record, len(events))
	for i, ev := range events {
		recs[i] = stream.Record{Key: ev.Subject, Value: featurestest.Encode(b, &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Event{Event: ev}})}
	}
	h.Bench(b, recs)
}

// shopView is a view of full histories, and changelog records that each add one event to one of them.
func shopView(b *testing.B) (*View, []stream.Record, []*purposepb.PersonalEvent) {
	c := featurestest.Config(b)
	view := newView(b, c, nil)
	h := newHarness(b, Engine(c, nil), view.apply)
	events := shopEvents(130_000, 2000, 20_000)
	for _, ev := range events[:100_000] {
		h.personal(ev)
	}
	h.Commit()
	h.Log, h.Apply = nil, nil
	for _, ev := range events[100_000:] {
		h.personal(ev)
		h.Commit()
	}
	return view, h.Log, events
}

// BenchmarkPersonalApply is one changed record of a full history.
func BenchmarkPersonalApply(b *testing.B) {
	view, recs, _ := shopView(b)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		view.apply(recs[i%len(recs):][:1])
	}
}
