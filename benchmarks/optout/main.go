// Command optout attacks the promise that an acknowledged opt-out is obeyed: many visitors switch personalization off and on again, while clients ask every
// ranker for the same visitors all the time, and rankers are stopped (SIGSTOP) or cut off from the brokers at random moments.
//
//	go run ./benchmarks/optout -sluice bin/sluice
//
// A violation is a personal answer (personalized, or an item whose reason names another item) to a request that was sent after "deny" had been acknowledged
// and before the next "allow" was sent. An answer to a request from before the acknowledgement may be personal only if it left before: those that arrive
// later than the loopback explains are counted, too. It prints one JSON object; the exit code is 1 if there is any of them.
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
	binary, dir, out                       string
	brokers, collectors, rankers, visitors int
	toggles, faults, requests              int
	longest                                time.Duration
	seed                                   uint64
}

// result is what one run found.
type result struct {
	Date     string         `json:"date"`
	Commit   string         `json:"commit"`
	Machine  string         `json:"machine"`
	Broker   string         `json:"broker"`
	Seed     uint64         `json:"seed"`
	Rankers  int            `json:"rankers"`
	Visitors int            `json:"visitors"`
	Seconds  float64        `json:"seconds"`
	Faults   map[string]int `json:"faults"`
	NFaults  int            `json:"faults_total"`

	findings
	Problems []string `json:"problems"` // whatever else was wrong, in words
}

func main() {
	var o options
	flag.StringVar(&o.binary, "sluice", "bin/sluice", "the program to attack")
	flag.StringVar(&o.dir, "dir", "", "directory for data and logs, kept; empty makes one that is removed if all is well")
	flag.StringVar(&o.out, "out", "", "append the result as a JSON line to this file")
	flag.IntVar(&o.brokers, "brokers", 3, "brokers, 1 or 3")
	flag.IntVar(&o.collectors, "collectors", 2, "processes with the roles collector, filter and features")
	flag.IntVar(&o.rankers, "rankers", 2, "processes with the role ranker, each with connections to the brokers of its own that can be cut")
	flag.IntVar(&o.visitors, "visitors", 64, "visitors who toggle at the same time")
	flag.IntVar(&o.toggles, "toggles", 10_000, "how often personalization is switched off, and on again")
	flag.IntVar(&o.faults, "faults", 60, "how many faults at least; the run goes on until both are reached")
	flag.IntVar(&o.requests, "requests", 300, "rankings per second that are asked for at any moment; more are asked for right after each acknowledgement")
	flag.DurationVar(&o.longest, "max", 20*time.Minute, "the run ends after this time, whatever was reached")
	flag.Uint64Var(&o.seed, "seed", 0, "of faults and visitors; 0 makes one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "optout:", err)
		os.Exit(1)
	}
}

// errWrong is that the run ended, and found something.
var errWrong = errors.New("a personal answer after an acknowledged opt-out, or a problem; see the result")

func run(ctx context.Context, o options) (err error) {
	o.seed = fleet.Seed(o.seed)
	dir, done, err := fleet.Dir(o.dir, "sluice-optout-")
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
		Rankers: o.rankers, Visitors: o.visitors, Faults: make(map[string]int),
	}
	if err := attack(ctx, o, s, r, say); err != nil {
		return err
	}
	if err := process.Report(o.out, r); err != nil {
		return err
	}
	if r.Violations+r.LateAnswers > 0 || len(r.Problems) > 0 {
		return errWrong
	}
	return nil
}

// attack lets visitors toggle and rankers suffer until it is enough.
func attack(ctx context.Context, o options, s *system, r *result, say fleet.SayFunc) error {
	policy, err := s.collectors[0].api.Policy(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	running, stop := context.WithTimeout(ctx, o.longest)
	defer stop()
	w := newWitness(o.rankers)
	crowd := newCrowd(o, s, w, policy)
	crowd.start(running)
	r.Problems = torment(running, o, s, w, r, func() bool { return w.toggles.Load() >= int64(o.toggles) }, say)
	say("that is enough; waiting for the last answers")
	stop()
	crowd.wait()
	r.Seconds = time.Since(began).Seconds()
	r.findings = w.findings()
	r.Problems = append(r.Problems, s.ended()...)
	return ctx.Err()
}
