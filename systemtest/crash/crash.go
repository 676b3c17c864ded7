// Package crash attacks a running sluice and proves that nothing was lost: it starts real processes, drives them with a seeded load over HTTP, kills, pauses,
// cuts and restarts them at random, and then compares every topic and every state key with what the log says must be there.
//
// Faults and load come from -seed, which is printed; moments depend on the machine. It prints one JSON object; the exit code is 1 if anything is wrong.
package crash

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"sluice/systemtest/run"
)

// Command is the test and its flags.
type Command struct {
	run.Flags
	Broker     string        `help:"embedded: sluice demo; kafka: several sluice serve on Apache Kafka." enum:"embedded,kafka" default:"embedded"`
	KafkaAddrs string        `help:"Brokers of a running cluster, host:port,…; empty starts three, which are attacked, too."`
	Faults     int           `help:"How many faults." default:"100"`
	Only       string        `help:"Targets to attack, as a regular expression on \"kind target\", such as \"stall front.*kafka\"; empty is everything."`
	Rate       int           `help:"Events per second, at most; 0 is 500 on the embedded broker and 200 on Kafka: its brokers share the machine with the processes." default:"0"`
	People     int           `help:"Distinct people." default:"400"`
	Max        time.Duration `help:"No fault begins after this time." default:"45m"`
}

// result is what one run found. Durations are in the units that the names say.
type result struct {
	run.Head
	Broker  string         `json:"broker"`
	Seed    uint64         `json:"seed"`
	Rate    int            `json:"events_per_second"`
	Seconds float64        `json:"seconds"`
	Faults  map[string]int `json:"faults"` // by kind and sort of target
	NFaults int            `json:"faults_total"`

	verdict

	Rankings       int64            `json:"rankings"`
	RankingsOff    int64            `json:"rankings_after_opt_out"`
	Choices        int64            `json:"choices"`
	Violations     int64            `json:"violations"`
	Requests       int64            `json:"requests"`
	FailedRequests int64            `json:"failed_requests"` // that got no answer although the balancer tried again; they were repeated until they did
	Failures       map[string]int64 `json:"failures"`        // the same and others that were repeated, by use and reason
	Calm           float64          `json:"calm_ms"`         // what is timed below, without a fault
	RecoverP50     float64          `json:"recover_p50_ms"`
	RecoverP99     float64          `json:"recover_p99_ms"`
	RecoverMax     float64          `json:"recover_max_ms"`
	Problems       []string         `json:"problems"` // whatever was wrong, in words
}

// Run starts the system, attacks it and judges what it left.
func (o *Command) Run(ctx context.Context) error {
	if o.Rate == 0 {
		o.Rate = 500
		if o.Broker == "kafka" {
			o.Rate = 200
		}
	}
	return o.Do(ctx, func(ctx context.Context, say run.SayFunc) (run.Result, error) {
		s, err := start(ctx, o, say)
		if err != nil {
			return nil, fmt.Errorf("starting: %w", err)
		}
		r, err := attack(ctx, o, s, say)
		return r, errors.Join(err, s.close())
	})
}

// Wrong tells whether anything is.
func (r *result) Wrong() bool { return len(r.Problems) > 0 || r.wrong() || r.Violations > 0 }

// attack runs the load and the faults, lets everything settle, stops the system, and judges what it left.
func attack(ctx context.Context, o *Command, s *system, say run.SayFunc) (*result, error) {
	r := &result{
		Head:   run.NewHead(ctx),
		Broker: s.broker, Seed: o.Seed, Rate: o.Rate, Faults: make(map[string]int),
	}
	began := time.Now()
	l, err := newLoad(ctx, o, s)
	if err != nil {
		return nil, fmt.Errorf("introducing people: %w", err)
	}
	say("%d people have chosen", o.People)
	l.start(ctx)
	recovered, calm, problems, err := faults(ctx, o, s, l, r.Faults, say)
	if err != nil {
		return nil, err
	}
	say("faults are over; waiting for the rest")
	if err := l.finish(ctx); err != nil {
		return nil, fmt.Errorf("finishing the load: %w", err)
	}
	if err := l.settle(ctx); err != nil {
		return nil, fmt.Errorf("waiting for the stream: %w", err)
	}
	r.Seconds = time.Since(began).Seconds()
	stats := s.balancer.Stats()
	r.Requests, r.FailedRequests = stats.Requests, stats.Failed
	problems = append(problems, s.stop(ctx)...)
	say("stopped; comparing")

	cluster, done, err := s.storage()
	if err != nil {
		return nil, err
	}
	defer done()
	v, err := judge(ctx, cluster, s.ring, l, say)
	if err != nil {
		return nil, fmt.Errorf("comparing: %w", err)
	}
	r.verdict = *v
	for _, n := range r.Faults {
		r.NFaults += n
	}
	r.Rankings, r.RankingsOff, r.Violations, r.Choices = l.rankings.Load(), l.rankingsOff.Load(), l.violations.Load(), l.choices.Load()
	r.Failures = l.failures
	r.Calm = float64(calm.Microseconds()) / 1000
	back := run.SpreadOf(recovered)
	r.RecoverP50, r.RecoverP99, r.RecoverMax = back.P50, back.P99, back.Max
	r.Problems = slices.Concat(problems, l.problems(), v.problems)
	return r, nil
}

// inDir is a path in the run's directory.
func inDir(o *Command, elements ...string) string {
	return filepath.Join(append([]string{o.Dir}, elements...)...)
}
