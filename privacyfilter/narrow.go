package privacyfilter

import "sluice/internal/config"

// Narrows holds a deployment's register to the built-in one: of what is built in it may only take away. The error is config.Errors. Periods of retention are the
// deployment's own to answer for; LongerKept lists those that are longer.
func (r *Register) Narrows(builtin *Register, sections func(string) config.Section) error {
	var faults config.Faults
	expect := func(ok bool, section, path, format string, args ...any) {
		if !ok {
			faults.Add(sections(section).Errorf(path, format, args...))
		}
	}
	for _, p := range r.purposes {
		path, was := config.Key(p.Name), builtin.byName[p.Name]
		if was == nil {
			continue // one without a stream: a choice, which no data rests on
		}
		expect(p.Tier == was.Tier || stricter(p.Tier, was.Tier), "purposes", path+".tier", "must be %s, as built in, or stricter", was.Tier)
		for _, name := range (p.types &^ was.types).names() {
			expect(false, "purposes", path+".events", "must not have %s: the register may only narrow what is built in", name)
		}
		for _, name := range ((p.types &^ p.after) & was.after).names() {
			expect(false, "purposes", path+".events", "must not have %s, which is built in under events_after_acceptance", name)
		}
		for place, allow := range p.Default {
			waives := allow && !was.Default[place]
			_, named := was.Default[place]
			expect(!waives || !named, "purposes", path+".default"+config.Key(place), "must be deny, as built in: the register may only narrow it")
			expect(!waives || named || p.LegalBasis[place] != "", "purposes", path+".default"+config.Key(place), "must be deny, or rest on a legal_basis for %s", place)
		}
	}
	for _, f := range r.fields {
		for _, purpose := range f.CollectedFor {
			expect(builtin.Holds(purpose, f.Name), "fields", config.Key(f.Name)+".collected_for", "must not name %s: the register may only narrow what is built in", purpose)
		}
	}
	return faults.Err()
}

// stricter tells whether a tier asks for more than another.
func stricter(tier, than Tier) bool { return tier != Legal && (than == Legal || tier > than) }

// Longer is a retention that is longer than the built-in one.
type Longer struct {
	Section, Path string // where the register says so
	Was           string // the built-in period
}

// LongerKept lists the retention classes that keep longer than in the built-in register, and the purposes that are kept longer by taking another class.
func (r *Register) LongerKept(builtin *Register) (longer []Longer) {
	for _, class := range r.classes {
		if was := builtin.byClass[class.Name]; was != nil && class.Period > was.Period {
			longer = append(longer, Longer{"retention", config.Key(class.Name) + ".period", days(was.Period)})
		}
	}
	for _, p := range r.purposes {
		was := builtin.byName[p.Name]
		if was == nil || p.Retention == was.Retention {
			continue
		}
		if period := builtin.Retention(was.Retention); r.Retention(p.Retention) > period {
			longer = append(longer, Longer{"purposes", config.Key(p.Name) + ".retention", days(period)})
		}
	}
	return longer
}
