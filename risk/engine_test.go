package risk

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
	"sluice/risk/riskpb"
)

// counted are the values of a registry's counters by name and labels, zeros left out.
func counted(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := []string{strings.TrimPrefix(family.GetName(), "sluice_risk_")}
			for _, label := range m.GetLabel() {
				name = append(name, label.GetValue())
			}
			if n := m.GetCounter().GetValue() + m.GetGauge().GetValue(); n != 0 {
				out[strings.Join(name, " ")] = n
			}
		}
	}
	return out
}

func encode(t testing.TB, message interface{ MarshalVT() ([]byte, error) }) []byte {
	t.Helper()
	data, err := message.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDecider(t *testing.T) {
	registry := prometheus.NewRegistry()
	known := newEntities(nil)
	d := New(Options{Config: load(t, ""), Entities: known, AppealKey: [32]byte{1}, Registerer: registry, Now: func() time.Time { return eventTime }})
	task := stream.NewTask(3)
	p, err := DeciderEngine(d).Open(task)
	if err != nil {
		t.Fatal(err)
	}
	process := func(value []byte) *riskpb.Decision {
		t.Helper()
		if err := p.Process(&stream.Record{Partition: 3, Value: value, Time: eventTime.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		out := task.Take()
		if len(out) == 0 {
			return nil
		}
		made := new(riskpb.Decision)
		if err := made.UnmarshalVT(out[0].Value); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(stream.Emitted{Topic: "decisions", Partition: 3, Key: made.Event, Value: out[0].Value}, out[0]); diff != "" || len(out) != 1 {
			t.Fatal(len(out), diff)
		}
		return made
	}
	record := func(ev *purposepb.RiskEvent, decision []byte) []byte {
		return encode(t, &purposepb.RiskRecord{Event: ev, Decision: decision})
	}

	var made *riskpb.Decision
	for i := range 6 {
		made = process(record(payment(fmt.Sprintf("event-%d", i)), nil))
	}
	if got := summary(made); !strings.HasPrefix(got, "challenge 300 card_testing_burst") || made.Source != "log" || made.DecidedAt != eventTime.UnixMicro() ||
		made.ExpiresAt != eventTime.Add(15*time.Minute).UnixMicro() || made.EventType != "payment" {
		t.Error(got, made)
	}
	again := process(record(payment("event-5"), nil))
	if diff := cmp.Diff(encode(t, made), encode(t, again)); diff != "" {
		t.Error("the same record gives another decision", diff)
	}

	own := &riskpb.Decision{
		DecisionId: idOf([]byte("event-9")).String(), Event: []byte("event-9"), Outcome: riskpb.Decision_BLOCK, Source: "api", BodyHash: []byte{1, 2},
	}
	if got := process(record(payment("event-9"), encode(t, own))); got == nil || got.Outcome != riskpb.Decision_BLOCK || got.Source != "api" || len(got.BodyHash) != 2 {
		t.Error("the API's decision is not the one that counts", got)
	}
	for name, broken := range map[string][]byte{"not a decision": {0xff}, "another event's": encode(t, made)} {
		if got := process(record(payment("event-10"), broken)); got == nil || got.Source != "log" {
			t.Errorf("%s: %v", name, got)
		}
	}
	refund := payment("event-11")
	refund.Type = vocab.Type_REFUND
	for name, value := range map[string][]byte{
		"no value": nil, "broken": {0xff, 0xff}, "no event": record(nil, nil), "no pseudonym": record(&purposepb.RiskEvent{Type: vocab.Type_PAYMENT}, nil),
		"a type that is not decided": record(refund, nil),
	} {
		if got := process(value); got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	if n := len(known.seen["instrument"]); n != 9 {
		t.Errorf("%d events were overlaid", n)
	}
	want := map[string]float64{
		"decisions_total allow log payment": 5, "decisions_total challenge log payment": 4, "rule_hits_total live card_testing_burst": 4,
		"decisions_copied_total": 1, "records_skipped_total unreadable_record": 4, "records_skipped_total unreadable_decision": 2,
	}
	got := counted(t, registry)
	for name := range got {
		if strings.HasPrefix(name, "missing_values_total") {
			delete(got, name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecisionNamesWhatItStandsOn(t *testing.T) {
	d := New(Options{Config: load(t, ""), Entities: newEntities(map[string]float64{"accounts_per_device_1d": 2})})
	made := d.decide(payment("e"), sourceLog, 5)
	values := make(map[string]string)
	for _, v := range made.Values {
		values[v.Name] = fmt.Sprint(v.Number, v.Text, v.Missing)
	}
	for name, want := range map[string]string{
		"accounts_per_device_1d": "2false", "accounts_per_ip_1h": "0true", "payments_per_instrument_1h": "0false", "logins_per_device_1d": "0true",
		"order.value": "2.5false", "account.age_days": "0true", "order.billing_country": "0true",
	} {
		if values[name] != want {
			t.Errorf("%s: %q, expected %q", name, values[name], want)
		}
	}
	other := d.decide(payment("f"), sourceLog, 5)
	if other.FeaturesDigest == made.FeaturesDigest || !strings.HasPrefix(made.FeaturesDigest, "sha256:") {
		t.Error("other values (another payment was seen) have the same digest")
	}
}

func TestAppealTokens(t *testing.T) {
	key, id := [32]byte{1}, idOf([]byte("e"))
	token := AppealToken(key, id)
	if got, err := OpenAppeal(key, token); err != nil || got != id {
		t.Error(got, err)
	}
	for name, bad := range map[string]string{
		"empty": "", "cut": token[:40], "longer": token + "AA", "another decision's": AppealToken(key, idOf([]byte("f")))[:20] + token[20:],
		"another key's": AppealToken([32]byte{2}, id), "not base64": strings.Repeat("!", 43),
	} {
		if _, err := OpenAppeal(key, bad); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if parsed, err := ParseID(id.String()); err != nil || parsed != id {
		t.Error(parsed, err)
	}
	if _, err := ParseID("x"); err == nil {
		t.Error("parsed")
	}
}

func BenchmarkDecide(b *testing.B) {
	known := make(map[string]float64)
	for _, name := range featureNames {
		known[name] = 6
	}
	d := New(Options{Config: load(b, ""), Entities: newEntities(known)})
	ev := payment("e")
	b.ReportAllocs()
	for b.Loop() {
		d.decide(ev, sourceLog, ev.Time)
	}
}
