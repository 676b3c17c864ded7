package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"sluice/app"
	"sluice/privacyfilter"
)

type registerCmd struct {
	Check   registerCheckCmd   `cmd:"" help:"Load the register, and list what it leaves open. Exit code 1 if there is something."`
	Explain registerExplainCmd `cmd:"" help:"Tell which purposes may use a field, or which fields a purpose may use, and why."`
	Notice  registerNoticeCmd  `cmd:"" help:"Print what the public notice must list: every purpose with what it may use."`
	Diff    registerDiffCmd    `cmd:"" help:"Tell in words what changes from one file to another."`
}

// registerFile names the file that narrows the built-in register.
type registerFile struct {
	Config string `help:"Configuration file; the built-in register by default." type:"path"`
}

func (f registerFile) load() (*privacyfilter.Register, error) { return loadRegister(f.Config) }

func loadRegister(path string) (*privacyfilter.Register, error) {
	config, err := app.Load(path)
	if err != nil {
		return nil, err
	}
	return app.LoadRegister(config)
}

type registerCheckCmd struct{ registerFile }

// Run checks the register.
func (c *registerCheckCmd) Run(env *environment) error {
	register, err := c.load()
	if err != nil {
		return err
	}
	findings := register.Check()
	if len(findings) == 0 {
		fmt.Fprintf(env.stdout, "%d purposes, policy %s, %s: nothing is left open\n", len(register.Purposes()), register.PolicyVersion(), register.Digest())
		return nil
	}
	printLines(env.stdout, findings)
	return errSilent
}

type registerExplainCmd struct {
	Name string `arg:"" help:"A field (device.mac) or a purpose (personalize)."`
	registerFile
}

// Run explains a field or purpose.
func (c *registerExplainCmd) Run(env *environment) error {
	register, err := c.load()
	if err != nil {
		return err
	}
	lines, err := register.Explain(c.Name)
	if err != nil {
		return usage(err)
	}
	printLines(env.stdout, lines)
	return nil
}

type registerNoticeCmd struct {
	JSON bool `name:"json" help:"One JSON object on standard output."`
	registerFile
}

// Run prints the notice.
func (c *registerNoticeCmd) Run(env *environment) error {
	register, err := c.load()
	if err != nil {
		return err
	}
	notice := register.Notice()
	if c.JSON {
		return json.NewEncoder(env.stdout).Encode(map[string]any{"version": register.PolicyVersion(), "purposes": notice})
	}
	fmt.Fprintf(env.stdout, "policy %s\n", register.PolicyVersion())
	for i := range notice {
		printNotice(env.stdout, &notice[i])
	}
	return nil
}

func printNotice(w io.Writer, n *privacyfilter.Notice) {
	fmt.Fprintf(w, "\n%s (%s, clause %s)\n  %s\n", n.Purpose, n.Tier, n.Clause, n.Doc)
	names := make([]string, len(n.Fields))
	for i, f := range n.Fields {
		names[i] = f.Name
	}
	fmt.Fprintf(w, "  may use: %s\n", strings.Join(names, ", "))
}

type registerDiffCmd struct {
	From string `arg:"" help:"Configuration file." type:"existingfile"`
	To   string `arg:"" optional:"" help:"Configuration file; the built-in register by default." type:"existingfile"`
}

// Run compares two registers.
func (c *registerDiffCmd) Run(env *environment) error {
	from, err := loadRegister(c.From)
	if err != nil {
		return err
	}
	to, err := loadRegister(c.To)
	if err != nil {
		return err
	}
	lines := privacyfilter.Diff(from, to)
	if len(lines) == 0 {
		lines = []string{"the registers are equal"}
	}
	printLines(env.stdout, lines)
	return nil
}

func printLines(w io.Writer, lines []string) {
	for _, line := range lines {
		fmt.Fprintln(w, line)
	}
}
