package privacyfilter

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/internal/vocab"
)

// ErrUnknownName is returned for a name that is neither a purpose of the register nor a field of an event.
var ErrUnknownName = errors.New("neither a purpose of the register nor a field of an event")

// Check lists what a loadable register leaves open or makes useless, empty if nothing.
func (r *Register) Check() []string {
	var problems []string
	for _, name := range Fields() {
		if r.byField[name] == nil {
			problems = append(problems, fmt.Sprintf("field %s: events can carry it, the register does not name it", name))
		}
	}
	used := make(map[string]bool)
	for _, p := range r.purposes {
		used[p.Retention] = true
		problems = append(problems, r.checkPurpose(p)...)
	}
	for _, c := range r.classes {
		if !used[c.Name] {
			problems = append(problems, fmt.Sprintf("retention class %s: no purpose uses it", c.Name))
		}
	}
	return problems
}

func (r *Register) checkPurpose(p *Purpose) []string {
	var problems []string
	streamed := slices.Contains(streams, p.Name)
	if streamed && p.types == 0 {
		problems = append(problems, fmt.Sprintf("purpose %s: it takes no event type", p.Name))
	}
	if !streamed && p.types != 0 {
		problems = append(problems, fmt.Sprintf("purpose %s: it lists event types, but has no stream that they could reach", p.Name))
	}
	if p.LegalBasis[r.jurisdiction] == "" {
		problems = append(problems, fmt.Sprintf("purpose %s: no legal basis in %s, the deployment's jurisdiction", p.Name, r.jurisdiction))
	}
	return problems
}

// Explain tells, line by line, which purposes may use a field, or which fields and types a purpose may use, and why.
// Error: ErrUnknownName.
func (r *Register) Explain(name string) ([]string, error) {
	if p := r.byName[name]; p != nil {
		return r.explainPurpose(p), nil
	}
	if _, known := CanHold("", name); known {
		return r.explainField(name), nil
	}
	return nil, ErrUnknownName
}

func (r *Register) explainPurpose(p *Purpose) []string {
	lines := []string{
		fmt.Sprintf("%s: %s", p.Name, p.Doc),
		fmt.Sprintf("clause %s of policy version %s; tier %s: %s", p.Clause, r.PolicyVersion(), p.Tier, p.needs()),
	}
	for _, place := range slices.Sorted(maps.Keys(p.LegalBasis)) {
		lines = append(lines, fmt.Sprintf("in %s: legal basis %s%s", place, p.LegalBasis[place], p.defaultIn(place)))
	}
	class := r.byClass[p.Retention]
	lines = append(lines,
		fmt.Sprintf("kept: %s (class %s, criterion %s, clause %s)", days(class.Period), class.Name, class.Criterion, class.Clause),
		"event types: "+orNone(p.types&^p.after))
	if p.after != 0 {
		lines = append(lines, "event types after the policy was accepted: "+orNone(p.after))
	}
	return append(lines, "fields: "+orNothing(r.fieldsOf(p)))
}

func (p *Purpose) needs() string {
	switch p.Tier {
	case Basic:
		return "the accepted policy is enough"
	case Switchable:
		return "the accepted policy, and the person's choice or else the jurisdiction's default"
	case Additional:
		return "the accepted policy and the person's own consent to this purpose"
	default:
		return "a legal duty, no choice touches it"
	}
}

func (p *Purpose) defaultIn(place string) string {
	if !p.Tier.Optional() {
		return ""
	}
	if p.Default[place] {
		return ", on until the person chooses"
	}
	return ", off until the person chooses"
}

func (r *Register) explainField(name string) []string {
	f := r.byField[name]
	if f == nil {
		return []string{name + ": the register does not name it: it reaches nobody"}
	}
	lines := []string{fmt.Sprintf("%s: category %s, clause %s of policy version %s", name, f.Category, f.Clause, r.PolicyVersion())}
	for _, p := range r.purposes {
		can, _ := CanHold(p.Name, name)
		switch {
		case f.purposes.has(p.Index):
			lines = append(lines, fmt.Sprintf("%s may use it: collected for it, clause %s; tier %s: %s", p.Name, p.Clause, p.Tier, p.needs()))
		case can:
			lines = append(lines, p.Name+" may not: the register does not collect it for this purpose")
		default:
			lines = append(lines, p.Name+" may not: its event type has no place for it")
		}
	}
	return lines
}

func (r *Register) fieldsOf(p *Purpose) []string {
	var names []string
	for _, f := range r.fields {
		if f.purposes.has(p.Index) {
			names = append(names, f.Name)
		}
	}
	return names
}

