package risk

import (
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/features/entity"
	"sluice/internal/config"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// featureNames are those that the built-in rules read, and some more.
var featureNames = []string{
	"payments_per_counterparty_1h", "payments_per_counterparty_7d", "payments_per_counterparty_30d", "chargebacks_per_counterparty_30d",
	"payments_per_instrument_1h", "accounts_per_instrument_1d", "payments_per_account_30d", "mean_amount_per_account_30d",
	"accounts_per_ip_1h", "sign_ups_per_ip_1h", "accounts_per_device_1d", "login_failures_per_account_1h", "login_failures_per_ip_1h", "logins_per_device_1d",
}

// eventTime is when the events of the tests happened.
var eventTime = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// sectionsOf serves the sections of a text, and the built-in ones for what it lacks.
func sectionsOf(t testing.TB, name, text string) func(string) config.Section {
	t.Helper()
	custom, err := config.Parse(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	builtin, err := config.Parse("rules.yaml", Defaults)
	if err != nil {
		t.Fatal(err)
	}
	return func(section string) config.Section {
		if s, ok := custom.Section(section); ok {
			return s
		}
		s, _ := builtin.Section(section)
		return s
	}
}

func load(t testing.TB, text string) *Config {
	t.Helper()
	c, err := Load(sectionsOf(t, "test.yaml", text), featureNames)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ruleText is a rule in YAML with a test that cannot fail the load: it gives no value.
func ruleText(id, when, outcome, score, mode string) string {
	return strings.NewReplacer("ID", id, "WHEN", when, "OUTCOME", outcome, "SCORE", score, "MODE", mode).Replace(`
  - id: ID
    doc: A rule of a test.
    events: [payment]
    when: WHEN
    outcome: OUTCOME
    score: SCORE
    reason: {code: code_ID, text: Text of ID., tell_user: true}
    mode: MODE
    owner: test
    expires: 2026-12-31
    tests: [{given: {}, hits: false}]`)
}

// valuesOf gives the named features, all others missing.
func valuesOf(given map[string]float64) entity.Values {
	v := entity.Values{Names: featureNames, Numbers: make([]float64, len(featureNames)), Missing: make([]bool, len(featureNames))}
	for i, name := range featureNames {
		n, ok := given[name]
		v.Numbers[i], v.Missing[i] = n, !ok
	}
	return v
}

func payment(event string) *purposepb.RiskEvent {
	return &purposepb.RiskEvent{
		Event: []byte(event), Subject: []byte("subject-of-16-by"), Type: vocab.Type_PAYMENT, Time: eventTime.UnixMicro(), Channel: vocab.Channel_WEB,
		Value: 2_500_000, HasValue: true, Currency: "EUR", Instrument: []byte("instrument"), Device: []byte("device"),
	}
}

// entities count the payments with each instrument that were overlaid, and give fixed values beside.
type entities struct {
	mu    sync.Mutex
	seen  map[string][]string // events by instrument
	fixed map[string]float64
}

func newEntities(fixed map[string]float64) *entities {
	return &entities{seen: make(map[string][]string), fixed: fixed}
}

func (e *entities) Overlay(ev *purposepb.RiskEvent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if key := string(ev.Instrument); !slices.Contains(e.seen[key], string(ev.Event)) {
		e.seen[key] = append(e.seen[key], string(ev.Event))
	}
}

func (e *entities) Values(ev *purposepb.RiskEvent) entity.Values {
	e.mu.Lock()
	defer e.mu.Unlock()
	v := valuesOf(e.fixed)
	others := slices.DeleteFunc(slices.Clone(e.seen[string(ev.Instrument)]), func(id string) bool { return id == string(ev.Event) })
	i := slices.Index(featureNames, "payments_per_instrument_1h")
	v.Numbers[i], v.Missing[i] = float64(len(others)), len(ev.Instrument) == 0
	return v
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
