package privacyfilter

import (
	"testing"

	"sluice/internal/config"
	"sluice/internal/vocab"
)

// FuzzRegister: whatever a deployment's file says, it is read to its end; and a register that loads lets no purpose do more than the built-in one, but where a legal
// basis for a jurisdiction of its own is named.
func FuzzRegister(f *testing.F) {
	for _, seed := range []string{
		"purposes: {personalize: {default: {EU: allow}}}", "purposes: {personalize: {legal_basis: {US: notice}, default: {US: allow}}}", "purposes: {trending: {events: [search]}}",
		"purposes: {marketing.sms: {default: {CN: allow}}}", "purposes: {risk: {events: [view_item], events_after_acceptance: []}}", "purposes: {own: {doc: Own., tier: basic, events: [search], clause: \"1\"}}",
		"policy: {version: \"2027-01\", jurisdiction: EU, older: [{version: \"2026-09\", major_for: [personalize]}]}", "purposes: {personalize: {tier: additional}}", "purposes: null", "policy: {clauses: [\"1\"]}",
		"purposes: {history: {tier: legal}}", "purposes: {personalize: {events: [view_item, view_item]}}",
	} {
		f.Add(seed)
	}
	names := []string{"policy", "purposes"}
	file, err := config.Parse("register.yaml", Defaults)
	if err != nil {
		f.Fatal(err)
	}
	under := func(name string) config.Section {
		s, _ := file.Section(name)
		return s
	}
	builtin, err := Load(under)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		own, err := config.Parse("f.yaml", []byte(text))
		if err != nil {
			return
		}
		merged := make(map[string]config.Section)
		for _, name := range names {
			section, there := own.Section(name)
			if !there {
				continue
			}
			if merged[name], _, err = config.Merge(under(name), section, config.By{}); err != nil {
				return
			}
		}
		sections := func(name string) config.Section {
			if s, there := merged[name]; there {
				return s
			}
			return under(name)
		}
		r, err := Load(sections)
		if err != nil || r.Narrows(builtin, sections) != nil {
			return
		}
		for _, p := range r.Purposes() {
			compareWithBuiltin(t, r, builtin, p)
		}
	})
}

// compareWithBuiltin holds a purpose to what it may do as it is built in.
func compareWithBuiltin(t *testing.T, r, builtin *Register, p *Purpose) {
	t.Helper()
	was, known := builtin.Purpose(p.Name)
	if !known {
		return // a choice, which no data rests on
	}
	for place := range r.Jurisdictions() {
		if _, named := was.Default[place]; p.Default[place] && !was.Default[place] && (named || p.LegalBasis[place] == "") {
			t.Errorf("%s is allowed by default in %s", p.Name, place)
		}
	}
	for number := range vocab.Type_name {
		kind := vocab.Type(number)
		if p.Takes(kind) && !was.Takes(kind) {
			t.Errorf("%s takes %s", p.Name, kind)
		}
		if p.Takes(kind) && was.AfterAcceptance(kind) && p.Tier == Legal && !p.AfterAcceptance(kind) {
			t.Errorf("%s takes %s without the policy", p.Name, kind)
		}
	}
	if was.Tier.Optional() && !p.Tier.Optional() || was.Tier != Legal && p.Tier == Legal {
		t.Errorf("%s is %s", p.Name, p.Tier)
	}
}
