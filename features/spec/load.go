package spec

import (
	"cmp"
	_ "embed" // for the built-in features
	"fmt"
	"maps"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/config"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
)

// Defaults is the built-in configuration: the sections clock, features, profiles and item_structures.
//
//go:embed features.yaml
var Defaults []byte

type featureYAML struct {
	Name      string   `yaml:"name"`
	Doc       string   `yaml:"doc"`
	Purpose   string   `yaml:"purpose"`
	Events    []string `yaml:"events"`
	Key       string   `yaml:"key"`
	Aggregate any      `yaml:"aggregate"` // count, or a mapping of one operation to its field
	Windows   []string `yaml:"windows"`
}

type profilesYAML struct {
	Personalize profileYAML `yaml:"personalize"`
	History     profileYAML `yaml:"history"`
}

type profileYAML struct {
	Events    []string `yaml:"events"`
	Keep      int      `yaml:"keep"`
	Retention string   `yaml:"retention"`
}

type structuresYAML struct {
	CoVisitation struct {
		Weights   map[string]float64 `yaml:"weights"`
		Positions int                `yaml:"positions"`
		Sample    int                `yaml:"sample"`
		People    int                `yaml:"people"`
	} `yaml:"co_visitation"`
	SessionNeighbours struct {
		Gap    string `yaml:"gap"`
		People int    `yaml:"people"`
	} `yaml:"session_neighbours"`
	Trending struct {
		Events    []string `yaml:"events"`
		Window    string   `yaml:"window"`
		Kept      int      `yaml:"kept"`
		Tick      string   `yaml:"tick"`
		People    int      `yaml:"people"`
		PerPerson int      `yaml:"per_person"`
		MinAge    string   `yaml:"min_age"`
	} `yaml:"trending"`
}

const (
	maxWindow    = 180 * day
	maxWindows   = 8 // of one feature
	maxExact     = 256
	maxKeep      = 2000
	maxPositions = 20
	maxSample    = 10_000
	maxWeight    = 16
	maxPeople    = 1000
	maxKept      = 60
	maxPerPerson = 500
	maxMinAge    = 30 * day

	day = 24 * time.Hour
)

var featureName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// Load reads and compiles the configuration from the sections clock, features, profiles and item_structures. The error is config.Errors: everything that is
// wrong. The names of the declared features are known all the same, so that the rules that read them can be checked.
func Load(sections func(string) config.Section, reg *privacyfilter.Register) (*Config, error) {
	l := &loader{c: &Config{Exact: 1}, reg: reg}
	l.loadClock(sections("clock"))
	l.loadFeatures(sections("features"))
	l.loadProfiles(sections("profiles"))
	l.loadStructures(sections("item_structures"))
	return l.c, l.faults.Err()
}

type loader struct {
	c      *Config
	reg    *privacyfilter.Register
	faults config.Faults
}

// at is a place of a section. The loader notes faults there.
func (l *loader) at(s config.Section, path string) place { return place{s, path, &l.faults} }

func (l *loader) loadClock(s config.Section) {
	var clock string
	l.faults.Add(s.Decode(&clock))
	l.at(s, "").expect(clock == "wall" || clock == "event", "", "must be wall or event")
	l.c.EventClock = clock == "event"
}

func (l *loader) loadFeatures(s config.Section) {
	var declared []featureYAML
	l.faults.Add(s.Decode(&declared))
	for i := range declared {
		y, at := &declared[i], l.at(s, fmt.Sprintf("[%d]", i))
		f := l.feature(at, y)
		f.First = len(l.c.Names)
		l.c.Names = append(l.c.Names, l.wholeNames(at, f.name, y.Windows)...)
		l.c.Risk = append(l.c.Risk, f)
		if place := f.Kind.Place(); place >= 0 {
			l.c.counted[place] |= f.Types
		}
	}
}

// wholeNames are the names of a feature's windows, which no other feature may have.
func (l *loader) wholeNames(at place, feature string, windows []string) []string {
	var names []string
	for _, w := range windows {
		names = append(names, feature+"_"+w)
	}
	if i := slices.IndexFunc(names, func(name string) bool { return slices.Contains(l.c.Names, name) }); i >= 0 {
		at.expect(false, ".name", "must be a name of its own; another feature has a window %s", names[i])
	}
	return names
}

