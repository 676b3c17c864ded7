package app

import (
	"fmt"
	"os"

	"sluice/features/spec"
	"sluice/ingest/collector"
	"sluice/internal/config"
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
		{"register.yaml", privacyfilter.Defaults},
		{"features.yaml", spec.Defaults},
		{"surfaces.yaml", recommend.Defaults},
		{"rules.yaml", risk.Defaults},
	}
}

// Config is the built-in configuration with the sections of the user's file in their place.
type Config struct {
	sections map[string]config.Section
	builtin  map[string]config.Section
	source   map[string]Builtin // file that declares a section
	custom   map[string]bool    // sections of the user's file
}

// Load reads the user's file, if a path is given, over the built-in one. A section of the file replaces the whole built-in section.
func Load(path string) (*Config, error) {
	c := &Config{
		sections: make(map[string]config.Section), builtin: make(map[string]config.Section), source: make(map[string]Builtin), custom: make(map[string]bool),
	}
	var names []string
	for _, b := range Builtins() {
		file, err := config.Parse(b.Name, b.Data)
		if err != nil {
			return nil, fmt.Errorf("built-in configuration: %w", err)
		}
		for _, s := range file.Sections() {
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
	if err := file.Allow(names...); err != nil {
		return nil, err
	}
	for _, s := range file.Sections() {
		c.sections[s.Name] = s
		c.custom[s.Name] = true
	}
	return c, nil
}

// Section is the effective section; its errors name the file that it came from.
func (c *Config) Section(name string) config.Section { return c.sections[name] }

// Source is the built-in file that declares a section.
func (c *Config) Source(section string) (Builtin, bool) {
	b, ok := c.source[section]
	return b, ok
}

// Check loads everything that a file can configure. It needs no brokers, data or keys.
func (c *Config) Check() error {
	if _, err := loadDeployment(c); err != nil {
		return err
	}
	_, err := loadRooms(c)
	return err
}

// UsageError is a fault of the command line or of a file that it names.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap is the fault.
func (e *UsageError) Unwrap() error { return e.Err }
