package entity

import (
	"math/rand/v2"
	"testing"

	"sluice/features/featurestest"
	"sluice/features/spec"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

var benchmarkSink any

// BenchmarkEntityEngine is one payment as one entity sees it, with its share of a transaction of 1,000.
func BenchmarkEntityEngine(b *testing.B) {
	h := newHarness(b, Engine(featurestest.Config(b), nil), nil)
	random := rand.New(rand.NewPCG(1, 2))
	recs := make([]stream.Record, 200_000)
	for i := range recs {
		ev := riskEvent(i, vocab.Type_PAYMENT, featurestest.Day0+int64(i)*10*1e6, random.IntN(5000), 1+random.IntN(10_000), 0, 0)
		ev.HasValue, ev.Value = true, random.Int64N(200)*1e6
		key, _ := keyOf(ev, []spec.Kind{spec.Account, spec.Counterparty}[i%2])
		recs[i] = stream.Record{Key: key[:], Value: featurestest.Encode(b, &purposepb.EntityDelta{Event: ev})}
	}
	h.Bench(b, recs)
}

// BenchmarkValues computes all features of a payment whose entities each have a month of events: 2 a day and account, 1 a day and counterparty, and in the
// second case 2 a day and device and instrument.
func BenchmarkValues(b *testing.B) {
	for _, c := range []struct {
		name  string
		other int
	}{{"account and counterparty", 0}, {"all entities", 1000}} {
		b.Run(c.name, func(b *testing.B) {
			config := featurestest.Config(b)
			view := newEntities(config, nil)
			h := newHarness(b, Engine(config, nil), view.apply)
			random := rand.New(rand.NewPCG(1, 2))
			events := make([]*purposepb.RiskEvent, 60_000)
			for i := range events {
				device, instrument := 0, 0
				if c.other > 0 {
					device, instrument = 1+random.IntN(c.other), 1+random.IntN(c.other)
				}
				events[i] = riskEvent(i, vocab.Type_PAYMENT, featurestest.Day0+int64(i)*30*dayMicros/60_000, random.IntN(1000), 1+random.IntN(2000), device, instrument)
				events[i].HasValue, events[i].Value = true, random.Int64N(200)*1e6
				h.deltas(events[i])
			}
			h.Commit()
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				benchmarkSink = view.Values(events[len(events)-1-i%1000])
			}
		})
	}
}
