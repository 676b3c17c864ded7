// Package warehouse fills both stores of the warehouse with real engines and compares what they hold with where it came from, row by row or sum by sum.
//
// With -events, the card transactions of the Fraud Detection Handbook run through the whole path into ClickHouse and into Parquet files: counts and sums by
// day, and decisions by outcome, must be those of the file and of the program's own metrics. With -away, ClickHouse is killed in the middle of an insert and stays
// away for a while, under a steady load and while people delete what they did: every row of every table must be on the topics, once, and no other.
// It prints one JSON object; the exit code is 1 if anything differs.
package warehouse

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
	Broker string        `help:"kafka: one Apache Kafka; embedded: the embedded broker, in this process." enum:"kafka,embedded" default:"kafka"`
	Events string        `help:"The fraud transactions; empty leaves this part out."`
	Rows   int           `help:"Only so many of the transactions; 0 = all." default:"0"`
	Away   time.Duration `help:"How long ClickHouse is away; 0 leaves this part out." default:"0s"`
	Rate   int           `help:"Events per second while ClickHouse is away, before and after." default:"300"`
}

// result is what one run found. A part that was not asked for is null.
type result struct {
	run.Head
	Broker     string       `json:"broker"`
	ClickHouse string       `json:"clickhouse"` // version of the engine
	Fraud      *fraudResult `json:"fraud"`
	Away       *awayResult  `json:"away"`
}

// Run runs the parts that were asked for.
func (o *Command) Run(ctx context.Context) error {
	if o.Events == "" && o.Away == 0 {
		return errors.New("--events or --away must be given")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Hour+2*o.Away)
	defer cancel()
	return o.Do(ctx, func(ctx context.Context, say run.SayFunc) (run.Result, error) {
		r := &result{Head: run.NewHead(ctx)}
		if o.Events != "" {
			if err := part(ctx, o, "fraud", "2s", r, say, fraud); err != nil {
				return nil, fmt.Errorf("the fraud transactions: %w", err)
			}
		}
		if o.Away > 0 {
			if err := part(ctx, o, "away", "10s", r, say, away); err != nil {
				return nil, fmt.Errorf("ClickHouse away: %w", err)
			}
		}
		r.print(os.Stderr)
		return r, nil
	})
}

// part runs one part on a deployment of its own. A row becomes as old as flush before it is stored: 10s is what is built in; the fraud part does not wait that long
// for its last rows.
func part(
	ctx context.Context, o *Command, name, flush string, r *result, say run.SayFunc, do func(context.Context, *Command, *system, *result, run.SayFunc) error,
) (err error) {
	s, err := start(ctx, o, name, flush)
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	r.Broker, r.ClickHouse = s.broker, s.engine.Version()
	say("%s: %s and ClickHouse %s run", name, s.broker, s.engine.Version())
	return do(ctx, o, s, r, say)
}

// Wrong tells whether a store does not hold what it should.
func (r *result) Wrong() bool {
	return r.Fraud != nil && r.Fraud.differs() || r.Away != nil && r.Away.differs()
}
