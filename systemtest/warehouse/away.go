package warehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/systemtest/run"
)

// awayResult is what the away part found.
type awayResult struct {
	Seed    uint64  `json:"seed"`
	Seconds float64 `json:"away_s"` // ClickHouse was away
	Events  int     `json:"events"` // accepted
	Acts    int     `json:"acts"`   // of deletion, while it was away

	BlocksTorn     int   `json:"torn_blocks"`      // promised and not committed when it was killed
	RowsTorn       int64 `json:"torn_rows"`        // of these blocks
	RowsTornStored int64 `json:"torn_rows_stored"` // of which it had when it came back

	RSSBefore    float64 `json:"rss_before_mb"` // the most of the warehouse's process
	RSSAway      float64 `json:"rss_away_mb"`
	BufferedAway float64 `json:"buffered_rows_away"` // the most
	LagAway      float64 `json:"lag_records_away"`   // the most, of what it had read of
	BehindAway   int64   `json:"behind_records"`     // not stored when ClickHouse was back
	CatchUp      float64 `json:"catch_up_s"`         // from ClickHouse back until all that is stored, under the same load

	Tables []compared `json:"tables"`
}

func (r *awayResult) differs() bool {
	return slices.ContainsFunc(r.Tables, func(c compared) bool { return c.differs() || c.Topic == 0 })
}

const (
	calmTime = 25 * time.Second // before ClickHouse is killed: some flushes
	tailTime = 15 * time.Second // after it has caught up
)

// away fills ClickHouse under a steady load, takes it away in the middle of an insert, gives it back, and compares.
func away(ctx context.Context, o *Command, s *system, all *result, say run.SayFunc) error {
	r := &awayResult{Seed: o.Seed}
	all.Away = r
	if err := s.introduce(ctx); err != nil {
		return fmt.Errorf("importing people: %w", err)
	}
	p, url, err := s.serve(ctx, "warehouse", storeClickHouse, "warehouse")
	if err != nil {
		return err
	}
	l, loaded := startLoad(ctx, o, s)
	at, err := s.suffer(loaded, o, url, r, say)
	var failed error
	if r.Events, failed = l.stop(); failed != nil || err != nil {
		return errors.Join(failed, err)
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	if err := end(ctx, p); err != nil {
		return err
	}
	say("away: everything is stored, comparing every row")
	expected, err := readTopics(ctx, s, at)
	if err != nil {
		return err
	}
	r.RowsTorn = expected.promised
	r.RowsTornStored -= expected.stored
	r.Tables, err = s.compareAll(ctx, expected)
	return err
}

// suffer is the time from a calm beginning over the outage until all is well again. It returns how far the warehouse was when ClickHouse was killed.
func (s *system) suffer(ctx context.Context, o *Command, url string, r *awayResult, say run.SayFunc) (at promise, err error) {
	w := watch(ctx, url)
	run.Sleep(ctx, calmTime)
	r.RSSBefore = w.stop().rss / 1e6
	if at, err = s.killInsert(ctx); err != nil {
		return at, err
	}
	gone := time.Now()
	r.BlocksTorn = at.blocks
	say("away: ClickHouse was killed with %d blocks on their way", at.blocks)
	w = watch(ctx, url)
	run.Sleep(ctx, o.Away/4)
	if r.Acts, err = s.regret(ctx); err != nil {
		w.stop()
		return at, fmt.Errorf("deleting: %w", err)
	}
	run.Sleep(ctx, time.Until(gone.Add(o.Away)))
	seen := w.stop()
	r.RSSAway, r.BufferedAway, r.LagAway = seen.rss/1e6, seen.buffered, seen.lag
	address := s.engine.Address()
	if r.RowsTornStored, err = s.peek(ctx); err != nil {
		return at, fmt.Errorf("looking at what ClickHouse has: %w", err)
	}
	if err := s.startEngine(ctx, address); err != nil {
		return at, fmt.Errorf("starting ClickHouse again: %w", err)
	}
	r.Seconds = time.Since(gone).Seconds()
	say("away: ClickHouse is back after %.0f s", r.Seconds)
	if err := s.catchUp(ctx, r); err != nil {
		return at, err
	}
	say("away: caught up %.1f s later", r.CatchUp)
	run.Sleep(ctx, tailTime)
	return at, ctx.Err()
}

const (
	killTries  = 20                     // how often an insert is tried to be met
	insertTime = 2 * time.Minute        // bounds how long it takes until there is one
	growTime   = 5 * time.Second        // bounds how long it takes until some of its rows are there
	commitTime = 500 * time.Millisecond // after which what was on its way to the brokers has arrived
)

// killInsert kills ClickHouse as soon as it has some rows of the blocks that are on their way. If it was too late and all are committed, ClickHouse starts
// again, and others are waited for.
func (s *system) killInsert(ctx context.Context) (promise, error) {
	for range killTries {
		if err := s.insertBegins(ctx); err != nil {
			return promise{}, fmt.Errorf("waiting for an insert: %w", err)
		}
		if err := s.grows(ctx); err != nil {
			return promise{}, fmt.Errorf("waiting for rows: %w", err)
		}
		s.engine.Kill()
		run.Sleep(ctx, commitTime)
		p, err := s.group.promised(ctx)
		if err != nil || p.blocks > 0 {
			return p, err
		}
		if err := s.startEngine(ctx, s.engine.Address()); err != nil {
			return p, err
		}
	}
	return promise{}, fmt.Errorf("an insert was not met in %d times", killTries)
}

// insertBegins returns when blocks are on their way into the store.
func (s *system) insertBegins(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, insertTime)
	defer cancel()
	for {
		p, err := s.group.promised(ctx)
		if err != nil || p.blocks > 0 {
			return err
		}
		if !run.Sleep(ctx, 3*time.Millisecond) { // asked from outside: there is nothing to wait on
			return ctx.Err()
		}
	}
}

// grows returns when ClickHouse has more rows than now, or after a while.
func (s *system) grows(ctx context.Context) error {
	before, err := partRows(ctx, s.conn)
	for began := time.Now(); err == nil && time.Since(began) < growTime; {
		var now int64
		if now, err = partRows(ctx, s.conn); now > before {
			return err
		}
	}
	return err
}

// peek counts the rows that ClickHouse has, before the warehouse can reach it.
func (s *system) peek(ctx context.Context) (n int64, err error) {
	if err := s.startEngine(ctx, ""); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.engine.Stop()) }()
	aside, err := connect(s.engine.Address())
	if err != nil {
		return 0, err
	}
	defer aside.Close() //nolint:errcheck // was only read
	return count(ctx, aside, s.tables())
}

// catchUp waits until all that had come while ClickHouse was away is stored.
func (s *system) catchUp(ctx context.Context, r *awayResult) error {
	began := time.Now()
	ends, err := s.group.ends(ctx)
	if err != nil {
		return err
	}
	if r.BehindAway, err = s.group.behind(ctx, ends); err != nil {
		return err
	}
	err = s.stored(ctx, ends)
	r.CatchUp = time.Since(began).Seconds()
	return err
}

// settleTime bounds how long the engines may take to process what has come.
const settleTime = 5 * time.Minute

// settle waits until all that was sent is processed and stored.
func (s *system) settle(ctx context.Context) error {
	settling, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := s.api.Settle(settling); err != nil {
		return err
	}
	ends, err := s.group.ends(ctx)
	if err != nil {
		return err
	}
	return s.stored(ctx, ends)
}
