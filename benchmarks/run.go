package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"sluice/benchmarks/result"
	"sluice/benchmarks/server"
	"sluice/systemtest/run"
)

// scenario measures one thing on servers of its own.
type scenario struct {
	name, doc string
	quick     bool          // in the quick set
	limit     time.Duration // a run that takes longer is ended
	run       func(ctx context.Context, b *bench) error
}

var scenarios = []scenario{
	{"path", "The whole path: events of 412 bytes, 200 a post, 4 connections, 50,000 people, items by zipf 1.1, everything on; then 2,000 events/s in posts of 20 and as single posts, while probes time an acknowledged event to a changed ranking; then a restart.", true, 10 * time.Minute, path},
	{"home", "`home` for 50,000 people with 24 kept events each, a catalogue of 100,000 items, while 2,000 events/s flow in: closed loop (the maximum) and open loop (latency from when a request was due); then the same for strangers.", true, 10 * time.Minute, home},
	{"clicks", "session-kNN alone on a large shop's clicks (neighbours 288, sample 1,502, the last four items of the test sessions), over HTTP.", true, 5 * time.Minute, clicks},
	{"decisions", "Decisions on payments: durable before they are answered.", true, 5 * time.Minute, decisions},
	{"growth", "One more event of people with 24 and with 200 kept events: the whole path's CPU, and what changelogs and log grow by.", true, 10 * time.Minute, growth},
	{"home-200", "`home` for 10,000 people with 200 kept events each.", false, 20 * time.Minute, home200},
	{"kafka", "The whole path on Apache Kafka, one broker; then 2,000 events/s in posts of 20 with probes.", false, 15 * time.Minute, onKafka},
	{"fraud", "The Fraud Detection Handbook's 1.3 million card transactions from collector to decision, the warehouse on.", false, 20 * time.Minute, fraudReplay},
	{"million", "A million people with 4 events each and 100,000 items, rankings meanwhile; then a restart.", false, 40 * time.Minute, million},
	{"overload", "Posts at half and at twice the settled rate, with rankings, opt-outs and opt-ins meanwhile.", false, 15 * time.Minute, overload},
	{"expiry", "What a million people left expires at once.", false, 30 * time.Minute, expiry},
	{"cores", "Settling a backlog without a generator, on one and on two processors (GOMAXPROCS).", false, 15 * time.Minute, moreCores},
}

func docOf(name string) string {
	i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
	if i < 0 {
		return ""
	}
	return scenarios[i].doc
}

// runCommand is the flags of a run. Sizes are for trying a scenario out: results with other sizes say so.
type runCommand struct {
	Scenarios []string `arg:"" optional:"" help:"Names; none: the quick set."`

	Sluice  string `help:"The program to measure." default:"bin/sluice"`
	All     bool   `help:"All scenarios."`
	Runs    int    `help:"How often each is measured." default:"3"`
	Out     string `help:"Append the results to this file, a JSON line each." default:""`
	Dir     string `help:"Directory for data and logs of the servers, kept; empty makes one that is removed."`
	Profile string `help:"Write a CPU profile of each scenario's main part to this file, with the scenario's name before it."`
	Clicks  string `help:"Directory with clicks_train.csv.zst and clicks_test.csv.zst; without them the scenario is left out." default:"../shared/data"`
	Fraud   string `help:"The card transactions; without them the scenario is left out." default:"../shared/data/fraud_transactions.csv.zst"`
	Old     bool   `help:"The program is of another version: what it has kept is not opened for comparing."`

	People int           `help:"Distinct people; 0: as many as the scenario says." default:"0"`
	Items  int           `help:"Items of the catalogue; 0: as many as the scenario says." default:"0"`
	Events int           `help:"Events of the first part; 0: as many as the scenario says." default:"0"`
	Window time.Duration `help:"How long a rate or a latency is measured." default:"5s"`
	Rate   float64       `help:"Rankings or decisions a second of the open loop; 0: as the scenario says." default:"0"`
}

// bench is one run of one scenario.
type bench struct {
	*runCommand
	name, dir string
	say       run.SayFunc
	line      *result.Line
	servers   []*server.Server // closed when the run is over
}

// record keeps a figure of this run.
func (b *bench) record(name, unit string, figure float64) {
	b.say("  %-58s %12.3f %s", name, figure, unit)
	b.line.Add(name, unit, figure)
}

// or is a size that was asked for, or the scenario's own.
func or[T int | float64](asked, own T) T {
	if asked != 0 {
		return asked
	}
	return own
}

// errMissing is that a scenario's data is not there.
var errMissing = errors.New("its data is not there")

// Run measures the scenarios.
func (c *runCommand) Run(ctx context.Context) error {
	chosen, err := c.choose()
	if err != nil {
		return err
	}
	version, err := exec.CommandContext(ctx, c.Sluice, "version").Output()
	if err != nil {
		return fmt.Errorf("asking %s for its version: %w", c.Sluice, err)
	}
	say := run.Progress(os.Stderr)
	var errs []error
	for _, s := range chosen {
		line := &result.Line{Head: run.NewHead(ctx), Version: strings.TrimSpace(string(version)), Scenario: s.name, Settings: c.settings()}
		err := c.measure(ctx, s, line, say)
		switch {
		case errors.Is(err, errMissing):
			say("%s is left out: %v", s.name, err)
			continue
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
			say("%s: %v", s.name, err)
		}
		if len(line.Values) == 0 || c.Out == "" {
			continue
		}
		if err := result.Append(c.Out, line); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// choose finds the scenarios that are asked for.
func (c *runCommand) choose() (chosen []scenario, err error) {
	for _, name := range c.Scenarios {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no scenario %s; see list", name)
		}
		chosen = append(chosen, scenarios[i])
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	for _, s := range scenarios {
		if s.quick || c.All {
			chosen = append(chosen, s)
		}
	}
	return chosen, nil
}

// usualWindow is the flag's default.
const usualWindow = 5 * time.Second

// settings says in which sizes a run differs from the scenarios' own.
func (c *runCommand) settings() string {
	var different []string
	for _, s := range []struct {
		name  string
		value int
	}{{"people", c.People}, {"items", c.Items}, {"events", c.Events}, {"rate", int(c.Rate)}} {
		if s.value != 0 {
			different = append(different, fmt.Sprintf("%s %d", s.name, s.value))
		}
	}
	if c.Window != usualWindow {
		different = append(different, "window "+c.Window.String())
	}
	return strings.Join(different, ", ")
}

// measure runs a scenario as often as asked for.
func (c *runCommand) measure(ctx context.Context, s scenario, line *result.Line, say run.SayFunc) error {
	began := time.Now()
	defer func() { line.Seconds = time.Since(began).Seconds() }()
	for i := range c.Runs {
		say("%s, run %d of %d", s.name, i+1, c.Runs)
		if err := c.once(ctx, s, line, say); err != nil {
			return err
		}
	}
	return nil
}

// once is one run in a directory of its own.
func (c *runCommand) once(ctx context.Context, s scenario, line *result.Line, say run.SayFunc) (err error) {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	dir, err := os.MkdirTemp(c.Dir, "sluice-bench-"+s.name+"-")
	if err != nil {
		return err
	}
	if c.Dir == "" {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	b := &bench{runCommand: c, name: s.name, dir: dir, say: say, line: line}
	err = s.run(ctx, b)
	for _, started := range b.servers {
		err = errors.Join(err, started.Close())
	}
	return err
}
