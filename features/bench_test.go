package features

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

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
		ev := personalEvent(subject, i, vocab.Type_VIEW_ITEM, day0+int64(i)*1e6, fmt.Sprintf("item-%05d", zipf.Uint64()))
		ev.Session = id('s', subject<<20|i/(subjects*5))
		out[i] = ev
	}
	return out
}

func encode(b *testing.B, m marshaler) []byte {
	value, err := m.MarshalVT()
	if err != nil {
		b.Fatal(err)
	}
	return value
}

// BenchmarkPersonalEngine is one event, with its share of a transaction of 1,000.
func BenchmarkPersonalEngine(b *testing.B) {
	h := newHarness(b, PersonalEngine(testConfig(b), nil), nil)
	events := shopEvents(100_000, 2000, 20_000)
	recs := make([]stream.Record, len(events))
	for i, ev := range events {
		recs[i] = stream.Record{Key: ev.Subject, Value: encode(b, &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Event{Event: ev}})}
	}
	var written int64
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if err := h.processor.Process(&recs[i%len(recs)]); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 0 {
			for _, r := range h.task.Changes() {
				written += int64(len(r.Key) + len(r.Value))
			}
		}
	}
	reportPerEvent(b, written)
}

// BenchmarkEntityEngine is one payment as one entity sees it, with its share of a transaction of 1,000.
func BenchmarkEntityEngine(b *testing.B) {
	h := newHarness(b, EntityEngine(testConfig(b), nil), nil)
	random := rand.New(rand.NewPCG(1, 2))
	recs := make([]stream.Record, 200_000)
	for i := range recs {
		ev := riskEvent(i, vocab.Type_PAYMENT, day0+int64(i)*10*1e6, random.IntN(5000), 1+random.IntN(10_000), 0, 0)
		ev.HasValue, ev.Value = true, random.Int64N(200)*1e6
		key, _ := keyOf(ev, []kind{account, counterparty}[i%2])
		recs[i] = stream.Record{Key: key[:], Value: encode(b, &purposepb.EntityDelta{Event: ev})}
	}
	var written int64
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if err := h.processor.Process(&recs[i%len(recs)]); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 0 {
			for _, r := range h.task.Changes() {
				written += int64(len(r.Key) + len(r.Value))
			}
		}
	}
	reportPerEvent(b, written)
}

// shopView is a view of full histories, and changelog records that each add one event to one of them.
func shopView(b *testing.B) (*Personal, []stream.Record, []*purposepb.PersonalEvent) {
	c := testConfig(b)
	view := newView(b, c, nil)
	h := newHarness(b, PersonalEngine(c, nil), view.apply)
	events := shopEvents(130_000, 2000, 20_000)
	for _, ev := range events[:100_000] {
		h.personal(ev)
	}
	h.commit()
	h.log, h.apply = nil, nil
	for _, ev := range events[100_000:] {
		h.personal(ev)
		h.commit()
	}
	return view, h.log, events
}

// BenchmarkPersonalApply is one changed record of a full history.
func BenchmarkPersonalApply(b *testing.B) {
	view, recs, _ := shopView(b)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if rec := &recs[i%len(recs)]; rec.Key[0] == recordTable {
			view.record([16]byte(rec.Key[1:]), rec.Value)
		}
	}
}

func BenchmarkCoVisited(b *testing.B) {
	view, _, _ := shopView(b)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		benchmarkSink = view.CoVisited(fmt.Sprintf("item-%05d", i%100), day0+dayMicros, 7*24*time.Hour, 200)
	}
}

func BenchmarkSessionNeighbours(b *testing.B) {
	view, _, events := shopView(b)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		p := view.Profile(identityOf(events[i%1000]))
		benchmarkSink = view.SessionNeighbours(p.Touches[len(p.Touches)-5:], day0+dayMicros, KNN{Neighbours: 100, Sample: 1000, Limit: 200})
	}
}

// BenchmarkValues computes all features of a payment whose entities each have a month of events: 2 a day and account, 1 a day and counterparty, and in the
// second case 2 a day and device and instrument.
func BenchmarkValues(b *testing.B) {
	for _, c := range []struct {
		name  string
		other int
	}{{"account and counterparty", 0}, {"all entities", 1000}} {
		b.Run(c.name, func(b *testing.B) {
			config := testConfig(b)
			view := newEntities(config, nil)
			h := newHarness(b, EntityEngine(config, nil), view.apply)
			random := rand.New(rand.NewPCG(1, 2))
			events := make([]*purposepb.RiskEvent, 60_000)
			for i := range events {
				device, instrument := 0, 0
				if c.other > 0 {
					device, instrument = 1+random.IntN(c.other), 1+random.IntN(c.other)
				}
				events[i] = riskEvent(i, vocab.Type_PAYMENT, day0+int64(i)*30*dayMicros/60_000, random.IntN(1000), 1+random.IntN(2000), device, instrument)
				events[i].HasValue, events[i].Value = true, random.Int64N(200)*1e6
				h.deltas(events[i])
			}
			h.commit()
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				benchmarkSink = view.Values(events[len(events)-1-i%1000])
			}
		})
	}
}