func (l *loader) feature(at place, y *featureYAML) *Feature {
	f := &Feature{name: y.Name, Kind: KeyFields[y.Key]}
	at.expect(featureName.MatchString(y.Name), ".name", "must be lower-case letters, digits and _")
	at.expect(y.Doc != "", ".doc", "must be a sentence that says what the feature counts")
	f.Windows = windows(at, y.Windows)
	purpose, ok := l.reg.Purpose(y.Purpose)
	if !ok {
		at.expect(false, ".purpose", "must be a purpose of the register")
		return f
	}
	f.Types = types(at, ".events", y.Events, purpose)
	held := l.holds(at, ".key", y.Purpose, y.Key)
	computed := l.aggregate(at, y, f)
	if y.Purpose != privacyfilter.Risk {
		at.expect(!held || !computed, ".purpose", "must be risk: aggregates are kept for risk alone; what %s may compute are the profiles and item_structures", y.Purpose)
		return f
	}
	at.expect(!held || f.Kind != 0, ".key", "must be a field that names an entity: %s", keyFieldNames())
	at.expect(f.Op != OpDistinct || f.Of != f.Kind, ".aggregate", "distinct must be of another field than the key: an entity has one %s", y.Key)
	return f
}

// holds checks that the purpose's events have the field and that the register collects it for the purpose.
func (l *loader) holds(at place, path, purpose, field string) bool {
	can, known := privacyfilter.CanHold(purpose, field)
	switch {
	case field == "":
		return at.expect(false, path, "must be a field of an event")
	case !known:
		return at.expect(false, path, "%s is no field of an event", field)
	case !can:
		return at.expect(false, path, "%s: events of the purpose %s do not hold this field", field, purpose)
	default:
		return at.expect(l.reg.Holds(purpose, field), path, "%s: the register does not collect this field for %s", field, purpose)
	}
}

// aggregate reads `count`, `{sum: F}` and the like, and `{distinct: F, exact_up_to: n}`. It tells whether the purpose has what is computed from.
func (l *loader) aggregate(at place, y *featureYAML, f *Feature) bool {
	const shapes = "must be count, {sum: F}, {mean: F}, {stddev: F}, {max: F} or {distinct: F, exact_up_to: 25}"
	if y.Aggregate == "count" {
		f.Op = OpCount
		return true
	}
	parts, _ := y.Aggregate.(map[string]any)
	var field string
	for name, op := range map[string]Operation{"sum": OpSum, "mean": OpMean, "stddev": OpStddev, "max": OpMax, "distinct": OpDistinct} {
		if of, ok := parts[name].(string); ok {
			f.Op, field = op, of
		}
	}
	bound, bounded := parts["exact_up_to"]
	members := 1
	if bounded {
		members = 2
	}
	if !at.expect(f.Op != 0 && len(parts) == members && (!bounded || f.Op == OpDistinct), ".aggregate", shapes) || !l.holds(at, ".aggregate", y.Purpose, field) {
		return false
	}
	if f.Op == OpDistinct {
		l.distinct(at, f, field, bound, bounded)
		return true
	}
	return at.expect(field == "order.value", ".aggregate", "must be of a number of an event: order.value")
}

func (l *loader) distinct(at place, f *Feature, field string, bound any, bounded bool) {
	f.Of = KeyFields[field]
	at.expect(f.Of != 0, ".aggregate", "distinct must be of a field that names an entity: %s", keyFieldNames())
	f.OfPlace = f.Of.Place()
	exact := uint64(25)
	if bounded {
		exact, _ = bound.(uint64)
		at.expect(exact >= 1 && exact <= maxExact, ".aggregate.exact_up_to", "must be between 1 and %d", maxExact)
	}
	l.c.Exact = max(l.c.Exact, int(min(exact, maxExact)))
}

func keyFieldNames() string {
	return strings.Join(slices.Sorted(maps.Keys(KeyFields)), ", ")
}

func windows(at place, names []string) []int64 {
	at.expect(len(names) > 0 && len(names) <= maxWindows, ".windows", "must be 1 to %d windows", maxWindows)
	var out []int64
	for i, name := range names {
		path := fmt.Sprintf(".windows[%d]", i)
		d := at.duration(path, name, time.Minute, maxWindow)
		at.expect(d == 0 || i == 0 || d.Microseconds() > out[i-1], path, "windows must be in ascending order")
		out = append(out, d.Microseconds())
	}
	return out
}

// types reads the names of event types. The purpose must take all of them.
func types(at place, path string, names []string, purpose *privacyfilter.Purpose) TypeSet {
	at.expect(len(names) > 0, path, "must be at least one event type")
	var set TypeSet
	for i, name := range names {
		path := fmt.Sprintf("%s[%d]", path, i)
		t, ok := vocab.ParseType(name)
		if at.expect(ok, path, "must be an event type, such as view_item") && at.expect(purpose.Takes(t), path, "the purpose %s does not take %s", purpose.Name, name) {
			set |= 1 << uint(t)
		}
	}
	return set
}

func (l *loader) loadProfiles(s config.Section) {
	var y profilesYAML
	l.faults.Add(s.Decode(&y))
	l.c.Personal = l.profile(l.at(s, "."+privacyfilter.Personalize), privacyfilter.Personalize, &y.Personalize)
	at := l.at(s, "."+privacyfilter.History)
	l.c.History = l.profile(at, privacyfilter.History, &y.History)
	if hidden := l.c.Personal.Types &^ l.c.History.Types; hidden != 0 {
		at.expect(false, ".events", "must have %s too, as profiles.personalize keeps it: people can delete only what their history shows", firstType(hidden))
	}
}

