package spec

import (
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

	day = 24 * time.Hour
)

var featureName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// Load reads and compiles the configuration from the sections clock, features, profiles and item_structures. Errors are *config.Error.
func Load(sections func(string) config.Section, reg *privacyfilter.Register) (*Config, error) {
	l := &loader{c: &Config{Exact: 1}, reg: reg}
	for _, step := range []struct {
		section string
		load    func(config.Section) error
	}{{"clock", l.loadClock}, {"features", l.loadFeatures}, {"profiles", l.loadProfiles}, {"item_structures", l.loadStructures}} {
		if err := step.load(sections(step.section)); err != nil {
			return nil, err
		}
	}
	return l.c, nil
}

type loader struct {
	c   *Config
	reg *privacyfilter.Register
}

func (l *loader) loadClock(s config.Section) error {
	var clock string
	if err := s.Decode(&clock); err != nil {
		return err
	}
	if clock != "wall" && clock != "event" {
		return s.Errorf("", "wall or event expected")
	}
	l.c.EventClock = clock == "event"
	return nil
}

func (l *loader) loadFeatures(s config.Section) error {
	var declared []featureYAML
	if err := s.Decode(&declared); err != nil {
		return err
	}
	for i := range declared {
		at := fault{s, fmt.Sprintf("[%d]", i)}
		f, err := l.feature(at, &declared[i])
		if err != nil {
			return err
		}
		f.First = len(l.c.Names)
		for _, w := range declared[i].Windows {
			name := f.name + "_" + w
			if slices.Contains(l.c.Names, name) {
				return at.errorf(".name", "%s stands here twice", name)
			}
			l.c.Names = append(l.c.Names, name)
		}
		l.c.Risk = append(l.c.Risk, f)
		l.c.counted[f.Kind.Place()] |= f.Types
	}
	return nil
}

func (l *loader) feature(at fault, y *featureYAML) (*Feature, error) {
	if !featureName.MatchString(y.Name) {
		return nil, at.errorf(".name", "a name of lower-case letters, digits and _ expected")
	}
	if y.Doc == "" {
		return nil, at.errorf("", "doc: a sentence that says what the feature counts expected")
	}
	purpose, ok := l.reg.Purpose(y.Purpose)
	if !ok {
		return nil, at.errorf(".purpose", "a purpose of the register expected")
	}
	f := &Feature{name: y.Name}
	var err error
	if f.Types, err = types(at, ".events", y.Events, purpose); err != nil {
		return nil, err
	}
	if err := l.holds(at, ".key", y.Purpose, y.Key); err != nil {
		return nil, err
	}
	if err := l.aggregate(at, y, f); err != nil {
		return nil, err
	}
	if y.Purpose != privacyfilter.Risk {
		return nil, at.errorf(".purpose", "aggregates are kept for risk alone; what %s may compute are the profiles and item_structures", y.Purpose)
	}
	if f.Kind, ok = KeyFields[y.Key]; !ok {
		return nil, at.errorf(".key", "a field that names an entity expected: %s", keyFieldNames())
	}
	if f.Op == OpDistinct && f.Of == f.Kind {
		return nil, at.errorf(".aggregate", "distinct: another field than the key expected: an entity has one %s", y.Key)
	}
	f.Windows, err = windows(at, y.Windows)
	return f, err
}

// holds checks that the purpose's events have the field and that the register collects it for the purpose.
func (l *loader) holds(at fault, path, purpose, field string) error {
	if field == "" {
		return at.errorf(path, "a field of an event expected")
	}
	can, known := privacyfilter.CanHold(purpose, field)
	switch {
	case !known:
		return at.errorf(path, "%s is no field of an event", field)
	case !can:
		return at.errorf(path, "%s: events of the purpose %s do not hold this field", field, purpose)
	case !l.reg.Holds(purpose, field):
		return at.errorf(path, "%s: the register does not collect this field for %s", field, purpose)
	}
	return nil
}

