// Command warehouse fills both stores of the warehouse with real engines and compares what they hold with where it came from, row by row or sum by sum.
//
//	go run ./benchmarks/warehouse -sluice bin/sluice -events ../shared/data/fraud_transactions.csv.zst -away 5m
//
// With -events, the card transactions of the Fraud Detection Handbook run through the whole path into ClickHouse and into Parquet files: counts and sums by
// day, and decisions by outcome, must be those of the file and of the program's own metrics. With -away, ClickHouse is killed in the middle of an insert and stays
// away for a while, under a steady load and while people delete what they did: every row of every table must be on the topics, once, and no other.
// It prints one JSON object; the exit code is 1 if anything differs.
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
	binary, broker, events, dir, out string
	rows, rate                       int
	away                             time.Duration
	seed                             uint64
}

// result is what one run found. A part that was not asked for is null.
type result struct {
	Date       string       `json:"date"`
	Commit     string       `json:"commit"`
	Machine    string       `json:"machine"`
	Broker     string       `json:"broker"`
	ClickHouse string       `json:"clickhouse"` // version of the engine
	Fraud      *fraudResult `json:"fraud"`
	Away       *awayResult  `json:"away"`
}

func main() {
	var o options
	flag.StringVar(&o.binary, "sluice", "bin/sluice", "the program to measure")
	flag.StringVar(&o.broker, "broker", "kafka", "kafka: one Apache Kafka; embedded: the embedded broker, in this process")
	flag.StringVar(&o.events, "events", "", "the fraud transactions; empty leaves this part out")
	flag.IntVar(&o.rows, "rows", 0, "only so many of the transactions; 0 = all")
	flag.DurationVar(&o.away, "away", 0, "how long ClickHouse is away; 0 leaves this part out")
	flag.IntVar(&o.rate, "rate", 300, "events per second while ClickHouse is away, before and after")
	flag.Uint64Var(&o.seed, "seed", 0, "of the events while ClickHouse is away; 0 makes one")
	flag.StringVar(&o.dir, "dir", "", "directory for data and logs, kept; empty makes one that is removed if all is well")
	flag.StringVar(&o.out, "out", "", "append the result as a JSON line to this file")
	flag.Parse()
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "warehouse:", err)
		os.Exit(1)
	}
}

// errDiffers is that the run came to its end, and found something.
var errDiffers = errors.New("a store does not hold what it should; see the result")

func run(ctx context.Context, o options) (err error) {
	if o.events == "" && o.away == 0 {
		return errors.New("-events or -away expected")
	}
	o.seed = fleet.Seed(o.seed)
	dir, done, err := fleet.Dir(o.dir, "sluice-warehouse-")
	if err != nil {
		return err
	}
	defer func() { err = done(err) }()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Hour+2*o.away)
	defer cancel()
	r := &result{Date: time.Now().UTC().Format(time.DateOnly), Commit: process.Commit(ctx), Machine: process.Machine()}
	say := fleet.Progress(os.Stderr)
	if o.events != "" {
		if err := part(ctx, o, dir, "fraud", "2s", r, say, fraud); err != nil {
			return fmt.Errorf("the fraud transactions: %w", err)
		}
	}
	if o.away > 0 {
		if err := part(ctx, o, dir, "away", "10s", r, say, away); err != nil {
			return fmt.Errorf("ClickHouse away: %w", err)
		}
	}
	r.print(os.Stderr)
	if err := process.Report(o.out, r); err != nil {
		return err
	}
	if r.differs() {
		return errDiffers
	}
	return nil
}

// part runs one part on a deployment of its own. A row becomes as old as flush before it is stored: 10s is what is built in; the fraud part does not wait that long
// for its last rows.
func part(
	ctx context.Context, o options, dir, name, flush string, r *result, say fleet.SayFunc, do func(context.Context, options, *system, *result, fleet.SayFunc) error,
) (err error) {
	s, err := start(ctx, o, dir, name, flush)
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	r.Broker, r.ClickHouse = s.broker, s.engine.Version()
	say("%s: %s and ClickHouse %s run", name, s.broker, s.engine.Version())
	return do(ctx, o, s, r, say)
}

func (r *result) differs() bool {
	return r.Fraud != nil && r.Fraud.differs() || r.Away != nil && r.Away.differs()
}
