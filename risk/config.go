package risk

import (
	"crypto/sha256"
	_ "embed" // rules.yaml
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/internal/config"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
	"sluice/risk/riskpb"
)

// Defaults is the built-in rules.yaml, with the sections rules and decisions.
//
//go:embed rules.yaml
var Defaults []byte

// maxScore is the highest score of a decision, and of one rule.
const maxScore = 1000

// Config is the loaded rules with the settings of decisions. It is immutable and safe for concurrent use.
type Config struct {
	rules      []*rule
	slots      []slot
	ttl        time.Duration
	thresholds thresholds
	version    string
	sheets     sync.Pool // of *sheet
}

// rule is one rule, compiled.
type rule struct {
	id        string
	types     uint64 // bit of each event type that it judges
	when      *condition
	reads     []int // slots, in the order of the condition's text
	outcome   riskpb.Decision_Outcome
	score     uint32
	reason    riskpb.Reason
	live      bool
	expiresAt int64 // Unix microseconds: it does not judge events from then on
}

// slot is where a sheet keeps a value that some rule reads.
type slot struct {
	name    string
	kind    kind
	feature int // index among the features, -1 for a field
	field   *field
}

// thresholds are scores from which the sum alone leads to an outcome; 0 = it never does.
type thresholds struct{ challenge, review, block uint32 }

// PolicyVersion names exactly these rules and settings: "sha256:" and the digest of what was read, comments and layout apart.
func (c *Config) PolicyVersion() string { return c.version }

// Expired lists the rules that judge no event from now (Unix microseconds) on, in the order of the file.
func (c *Config) Expired(now int64) []string {
	var ids []string
	for _, r := range c.rules {
		if now >= r.expiresAt {
			ids = append(ids, r.id)
		}
	}
	return ids
}

// ruleYAML is a rule as the file has it.
type ruleYAML struct {
	ID      string     `yaml:"id"`
	Doc     string     `yaml:"doc"`
	Events  []string   `yaml:"events"`
	When    string     `yaml:"when"`
	Outcome string     `yaml:"outcome"`
	Score   int64      `yaml:"score"`
	Reason  reasonYAML `yaml:"reason"`
	Mode    string     `yaml:"mode"`
	Owner   string     `yaml:"owner"`
	Expires string     `yaml:"expires"`
	Tests   []testYAML `yaml:"tests"`
}

type reasonYAML struct {
	Code     string `yaml:"code"`
	Text     string `yaml:"text"`
	TellUser bool   `yaml:"tell_user"`
}

// testYAML says what the rule must do with the given values; all others are missing, but for the type of the event.
type testYAML struct {
	Given map[string]any `yaml:"given"`
	Hits  *bool          `yaml:"hits"`
}

type decisionsYAML struct {
	TTL   string    `yaml:"ttl"`
	Score scoreYAML `yaml:"score"`
}

type scoreYAML struct {
	Challenge int64 `yaml:"challenge"`
	Review    int64 `yaml:"review"`
	Block     int64 `yaml:"block"`
}

// Load reads the sections rules and decisions. Names are the features that rules may read (spec.Config.RiskNames).
// Errors are *config.Error: they name file, line, column and field, and say what was expected; a rule whose own test fails is one.
func Load(sections func(name string) config.Section, names []string) (*Config, error) {
	var (
		rules     []ruleYAML
		decisions decisionsYAML
	)
	ruleSection, decisionSection := sections("rules"), sections("decisions")
	if err := ruleSection.Decode(&rules); err != nil {
		return nil, err
	}
	if err := decisionSection.Decode(&decisions); err != nil {
		return nil, err
	}
	c := new(Config)
	if err := c.setDecisions(decisionSection, &decisions); err != nil {
		return nil, err
	}
	l := &loader{section: ruleSection, language: newLanguage(names), lines: make(map[string]int)}
	for i := range rules {
		r, err := l.rule(i, &rules[i])
		if err != nil {
			return nil, err
		}
		c.rules = append(c.rules, r)
	}
	c.setSlots(l.language, names)
	for i := range rules {
		if err := l.test(c, i, &rules[i]); err != nil {
			return nil, err
		}
	}
	var err error
	c.version, err = versionOf(rules, decisions)
	return c, err
}

