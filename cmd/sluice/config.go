package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

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
	return usage(errSilent)
}

const validText = "the configuration is valid"

// checkConfig loads everything that a file can configure.
func checkConfig(path string) error {
	c, err := app.Load(path)
	if err != nil {
		return err
	}
	return c.Check()
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
