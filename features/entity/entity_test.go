package entity

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"sluice/features/featurestest"
	"sluice/features/record"
	"sluice/features/spec"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// riskEvent is event number n with the entities that its numbers name, 0 = none.
func riskEvent(n int, typ vocab.Type, time int64, subject, counterparty, device, instrument int) *purposepb.RiskEvent {
	ev := &purposepb.RiskEvent{Subject: featurestest.ID('u', subject), Event: featurestest.ID('e', n), Type: typ, Time: time}
	ev.EventHash = record.Hash64(ev.Event)
	if counterparty > 0 {
		ev.Counterparty = featurestest.ID('c', counterparty)
	}
	if device > 0 {
		ev.Device = featurestest.ID('d', device)
	}
	if instrument > 0 {
		ev.Instrument = featurestest.ID('p', instrument)
	}
	return ev
}

func drawRisk(t *rapid.T, n int, horizon int64) *purposepb.RiskEvent {
	typ := rapid.SampledFrom([]vocab.Type{vocab.Type_PAYMENT, vocab.Type_PAYMENT, vocab.Type_LOGIN, vocab.Type_LOGIN_FAILED, vocab.Type_CHARGEBACK}).Draw(t, "type")
	small := func(label string) int { return rapid.IntRange(0, 2).Draw(t, label) }
	ev := riskEvent(n, typ, featurestest.Day0+rapid.Int64Range(0, horizon/minuteMicros).Draw(t, "minute")*minuteMicros, small("subject"), small("counterparty"), small("device"), small("instrument"))
	if rapid.Bool().Draw(t, "has value") {
		ev.HasValue, ev.Value = true, rapid.Int64Range(-5_000_000, 500_000_000).Draw(t, "value")
		ev.Currency = rapid.SampledFrom([]string{"GBP", "GBP", "JPY", ""}).Draw(t, "currency")
	}
	return ev
}

// deltas sends an event to each of its entities.
func (h harness) deltas(ev *purposepb.RiskEvent) {
	for _, k := range spec.Kinds {
		if key, ok := keyOf(ev, k); ok {
			h.Send(key[:], &purposepb.EntityDelta{Event: ev})
		}
	}
}

func newEntities(c *spec.Config, recs []stream.Record) *View {
	v := NewView(stream.Cluster{}, c, record.ViewOptions{})
	v.apply(recs)
	return v
}

// TestValuesAgainstOracle compares every feature and window with sums over all events, for events in and outside of the view, some of them only in the overlay.
func TestValuesAgainstOracle(t *testing.T) {
	c := featurestest.Config(t)
	rapid.Check(t, func(t *rapid.T) {
		span := rapid.SampledFrom([]int64{hourMicros, 3 * dayMicros, 45 * dayMicros}).Draw(t, "span")
		view := newEntities(c, nil)
		h := newHarness(t, Engine(c, nil), view.apply)
		var events []*purposepb.RiskEvent
		newest := int64(0)
		for n := range rapid.IntRange(1, 60).Draw(t, "events") {
			ev := drawRisk(t, n, span)
			newest = max(newest, ev.Time)
			events = append(events, ev)
			if rapid.Bool().Draw(t, "overlay") {
				view.Overlay(ev)
			}
			h.deltas(ev)
			if rapid.Bool().Draw(t, "commit") {
				h.Commit()
			}
		}
		h.Commit()
		for i := range view.shards {
			for _, e := range view.shards[i].entities {
				if slices.ContainsFunc(e.overlay, func(o entry) bool { return o.time > newest-30*dayMicros }) {
					t.Fatal("the overlay holds what the view shows")
				}
			}
		}
		scored := append(slices.Clone(events), riskEvent(9999, vocab.Type_PAYMENT, newest, 1, 1, 1, 1))
		pending := riskEvent(9998, vocab.Type_PAYMENT, newest, 1, 1, 1, 1)
		pending.HasValue, pending.Value = true, 7_000_000
		view.Overlay(pending)
		view.Overlay(pending)
		events = append(events, pending)
		restored := newEntities(c, h.Compacted())
		restored.Overlay(pending)
		for _, ev := range scored {
			if ev.Time < newest/dayMicros*dayMicros {
				continue // its windows may reach behind retention
			}
			want := naiveValues(c, events, ev)
			if diff := gocmp.Diff(want, view.Values(ev), near); diff != "" {
				t.Fatalf("(-naive +view):\n%s", diff)
			}
			if diff := gocmp.Diff(want, restored.Values(ev), near); diff != "" {
				t.Fatalf("(-naive +restored):\n%s", diff)
			}
		}
	})
}

