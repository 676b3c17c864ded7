package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sluice/benchmarks/server"
	"sluice/benchmarks/traffic"
)

// moreCores measures how much faster two processors settle a backlog than one. The backlog is what a server that was killed had accepted and not settled; each
// measurement starts on a copy of its directory. A start without a backlog takes time, too, which is subtracted.
func moreCores(ctx context.Context, b *bench) error {
	origin := filepath.Join(b.dir, "origin")
	backlog, err := b.makeBacklog(ctx, origin)
	if err != nil {
		return err
	}
	b.record("backlog", "records", float64(backlog))
	var rates []float64
	for _, processors := range []int{1, 2} {
		rate, err := b.settleBacklog(ctx, origin, processors, float64(backlog))
		if err != nil {
			return err
		}
		b.record(fmt.Sprintf("settled on %d", processors), "records/s", rate)
		rates = append(rates, rate)
	}
	b.record("1 to 2 processors", "times", rates[1]/rates[0])
	return nil
}

// makeBacklog sends events faster than they are settled, and kills the server.
func (b *bench) makeBacklog(ctx context.Context, dir string) (lag int64, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, err
	}
	s, err := b.start(ctx, server.Demo, server.Options{Dir: dir})
	if err != nil {
		return 0, err
	}
	const perPost = 1000
	shop := traffic.New(or(b.People, 50_000), or(b.Items, 20_000))
	if err := acceptPeople(ctx, s, shop); err != nil {
		return 0, err
	}
	count := int64(or(b.Events, 1_000_000) / perPost)
	if err := answered(posts(s, perPost, count, shop.Browsing(perPost)).Run(ctx), count); err != nil {
		return 0, err
	}
	if lag, err = s.Lag(ctx); err != nil {
		return 0, err
	}
	if lag == 0 {
		return 0, errors.New("everything was settled already: nothing is left to measure")
	}
	return lag, s.Kill()
}

// settleBacklog starts a server on a copy, and again on what it has settled, and says how many records a second the first start settled.
func (b *bench) settleBacklog(ctx context.Context, origin string, processors int, backlog float64) (rate float64, err error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("on-%d", processors))
	if err := os.CopyFS(dir, os.DirFS(origin)); err != nil {
		return 0, err
	}
	var took [2]time.Duration
	for i := range took {
		began := time.Now()
		s, err := b.start(ctx, server.Demo, server.Options{Dir: dir, Env: []string{fmt.Sprintf("GOMAXPROCS=%d", processors)}})
		if err != nil {
			return 0, err
		}
		err = s.Settle(ctx)
		took[i] = time.Since(began)
		b.say("  start %d on %d processors: %.2f s", i+1, processors, took[i].Seconds())
		if err != nil {
			return 0, err
		}
		if err := s.Stop(); err != nil {
			return 0, err
		}
	}
	return backlog / (took[0] - took[1]).Seconds(), nil
}
