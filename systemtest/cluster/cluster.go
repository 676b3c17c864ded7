// Package cluster measures what a storefront notices of a deployment's changes: two processes of each role on three brokers serve events and rankings at a
// steady rate, while one of each is killed, all come back, one of each is added, and all are restarted one by one.
//
// Requests go through balancers that ask /readyz and send a request that met a broken connection or 503 once more. Freshness is measured by new visitors, who
// look at an item: from the acknowledgement of that event to the first personal ranking. In the end each acknowledged event must stand on the topic
// personalize exactly once. It prints a table and one JSON object; the exit code is 1 if an event is lost or doubled.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"sluice/systemtest/run"
)

// Command is the test and its flags.
type Command struct {
	run.Flags
	Brokers  int           `help:"Brokers, 1 or 3." default:"3"`
	Events   int           `help:"Events per second." default:"1000"`
	Requests int           `help:"Rankings per second." default:"200"`
	Probes   int           `help:"Visitors per second who measure freshness." default:"5"`
	Choices  int           `help:"New visitors per second who accept the policy." default:"2"`
	People   int           `help:"Distinct people." default:"20000"`
	Items    int           `help:"Distinct items." default:"20000"`
	Calm     time.Duration `help:"Length of the phases before and after." default:"20s"`
	Phase    time.Duration `help:"Length of a phase between, from when its change is made." default:"15s"`
}

// result is what one run measured.
type result struct {
	run.Head
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

// rollTime bounds what a rolling restart takes, for knowing how many visitors will come.
const rollTime = 5 * time.Minute

// longest is more than the phases take.
func (o *Command) longest() time.Duration { return 2*o.Calm + 8*o.Phase + rollTime }

// Run starts the deployment, changes it under load and measures.
func (o *Command) Run(ctx context.Context) error {
	return o.Do(ctx, func(ctx context.Context, say run.SayFunc) (_ run.Result, err error) {
		s, err := start(ctx, o, say)
		if err != nil {
			return nil, fmt.Errorf("starting: %w", err)
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		r := &result{
			Head: run.NewHead(ctx), Broker: s.Broker(), Seed: o.Seed,
			Events: o.Events, Requests: o.Requests, Probes: o.Probes, Choices: o.Choices,
		}
		if err := measure(ctx, o, s, r, say); err != nil {
			return nil, err
		}
		printTable(os.Stderr, r.Phases)
		return r, nil
	})
}

// Wrong tells whether an event is lost or doubled, or a process failed.
func (r *result) Wrong() bool { return r.Lost+r.Doubled+r.Unexpected+r.Lag > 0 || len(r.Problems) > 0 }

// settleTime bounds how long the stream may take to process what is left at the end.
const settleTime = 2 * time.Minute

// measure runs the load through all phases, and looks what became of each event.
func measure(ctx context.Context, o *Command, s *system, r *result, say run.SayFunc) error {
	l, err := newLoad(ctx, o, s)
	if err != nil {
		return fmt.Errorf("introducing people: %w", err)
	}
	say("%d people have accepted the policy", o.People)
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
