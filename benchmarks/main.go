// Command benchmarks measures a running sluice from outside: each scenario starts the given program on loopback and an empty directory, drives it, and says
// what it cost. The generator's own CPU stands beside the server's.
//
//	go run ./benchmarks run --sluice bin/sluice                        the quick set
//	go run ./benchmarks run --sluice bin/sluice path home clicks       by name
//	go run ./benchmarks compare benchmarks/results/before.jsonl benchmarks/results/bench.jsonl
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"sluice/benchmarks/result"
)

type cli struct {
	Run     runCommand     `cmd:"" help:"Measure scenarios; each is a JSON line in the end."`
	List    listCommand    `cmd:"" help:"Say which scenarios there are."`
	Table   tableCommand   `cmd:"" help:"Write results as Markdown."`
	Compare compareCommand `cmd:"" help:"Write two files of results beside each other, as Markdown."`
}

func main() {
	command := kong.Parse(&cli{}, kong.Name("benchmarks"), kong.Description("Measures a running sluice from outside."), kong.UsageOnError())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	command.BindTo(ctx, (*context.Context)(nil))
	err := command.Run()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

type listCommand struct{}

// Run lists the scenarios.
func (*listCommand) Run() error {
	for _, s := range scenarios {
		set := "all  "
		if s.quick {
			set = "quick"
		}
		fmt.Fprintf(os.Stdout, "%-10s %s  %s\n", s.name, set, s.doc)
	}
	return nil
}

type tableCommand struct {
	File string `arg:"" help:"Results." default:"benchmarks/results/bench.jsonl"`
}

// Run writes a file's results.
func (c *tableCommand) Run() error {
	lines, err := result.Read(c.File)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "# Results\n\nMade by `go run ./benchmarks table %s`; [README.md](README.md) says what the figures mean.\n", c.File)
	result.Table(os.Stdout, lines, docOf)
	return nil
}

type compareCommand struct {
	Before string `arg:"" help:"Results of the older program."`
	After  string `arg:"" help:"Results of the newer program."`
}

// Run writes two files' results beside each other.
func (c *compareCommand) Run() error {
	before, err := result.Read(c.Before)
	if err != nil {
		return err
	}
	after, err := result.Read(c.After)
	if err != nil {
		return err
	}
	result.Compare(os.Stdout, before, after)
	return nil
}