// Notice is one purpose as the public notice lists it.
type Notice struct {
	Purpose    string            `json:"purpose"`
	Doc        string            `json:"doc"`
	Tier       string            `json:"tier"`
	Clause     string            `json:"clause"`
	LegalBasis map[string]string `json:"legal_basis"`
	Retention  string            `json:"retention"` // "365 days"
	Events     []string          `json:"events"`
	Fields     []NoticeField     `json:"fields"`
}

// NoticeField is a field that a purpose may use.
type NoticeField struct {
	Name     string `json:"name"`
	Category string `json:"category"`
	Clause   string `json:"clause"`
}

// Notice lists every purpose with what it may use: exactly what the filter lets through, as both come from the same register.
func (r *Register) Notice() []Notice {
	entries := make([]Notice, 0, len(r.purposes))
	for _, p := range r.purposes {
		n := Notice{
			Purpose: p.Name, Doc: p.Doc, Tier: p.Tier.String(), Clause: p.Clause, LegalBasis: p.LegalBasis,
			Retention: days(r.Retention(p.Retention)), Events: p.types.names(), Fields: []NoticeField{},
		}
		for _, f := range r.fields {
			if f.purposes.has(p.Index) {
				n.Fields = append(n.Fields, NoticeField{f.Name, f.Category, f.Clause})
			}
		}
		entries = append(entries, n)
	}
	return entries
}

// Diff lists in words what changes from a to b, empty if nothing does.
func Diff(a, b *Register) []string {
	before, after := a.facts(), b.facts()
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(before)) {
		now, still := after[key]
		switch {
		case !still:
			lines = append(lines, fmt.Sprintf("%s: was %s, is gone", key, before[key]))
		case now != before[key]:
			lines = append(lines, fmt.Sprintf("%s: %s → %s", key, before[key], now))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(after)) {
		if _, was := before[key]; !was {
			lines = append(lines, fmt.Sprintf("%s: new, %s", key, after[key]))
		}
	}
	return lines
}

// facts are what the register says, one short statement a key.
func (r *Register) facts() map[string]string {
	facts := map[string]string{"policy, jurisdiction": r.jurisdiction, "policy, versions": strings.Join(r.versions, ", ")}
	for i, version := range r.versions {
		facts["policy "+version+", superseded for"] = orNothing(r.namesOf(r.superseded[i]))
	}
	for _, p := range r.purposes {
		key := "purpose " + p.Name
		facts[key+", doc"] = p.Doc
		facts[key+", tier"] = p.Tier.String()
		facts[key+", clause"] = p.Clause
		facts[key+", retention"] = p.Retention
		facts[key+", events"] = orNone(p.types &^ p.after)
		facts[key+", events after acceptance"] = orNone(p.after)
		for place, basis := range p.LegalBasis {
			facts[key+", legal basis in "+place] = basis
		}
		for place, allow := range p.Default {
			facts[key+", default in "+place] = map[bool]string{true: "allow", false: "deny"}[allow]
		}
	}
	for _, f := range r.fields {
		facts["field "+f.Name+", collected for"] = orNothing(f.CollectedFor)
		facts["field "+f.Name+", clause"] = f.Clause
		facts["field "+f.Name+", category"] = f.Category
	}
	for _, c := range r.classes {
		facts["retention class "+c.Name] = fmt.Sprintf("%s, %s, clause %s", days(c.Period), c.Criterion, c.Clause)
	}
	return facts
}

// lines is the register's content in one order.
func (r *Register) lines() []string {
	facts := r.facts()
	lines := make([]string, 0, len(facts)+1)
	for _, key := range slices.Sorted(maps.Keys(facts)) {
		lines = append(lines, fmt.Sprintf("%q: %q", key, facts[key]))
	}
	names := make([]string, len(r.purposes))
	for i, p := range r.purposes {
		names[i] = p.Name
	}
	return append(lines, fmt.Sprintf("order: %q", names))
}

func (r *Register) namesOf(set purposeSet) []string {
	var names []string
	for _, p := range r.purposes {
		if set.has(p.Index) {
			names = append(names, p.Name)
		}
	}
	return names
}

func (s typeSet) names() []string {
	names := []string{}
	for _, name := range vocab.Types() {
		if t, _ := vocab.ParseType(name); s.has(t) {
			names = append(names, name)
		}
	}
	return names
}

func orNone(s typeSet) string { return orNothing(s.names()) }

func orNothing(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func days(d time.Duration) string {
	const day = 24 * time.Hour
	if d == day {
		return "1 day"
	}
	if d%day == 0 {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}
