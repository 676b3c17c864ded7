// Command cluster measures what a storefront notices of a deployment's changes: two processes of each role on three brokers serve events and rankings at a
// steady rate, while one of each is killed, all come back, one of each is added, and all are restarted one by one.
//
//	go run ./benchmarks/cluster -sluice bin/sluice
//
// Requests go through balancers that ask /readyz and send a request that met a broken connection or 503 once more. Freshness is measured by new visitors, who
// look at an item: from the acknowledgement of that event to the first personal ranking. In the end each acknowledged event must stand on the topic
// personalize exactly once. It prints a table and one JSON object; the exit code is 1 if an event is lost or doubled.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sluice/benchmarks/fleet"
	"sluice/benchmarks/process"
)

type options struct {
	binary, dir, out string
	brokers          int
	events, requests int // per second
	probes, choices  int // per second
	people, items    int
	calm, phase      time.Duration
	seed             uint64
}

// result is what one run measured.
type result struct {
	Date     string `json:"date"`
	Commit   string `json:"commit"`
	Machine  string `json:"machine"`
	Broker   string `json:"broker"`
	Seed     uint64 `json:"seed"`
	Events   int    `json:"events_per_second"`
	Requests int    `json:"requests_per_second"`
	Probes   int    `json:"probes_per_second"`
	Choices  int    `json:"choices_per_second"`

	Phases   []measured     `json:"phases"`
	Failures map[string]int `json:"failures"` // of requests, by reason

	verdict
	Problems []string `json:"problems"` // whatever else was wrong, in words
}

func main() {
	var o options
	flag.StringVar(&o.binary, "sluice", "bin/sluice", "the program to measure")
	flag.StringVar(&o.dir, "dir", "", "directory for data and logs, kept; empty makes one that is removed if all is well")
	flag.StringVar(&o.out, "out", "", "append the result as a JSON line to this file")
	flag.IntVar(&o.brokers, "brokers", 3, "brokers, 1 or 3")
	flag.IntVar(&o.events, "events", 1000, "events per second")
	flag.IntVar(&o.requests, "requests", 200, "rankings per second")
	flag.IntVar(&o.probes, "probes", 5, "visitors per second who measure freshness")
	flag.IntVar(&o.choices, "choices", 2, "new visitors per second who accept the policy")
	flag.IntVar(&o.people, "people", 20_000, "distinct people")
	flag.IntVar(&o.items, "items", 20_000, "distinct items")
	flag.DurationVar(&o.calm, "calm", 20*time.Second, "length of the phases before and after")
	flag.DurationVar(&o.phase, "phase", 15*time.Second, "length of a phase between, from when its change is made")
	flag.Uint64Var(&o.seed, "seed", 0, "of the load; 0 makes one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// rollTime bounds what a rolling restart takes, for knowing how many visitors will come.
const rollTime = 5 * time.Minute

// longest is more than the phases take.
func (o options) longest() time.Duration { return 2*o.calm + 8*o.phase + rollTime }

// errWrong is that the run ended, and found something.
var errWrong = errors.New("an event is lost or doubled, or a process failed; see the result")

func run(ctx context.Context, o options) (err error) {
	o.seed = fleet.Seed(o.seed)
	dir, done, err := fleet.Dir(o.dir, "sluice-cluster-")
	if err != nil {
		return err
	}
	defer func() { err = done(err) }()
	say := fleet.Progress(os.Stderr)
	say("seed %d, directory %s", o.seed, dir)
	s, err := start(ctx, o, dir, say)
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r := &result{
		Date: time.Now().UTC().Format(time.DateOnly), Commit: process.Commit(ctx), Machine: process.Machine(), Broker: s.Broker(), Seed: o.seed,
		Events: o.events, Requests: o.requests, Probes: o.probes, Choices: o.choices,
	}
	if err := measure(ctx, o, s, r, say); err != nil {
		return err
	}
	printTable(os.Stderr, r.Phases)
	if err := process.Report(o.out, r); err != nil {
		return err
	}
	if r.Lost+r.Doubled+r.Unexpected+r.Lag > 0 || len(r.Problems) > 0 {
		return errWrong
	}
	return nil
}

// settleTime bounds how long the stream may take to process what is left at the end.
const settleTime = 2 * time.Minute

// measure runs the load through all phases, and looks what became of each event.
func measure(ctx context.Context, o options, s *system, r *result, say fleet.SayFunc) error {
	l, err := newLoad(ctx, o, s)
	if err != nil {
		return fmt.Errorf("introducing people: %w", err)
	}
	say("%d people have accepted the policy", o.people)
	l.recorder.begin("warm-up", s)
	l.start(ctx)
	r.Problems, err = script(ctx, o, s, l.recorder, say)
	l.stop()
	if err != nil {
		return err
	}
	r.Phases, r.Failures = l.recorder.results(s), l.failures
	say("the load is over; waiting for the rest")
	settling, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := l.collectors.Settle(settling); err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
	if r.Lag, err = l.collectors.Lag(ctx); err != nil {
		return fmt.Errorf("asking for the lag: %w", err)
	}
	r.verdict, err = l.ledger.judge(ctx, s.Cluster, r.Lag)
	if err != nil {
		return fmt.Errorf("reading the topic: %w", err)
	}
	return nil
}