// aggregate reads `count`, `{sum: F}` and the like, and `{distinct: F, exact_up_to: n}`.
func (l *loader) aggregate(at fault, y *featureYAML, f *Feature) error {
	const shapes = "count, {sum: F}, {mean: F}, {stddev: F}, {max: F} or {distinct: F, exact_up_to: 25} expected"
	if y.Aggregate == "count" {
		f.Op = OpCount
		return nil
	}
	parts, ok := y.Aggregate.(map[string]any)
	if !ok {
		return at.errorf(".aggregate", shapes)
	}
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
	if f.Op == 0 || len(parts) != members || bounded && f.Op != OpDistinct {
		return at.errorf(".aggregate", shapes)
	}
	if err := l.holds(at, ".aggregate", y.Purpose, field); err != nil {
		return err
	}
	if f.Op == OpDistinct {
		return l.distinct(at, f, field, bound, bounded)
	}
	if field != "order.value" {
		return at.errorf(".aggregate", "a number of an event expected: order.value")
	}
	return nil
}

func (l *loader) distinct(at fault, f *Feature, field string, bound any, bounded bool) error {
	var ok bool
	if f.Of, ok = KeyFields[field]; !ok {
		return at.errorf(".aggregate", "distinct: a field that names an entity expected: %s", keyFieldNames())
	}
	f.OfPlace = f.Of.Place()
	exact := uint64(25)
	if bounded {
		if exact, ok = bound.(uint64); !ok || exact < 1 || exact > maxExact {
			return at.errorf(".aggregate.exact_up_to", "a number from 1 to %d expected", maxExact)
		}
	}
	l.c.Exact = max(l.c.Exact, int(exact))
	return nil
}

func keyFieldNames() string {
	return strings.Join(slices.Sorted(maps.Keys(KeyFields)), ", ")
}

func windows(at fault, names []string) ([]int64, error) {
	if len(names) == 0 || len(names) > maxWindows {
		return nil, at.errorf(".windows", "1 to %d windows expected", maxWindows)
	}
	var out []int64
	for i, name := range names {
		path := fmt.Sprintf(".windows[%d]", i)
		d, err := at.duration(path, name, time.Minute, maxWindow)
		if err != nil {
			return nil, err
		}
		if i > 0 && d.Microseconds() <= out[i-1] {
			return nil, at.errorf(path, "windows in ascending order expected")
		}
		out = append(out, d.Microseconds())
	}
	return out, nil
}

// types reads the names of event types, all of which the purpose must take.
func types(at fault, path string, names []string, purpose *privacyfilter.Purpose) (TypeSet, error) {
	if len(names) == 0 {
		return 0, at.errorf(path, "at least one event type expected")
	}
	var set TypeSet
	for i, name := range names {
		t, ok := vocab.ParseType(name)
		if !ok {
			return 0, at.errorf(fmt.Sprintf("%s[%d]", path, i), "an event type expected, such as view_item")
		}
		if !purpose.Takes(t) {
			return 0, at.errorf(fmt.Sprintf("%s[%d]", path, i), "the purpose %s does not take %s", purpose.Name, name)
		}
		set |= 1 << uint(t)
	}
	return set, nil
}

func (l *loader) loadProfiles(s config.Section) error {
	var y profilesYAML
	if err := s.Decode(&y); err != nil {
		return err
	}
	var err error
	if l.c.Personal, err = l.profile(fault{s, "." + privacyfilter.Personalize}, privacyfilter.Personalize, &y.Personalize); err != nil {
		return err
	}
	at := fault{s, "." + privacyfilter.History}
	if l.c.History, err = l.profile(at, privacyfilter.History, &y.History); err != nil {
		return err
	}
	if hidden := l.c.Personal.Types &^ l.c.History.Types; hidden != 0 {
		return at.errorf(".events", "%s expected too, as profiles.personalize keeps it: people can delete only what their history shows", firstType(hidden))
	}
	return nil
}

// firstType is the name of the set's first type.
func firstType(s TypeSet) string { return vocab.Type(bits.TrailingZeros64(uint64(s))).Name() }

func (l *loader) profile(at fault, name string, y *profileYAML) (p Profile, err error) {
	purpose, ok := l.reg.Purpose(name)
	if !ok {
		return p, at.errorf("", "the register has no purpose %s", name)
	}
	if p.Types, err = types(at, ".events", y.Events, purpose); err != nil {
		return p, err
	}
	if y.Keep < 1 || y.Keep > maxKeep {
		return p, at.errorf(".keep", "a number from 1 to %d expected", maxKeep)
	}
	p.Keep = y.Keep
	retention := l.reg.Retention(purpose.Retention)
	if y.Retention != "" {
		if retention, err = at.duration(".retention", y.Retention, time.Hour, retention); err != nil {
			return p, err
		}
	}
	p.Retention = retention.Microseconds()
	return p, nil
}