// near allows for sums in another order.
var near = cmpopts.EquateApprox(0, 1e-3)

func naiveValues(c *spec.Config, events []*purposepb.RiskEvent, own *purposepb.RiskEvent) Values {
	out := Values{Names: c.Names, Numbers: make([]float64, len(c.Names)), Missing: make([]bool, len(c.Names))}
	for _, f := range c.Risk {
		for w, window := range f.Windows {
			at := f.First + w
			if len(pseudonymOf(own, f.Kind)) == 0 {
				out.Missing[at] = true
				continue
			}
			var count float64
			var values []float64
			distinct := make(map[string]bool)
			for _, ev := range events {
				if !f.Types.Has(ev.Type) || !slices.Equal(pseudonymOf(ev, f.Kind), pseudonymOf(own, f.Kind)) ||
					ev.Time <= own.Time-window || ev.Time > own.Time || ev.EventHash == own.EventHash {
					continue
				}
				count++
				if ev.HasValue && ev.Currency == own.Currency {
					values = append(values, float64(ev.Value)/1e6)
				}
				if p := pseudonymOf(ev, f.Of); f.Op == spec.OpDistinct && len(p) > 0 {
					distinct[string(p)] = true
				}
			}
			if out.Numbers[at], out.Missing[at] = naiveAggregate(f.Op, count, values, len(distinct)); f.Op != spec.OpCount && f.Op != spec.OpDistinct && !own.HasValue {
				out.Numbers[at], out.Missing[at] = 0, true
			}
		}
	}
	return out
}

func naiveAggregate(op spec.Operation, count float64, values []float64, distinct int) (float64, bool) {
	var sum, squares float64
	for _, v := range values {
		sum += v
	}
	mean := sum / float64(len(values))
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	switch op {
	case spec.OpCount:
		return count, false
	case spec.OpSum:
		return sum, false
	case spec.OpMean:
		if len(values) == 0 {
			return 0, true
		}
		return mean, false
	case spec.OpMax:
		if len(values) == 0 {
			return 0, true
		}
		return slices.Max(values), false
	case spec.OpStddev:
		if len(values) < 2 {
			return 0, true
		}
		return math.Sqrt(squares / float64(len(values)-1)), false
	default:
		return float64(distinct), false
	}
}

// TestAmountsCompareWithinTheirCurrency: five payments in pounds are no past of one in yen, whether their day is kept one by one or folded.
func TestAmountsCompareWithinTheirCurrency(t *testing.T) {
	c := featurestest.Config(t)
	for _, n := range []int{5, exactEntries + 50} {
		view := newEntities(c, nil)
		h := newHarness(t, Engine(c, nil), view.apply)
		payment := func(i int, currency string, value int64) *purposepb.RiskEvent {
			ev := riskEvent(i, vocab.Type_PAYMENT, featurestest.Day0+int64(i)*minuteMicros, 1, 0, 0, 0)
			ev.HasValue, ev.Value, ev.Currency = true, value*1_000_000, currency
			return ev
		}
		for i := range n {
			h.deltas(payment(i, "GBP", 20))
		}
		h.deltas(payment(n, "JPY", 4000))
		h.Commit()
		restored := newEntities(c, h.Compacted())
		for _, v := range []*View{view, restored} {
			for currency, want := range map[string]string{"GBP": "20", "JPY": "4000", "EUR": "missing"} {
				values := v.Values(payment(n+1, currency, 1000))
				at := slices.Index(values.Names, "mean_amount_per_account_30d")
				got := fmt.Sprint(values.Numbers[at])
				if values.Missing[at] {
					got = "missing"
				}
				if got != want {
					t.Errorf("%d payments: the mean in %s is %s, want %s", n, currency, got, want)
				}
				if count := values.Numbers[slices.Index(values.Names, "payments_per_account_30d")]; count != float64(n+1) {
					t.Errorf("%d payments: counted %v in all currencies", n, count)
				}
			}
		}
	}
}

