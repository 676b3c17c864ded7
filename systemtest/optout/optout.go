// Package optout attacks the promise that an acknowledged opt-out is obeyed: many visitors switch personalization off and on again, while clients ask every
// ranker for the same visitors all the time, and rankers are stopped (SIGSTOP) or cut off from the brokers at random moments.
//
// A violation is a personal answer (personalized, or an item whose reason names another item) to a request that was sent after "deny" had been acknowledged
// and before the next "allow" was sent. An answer to a request from before the acknowledgement may be personal only if it left before: those that arrive
// later than the loopback explains are counted, too. It prints one JSON object; the exit code is 1 if there is any of them.
package optout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/systemtest/run"
)

// Command is the test and its flags.
type Command struct {
	run.Flags
	Brokers    int           `help:"Brokers, 1 or 3." default:"3"`
	Collectors int           `help:"Processes with the roles collector, filter and features." default:"2"`
	Rankers    int           `help:"Processes with the role ranker, each with connections to the brokers of its own that can be cut." default:"2"`
	Visitors   int           `help:"Visitors who toggle at the same time." default:"64"`
	Toggles    int           `help:"How often personalization is switched off, and on again." default:"10000"`
	Faults     int           `help:"How many faults at least; the run goes on until both are reached." default:"60"`
	Requests   int           `help:"Rankings per second that are asked for at any moment; more are asked for right after each acknowledgement." default:"300"`
	Max        time.Duration `help:"The run ends after this time, whatever was reached." default:"20m"`
}

// result is what one run found.
type result struct {
	run.Head
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

// Run starts the deployment and attacks its promise.
func (o *Command) Run(ctx context.Context) error {
	return o.Do(ctx, func(ctx context.Context, say run.SayFunc) (_ run.Result, err error) {
		s, err := start(ctx, o, say)
		if err != nil {
			return nil, fmt.Errorf("starting: %w", err)
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		r := &result{
			Head: run.NewHead(ctx), Broker: s.Broker(), Seed: o.Seed,
			Rankers: o.Rankers, Visitors: o.Visitors, Faults: make(map[string]int),
		}
		return r, attack(ctx, o, s, r, say)
	})
}

// Wrong tells whether there was a personal answer after an acknowledged opt-out, or a problem.
func (r *result) Wrong() bool { return r.Violations+r.LateAnswers > 0 || len(r.Problems) > 0 }

// attack lets visitors toggle and rankers suffer until it is enough.
func attack(ctx context.Context, o *Command, s *system, r *result, say run.SayFunc) error {
	policy, err := s.collectors[0].api.Policy(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	running, stop := context.WithTimeout(ctx, o.Max)
	defer stop()
	w := newWitness(o.Rankers)
	crowd := newCrowd(o, s, w, policy)
	crowd.start(running)
	r.Problems = torment(running, o, s, w, r, func() bool { return w.toggles.Load() >= int64(o.Toggles) }, say)
	say("that is enough; waiting for the last answers")
	stop()
	crowd.wait()
	r.Seconds = time.Since(began).Seconds()
	r.findings = w.findings()
	r.Problems = append(r.Problems, s.ended()...)
	return ctx.Err()
}
