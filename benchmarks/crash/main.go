// Command crash attacks a running sluice and proves that nothing was lost: it starts real processes, drives them with a seeded load over HTTP, kills, pauses,
// cuts and restarts them at random, and then compares every topic and every state key with what the log says must be there.
//
//	go run ./benchmarks/crash -sluice bin/sluice -broker embedded -faults 100
//	go run ./benchmarks/crash -sluice bin/sluice -broker kafka -faults 100
//
// Faults and load come from -seed, which is printed; moments depend on the machine. It prints one JSON object; the exit code is 1 if anything is wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"sluice/benchmarks/process"
)

type options struct {
	broker, addrs, binary, dir, out string
	only                            string
	faults, rate, people            int
	seed                            uint64
	longest                         time.Duration
	keep                            bool
}

// result is what one run found. Durations are in the units that the names say.
type result struct {
	Date    string         `json:"date"`
	Commit  string         `json:"commit"`
	Machine string         `json:"machine"`
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

func main() {
	var o options
	flag.StringVar(&o.broker, "broker", "embedded", "embedded: sluice demo; kafka: several sluice serve on Apache Kafka")
	flag.StringVar(&o.addrs, "kafka-addrs", "", "brokers of a running cluster, host:port,…; empty starts three, which are attacked, too")
	flag.StringVar(&o.binary, "sluice", "bin/sluice", "the program to attack")
	flag.StringVar(&o.dir, "dir", "", "directory for data and logs, kept; empty makes one that is removed if all is well")
	flag.IntVar(&o.faults, "faults", 100, "how many faults")
	flag.StringVar(&o.only, "only", "", "targets to attack, as a regular expression on \"kind target\", such as \"stall front.*kafka\"; empty is everything")
	flag.IntVar(&o.rate, "rate", 0, "events per second, at most; 0 is 500 on the embedded broker and 200 on Kafka, whose brokers share the machine with the processes")
	flag.IntVar(&o.people, "people", 400, "distinct people")
	flag.Uint64Var(&o.seed, "seed", 0, "of faults and load; 0 makes one")
	flag.DurationVar(&o.longest, "max", 45*time.Minute, "no fault begins after this time")
	flag.StringVar(&o.out, "out", "", "append the result as a JSON line to this file")
	flag.Parse()
	if o.rate == 0 {
		o.rate = 500
		if o.broker == "kafka" {
			o.rate = 200
		}
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

// errWrong is that the run ended, and found something.
var errWrong = errors.New("something is wrong; see problems")

func run(o options) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	if o.keep = o.dir != ""; !o.keep {
		if o.dir, err = os.MkdirTemp("", "sluice-crash-"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	say := progress(os.Stderr)
	say("seed %d, directory %s", o.seed, o.dir)
	s, err := start(ctx, o, say)
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	r, err := attack(ctx, o, s, say)
	if err = errors.Join(err, s.close()); err != nil {
		return fmt.Errorf("%w; logs are in %s", err, o.dir)
	}
	if err := process.Report(o.out, r); err != nil {
		return err
	}
	if len(r.Problems) > 0 || r.wrong() || r.Violations > 0 {
		return fmt.Errorf("%w; data and logs are in %s", errWrong, o.dir)
	}
	if o.keep {
		return nil
	}
	return os.RemoveAll(o.dir)
}

// attack runs the load and the faults, lets everything settle, stops the system, and judges what it left.
func attack(ctx context.Context, o options, s *system, say sayFunc) (*result, error) {
	r := &result{
		Date: time.Now().UTC().Format(time.DateOnly), Commit: process.Commit(ctx), Machine: process.Machine(),
		Broker: s.broker, Seed: o.seed, Rate: o.rate, Faults: make(map[string]int),
	}
	began := time.Now()
	l, err := newLoad(ctx, o, s)
	if err != nil {
		return nil, fmt.Errorf("introducing people: %w", err)
	}
	say("%d people have chosen", o.people)
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
	r.RecoverP50, r.RecoverP99, r.RecoverMax = quantiles(recovered)
	r.Problems = slices.Concat(problems, l.problems(), v.problems)
	return r, nil
}

func quantiles(d []time.Duration) (p50, p99, most float64) {
	if len(d) == 0 {
		return 0, 0, 0
	}
	slices.Sort(d)
	at := func(q float64) float64 {
		return float64(d[min(len(d)-1, int(q*float64(len(d))))].Microseconds()) / 1000
	}
	return at(.5), at(.99), at(1)
}

// sayFunc prints a line of progress.
type sayFunc func(format string, args ...any)

func progress(w io.Writer) sayFunc {
	began := time.Now()
	return func(format string, args ...any) {
		fmt.Fprintf(w, "%7.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// inDir is a path in the run's directory.
func inDir(o options, elements ...string) string {
	return filepath.Join(append([]string{o.dir}, elements...)...)
}