// TestFoldedDay sends more events than a day keeps one by one: the state depends on their set alone, counts and sums stay exact to the minute, the scored event
// itself is left out, and distinct counts are exact up to the bound and near beyond it.
func TestFoldedDay(t *testing.T) {
	c := featurestest.Config(t)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(exactEntries-1, exactEntries+200).Draw(t, "events")
		people := rapid.SampledFrom([]int{1, 5, 25, 200}).Draw(t, "people")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var events []*purposepb.RiskEvent
		for i := range n {
			ev := riskEvent(i, vocab.Type_PAYMENT, featurestest.Day0+random.Int64N(24*60)*minuteMicros+int64(i), i%people, 1, 0, 0)
			ev.HasValue, ev.Value = true, int64(i)*1_000_000
			events = append(events, ev)
		}
		view := newEntities(c, nil)
		first := newHarness(t, Engine(c, nil), view.apply)
		for _, ev := range events {
			key, _ := keyOf(ev, spec.Counterparty)
			first.Send(key[:], &purposepb.EntityDelta{Event: ev})
		}
		first.Commit()
		second := newHarness(t, Engine(c, nil), nil)
		random.Shuffle(n, func(i, j int) { events[i], events[j] = events[j], events[i] })
		for i, ev := range events {
			key, _ := keyOf(ev, spec.Counterparty)
			second.Send(key[:], &purposepb.EntityDelta{Event: ev})
			if i%50 == 0 {
				second.Commit()
			}
		}
		second.Commit()
		if diff := gocmp.Diff(first.Compared(Projection()), second.Compared(Projection())); diff != "" {
			t.Fatalf("the order shows (-first +second):\n%s", diff)
		}
		days := 0
		view.EachDay("counterparty.id", vocab.Type_PAYMENT, func(pseudonym [16]byte, day, count int64) bool {
			if days++; pseudonym != [16]byte(featurestest.ID('c', 1)) || day != featurestest.Day0/dayMicros || count != int64(n) {
				t.Fatalf("%d payments on day %d", count, day)
			}
			return true
		})
		if days != 1 {
			t.Fatalf("%d days", days)
		}
		// An event that is older than the newest 64 is taken to be in the view already.
		slices.SortFunc(events, func(a, b *purposepb.RiskEvent) int {
			return record.CompareEvents(a.Time, a.EventHash, b.Time, b.EventHash)
		})
		minute := rapid.Int64Range((events[n-newestEntries].Time-featurestest.Day0)/minuteMicros, 24*60-1).Draw(t, "scored minute")
		scored := riskEvent(9999, vocab.Type_PAYMENT, featurestest.Day0+(minute+1)*minuteMicros-1, 1, 1, 0, 0)
		want, got := naiveValues(c, events, scored), view.Values(scored)
		for i, name := range got.Names {
			if strings.HasPrefix(name, "payments_per_counterparty_") && got.Numbers[i] != want.Numbers[i] {
				t.Fatalf("%s = %v, want %v", name, got.Numbers[i], want.Numbers[i])
			}
		}
		if got := view.Values(events[n-1]); got.Numbers[slices.Index(got.Names, "payments_per_counterparty_1d")] != float64(n-1) {
			t.Fatal("the scored event counts itself")
		}
	})
}

// TestFoldedDistinct counts accounts of an address that thousands of people share.
func TestFoldedDistinct(t *testing.T) {
	c := featurestest.Config(t)
	for _, people := range []int{20, 3000} {
		view := newEntities(c, nil)
		h := newHarness(t, Engine(c, nil), view.apply)
		for n := range 3000 {
			ev := riskEvent(n, vocab.Type_LOGIN, featurestest.Day0+int64(n)*10*1e6, n%people, 0, 0, 0)
			ev.Ip = featurestest.ID('i', 1)
			key, _ := keyOf(ev, spec.IP)
			h.Send(key[:], &purposepb.EntityDelta{Event: ev})
		}
		h.Commit()
		scored := riskEvent(9999, vocab.Type_LOGIN, featurestest.Day0+dayMicros-1, 1, 0, 0, 0)
		scored.Ip = featurestest.ID('i', 1)
		got := view.Values(scored)
		number := got.Numbers[slices.Index(got.Names, "accounts_per_ip_1d")]
		if people <= 25 && number != float64(people) || math.Abs(number-float64(people)) > 0.2*float64(people) {
			t.Errorf("%d people: %v counted", people, number)
		}
		if size := len(h.Log); size > 14 {
			t.Errorf("%d changelog records of one transaction", size) // the day, nine hours, the clock, and two for what is due
		}
	}
}

