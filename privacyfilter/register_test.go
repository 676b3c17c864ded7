package privacyfilter

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/config"
	"sluice/internal/vocab"
)

// load reads the built-in register with every old text replaced by a new one.
func load(t testing.TB, replacements ...string) (*Register, error) {
	t.Helper()
	text := string(Defaults)
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(text, replacements[i]) {
			t.Fatalf("the built-in register does not contain %q", replacements[i])
		}
		text = strings.Replace(text, replacements[i], replacements[i+1], 1)
	}
	file, err := config.Parse("register.yaml", []byte(text))
	if err != nil {
		return nil, err
	}
	return Load(func(name string) config.Section {
		s, _ := file.Section(name)
		return s
	})
}

func mustLoad(t testing.TB, replacements ...string) *Register {
	t.Helper()
	r, err := load(t, replacements...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBuiltInRegister(t *testing.T) {
	r := mustLoad(t)
	if problems := r.Check(); len(problems) > 0 {
		t.Errorf("problems: %q", problems)
	}
	tiers := map[string]Tier{
		History: Basic, Trending: Basic, Risk: Legal, Personalize: Switchable,
		"marketing.first_party": Additional, "marketing.third_party": Additional, "marketing.sms": Additional, "marketing.push": Additional,
	}
	if len(r.Purposes()) != len(tiers) {
		t.Errorf("%d purposes, expected %d", len(r.Purposes()), len(tiers))
	}
	for i, p := range r.Purposes() {
		if p.Tier != tiers[p.Name] || p.Index != i || r.Retention(p.Retention) == 0 {
			t.Errorf("purpose %s: tier %s, index %d, retention %v", p.Name, p.Tier, p.Index, r.Retention(p.Retention))
		}
	}
	mandatory := []string{"sign_up", "login", "login_failed", "password_change", "verification", "payment", "refund", "chargeback", "report"}
	p, _ := r.Purpose(Risk)
	for _, name := range vocab.Types() {
		typ, _ := vocab.ParseType(name)
		if always := p.Takes(typ) && !p.AfterAcceptance(typ); always != slices.Contains(mandatory, name) {
			t.Errorf("risk takes %s before the acceptance: %v", name, always)
		}
	}
	if p.Takes(vocab.Type_TYPE_UNSPECIFIED) || p.Takes(-1) || p.Takes(99) {
		t.Error("a type that there is not is taken")
	}
}

// TestDeviceIdentifiersAreForRiskAlone proves REQ-090 and REQ-039: what is not collected for a purpose is no input of it, field by field.
// REQ-061: addresses and phone numbers are denied to every purpose but the protection of transactions.
func TestDeviceIdentifiersAreForRiskAlone(t *testing.T) {
	r := mustLoad(t)
	fields := []string{"device.mac", "device.imei", "device.id", "network.ip", "account.phone", "order.shipping_address"}
	for _, field := range fields {
		for _, p := range r.Purposes() {
			if r.Holds(p.Name, field) != (p.Name == Risk) {
				t.Errorf("%s for %s: %v", field, p.Name, r.Holds(p.Name, field))
			}
		}
	}
	if r.Holds(Risk, "device.serial") || r.Holds("ads", "device.mac") || r.Holds("", "") {
		t.Error("what is not registered is held")
	}
}

// TestWrongRegisters proves REQ-001 (an entry without a clause of the version in force stops the start), REQ-142 and REQ-144 (no class without period and
// criterion), and that the types of the purposes bound the register.
func TestWrongRegisters(t *testing.T) {
	mac := "  device.mac:\n    category: user.device.device_id\n    clause: \"2(9)\"\n"
	cases := []struct{ name, old, new, want string }{
		{"field without clause", mac, "  device.mac:\n    category: user.device.device_id\n", "fields.'device.mac'.clause: every entry must cite a clause of policy version 2026-09"},
		{"unknown clause", mac, strings.Replace(mac, "2(9)", "99", 1), "fields.'device.mac'.clause: must be a clause of policy version 2026-09; see policy.clauses"},
		{"purpose without clause", "    clause: \"2(9)\"\n    legal_basis: {CN: legal_duty", "    legal_basis: {CN: legal_duty", "purposes.risk.clause: every entry must cite a clause of policy version 2026-09"},
		{"class without clause", "security: {period: 180d, criterion: safety, clause: \"5(I)\"}", "security: {period: 180d, criterion: safety}", "retention.security.clause: every entry must cite a clause of policy version 2026-09"},
		{"unknown purpose of a field", mac + "    collected_for: [risk]", mac + "    collected_for: [risk, ads]", "fields.'device.mac'.collected_for[1]: unknown purpose; it must be one of history,"},
		{"beyond the type", mac + "    collected_for: [risk]", mac + "    collected_for: [risk, personalize]", "fields.'device.mac'.collected_for[1]: the event type of the purpose personalize cannot hold this field: the type is the upper bound"},
		{"a purpose without a stream", mac + "    collected_for: [risk]", mac + "    collected_for: [marketing.push]", "collected_for[0]: the event type of the purpose marketing.push cannot hold"},
		{"unknown field", "  device.mac:", "  device.serial:", "fields.'device.serial': must be a field of an event; docs/storefront.md lists the fields"},
		{"unknown event type", "events: [sign_up, login,", "events: [sign_up, logon,", "purposes.risk.events[1]: unknown event type; it must be one of page_view,"},
		{"event type twice", "events: [sign_up, login,", "events: [sign_up, sign_up,", "purposes.risk.events[1]: must stand once in its list"},
		{"event type in both lists", "events_after_acceptance: [page_view,", "events_after_acceptance: [login, page_view,", "purposes.risk.events_after_acceptance: must not repeat a type of events"},
		{"acceptance list of another tier", "tier: switchable", "tier: switchable\n    events_after_acceptance: [refund]", "only a legal purpose"},
		{"unknown tier", "tier: switchable", "tier: optional", "purposes.personalize.tier: must be one of basic, switchable, additional, legal"},
		{"default of a basic purpose", "legal_basis: {CN: contract, EU: contract}", "default: {CN: allow}", "a purpose of tier basic has no default"},
		{"default that is no decision", "default: {CN: allow, EU: deny}", "default: {CN: yes!, EU: deny}", "purposes.personalize.default.CN: must be allow or deny"},
		{"default for no jurisdiction", "default: {CN: allow, EU: deny}", "default: {china: allow}", "purposes.personalize.default.china: must be of a jurisdiction, such as CN"},
		{"unknown class", "retention: profile", "retention: forever", "purposes.personalize.retention: must be a class of the section retention"},
		{"no period", "period: 180d", "period: long", "retention.security.period: must be a duration such as 30m, 6h or 7d"},
		{"no criterion", "criterion: safety", "criterion: because", "retention.security.criterion: must be one of transaction, safety, consent, limitation, law"},
		{"no doc", "    doc: Commercial text messages.\n", "", "purposes.'marketing.sms'.doc: must be what the notice says of this purpose"},
		{"name", "  marketing.sms:", "  Marketing SMS:", "purposes.Marketing SMS: the name of a purpose must be lower-case words, such as marketing.push"},
		{"no category", "category: user.contact.email", "category: mail", "fields.'account.email'.category: must be a category of the Fides taxonomy, such as user.device.device_id"},
		{"envelope", "    category: user.unique_id\n    clause: \"2(1)\"\n    collected_for: [history, trending, risk, personalize]", "    category: user.unique_id\n    clause: \"2(1)\"\n    collected_for: [history]", "fields.user_id.collected_for: must name the purpose trending: no purpose with a stream can do without this field"},
		{"unknown key", "tier: switchable", "teir: switchable", "purposes.personalize.teir: unknown key; did you mean tier?"},
		{"major for nobody", "major_for: []", "major_for: [ads]", "policy.major_for[0]: unknown purpose"},
		{"older major for nobody", "older: []  ", "older: [{version: \"1\", major_for: [ads]}]  ", "policy.older[0].major_for[0]: unknown purpose"},
		{"version twice", "older: []  ", "older: [{version: \"2026-09\"}]  ", "policy.older[0].version: must stand once among the versions"},
		{"version without a name", "older: []  ", "older: [{major_for: []}]  ", "policy.older[0].version: must be a policy version"},
		{"no version", "version: \"2026-09\"", "version: \"\"", "policy.version: must be the policy version in force"},
		{"no jurisdiction", "jurisdiction: CN ", "jurisdiction: China ", "policy.jurisdiction: must be the deployment's jurisdiction, such as CN"},
		{"no section", "retention:\n  footprints", "retentions:\n  footprints", "this section must be there"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.old, c.new)
			var fault *config.Error
			if !errors.As(err, &fault) {
				t.Fatalf("no configuration error: %v", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q in it", err, c.want)
			}
			if fault.Line == 0 && c.name != "no section" {
				t.Errorf("no line: %v", err)
			}
		})
	}
}

func TestRevision(t *testing.T) {
	r := Revision{1, 5, 4711}
	if r.String() != "1-5-4711" || r.IsZero() || !(Revision{}).IsZero() {
		t.Errorf("%s", r)
	}
	if back, err := ParseRevision(r.String()); err != nil || back != r || RevisionFromPB(r.PB()) != r || RevisionFromPB(Revision{}.PB()) != (Revision{}) {
		t.Errorf("%v %v", back, err)
	}
	for _, s := range []string{"", "1", "1-5", "1-5-", "-1-5-1", "1-5-4711-2", "1--1", "a-b-c", "1-5-99999999999999999999", "+1-5-4", "4294967296-0-0"} {
		if got, err := ParseRevision(s); err == nil {
			t.Errorf("%q is read as %v", s, got)
		}
	}
	ordered := []Revision{{1, 2, 3}, {1, 2, 300}, {1, 3, 0}, {2, 0, 0}}
	for i := range ordered[1:] {
		a, b := ordered[i], ordered[i+1]
		if a.Compare(b) != -1 || b.Compare(a) != 1 || a.Compare(Revision{a.Generation, a.Partition, a.Offset}) != 0 || string(a.Append(nil)) >= string(b.Append(nil)) {
			t.Errorf("%s and %s are not in order", a, b)
		}
	}
	if n := len(r.Append(nil)); n != RevisionBytes {
		t.Errorf("%d bytes", n)
	}
}

// TestExplainAndNotice proves REQ-002 and REQ-112: the notice lists exactly what the filter lets through.
func TestExplainAndNotice(t *testing.T) {
	r := mustLoad(t)
	lines, err := r.Explain("device.mac")
	if err != nil || !slices.Contains(lines, "personalize may not: its event type has no place for it") ||
		!slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "risk may use it") }) {
		t.Errorf("%q %v", lines, err)
	}
	lines, err = r.Explain(Personalize)
	if err != nil || !slices.Contains(lines, "in CN: legal basis policy_with_switch, on until the person chooses") {
		t.Errorf("%q %v", lines, err)
	}
	if _, err := r.Explain("device.serial"); !errors.Is(err, ErrUnknownName) {
		t.Error(err)
	}
	for _, n := range r.Notice() {
		for _, name := range Fields() {
			listed := slices.ContainsFunc(n.Fields, func(f NoticeField) bool { return f.Name == name && f.Clause != "" })
			if listed != r.Holds(n.Purpose, name) {
				t.Errorf("%s for %s: listed %v", name, n.Purpose, listed)
			}
		}
	}
}

