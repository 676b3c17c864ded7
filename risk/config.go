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
	section    config.Section
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

// thresholds are the sums of scores at which the sum alone leads to an outcome; 0 = it never does.
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
// The error is config.Errors: everything that is wrong, with file, line, column and field. A rule that fails its own test is an error.
func Load(sections func(name string) config.Section, names []string) (*Config, error) {
	var (
		rules     []ruleYAML
		decisions decisionsYAML
	)
	c, l := new(Config), &loader{section: sections("rules"), language: newLanguage(names), lines: make(map[string]int)}
	l.faults.Add(l.section.Decode(&rules))
	l.faults.Add(sections("decisions").Decode(&decisions))
	l.decisions(c, sections("decisions"), &decisions)
	for i := range rules {
		c.rules = append(c.rules, l.rule(i, &rules[i]))
	}
	c.setSlots(l.language, names)
	for i := range rules {
		if c.rules[i].when != nil && c.rules[i].types != 0 {
			l.test(c, i, &rules[i])
		}
	}
	if err := l.faults.Err(); err != nil {
		return nil, err
	}
	c.section = l.section
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

func (l *loader) decisions(c *Config, s config.Section, y *decisionsYAML) {
	var err error
	if c.ttl, err = config.ParseDuration(y.TTL); err != nil {
		l.faults.Add(s.Errorf(".ttl", "%v", err))
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
		switch {
		case t.score < 0 || t.score > maxScore:
			l.faults.Add(s.Errorf(".score."+t.name, "must be between 1 and %d, or 0 for none", maxScore))
		case t.score != 0 && t.score < last:
			l.faults.Add(s.Errorf(".score."+t.name, "must be at least %d, the score of the milder outcome", last))
		}
		*t.into = uint32(t.score)
		last = max(last, t.score)
	}
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
	faults   config.Faults
}

// fault notes what is wrong at a path of the section rules.
func (l *loader) fault(path, format string, args ...any) {
	l.faults.Add(l.section.Errorf(path, format, args...))
}

var (
	identifier = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	outcomes   = map[string]riskpb.Decision_Outcome{
		"allow": riskpb.Decision_ALLOW, "challenge": riskpb.Decision_CHALLENGE, "review": riskpb.Decision_REVIEW, "block": riskpb.Decision_BLOCK,
	}
)

// rule checks and compiles one rule. What cannot be read of it is left out.
func (l *loader) rule(i int, y *ruleYAML) *rule {
	at := fmt.Sprintf("[%d]", i)
	l.check(at, y)
	if line, twice := l.lines[y.ID]; twice && y.ID != "" {
		l.fault(at+".id", "must be an id of its own; %s is used on line %d", y.ID, line)
	}
	l.lines[y.ID] = l.section.Line(at + ".id")
	r := &rule{
		id: y.ID, types: l.types(at, y.Events), outcome: outcomes[y.Outcome], score: uint32(y.Score), live: y.Mode == "live",
		reason: riskpb.Reason{Code: y.Reason.Code, Text: y.Reason.Text, TellUser: y.Reason.TellUser},
	}
	var err error
	if r.expiresAt, err = expiry(y.Expires); err != nil {
		l.fault(at+".expires", "%v", err)
	}
	if r.when, err = l.language.compile(y.When); err != nil {
		l.fault(at+".when", "%v", err)
		return r
	}
	r.reads = r.when.slots()
	return r
}

// check looks at the fields that need no context.
func (l *loader) check(at string, y *ruleYAML) {
	_, knownOutcome := outcomes[y.Outcome]
	for _, f := range []struct {
		bad           bool
		path, message string
	}{
		{!identifier.MatchString(y.ID), ".id", "must be an id of a to z, 0 to 9 and _, such as card_testing_burst"},
		{blank(y.Doc), ".doc", "must be a sentence that says what the rule finds"},
		{len(y.Events) == 0, ".events", "must be at least one of sign_up, login, payment"},
		{!knownOutcome, ".outcome", "must be allow, challenge, review or block"},
		{y.Score < 0 || y.Score > maxScore, ".score", "must be between 0 and 1000"},
		{!identifier.MatchString(y.Reason.Code), ".reason.code", "must be a code of a to z, 0 to 9 and _"},
		{blank(y.Reason.Text), ".reason.text", "must be a sentence that explains the decision"},
		{y.Mode != "live" && y.Mode != "shadow", ".mode", "must be shadow or live"},
		{blank(y.Owner), ".owner", "must name the team that answers for the rule"},
		{len(y.Tests) == 0, ".tests", "must be at least one test: {given: {order.value: 2.5}, hits: false}"},
	} {
		if f.bad {
			l.fault(at+f.path, "%s", f.message)
		}
	}
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

func (l *loader) types(at string, events []string) (set uint64) {
	for i, name := range events {
		t, known := vocab.ParseType(name)
		if !known || !decided(t) {
			l.fault(fmt.Sprintf("%s.events[%d]", at, i), "must be sign_up, login or payment: no other event gets a decision")
			continue
		}
		set |= 1 << t
	}
	return set
}

// expiry is the end of the day, in UTC, that a rule names.
func expiry(s string) (int64, error) {
	day, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, errors.New("must be the last day that the rule runs, such as 2027-06-30")
	}
	return day.AddDate(0, 0, 1).UnixMicro(), nil
}

// test runs a rule's own tests.
func (l *loader) test(c *Config, i int, y *ruleYAML) {
	r, s := c.rules[i], c.sheet()
	defer c.sheets.Put(s)
	for n, t := range y.Tests {
		at := fmt.Sprintf("[%d].tests[%d]", i, n)
		if t.Hits == nil {
			l.fault(at+".hits", "must be true or false")
			continue
		}
		clear(s.present)
		if !l.fill(c, s, at, y, t.Given) {
			continue
		}
		if got := r.when.judge(s); (got == yes) != *t.Hits {
			l.fault(at, "the test of %s fails: %s", r.id, c.explain(r, s, got))
		}
	}
}

// explain says why a test came out other than it says.
func (c *Config) explain(r *rule, s *sheet, got truth) string {
	switch got {
	case yes:
		return "it must not hit, but the condition is true"
	case no:
		return "it must hit, but the condition is false"
	default:
		return "it must hit, but the condition is unknown without " + strings.Join(c.names(r.when.missing(s, nil)), ", ")
	}
}

func (c *Config) names(slots []int) []string {
	names := make([]string, len(slots))
	for i, slot := range slots {
		names[i] = c.slots[slot].name
	}
	return names
}

// fill puts a test's values on a sheet, and tells whether all of them can be. The event's type is the first that the rule judges, where the test does not give it.
func (l *loader) fill(c *Config, s *sheet, at string, y *ruleYAML, given map[string]any) bool {
	values := map[string]any{"type": y.Events[0]}
	maps.Copy(values, given)
	filled := true
	for _, name := range slices.Sorted(maps.Keys(values)) {
		path := at + ".given" + config.Key(name)
		k, known := l.language.kinds[name]
		if !known {
			l.fault(path, "unknown name %s%s", name, l.language.suggest(name))
			filled = false
			continue
		}
		v, ok := valueOf(k, values[name])
		if !ok {
			l.fault(path, "must be %s", k)
			filled = false
			continue
		}
		if i := slices.Index(l.language.slots, name); i >= 0 {
			s.set(&c.slots[i], i, v)
		}
	}
	return filled
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
