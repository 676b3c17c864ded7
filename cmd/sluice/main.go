// Command sluice runs Sluice: the whole stream on one machine (demo), any subset of it on a Kafka cluster (serve), and the tools around it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"sluice/app"
	"sluice/internal/config"
)

// version is set by the build (-ldflags "-X main.version=…").
var version = "development"

// Exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program: it parses the command line, runs the command and tells the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	args = plainArgs(args)
	var commands cli
	exited := -1
	parser, err := kong.New(&commands,
		kong.Name("sluice"),
		kong.Description("Consent-filtered recommendations and risk decisions from one stream."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
	)
	if err != nil {
		fmt.Fprintln(stderr, "sluice:", err)
		return exitFailed
	}
	parsed, err := parser.Parse(joinDash(args))
	if exited >= 0 {
		return exited // --help
	}
	if err != nil {
		fmt.Fprintln(stderr, "sluice:", err)
		return exitUsage
	}
	ctx, stop := interruptible(stderr)
	defer stop()
	err = parsed.Run(&environment{Context: ctx, stdout: stdout, stderr: stderr})
	return exitCode(err, stderr)
}

// joinDash joins --events and a dash behind it to one word. The dash stands for standard input, and the parser would take it for a flag.
func joinDash(args []string) (joined []string) {
	for i, arg := range args {
		if last := len(joined) - 1; arg == "-" && i > 0 && args[i-1] == "--events" {
			joined[last] += "=-"
			continue
		}
		joined = append(joined, arg)
	}
	return joined
}

// plainArgs rewrites what people try first into the parser's words: nothing at all, help, help COMMAND, --version.
func plainArgs(args []string) []string {
	switch {
	case len(args) == 0:
		return []string{"--help"}
	case args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case args[0] == "--version":
		return []string{"version"}
	default:
		return args
	}
}

// environment is what every command gets.
type environment struct {
	context.Context //nolint:containedctx // the life of one command
	stdout, stderr  io.Writer
}

// ready prints where a node is.
func (e *environment) ready(s *app.Started) {
	fmt.Fprintf(e.stdout, "ready %s data=%s\n", s.URL, s.Data)
}

// interruptible is a context that ends at the first Ctrl-C or SIGTERM; a second one exits at once.
func interruptible(stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		cancel()
		if _, ok := <-signals; ok {
			fmt.Fprintln(stderr, "sluice: interrupted again, stopping at once")
			os.Exit(exitInterrupted)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel()
	}
}

// usage is a fault of the command line or of a file that it names.
func usage(err error) error { return &app.UsageError{Err: err} }

func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return exitDone
	}
	for _, one := range unjoined(err) {
		if !errors.Is(one, errSilent) {
			fmt.Fprintln(stderr, "sluice:", one)
		}
	}
	var line *app.UsageError
	var file *config.Error
	switch {
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &line) || errors.As(err, &file):
		return exitUsage
	default:
		return exitFailed
	}
}

// unjoined splits joined errors, so that each is told on its own line.
func unjoined(err error) (all []error) {
	if usage, ok := err.(*app.UsageError); ok { //nolint:errorlint // this error itself, not one within
		return unjoined(usage.Err)
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	parts := joined.Unwrap()
	texts := make([]string, len(parts))
	for i, part := range parts {
		texts[i] = part.Error()
		all = append(all, unjoined(part)...)
	}
	if strings.Join(texts, "\n") != err.Error() {
		return []error{err}
	}
	return all
}

// errInterrupted ends a tool that was interrupted before its work was done.
var errInterrupted = errors.New("interrupted")

// errSilent fails a command that has told everything already.
var errSilent = errors.New("failed")