// TestEntityDaysExpire deletes days behind the longest window, and takes nothing from behind it.
func TestEntityDaysExpire(t *testing.T) {
	c := featurestest.Config(t)
	view := newEntities(c, nil)
	h := newHarness(t, Engine(c, nil), view.apply)
	send := func(n int, day int64) {
		h.deltas(riskEvent(n, vocab.Type_PAYMENT, featurestest.Day0+day*dayMicros, 1, 1, 0, 0))
		h.Commit()
	}
	days := func() (out []int64) {
		view.EachDay("counterparty.id", vocab.Type_PAYMENT, func(_ [16]byte, day, _ int64) bool {
			out = append(out, day-featurestest.Day0/dayMicros)
			return true
		})
		slices.Sort(out)
		return out
	}
	for n := range 300 {
		h.deltas(riskEvent(n, vocab.Type_PAYMENT, featurestest.Day0+int64(n), 1, 1, 0, 0))
	}
	h.Commit()
	send(1000, 31)
	if diff := gocmp.Diff([]int64{0, 31}, days()); diff != "" {
		t.Error(diff)
	}
	send(1001, 32)
	send(1002, 0) // late beyond retention
	send(1003, 1) // late within it
	if diff := gocmp.Diff([]int64{1, 31, 32}, days()); diff != "" {
		t.Error(diff)
	}
	for i := range view.shards {
		for _, e := range view.shards[i].entities {
			if len(e.folded) > 0 {
				t.Errorf("%d folded days are left in the view", len(e.folded))
			}
		}
	}
	for _, key := range h.Keys() {
		if len(key) == 1+hourKeyBytes && key[0] == record.HourTable {
			t.Error("hours are left in the changelog")
		}
	}
}

// TestOverlayIsBounded drops the oldest.
func TestOverlayIsBounded(t *testing.T) {
	c := featurestest.Config(t)
	view := newEntities(c, nil)
	for n := range overlayEvents + 10 {
		view.Overlay(riskEvent(n, vocab.Type_PAYMENT, featurestest.Day0+int64(n), n, 0, 0, 0))
	}
	held := 0
	for i := range view.shards {
		for _, e := range view.shards[i].entities {
			held += len(e.overlay)
		}
	}
	if held != overlayEvents {
		t.Errorf("%d events in the overlay, at most %d expected", held, overlayEvents)
	}
}

// TestEntityRecordSize keeps the changelog of ordinary payments small.
func TestEntityRecordSize(t *testing.T) {
	c := featurestest.Config(t)
	h := newHarness(t, Engine(c, nil), nil)
	for n := range 2000 {
		ev := riskEvent(n, vocab.Type_PAYMENT, featurestest.Day0+int64(n)*dayMicros/500, n%300, 1+n%600, 0, 0)
		ev.HasValue, ev.Value = true, int64(n%97)*1_230_000
		h.deltas(ev)
		h.Commit()
	}
	size := 0
	for _, r := range h.Log {
		size += len(r.Key) + len(r.Value)
	}
	if mean := size / 4000; mean > 150 {
		t.Errorf("%d bytes an event and entity", mean)
	}
}

// TestReadersBesideTheWriter reads the view while it changes, for the race detector; events in the overlay count.
func TestReadersBesideTheWriter(t *testing.T) {
	c := featurestest.Config(t)
	view := newEntities(c, nil)
	h := newHarness(t, Engine(c, nil), view.apply)
	done := make(chan struct{})
	var readers errgroup.Group
	for r := range 2 {
		readers.Go(func() error {
			for n := 0; ; n++ {
				select {
				case <-done:
					return nil
				default:
				}
				ev := riskEvent(1_000_000*(r+1)+n, vocab.Type_PAYMENT, featurestest.Day0+int64(n), n%20, 1, 1, 1)
				view.Overlay(ev)
				if v := view.Values(ev); v.Numbers[slices.Index(v.Names, "payments_per_account_1h")] == 0 && n > 40 {
					return errors.New("an event in the overlay does not count")
				}
			}
		})
	}
	for n := range 400 {
		h.deltas(riskEvent(n, vocab.Type_PAYMENT, featurestest.Day0+int64(n), n%20, 1, 1, 1))
		h.Commit()
	}
	close(done)
	if err := readers.Wait(); err != nil {
		t.Error(err)
	}
}
