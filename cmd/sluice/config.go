package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"sluice/app"
	"sluice/internal/config"
)

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
	v, err := checkConfig(c.File)
	if !c.JSON {
		if err == nil {
			v.print(env.stdout)
		}
		return err
	}
	var faults config.Errors
	if err != nil && !errors.As(err, &faults) {
		return err // the file cannot be read
	}
	v.Errors = findings(faults)
	if err := json.NewEncoder(env.stdout).Encode(v); err != nil || v.Valid {
		return err
	}
	return usage(errSilent)
}

const validText = "the configuration is valid"

// verdict is what `sluice config check` tells; with --json as it is.
type verdict struct {
	Valid    bool            `json:"valid"`
	Errors   []finding       `json:"errors"`
	Warnings []finding       `json:"warnings"`
	Changes  []config.Change `json:"changes"` // against what is built in
	Keys     []app.KeyInfo   `json:"keys"`    // API keys, without the keys
}

// finding is an error or a warning, and where it is.
type finding struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"` // from 1
	Column int    `json:"column,omitempty"`
	Field  string `json:"field,omitempty"`
	Detail string `json:"detail"`
}

func findings(faults config.Errors) []finding {
	found := make([]finding, len(faults))
	for i, f := range faults {
		found[i] = finding{File: f.File, Line: f.Line, Column: f.Column, Field: f.Path, Detail: f.Message}
	}
	return found
}

// checkConfig loads everything that a file can configure.
func checkConfig(path string) (*verdict, error) {
	v := &verdict{Errors: []finding{}, Warnings: []finding{}, Changes: []config.Change{}, Keys: []app.KeyInfo{}}
	c, err := app.Load(path)
	if err != nil {
		return v, err
	}
	if err := c.Check(); err != nil {
		return v, err
	}
	warnings, err := c.Warnings(time.Now())
	if err != nil {
		return v, err
	}
	keys, err := c.Keys()
	if err != nil {
		return v, err
	}
	v.Keys = append(v.Keys, keys...)
	v.Valid, v.Warnings, v.Changes = true, findings(warnings), append(v.Changes, c.Changes()...)
	return v, nil
}

func (v *verdict) print(w io.Writer) {
	fmt.Fprintln(w, validText)
	if len(v.Changes) == 0 {
		fmt.Fprintln(w, "nothing differs from what is built in")
	} else {
		fmt.Fprintln(w, "against what is built in:")
	}
	for _, change := range v.Changes {
		fmt.Fprintln(w, " ", change)
	}
	for _, key := range v.Keys {
		fmt.Fprintln(w, "API key:", key)
	}
	for _, f := range v.Warnings {
		fmt.Fprintf(w, "warning: %s:%d:%d: %s: %s\n", f.File, f.Line, f.Column, f.Field, f.Detail)
	}
}

type configPrintCmd struct {
	Section string `arg:"" optional:"" help:"Only the file that declares this section."`
}

// Run prints the built-in YAML, comments included.
func (c *configPrintCmd) Run(env *environment) error {
	builtin, err := app.Load("")
	if err != nil {
		return err
	}
	if c.Section == "" {
		for _, b := range app.Builtins() {
			fmt.Fprintf(env.stdout, "# ---- %s\n", b.Name)
			printYAML(env.stdout, b.Data)
		}
		return nil
	}
	b, ok := builtin.Source(c.Section)
	if !ok {
		return usage(fmt.Errorf("unknown section %q", c.Section))
	}
	printYAML(env.stdout, b.Data)
	return nil
}

func printYAML(w io.Writer, data []byte) {
	fmt.Fprintln(w, strings.TrimRight(string(data), "\n"))
}