// firstType is the name of the set's first type.
func firstType(s TypeSet) string { return vocab.Type(bits.TrailingZeros64(uint64(s))).Name() }

func (l *loader) profile(at place, name string, y *profileYAML) (p Profile) {
	purpose, ok := l.reg.Purpose(name)
	if !at.expect(ok, "", "the register has no purpose %s", name) {
		return p
	}
	p.Types = types(at, ".events", y.Events, purpose)
	p.Keep = at.number(".keep", y.Keep, 1, maxKeep)
	retention := l.reg.Retention(purpose.Retention)
	if y.Retention != "" {
		retention = at.duration(".retention", y.Retention, time.Hour, retention)
	}
	p.Retention = retention.Microseconds()
	return p
}

func (l *loader) loadStructures(s config.Section) {
	var y structuresYAML
	l.faults.Add(s.Decode(&y))
	l.coVisitation(l.at(s, ".co_visitation"), &y)
	sessions := l.at(s, ".session_neighbours")
	l.c.Sessions.Gap = sessions.duration(".gap", y.SessionNeighbours.Gap, time.Second, day).Microseconds()
	l.c.Sessions.People = sessions.number(".people", y.SessionNeighbours.People, 1, maxPeople)
	l.trending(l.at(s, ".trending"), &y)
}

func (l *loader) coVisitation(at place, all *structuresYAML) {
	y, c := &all.CoVisitation, &l.c.CoVisits
	at.expect(len(y.Weights) > 0, ".weights", "must have at least one event type with its weight")
	for _, name := range slices.Sorted(maps.Keys(y.Weights)) {
		path, weight := ".weights"+config.Key(name), y.Weights[name]
		t, ok := vocab.ParseType(name)
		if !at.expect(ok && l.c.Personal.Types.Has(t), path, "must be an event type that profiles.personalize keeps") {
			continue
		}
		at.expect(weight >= 0.01 && weight <= maxWeight, path, "must be between 0.01 and %d", maxWeight)
		c.Weights[t] = weight
	}
	c.Positions = at.number(".positions", y.Positions, 1, maxPositions)
	c.Sample = at.number(".sample", y.Sample, 1, maxSample)
	c.People = at.number(".people", y.People, 1, maxPeople)
}

func (l *loader) trending(at place, all *structuresYAML) {
	y, c := &all.Trending, &l.c.Trending
	purpose, ok := l.reg.Purpose(privacyfilter.Trending)
	if !at.expect(ok, "", "the register has no purpose %s", privacyfilter.Trending) {
		return
	}
	c.Types = types(at, ".events", y.Events, purpose)
	c.Kept = at.number(".kept", y.Kept, 2, maxKept)
	longest := l.reg.Retention(purpose.Retention) / time.Duration(max(2, c.Kept))
	c.Window = at.duration(".window", y.Window, time.Minute, longest)
	c.Tick = at.duration(".tick", y.Tick, time.Second, cmp.Or(c.Window, longest))
	c.PerPerson = at.number(".per_person", y.PerPerson, 1, maxPerPerson)
	c.People = at.number(".people", y.People, 1, maxPeople)
	if y.MinAge != noAge {
		c.MinAge = at.duration(".min_age", y.MinAge, time.Second, maxMinAge)
	}
}

// noAge is the age of whoever has just come, which is no duration elsewhere.
const noAge = "0s"

// place is a place of a section.
type place struct {
	section config.Section
	path    string
	faults  *config.Faults
}

// expect notes a fault at path below the place unless ok, and returns ok.
func (at place) expect(ok bool, path, format string, args ...any) bool {
	if !ok {
		at.faults.Add(at.section.Errorf(at.path+path, format, args...))
	}
	return ok
}

// duration reads a duration, 0 if it is none or out of bounds.
func (at place) duration(path, text string, least, most time.Duration) time.Duration {
	d, err := config.ParseDuration(text)
	if err != nil {
		at.expect(false, path, "%v", err)
		return 0
	}
	if !at.expect(d >= least && d <= most, path, "must be between %s and %s", durationText(least), durationText(most)) {
		return 0
	}
	return d
}

func (at place) number(path string, n, least, most int) int {
	at.expect(n >= least && n <= most, path, "must be between %d and %d", least, most)
	return n
}

// durationText writes a duration as the YAML does.
func durationText(d time.Duration) string {
	for _, u := range []struct {
		size time.Duration
		name string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= u.size && d%u.size == 0 {
			return strconv.FormatInt(int64(d/u.size), 10) + u.name
		}
	}
	return d.String()
}