func (l *loader) loadStructures(s config.Section) error {
	var y structuresYAML
	if err := s.Decode(&y); err != nil {
		return err
	}
	if err := l.coVisitation(fault{s, ".co_visitation"}, &y); err != nil {
		return err
	}
	if err := l.sessions(fault{s, ".session_neighbours"}, &y); err != nil {
		return err
	}
	return l.trending(fault{s, ".trending"}, &y)
}

func (l *loader) coVisitation(at fault, all *structuresYAML) error {
	y, c := &all.CoVisitation, &l.c.CoVisits
	if len(y.Weights) == 0 {
		return at.errorf(".weights", "at least one event type with its weight expected")
	}
	for _, name := range slices.Sorted(maps.Keys(y.Weights)) {
		weight := y.Weights[name]
		t, ok := vocab.ParseType(name)
		if !ok || !l.c.Personal.Types.Has(t) {
			return at.errorf(".weights."+name, "an event type that profiles.personalize keeps expected")
		}
		if weight < 0.01 || weight > maxWeight {
			return at.errorf(".weights."+name, "a weight from 0.01 to %d expected", maxWeight)
		}
		c.Weights[t] = weight
	}
	if y.Positions < 1 || y.Positions > maxPositions {
		return at.errorf(".positions", "a number from 1 to %d expected", maxPositions)
	}
	c.Positions = y.Positions
	if y.Sample < 1 || y.Sample > maxSample {
		return at.errorf(".sample", "a number from 1 to %d expected", maxSample)
	}
	c.Sample = y.Sample
	var err error
	c.People, err = at.people(y.People)
	return err
}

func (l *loader) sessions(at fault, all *structuresYAML) error {
	gap, err := at.duration(".gap", all.SessionNeighbours.Gap, time.Second, day)
	if err != nil {
		return err
	}
	l.c.Sessions.Gap = gap.Microseconds()
	l.c.Sessions.People, err = at.people(all.SessionNeighbours.People)
	return err
}

func (l *loader) trending(at fault, all *structuresYAML) (err error) {
	y, c := &all.Trending, &l.c.Trending
	purpose, ok := l.reg.Purpose(privacyfilter.Trending)
	if !ok {
		return at.errorf("", "the register has no purpose %s", privacyfilter.Trending)
	}
	if c.Types, err = types(at, ".events", y.Events, purpose); err != nil {
		return err
	}
	if y.Kept < 2 || y.Kept > maxKept {
		return at.errorf(".kept", "a number from 2 to %d expected", maxKept)
	}
	c.Kept = y.Kept
	retention := l.reg.Retention(purpose.Retention)
	if c.Window, err = at.duration(".window", y.Window, time.Minute, retention/time.Duration(c.Kept)); err != nil {
		return err
	}
	if c.Tick, err = at.duration(".tick", y.Tick, time.Second, c.Window); err != nil {
		return err
	}
	if y.PerPerson < 1 || y.PerPerson > maxPerPerson {
		return at.errorf(".per_person", "a number from 1 to %d expected", maxPerPerson)
	}
	c.PerPerson = y.PerPerson
	c.People, err = at.people(y.People)
	return err
}

// fault makes errors at a place of a section.
type fault struct {
	section config.Section
	path    string
}

func (at fault) errorf(path, format string, args ...any) error {
	return at.section.Errorf(at.path+path, format, args...)
}

func (at fault) duration(path, text string, least, most time.Duration) (time.Duration, error) {
	d, err := config.ParseDuration(text)
	if err != nil {
		return 0, at.errorf(path, "%s", err.Error())
	}
	if d < least || d > most {
		return 0, at.errorf(path, "a duration from %s to %s expected", durationText(least), durationText(most))
	}
	return d, nil
}

func (at fault) people(n int) (int, error) {
	if n < 1 || n > maxPeople {
		return 0, at.errorf(".people", "a number from 1 to %d expected", maxPeople)
	}
	return n, nil
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
