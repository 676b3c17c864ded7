package privacyfilter

import (
	"crypto/sha256"
	_ "embed" // for the built-in register
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"sluice/internal/config"
	"sluice/internal/vocab"
)

// Defaults is the built-in register: the sections policy, purposes, fields and retention.
//
//go:embed register.yaml
var Defaults []byte

type policyYAML struct {
	Version      string        `yaml:"version"`
	Jurisdiction string        `yaml:"jurisdiction"`
	MajorFor     []string      `yaml:"major_for"`
	Clauses      []string      `yaml:"clauses"`
	Older        []versionYAML `yaml:"older"`
}

type versionYAML struct {
	Version  string   `yaml:"version"`
	MajorFor []string `yaml:"major_for"`
}

type purposeYAML struct {
	Doc                   string            `yaml:"doc"`
	Tier                  string            `yaml:"tier"`
	Events                []string          `yaml:"events"`
	EventsAfterAcceptance []string          `yaml:"events_after_acceptance"`
	Clause                string            `yaml:"clause"`
	LegalBasis            map[string]string `yaml:"legal_basis"`
	Default               map[string]string `yaml:"default"`
	Retention             string            `yaml:"retention"`
}

type fieldYAML struct {
	Category     string   `yaml:"category"`
	Clause       string   `yaml:"clause"`
	CollectedFor []string `yaml:"collected_for"`
}

type classYAML struct {
	Period    string `yaml:"period"`
	Criterion string `yaml:"criterion"`
	Clause    string `yaml:"clause"`
}

// criteria are the policy's grounds for a retention period (section 5(I)).
var criteria = []string{"transaction", "safety", "consent", "limitation", "law"}