// versionOf is the digest of what was read, in a form that does not depend on layout.
func versionOf(rules []ruleYAML, decisions decisionsYAML) (string, error) {
	canonical, err := json.Marshal(map[string]any{"rules": rules, "decisions": decisions})
	if err != nil {
		return "", fmt.Errorf("making the version of the rules: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

func (c *Config) setDecisions(s config.Section, y *decisionsYAML) (err error) {
	if c.ttl, err = config.ParseDuration(y.TTL); err != nil {
		return s.Errorf(".ttl", "%s", err)
	}
	last := int64(0)
	for _, t := range []struct {
		name  string
		score int64
		into  *uint32
	}{
		{"challenge", y.Score.Challenge, &c.thresholds.challenge},
		{"review", y.Score.Review, &c.thresholds.review},
		{"block", y.Score.Block, &c.thresholds.block},
	} {
		if t.score < 0 || t.score > maxScore {
			return s.Errorf(".score."+t.name, "a score from 1 to 1000 expected, or 0 for none")
		}
		if t.score != 0 && t.score < last {
			return s.Errorf(".score."+t.name, "a score of at least %d, that of the milder outcome, expected", last)
		}
		*t.into = uint32(t.score)
		last = max(last, t.score)
	}
	return nil
}

// setSlots lays out the sheets on which conditions are judged.
func (c *Config) setSlots(l *language, names []string) {
	for _, name := range l.slots {
		s := slot{name: name, kind: l.kinds[name], feature: slices.Index(names, name)}
		if i := slices.IndexFunc(fields, func(f field) bool { return f.name == name }); i >= 0 {
			s.feature, s.field = -1, &fields[i]
		}
		c.slots = append(c.slots, s)
	}
	c.sheets.New = func() any { return newSheet(len(c.slots)) }
}

// loader checks the rules one after the other.
type loader struct {
	section  config.Section
	language *language
	lines    map[string]int // of the ids that were seen
}

var (
	identifier = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	outcomes   = map[string]riskpb.Decision_Outcome{
		"allow": riskpb.Decision_ALLOW, "challenge": riskpb.Decision_CHALLENGE, "review": riskpb.Decision_REVIEW, "block": riskpb.Decision_BLOCK,
	}
)

// flaw is what is wrong with a rule, and at which of its fields.
type flaw struct{ path, message string }

func (l *loader) rule(i int, y *ruleYAML) (*rule, error) {
	at := fmt.Sprintf("[%d]", i)
	if f := check(y); f != nil {
		return nil, l.section.Errorf(at+f.path, "%s", f.message)
	}
	if line, twice := l.lines[y.ID]; twice {
		return nil, l.section.Errorf(at+".id", "an id of its own expected; %s is used on line %d", y.ID, line)
	}
	l.lines[y.ID] = l.section.Line(at + ".id")
	r := &rule{
		id: y.ID, outcome: outcomes[y.Outcome], score: uint32(y.Score), live: y.Mode == "live",
		reason: riskpb.Reason{Code: y.Reason.Code, Text: y.Reason.Text, TellUser: y.Reason.TellUser},
	}
	var err error
	if r.types, err = l.types(at, y.Events); err != nil {
		return nil, err
	}
	if r.expiresAt, err = expiry(y.Expires); err != nil {
		return nil, l.section.Errorf(at+".expires", "%s", err)
	}
	if r.when, err = l.language.compile(y.When); err != nil {
		return nil, l.section.Errorf(at+".when", "%s", err)
	}
	r.reads = r.when.slots()
	return r, nil
}

// check looks at the fields that need no context.
func check(y *ruleYAML) *flaw {
	_, knownOutcome := outcomes[y.Outcome]
	for _, f := range []struct {
		bad           bool
		path, message string
	}{
		{!identifier.MatchString(y.ID), ".id", "an id of a to z, 0 to 9 and _, such as card_testing_burst, expected"},
		{blank(y.Doc), ".doc", "a sentence that says what the rule finds expected"},
		{len(y.Events) == 0, ".events", "at least one of sign_up, login, payment expected"},
		{!knownOutcome, ".outcome", "allow, challenge, review or block expected"},
		{y.Score < 0 || y.Score > maxScore, ".score", "a score from 0 to 1000 expected"},
		{!identifier.MatchString(y.Reason.Code), ".reason.code", "a code of a to z, 0 to 9 and _ expected"},
		{blank(y.Reason.Text), ".reason.text", "a sentence that explains the decision expected"},
		{y.Mode != "live" && y.Mode != "shadow", ".mode", "shadow or live expected"},
		{blank(y.Owner), ".owner", "the team that answers for the rule expected"},
		{len(y.Tests) == 0, ".tests", "at least one test expected: {given: {order.value: 2.5}, hits: false}"},
	} {
		if f.bad {
			return &flaw{f.path, f.message}
		}
	}
	return nil
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

func (l *loader) types(at string, events []string) (uint64, error) {
	var bits uint64
	for i, name := range events {
		t, known := vocab.ParseType(name)
		if !known || !decided(t) {
			return 0, l.section.Errorf(fmt.Sprintf("%s.events[%d]", at, i), "sign_up, login or payment expected: no other event gets a decision")
		}
		bits |= 1 << t
	}
	return bits, nil
}

// expiry is the end of the day, in UTC, that a rule names.
func expiry(s string) (int64, error) {
	day, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, errors.New("the last day that the rule runs expected, such as 2027-06-30")
	}
	return day.AddDate(0, 0, 1).UnixMicro(), nil
}

// test runs a rule's own tests.
func (l *loader) test(c *Config, i int, y *ruleYAML) error {
	for n, t := range y.Tests {
		at := fmt.Sprintf("[%d].tests[%d]", i, n)
		if t.Hits == nil {
			return l.section.Errorf(at, "hits: true or hits: false expected")
		}
		s := c.sheet()
		if err := l.fill(c, s, at, y, t.Given); err != nil {
			return err
		}
		r := c.rules[i]
		got := r.when.judge(s)
		if (got == yes) != *t.Hits {
			return l.section.Errorf(at, "the test of %s fails: %s", r.id, c.explain(r, s, got))
		}
		c.sheets.Put(s)
	}
	return nil
}

// explain says why a test came out other than it says.
func (c *Config) explain(r *rule, s *sheet, got truth) string {
	switch got {
	case yes:
		return "the condition is true, expected not to hit"
	case no:
		return "the condition is false, expected to hit"
	default:
		return "expected to hit, but the condition is unknown without " + strings.Join(c.names(r.when.missing(s, nil)), ", ")
	}
}

func (c *Config) names(slots []int) []string {
	names := make([]string, len(slots))
	for i, slot := range slots {
		names[i] = c.slots[slot].name
	}
	return names
}

// fill puts a test's values on a sheet. The event's type is the first that the rule judges, where the test does not give it.
func (l *loader) fill(c *Config, s *sheet, at string, y *ruleYAML, given map[string]any) error {
	values := map[string]any{"type": y.Events[0]}
	maps.Copy(values, given)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		k, known := l.language.kinds[name]
		if !known {
			return l.section.Errorf(at+".given."+name, "unknown name %s%s", name, l.language.suggest(name))
		}
		v, ok := valueOf(k, values[name])
		if !ok {
			return l.section.Errorf(at+".given."+name, "%s expected", k)
		}
		if i := slices.Index(l.language.slots, name); i >= 0 {
			s.set(&c.slots[i], i, v)
		}
	}
	return nil
}

// valueOf reads a value as YAML gives it.
func valueOf(k kind, given any) (v value, ok bool) {
	switch k {
	case textKind:
		v.text, ok = given.(string)
		return v, ok && v.text != ""
	case flagKind:
		v.flag, ok = given.(bool)
		return v, ok
	}
	switch n := given.(type) {
	case float64:
		v.number = n
	case uint64:
		v.number = float64(n)
	case int64:
		v.number = float64(n)
	case int:
		v.number = float64(n)
	default:
		return v, false
	}
	return v, finite(v.number)
}

// judges tells whether the rule judges the event.
func (r *rule) judges(ev *purposepb.RiskEvent) bool {
	return r.types>>uint32(ev.Type)&1 == 1 && ev.Time < r.expiresAt
}