func TestCheckFindsWhatIsLeftOpen(t *testing.T) {
	r := mustLoad(t,
		"  device.oaid:\n    category: user.device.device_id\n    clause: App\n    collected_for: []\n", "",
		"legal_basis: {CN: policy_with_switch, EU: consent}", "legal_basis: {EU: consent}",
		"  choices: {", "  spare: {period: 1d, criterion: law, clause: \"6\"}\n  choices: {",
		"    doc: Commercial text messages.\n", "    doc: Commercial text messages.\n    events: [purchase]\n")
	want := []string{
		"field device.oaid: events can carry it, the register does not name it",
		"purpose personalize: no legal basis in CN, the deployment's jurisdiction",
		"purpose marketing.sms: it lists event types, but has no stream that they could reach",
		"retention class spare: no purpose uses it",
	}
	if diff := cmp.Diff(want, r.Check()); diff != "" {
		t.Error(diff)
	}
}

func TestDiffAndDigest(t *testing.T) {
	a := mustLoad(t)
	b := mustLoad(t, "default: {CN: allow, EU: deny}", "default: {CN: deny, EU: deny}", "  device.imei:\n    category: user.device.device_id\n    clause: \"2(9)\"\n    collected_for: [risk]\n", "",
		"    collected_for: [trending, personalize]", "    collected_for: [personalize]")
	want := []string{
		"field device.imei, category: was user.device.device_id, is gone",
		"field device.imei, clause: was 2(9), is gone",
		"field device.imei, collected for: was risk, is gone",
		"field locale, collected for: trending, personalize → personalize",
		"purpose personalize, default in CN: allow → deny",
	}
	if diff := cmp.Diff(want, Diff(a, b)); diff != "" {
		t.Error(diff)
	}
	if a.Digest() == b.Digest() {
		t.Error("two registers, one digest")
	}
	same := mustLoad(t, "# Device and network.", "# Something else.", "collected_for: [trending, personalize]", "collected_for: [personalize, trending]")
	if a.Digest() != same.Digest() || len(Diff(a, same)) > 0 {
		t.Error("layout shows in the digest")
	}
}
