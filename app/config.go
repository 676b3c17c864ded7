package app

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"sluice/features/spec"
	"sluice/ingest/collector"
	"sluice/internal/config"
	"sluice/internal/quota"
	"sluice/privacyfilter"
	"sluice/recommend"
	"sluice/risk"
)

// Builtin is one embedded configuration file.
type Builtin struct {
	Name string
	Data []byte // YAML, with comments
}

// Builtins are the built-in configuration, in the order in which people should read it.
func Builtins() []Builtin {
	return []Builtin{
		{"deployment.yaml", deploymentYAML},
		{"collector.yaml", collector.Defaults},
		{"quotas.yaml", quota.Defaults},
		{"register.yaml", privacyfilter.Defaults},
		{"features.yaml", spec.Defaults},
		{"surfaces.yaml", recommend.Defaults},
		{"rules.yaml", risk.Defaults},
	}
}

// merged lists the sections that are merged over the built-in ones by more than the keys of their mappings.
var merged = map[string]config.By{
	"features": {Name: "name", Whole: []string{"aggregate"}},
	"rules":    {Name: "id"},
	"surfaces": {Whole: []string{"diversify"}},
	"keys":     {Secret: true}, // paths below it are not shown: the keys of keys.origins are API keys
}

// restsOn lists, for each section, the sections that it is checked against. If a user's file changes one of these, a built-in part of the section may become wrong.
var restsOn = map[string][]string{
	"purposes": {"retention", "policy"}, "fields": {"purposes", "policy"}, "retention": {"policy"}, "policy": {"purposes"},
	"features": {"fields", "purposes"}, "profiles": {"purposes", "retention"}, "item_structures": {"profiles", "purposes", "retention"}, "rules": {"features"},
}

// Config is the built-in configuration with the user's file merged over it, by name.
type Config struct {
	file     string // the user's, empty without one
	sections map[string]config.Section
	builtin  map[string]config.Section
	source   map[string]Builtin // file that declares a section
	custom   map[string]bool    // sections of the user's file
	changes  []config.Change
}

// Load reads the built-in configuration, and the user's file over it if a path is given. The error is config.Errors: everything that is wrong with the file.
func Load(path string) (*Config, error) {
	c := &Config{
		file: path, sections: make(map[string]config.Section), builtin: make(map[string]config.Section), source: make(map[string]Builtin), custom: make(map[string]bool),
	}
	var names []string
	for _, b := range Builtins() {
		file, err := config.Parse(b.Name, b.Data)
		if err != nil {
			return nil, fmt.Errorf("built-in configuration: %w", err)
		}
		for _, s := range file.Sections() {
			s = s.Named(merged[s.Name].Name)
			c.sections[s.Name], c.builtin[s.Name], c.source[s.Name] = s, s, b
			names = append(names, s.Name)
		}
	}
	if path == "" {
		return c, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &UsageError{fmt.Errorf("reading the configuration: %w", err)}
	}
	file, err := config.Parse(path, data)
	if err != nil {
		return nil, err
	}
	var faults config.Faults
	faults.Add(file.Allow(names...))
	for _, s := range file.Sections() {
		if _, known := c.builtin[s.Name]; known {
			faults.Add(c.merge(s))
		}
	}
	if faults.Any() {
		faults.Add(c.Check()) // all at once
		return nil, sorted(faults.Err())
	}
	return c, nil
}

// merge puts the user's section over the built-in one.
func (c *Config) merge(own config.Section) (err error) {
	var changes []config.Change
	c.sections[own.Name], changes, err = config.Merge(c.builtin[own.Name], own, merged[own.Name])
	c.changes, c.custom[own.Name] = append(c.changes, changes...), true
	return err
}

// Section is the effective section; its errors name the file that it came from.
func (c *Config) Section(name string) config.Section { return c.sections[name] }

// asked is the section for errors about what a user must name. Where the user's file has no such section, the error names that file, not a built-in one.
func (c *Config) asked(name string) config.Section {
	if c.custom[name] || c.file == "" {
		return c.sections[name]
	}
	return config.Absent(c.file, name)
}

