package privacyfilter

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// withOlder is the built-in register with an older policy version, since when the change is major for personalize.
var withOlder = []string{"major_for: []", "major_for: [personalize]", "older: []  ", "older: [{version: \"2025-01\"}]  "}

func row(version, jurisdiction string, choices map[string]purposepb.Choice) *purposepb.ConsentRow {
	r := &purposepb.ConsentRow{PolicyVersion: version, Jurisdiction: jurisdiction}
	for name, c := range choices {
		r.Purposes = append(r.Purposes, &purposepb.PurposeState{Purpose: name, Choice: c})
	}
	return r
}

// TestEffective proves REQ-005, REQ-006, REQ-008, REQ-017 and REQ-162: accepting the policy is enough for a basic purpose and never for an additional one;
// each additional purpose has its own consent; a newer version that is a major change waits for a new acceptance; and decision 1 of section 22.
func TestEffective(t *testing.T) {
	const sms, push = "marketing.sms", "marketing.push"
	allow, deny := purposepb.Choice_CHOICE_ALLOW, purposepb.Choice_CHOICE_DENY
	type choices = map[string]purposepb.Choice
	cases := []struct {
		name, purpose, jurisdiction string
		row                         *purposepb.ConsentRow
		want                        Decision
	}{
		{"nobody, basic", History, "", nil, Decision{false, BecausePolicyNotAccepted}},
		{"nobody, switchable", Personalize, "", nil, Decision{false, BecausePolicyNotAccepted}},
		{"nobody, legal", Risk, "", nil, Decision{true, ""}},
		{"accepted, basic", History, "", row("2026-09", "CN", nil), Decision{true, ""}},
		{"accepted, additional", sms, "", row("2026-09", "CN", nil), Decision{false, BecauseDefault}},
		{"accepted in CN, switchable", Personalize, "", row("2026-09", "CN", nil), Decision{true, BecauseDefault}},
		{"accepted in the EU, switchable", Personalize, "", row("2026-09", "EU", nil), Decision{false, BecauseDefault}},
		{"accepted elsewhere, switchable", Personalize, "", row("2026-09", "BR", nil), Decision{false, BecauseDefault}},
		{"accepted in CN, event from the EU", Personalize, "EU", row("2026-09", "CN", nil), Decision{false, BecauseDefault}},
		{"accepted in the EU, event from CN", Personalize, "CN", row("2026-09", "EU", nil), Decision{false, BecauseDefault}},
		{"event from the EU, basic", History, "EU", row("2026-09", "CN", nil), Decision{true, ""}},
		{"chosen off", Personalize, "", row("2026-09", "CN", choices{Personalize: deny}), Decision{false, BecauseChoice}},
		{"chosen on in the EU", Personalize, "", row("2026-09", "EU", choices{Personalize: allow}), Decision{true, BecauseChoice}},
		{"chosen on without the policy", Personalize, "", row("", "EU", choices{Personalize: allow}), Decision{false, BecausePolicyNotAccepted}},
		{"X's consent is not Y's", push, "", row("2026-09", "CN", choices{sms: allow}), Decision{false, BecauseDefault}},
		{"X's own", sms, "", row("2026-09", "CN", choices{sms: allow}), Decision{true, BecauseChoice}},
		{"a refusal leaves basic alone", History, "", row("2026-09", "CN", choices{Personalize: deny, sms: deny}), Decision{true, ""}},
		{"unknown version", History, "", row("1999", "CN", nil), Decision{false, BecausePolicyNotAccepted}},
		{"older version, no major change", History, "", row("2025-01", "CN", nil), Decision{true, ""}},
		{"older version, major change", Personalize, "", row("2025-01", "CN", choices{Personalize: allow}), Decision{false, BecausePolicySuperseded}},
		{"older version, legal", Risk, "", row("2025-01", "CN", nil), Decision{true, ""}},
		{"unregistered", "ads", "", row("2026-09", "CN", nil), Decision{false, BecauseUnregistered}},
	}
	r := mustLoad(t, withOlder...)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, _ := r.Purpose(c.purpose)
			if got := r.Effective(c.row, p, c.jurisdiction); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestEveryTypeHasAPurpose: whatever people do here is collected for something (REQ-057, REQ-179).
func TestEveryTypeHasAPurpose(t *testing.T) {
	r := mustLoad(t)
	for _, name := range vocab.Types() {
		typ, _ := vocab.ParseType(name)
		if !slices.ContainsFunc(r.Purposes(), func(p *Purpose) bool { return p.Takes(typ) }) {
			t.Errorf("no purpose takes %s", name)
		}
	}
}

// TestEffectiveForType: a legal purpose's further types wait for the acceptance, and a type that is not listed is denied.
func TestEffectiveForType(t *testing.T) {
	r := mustLoad(t)
	p, _ := r.Purpose(Risk)
	accepted := row("2026-09", "CN", nil)
	cases := []struct {
		name string
		row  *purposepb.ConsentRow
		typ  vocab.Type
		want bool
	}{
		{"duty before", nil, vocab.Type_PAYMENT, true},
		{"browsing before", nil, vocab.Type_VIEW_ITEM, false},
		{"browsing after", accepted, vocab.Type_VIEW_ITEM, true},
		{"not listed", accepted, vocab.Type_SHARE, false},
	}
	for _, c := range cases {
		if got := r.EffectiveFor(c.row, p, c.typ, "").Allow; got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestNothingRestrictiveWidens: taking the acceptance back, choosing deny, or an event from anywhere never turns a deny into an allow.
func TestNothingRestrictiveWidens(t *testing.T) {
	r := mustLoad(t, withOlder...)
	places := []string{"", "CN", "EU", "BR"}
	rapid.Check(t, func(t *rapid.T) {
		before := &purposepb.ConsentRow{
			PolicyVersion: rapid.SampledFrom([]string{"", "2025-01", "2026-09", "1999"}).Draw(t, "version"),
			Jurisdiction:  rapid.SampledFrom(places).Draw(t, "jurisdiction"),
		}
		for _, p := range r.Purposes() {
			if rapid.Bool().Draw(t, "has state") {
				before.Purposes = append(before.Purposes, &purposepb.PurposeState{Purpose: p.Name, Choice: purposepb.Choice(rapid.IntRange(0, 2).Draw(t, "choice"))})
			}
		}
		p := rapid.SampledFrom(r.Purposes()).Draw(t, "purpose")
		place := rapid.SampledFrom(places).Draw(t, "event's jurisdiction")
		was := r.Effective(before, p, "").Allow
		if r.Effective(before, p, place).Allow && !was {
			t.Fatalf("an event's jurisdiction widens %s", p.Name)
		}
		after := before.CloneVT()
		narrower := rapid.SampledFrom([]string{"withdraw", "deny", "older version"}).Draw(t, "restriction")
		switch narrower {
		case "withdraw":
			after.PolicyVersion = ""
		case "deny":
			if s := StateOf(after, p.Name); s != nil {
				s.Choice = purposepb.Choice_CHOICE_DENY
			}
		case "older version":
			if after.PolicyVersion == "2026-09" {
				after.PolicyVersion = "2025-01"
			}
		}
		if r.Effective(after, p, place).Allow && !r.Effective(before, p, place).Allow {
			t.Fatalf("%s widens %s", narrower, p.Name)
		}
	})
}

func BenchmarkEffective(b *testing.B) {
	r := mustLoad(b)
	p, _ := r.Purpose(Personalize)
	of := row("2026-09", "CN", map[string]purposepb.Choice{History: 0, Trending: 0, Risk: 0, Personalize: 1})
	b.ReportAllocs()
	for b.Loop() {
		r.Effective(of, p, "CN")
	}
}
