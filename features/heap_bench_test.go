package features

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"sluice/features/featurestest"
	"sluice/features/history"
	"sluice/features/profile"
	"sluice/features/trending"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// BenchmarkHeap reports the live heap a person at 24 events, of each engine and of the copy of its records that a view keeps. Engines keep everything here; in a
// process what is beyond its budget stays in the checkpoint.
func BenchmarkHeap(b *testing.B) {
	const people, events, items = 5000, 24, 20_000
	c := featurestest.Config(b)
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, items-1)
	for _, bench := range []struct {
		name   string
		engine stream.Engine
		record func(person, n int, at int64, item []*vocab.Item) ([]byte, featurestest.Message)
	}{
		{"history", history.Engine(c, nil), func(person, n int, at int64, items []*vocab.Item) ([]byte, featurestest.Message) {
			ev := &purposepb.HistoryEvent{Subject: featurestest.ID('u', person), Event: featurestest.ID('e', n), Type: vocab.Type_VIEW_ITEM, Time: at, Items: items, Floor: featurestest.ID('f', person)}
			return ev.Subject, &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Event{Event: ev}}
		}},
		{"personal", profile.Engine(c, nil), func(person, n int, at int64, items []*vocab.Item) ([]byte, featurestest.Message) {
			ev := &purposepb.PersonalEvent{
				Subject: featurestest.ID('u', person), Event: featurestest.ID('e', n), Type: vocab.Type_VIEW_ITEM, Time: at, Items: items, Floor: featurestest.ID('f', person),
				Session: featurestest.ID('s', n/people/5*people+person),
			}
			return ev.Subject, &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Event{Event: ev}}
		}},
		{"trending", trending.Engine(c, nil), func(person, n int, at int64, items []*vocab.Item) ([]byte, featurestest.Message) {
			ev := &purposepb.TrendingEvent{Contributor: featurestest.ID('t', person), Event: featurestest.ID('e', n), Window: at / (7 * featurestest.Day), Type: vocab.Type_VIEW_ITEM, Time: at, Items: items}
			return ev.Contributor, &purposepb.TrendingRecord{Of: &purposepb.TrendingRecord_Event{Event: ev}}
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			for b.Loop() {
				before := heap()
				h := featurestest.New(b, bench.engine, nil)
				for n := range people * events {
					person := n % people
					h.Send(bench.record(person, n, featurestest.Day0+int64(n)*1e5, featurestest.Items(fmt.Sprintf("item-%05d", zipf.Uint64()))))
					if n%1000 == 999 {
						h.Task.Changes()
					}
				}
				h.Task.Changes()
				b.ReportMetric(float64(heap()-before)/people, "engine-B/person")
				runtime.KeepAlive(h)
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
