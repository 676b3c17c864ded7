package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"sluice/features"
	"sluice/ingest/collector"
	"sluice/internal/config"
	"sluice/privacyfilter"
	"sluice/recommend"
	"sluice/risk"
)

// builtin is one embedded configuration file, with the sections that it declares.
type builtin struct {
	name string
	data []byte
}

// builtins are the built-in configuration, in the order that `sluice config print` shows.
func builtins() []builtin {
	return []builtin{
		{"deployment.yaml", deploymentYAML},
		{"collector.yaml", collector.Defaults},
		{"register.yaml", privacyfilter.Defaults},
		{"features.yaml", features.Defaults},
		{"surfaces.yaml", recommend.Defaults},
		{"rules.yaml", risk.Defaults},
	}
}

// effectiveConfig is the built-in configuration with the sections of the user's file in their place.
type effectiveConfig struct {
	sections map[string]config.Section
	builtin  map[string]config.Section
	source   map[string]builtin // file that declares a section
	custom   map[string]bool    // sections of the user's file
}

// loadConfig reads the user's file, if a path is given, over the built-in one. A section of the file replaces the whole built-in section.
func loadConfig(path string) (*effectiveConfig, error) {
	e := &effectiveConfig{
		sections: make(map[string]config.Section), builtin: make(map[string]config.Section), source: make(map[string]builtin), custom: make(map[string]bool),
	}
	var names []string
	for _, b := range builtins() {
		file, err := config.Parse(b.name, b.data)
		if err != nil {
			return nil, fmt.Errorf("built-in configuration: %w", err)
		}
		for _, s := range file.Sections() {
			e.sections[s.Name], e.builtin[s.Name], e.source[s.Name] = s, s, b
			names = append(names, s.Name)
		}
	}
	if path == "" {
		return e, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, usageError{fmt.Errorf("reading the configuration: %w", err)}
	}
	file, err := config.Parse(path, data)
	if err != nil {
		return nil, err
	}
	if err := file.Allow(names...); err != nil {
		return nil, err
	}
	for _, s := range file.Sections() {
		e.sections[s.Name] = s
		e.custom[s.Name] = true
	}
	return e, nil
}

// section is the effective section; its errors name the file that it came from.
func (e *effectiveConfig) section(name string) config.Section { return e.sections[name] }

// configCmd shows and checks the configuration.
type configCmd struct {
	Print configPrintCmd `cmd:"" help:"Print the built-in configuration."`
	Check configCheckCmd `cmd:"" help:"Load a file over the built-in configuration, and say what is wrong with it. Needs no brokers, data or keys."`
}

type configCheckCmd struct {
	File string `arg:"" help:"Configuration file." type:"path"`
	JSON bool   `name:"json" help:"One JSON object on standard output."`
}

// Run checks the file: exit code 2 if something is wrong with it.
func (c *configCheckCmd) Run(env *environment) error {
	err := checkConfig(c.File)
	if !c.JSON {
		if err == nil {
			fmt.Fprintln(env.stdout, validText)
		}
		return err
	}
	var fault *config.Error
	if err != nil && !errors.As(err, &fault) {
		return err // the file cannot be read
	}
	if err := json.NewEncoder(env.stdout).Encode(verdictOf(fault)); err != nil || fault == nil {
		return err
	}
	return usageError{errSilent}
}

const validText = "the configuration is valid"

// checkConfig loads everything that a file can configure.
func checkConfig(path string) error {
	e, err := loadConfig(path)
	if err != nil {
		return err
	}
	if _, err := loadDeployment(e); err != nil {
		return err
	}
	_, err = loadRooms(e)
	return err
}

// verdict is what `sluice config check --json` prints.
type verdict struct {
	Valid bool   `json:"valid"`
	File  string `json:"file,omitempty"`
	Line  int    `json:"line,omitempty"` // from 1
	Col   int    `json:"column,omitempty"`
	Field string `json:"field,omitempty"`
	Error string `json:"error,omitempty"`
}

func verdictOf(fault *config.Error) verdict {
	if fault == nil {
		return verdict{Valid: true}
	}
	return verdict{File: fault.File, Line: fault.Line, Col: fault.Column, Field: fault.Path, Error: fault.Message}
}

type configPrintCmd struct {
	Section string `arg:"" optional:"" help:"Only the file that declares this section."`
}

// Run prints the built-in YAML, comments included.
func (c *configPrintCmd) Run(env *environment) error {
	e, err := loadConfig("")
	if err != nil {
		return err
	}
	if c.Section == "" {
		for _, b := range builtins() {
			fmt.Fprintf(env.stdout, "# ---- %s\n", b.name)
			printYAML(env.stdout, b.data)
		}
		return nil
	}
	b, ok := e.source[c.Section]
	if !ok {
		return usageError{fmt.Errorf("unknown section %q", c.Section)}
	}
	printYAML(env.stdout, b.data)
	return nil
}

func printYAML(w io.Writer, data []byte) {
	fmt.Fprintln(w, strings.TrimRight(string(data), "\n"))
}