var (
	purposeName      = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$`)
	categoryName     = regexp.MustCompile(`^(user|system)(\.[a-z][a-z0-9_]*)*$`)
	jurisdictionName = regexp.MustCompile(`^[A-Z]{2}(-[A-Z0-9]{1,3})?$`)
)

// Load reads and compiles the register from the sections policy, purposes, fields and retention. Errors are *config.Error.
func Load(sections func(string) config.Section) (*Register, error) {
	l := &loader{
		r:       &Register{byName: map[string]*Purpose{}, byField: map[string]*Field{}, byClass: map[string]*Class{}},
		policy:  sections("policy"),
		purpose: sections("purposes"), field: sections("fields"), retention: sections("retention"),
	}
	for _, step := range []func() error{l.loadPolicy, l.loadRetention, l.loadPurposes, l.loadVersions, l.loadFields, l.checkEnvelope} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(l.r.lines(), "\n")))
	l.r.digest = "sha256:" + hex.EncodeToString(sum[:])
	return l.r, nil
}

type loader struct {
	r                                 *Register
	policy, purpose, field, retention config.Section
	from                              policyYAML
}

func (l *loader) loadPolicy() error {
	if err := l.policy.Decode(&l.from); err != nil {
		return err
	}
	if l.from.Version == "" {
		return l.policy.Errorf("", "version: the policy version in force expected")
	}
	if !jurisdictionName.MatchString(l.from.Jurisdiction) {
		return l.policy.Errorf(".jurisdiction", "the deployment's jurisdiction expected, such as CN")
	}
	l.r.jurisdiction = l.from.Jurisdiction
	l.r.versions = []string{l.from.Version}
	for i, old := range l.from.Older {
		path := fmt.Sprintf(".older[%d]", i)
		if old.Version == "" {
			return l.policy.Errorf(path, "version: a policy version expected")
		}
		if slices.Contains(l.r.versions, old.Version) {
			return l.policy.Errorf(path+".version", "the version stands here twice")
		}
		l.r.versions = append(l.r.versions, old.Version)
	}
	return nil
}

// loadVersions computes, by version, the purposes for which any newer version is a major change.
func (l *loader) loadVersions() error {
	newer, err := l.purposesOf(".major_for", l.from.MajorFor)
	if err != nil {
		return err
	}
	l.r.superseded = []purposeSet{0}
	for i, old := range l.from.Older {
		l.r.superseded = append(l.r.superseded, newer)
		major, err := l.purposesOf(fmt.Sprintf(".older[%d].major_for", i), old.MajorFor)
		if err != nil {
			return err
		}
		newer |= major
	}
	return nil
}

// purposesOf is the set of the purposes that the policy names at path.
func (l *loader) purposesOf(path string, names []string) (set purposeSet, err error) {
	for i, name := range names {
		p, ok := l.r.byName[name]
		if !ok {
			return 0, l.policy.Errorf(fmt.Sprintf("%s[%d]", path, i), "unknown purpose; expected one of %s", l.purposeNames())
		}
		set |= 1 << uint(p.Index)
	}
	return set, nil
}

// cite checks that an entry names a clause of the policy version in force.
func (l *loader) cite(s config.Section, path, clause string) error {
	if clause == "" {
		return s.Errorf(path, "clause: every entry cites a clause of policy version %s", l.from.Version)
	}
	if !slices.Contains(l.from.Clauses, clause) {
		return s.Errorf(path+".clause", "no clause of policy version %s; see policy.clauses", l.from.Version)
	}
	return nil
}

func (l *loader) loadRetention() error {
	entries, order, err := decodeEntries[classYAML](l.retention)
	if err != nil {
		return err
	}
	for _, name := range order {
		entry, path := entries[name], pathOf(name)
		if err := l.cite(l.retention, path, entry.Clause); err != nil {
			return err
		}
		period, err := config.ParseDuration(entry.Period)
		if err != nil {
			return l.retention.Errorf(path+".period", "%v", err)
		}
		if !slices.Contains(criteria, entry.Criterion) {
			return l.retention.Errorf(path+".criterion", "expected one of %s", strings.Join(criteria, ", "))
		}
		class := &Class{Name: name, Period: period, Criterion: entry.Criterion, Clause: entry.Clause}
		l.r.classes, l.r.byClass[name] = append(l.r.classes, class), class
	}
	return nil
}

func (l *loader) loadPurposes() error {
	entries, order, err := decodeEntries[purposeYAML](l.purpose)
	if err != nil {
		return err
	}
	if len(order) > maxPurposes {
		return l.purpose.Errorf("", "at most %d purposes expected", maxPurposes)
	}
	for i, name := range order {
		entry := entries[name]
		p, err := l.compilePurpose(name, &entry)
		if err != nil {
			return err
		}
		p.Index = i
		l.r.purposes, l.r.byName[name] = append(l.r.purposes, p), p
	}
	return nil
}

func (l *loader) compilePurpose(name string, entry *purposeYAML) (*Purpose, error) {
	s, path := l.purpose, pathOf(name)
	if !purposeName.MatchString(name) || len(name) > 64 {
		return nil, s.Errorf(path, "the name of a purpose is lower-case words, such as marketing.push")
	}
	if err := l.cite(s, path, entry.Clause); err != nil {
		return nil, err
	}
	if entry.Doc == "" {
		return nil, s.Errorf(path, "doc: what the notice says of this purpose expected")
	}
	p := &Purpose{Name: name, Doc: entry.Doc, Clause: entry.Clause, Retention: entry.Retention, LegalBasis: entry.LegalBasis}
	for tier, word := range tierNames {
		if word == entry.Tier {
			p.Tier = tier
		}
	}
	if p.Tier == 0 {
		return nil, s.Errorf(path+".tier", "expected one of basic, switchable, additional, legal")
	}
	if l.r.byClass[entry.Retention] == nil {
		return nil, s.Errorf(path+".retention", "a class of the section retention expected")
	}
	for place := range entry.LegalBasis {
		if !jurisdictionName.MatchString(place) {
			return nil, s.Errorf(path+".legal_basis", "jurisdictions such as CN expected")
		}
	}
	if err := l.compileDefaults(p, path, entry.Default); err != nil {
		return nil, err
	}
	return p, l.compileTypes(p, path, entry)
}

func (l *loader) compileDefaults(p *Purpose, path string, words map[string]string) error {
	if len(words) > 0 && !p.Tier.Optional() {
		return l.purpose.Errorf(path+".default", "a purpose of tier %s has no default: only switchable and additional ones do", p.Tier)
	}
	p.Default = make(map[string]bool, len(words))
	for place, word := range words {
		if !jurisdictionName.MatchString(place) {
			return l.purpose.Errorf(path+".default", "jurisdictions such as CN expected")
		}
		if word != "allow" && word != "deny" {
			return l.purpose.Errorf(path+".default."+place, "expected allow or deny")
		}
		p.Default[place] = word == "allow"
	}
	return nil
}

func (l *loader) compileTypes(p *Purpose, path string, entry *purposeYAML) error {
	always, err := l.typesOf(path+".events", entry.Events)
	if err != nil {
		return err
	}
	after, err := l.typesOf(path+".events_after_acceptance", entry.EventsAfterAcceptance)
	if err != nil {
		return err
	}
	if after != 0 && p.Tier != Legal {
		return l.purpose.Errorf(path+".events_after_acceptance", "only a legal purpose tells its types apart: any other waits for the acceptance anyway")
	}
	if both := always & after; both != 0 {
		return l.purpose.Errorf(path+".events_after_acceptance", "a type stands in events, too")
	}
	p.types, p.after = always|after, after
	return nil
}

func (l *loader) typesOf(path string, names []string) (set typeSet, err error) {
	for i, name := range names {
		t, ok := vocab.ParseType(name)
		if !ok {
			return 0, l.purpose.Errorf(fmt.Sprintf("%s[%d]", path, i), "unknown event type; expected one of %s", strings.Join(vocab.Types(), ", "))
		}
		if set.has(t) {
			return 0, l.purpose.Errorf(fmt.Sprintf("%s[%d]", path, i), "the type stands here twice")
		}
		set |= 1 << uint(t)
	}
	return set, nil
}

func (l *loader) loadFields() error {
	entries, order, err := decodeEntries[fieldYAML](l.field)
	if err != nil {
		return err
	}
	for _, name := range order {
		entry := entries[name]
		f, err := l.compileField(name, &entry)
		if err != nil {
			return err
		}
		l.r.fields, l.r.byField[name] = append(l.r.fields, f), f
	}
	return nil
}

func (l *loader) compileField(name string, entry *fieldYAML) (*Field, error) {
	s, path := l.field, pathOf(name)
	if _, known := CanHold("", name); !known {
		return nil, s.Errorf(path, "unknown field of an event; docs/storefront.md lists the fields")
	}
	if err := l.cite(s, path, entry.Clause); err != nil {
		return nil, err
	}
	if !categoryName.MatchString(entry.Category) {
		return nil, s.Errorf(path+".category", "a category of the Fides taxonomy expected, such as user.device.device_id")
	}
	f := &Field{Name: name, Category: entry.Category, Clause: entry.Clause}
	for i, purpose := range entry.CollectedFor {
		at := fmt.Sprintf("%s.collected_for[%d]", path, i)
		p, ok := l.r.byName[purpose]
		if !ok {
			return nil, s.Errorf(at, "unknown purpose; expected one of %s", l.purposeNames())
		}
		if can, _ := CanHold(purpose, name); !can {
			return nil, s.Errorf(at, "the event type of the purpose %s cannot hold this field: the type is the upper bound, the register may only narrow it", purpose)
		}
		f.purposes |= 1 << uint(p.Index)
	}
	for _, p := range l.r.purposes {
		if f.purposes.has(p.Index) {
			f.CollectedFor = append(f.CollectedFor, p.Name)
		}
	}
	return f, nil
}

// checkEnvelope makes sure that every stream knows whose event it holds, which one, what and when.
func (l *loader) checkEnvelope() error {
	for _, purpose := range streams {
		if l.r.byName[purpose] == nil {
			continue
		}
		for _, field := range envelope {
			if !l.r.Holds(purpose, field) {
				return l.field.Errorf(pathOf(field)+".collected_for", "the purpose %s expected: no purpose with a stream can do without this field", purpose)
			}
		}
	}
	return nil
}

func (l *loader) purposeNames() string {
	names := make([]string, len(l.r.purposes))
	for i, p := range l.r.purposes {
		names[i] = p.Name
	}
	return strings.Join(names, ", ")
}

// decodeEntries reads a section that is a mapping, with its keys in the file's order.
func decodeEntries[T any](s config.Section) (entries map[string]T, order []string, err error) {
	if err := s.Decode(&entries); err != nil {
		return nil, nil, err
	}
	var ordered yaml.MapSlice
	if err := s.Decode(&ordered); err != nil {
		return nil, nil, err
	}
	for _, item := range ordered {
		order = append(order, fmt.Sprint(item.Key))
	}
	return entries, order, nil
}

// pathOf is a section's path to the entry called name, which may hold dots.
func pathOf(name string) string {
	if strings.ContainsRune(name, '.') {
		return ".'" + name + "'"
	}
	return "." + name
}
