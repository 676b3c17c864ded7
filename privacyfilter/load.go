package privacyfilter

import (
	"crypto/sha256"
	_ "embed" // for the built-in register
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

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

// Load reads and compiles the register from the sections policy, purposes, fields and retention. The error is config.Errors: everything that is wrong.
func Load(sections func(string) config.Section) (*Register, error) {
	l := &loader{
		r:       &Register{byName: map[string]*Purpose{}, byField: map[string]*Field{}, byClass: map[string]*Class{}},
		policy:  sections("policy"),
		purpose: sections("purposes"), field: sections("fields"), retention: sections("retention"),
	}
	for _, step := range []func(){l.loadPolicy, l.loadRetention, l.loadPurposes, l.loadVersions, l.loadFields, l.checkEnvelope} {
		step()
	}
	if err := l.faults.Err(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(strings.Join(l.r.lines(), "\n")))
	l.r.digest = "sha256:" + hex.EncodeToString(sum[:])
	return l.r, nil
}

type loader struct {
	r                                 *Register
	policy, purpose, field, retention config.Section
	from                              policyYAML
	faults                            config.Faults
}

// expect notes a fault at a path of a section unless ok, and returns ok.
func (l *loader) expect(ok bool, s config.Section, path, format string, args ...any) bool {
	if !ok {
		l.faults.Add(s.Errorf(path, format, args...))
	}
	return ok
}

func (l *loader) loadPolicy() {
	l.faults.Add(l.policy.Decode(&l.from))
	l.expect(l.from.Version != "", l.policy, ".version", "must be the policy version in force")
	l.expect(jurisdictionName.MatchString(l.from.Jurisdiction), l.policy, ".jurisdiction", "must be the deployment's jurisdiction, such as CN")
	l.r.jurisdiction = l.from.Jurisdiction
	l.r.versions = []string{l.from.Version}
	for i, old := range l.from.Older {
		path := fmt.Sprintf(".older[%d]", i)
		l.expect(old.Version != "", l.policy, path+".version", "must be a policy version")
		l.expect(old.Version == "" || !slices.Contains(l.r.versions, old.Version), l.policy, path+".version", "must stand once among the versions")
		l.r.versions = append(l.r.versions, old.Version)
	}
}

// loadVersions computes, for each version, the purposes that a newer version has changed in a major way.
func (l *loader) loadVersions() {
	newer := l.purposesOf(".major_for", l.from.MajorFor)
	l.r.superseded = []purposeSet{0}
	for i, old := range l.from.Older {
		l.r.superseded = append(l.r.superseded, newer)
		newer |= l.purposesOf(fmt.Sprintf(".older[%d].major_for", i), old.MajorFor)
	}
}

// purposesOf is the set of the purposes that the policy names at path.
func (l *loader) purposesOf(path string, names []string) (set purposeSet) {
	for i, name := range names {
		p, ok := l.r.byName[name]
		if l.expect(ok, l.policy, fmt.Sprintf("%s[%d]", path, i), "unknown purpose; it must be one of %s", l.purposeNames()) {
			set |= 1 << uint(p.Index)
		}
	}
	return set
}

// cite checks that an entry names a clause of the policy version in force.
func (l *loader) cite(s config.Section, path, clause string) {
	if clause == "" {
		l.expect(false, s, path+".clause", "every entry must cite a clause of policy version %s", l.from.Version)
		return
	}
	l.expect(slices.Contains(l.from.Clauses, clause), s, path+".clause", "must be a clause of policy version %s; see policy.clauses", l.from.Version)
}

func (l *loader) loadRetention() {
	entries, order := decodeEntries[classYAML](l, l.retention)
	for _, name := range order {
		entry, path := entries[name], config.Key(name)
		l.cite(l.retention, path, entry.Clause)
		period, err := config.ParseDuration(entry.Period)
		l.expect(err == nil, l.retention, path+".period", "%v", err)
		l.expect(slices.Contains(criteria, entry.Criterion), l.retention, path+".criterion", "must be one of %s", strings.Join(criteria, ", "))
		class := &Class{Name: name, Period: period, Criterion: entry.Criterion, Clause: entry.Clause}
		l.r.classes, l.r.byClass[name] = append(l.r.classes, class), class
	}
}

func (l *loader) loadPurposes() {
	entries, order := decodeEntries[purposeYAML](l, l.purpose)
	if !l.expect(len(order) <= maxPurposes, l.purpose, "", "must be at most %d purposes", maxPurposes) {
		return
	}
	for i, name := range order {
		entry := entries[name]
		p := l.compilePurpose(name, &entry)
		p.Index = i
		l.r.purposes, l.r.byName[name] = append(l.r.purposes, p), p
	}
}

func (l *loader) compilePurpose(name string, entry *purposeYAML) *Purpose {
	s, path := l.purpose, config.Key(name)
	l.expect(purposeName.MatchString(name) && len(name) <= 64, s, path, "the name of a purpose must be lower-case words, such as marketing.push")
	l.cite(s, path, entry.Clause)
	l.expect(entry.Doc != "", s, path+".doc", "must be what the notice says of this purpose")
	p := &Purpose{Name: name, Doc: entry.Doc, Clause: entry.Clause, Retention: entry.Retention, LegalBasis: entry.LegalBasis}
	for tier, word := range tierNames {
		if word == entry.Tier {
			p.Tier = tier
		}
	}
	l.expect(p.Tier != 0, s, path+".tier", "must be one of basic, switchable, additional, legal")
	l.expect(l.r.byClass[entry.Retention] != nil, s, path+".retention", "must be a class of the section retention")
	for _, place := range slices.Sorted(maps.Keys(entry.LegalBasis)) {
		l.expect(jurisdictionName.MatchString(place), s, path+".legal_basis"+config.Key(place), "must be of a jurisdiction, such as CN")
	}
	if p.Tier != 0 {
		l.compileDefaults(p, path, entry.Default)
		l.compileTypes(p, path, entry)
	}
	return p
}

// compileDefaults reads what holds where a person has not chosen.
func (l *loader) compileDefaults(p *Purpose, path string, words map[string]string) {
	p.Default = make(map[string]bool, len(words))
	if !l.expect(len(words) == 0 || p.Tier.Optional(), l.purpose, path+".default", "must not be there: a purpose of tier %s has no default, only switchable and additional ones do", p.Tier) {
		return
	}
	for _, place := range slices.Sorted(maps.Keys(words)) {
		at, word := path+".default"+config.Key(place), words[place]
		l.expect(jurisdictionName.MatchString(place), l.purpose, at, "must be of a jurisdiction, such as CN")
		l.expect(word == "allow" || word == "deny", l.purpose, at, "must be allow or deny")
		l.expect(word != "allow" || p.Tier != Additional, l.purpose, at, "must be deny: a purpose of tier additional needs the person's own consent")
		p.Default[place] = word == "allow"
	}
}

func (l *loader) compileTypes(p *Purpose, path string, entry *purposeYAML) {
	always := l.typesOf(path+".events", entry.Events)
	after := l.typesOf(path+".events_after_acceptance", entry.EventsAfterAcceptance)
	l.expect(after == 0 || p.Tier == Legal, l.purpose, path+".events_after_acceptance", "must not be there: only a legal purpose tells its types apart, any other waits for the acceptance anyway")
	l.expect(always&after == 0, l.purpose, path+".events_after_acceptance", "must not repeat a type of events")
	p.types, p.after = always|after, after
}

func (l *loader) typesOf(path string, names []string) (set typeSet) {
	for i, name := range names {
		at := fmt.Sprintf("%s[%d]", path, i)
		t, ok := vocab.ParseType(name)
		if l.expect(ok, l.purpose, at, "unknown event type; it must be one of %s", strings.Join(vocab.Types(), ", ")) {
			l.expect(!set.has(t), l.purpose, at, "must stand once in its list")
			set |= 1 << uint(t)
		}
	}
	return set
}

func (l *loader) loadFields() {
	entries, order := decodeEntries[fieldYAML](l, l.field)
	for _, name := range order {
		entry := entries[name]
		f := l.compileField(name, &entry)
		l.r.fields, l.r.byField[name] = append(l.r.fields, f), f
	}
}

func (l *loader) compileField(name string, entry *fieldYAML) *Field {
	s, path := l.field, config.Key(name)
	f := &Field{Name: name, Category: entry.Category, Clause: entry.Clause}
	if _, known := CanHold("", name); !l.expect(known, s, path, "must be a field of an event; docs/storefront.md lists the fields") {
		return f
	}
	l.cite(s, path, entry.Clause)
	l.expect(categoryName.MatchString(entry.Category), s, path+".category", "must be a category of the Fides taxonomy, such as user.device.device_id")
	for i, purpose := range entry.CollectedFor {
		at := fmt.Sprintf("%s.collected_for[%d]", path, i)
		p, ok := l.r.byName[purpose]
		if !l.expect(ok, s, at, "unknown purpose; it must be one of %s", l.purposeNames()) {
			continue
		}
		can, _ := CanHold(purpose, name)
		l.expect(can, s, at, "the event type of the purpose %s cannot hold this field: the type is the upper bound, the register may only narrow it", purpose)
		f.purposes |= 1 << uint(p.Index)
	}
	for _, p := range l.r.purposes {
		if f.purposes.has(p.Index) {
			f.CollectedFor = append(f.CollectedFor, p.Name)
		}
	}
	return f
}

// checkEnvelope makes sure that every stream has the envelope of its events: person, id, type and time.
func (l *loader) checkEnvelope() {
	for _, purpose := range streams {
		if l.r.byName[purpose] == nil {
			continue
		}
		for _, field := range envelope {
			l.expect(l.r.Holds(purpose, field), l.field, config.Key(field)+".collected_for", "must name the purpose %s: no purpose with a stream can do without this field", purpose)
		}
	}
}

func (l *loader) purposeNames() string {
	names := make([]string, len(l.r.purposes))
	for i, p := range l.r.purposes {
		names[i] = p.Name
	}
	return strings.Join(names, ", ")
}

// decodeEntries reads a section that is a mapping, with its keys in the file's order.
func decodeEntries[T any](l *loader, s config.Section) (entries map[string]T, order []string) {
	l.faults.Add(s.Decode(&entries))
	for _, name := range s.Keys() {
		if _, ok := entries[name]; ok {
			order = append(order, name)
		}
	}
	return entries, order
}