// builtinSection is the section as it is built in.
func (c *Config) builtinSection(name string) config.Section { return c.builtin[name] }

// Source is the built-in file that declares a section.
func (c *Config) Source(section string) (Builtin, bool) {
	b, ok := c.source[section]
	return b, ok
}

// Changes lists how the configuration differs from the built-in one, by name.
func (c *Config) Changes() []config.Change { return c.changes }

// Check loads everything that a file can configure. It needs no brokers, data or keys. The error tells everything that is wrong, as config.Errors.
func (c *Config) Check() error {
	_, _, err := c.load()
	return err
}

func (c *Config) load() (*deployment, *rooms, error) {
	var faults config.Faults
	d, err := loadDeployment(c)
	faults.Add(err)
	r, err := loadRooms(c)
	faults.Add(err)
	faults.Add(d.checkFiles(c))
	faults.Add(d.Keys.checkJurisdictions(c.Section("keys"), r.register))
	return d, r, sorted(faults.Err())
}

// Warnings lists what loads and needs a second look, as of now: rules that have expired or can never hit, longer retention, a root key that cannot be read,
// keys that expire soon, user tokens that could be anybody's.
func (c *Config) Warnings(now time.Time) (config.Errors, error) {
	rooms, err := loadRooms(c)
	if err != nil {
		return nil, err
	}
	warnings := rooms.risk.Warnings(now, rooms.features.OfInstruments)
	builtin, err := privacyfilter.Load(c.builtinSection)
	if err != nil {
		return nil, err
	}
	if tokens := rooms.collector; len(tokens.UserKeys) > 0 && (tokens.Issuer == "" || tokens.Audience == "") {
		warnings = append(warnings, c.Section("collector").Errorf(".user_token", "an issuer and an audience should be named: any token counts that is signed with these keys, whatever it was made for"))
	}
	d, err := loadDeployment(c)
	if err != nil {
		return nil, err
	}
	warnings = append(warnings, d.Keys.expiring(c.Section("keys"), now)...)
	for _, longer := range rooms.register.LongerKept(builtin) {
		warnings = append(warnings, c.Section(longer.Section).Errorf(longer.Path, "this is longer than the %s that are built in; the policy must say so", longer.Was))
	}
	if errors.Is(d.checkRootKey(), fs.ErrPermission) {
		warnings = append(warnings, c.Section("server").Errorf(".root_key", "this user may not read the file, so the key in it was not checked"))
	}
	var found config.Errors
	errors.As(sorted(warnings), &found)
	return found, nil
}

// explain rewrites faults of built-in sections. The user has no file with these sections, so each fault names the part of the user's file that caused it.
func (c *Config) explain(err error) error {
	var faults config.Errors
	if !errors.As(err, &faults) {
		return err
	}
	for i, fault := range faults {
		section, _, _ := strings.Cut(fault.Path, ".")
		section, _, _ = strings.Cut(section, "[")
		if c.custom[section] || c.file == "" {
			continue
		}
		if cause := c.cause(section); cause != "" {
			faults[i] = c.Section(cause).Errorf("", "%s, which is built in, rests on this section and does not load with it: %s", fault.Path, fault.Message)
		}
	}
	return sorted(faults)
}

// cause finds the section of the user's file that a section rests on, directly or through other sections; empty if there is none.
func (c *Config) cause(section string) string {
	seen := map[string]bool{section: true}
	for queue := restsOn[section]; len(queue) > 0; queue = queue[1:] {
		if c.custom[queue[0]] {
			return queue[0]
		}
		if !seen[queue[0]] {
			seen[queue[0]] = true
			queue = append(queue, restsOn[queue[0]]...)
		}
	}
	return ""
}

// sorted orders faults by their lines.
func sorted(err error) error {
	var faults config.Errors
	if errors.As(err, &faults) {
		slices.SortStableFunc(faults, func(a, b *config.Error) int {
			return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
	}
	return err
}

// UsageError is a fault of the command line or of a file that it names.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap is the fault.
func (e *UsageError) Unwrap() error { return e.Err }
