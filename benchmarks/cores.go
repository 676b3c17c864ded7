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
	config, err := b.understood(ctx, patient)
	if err != nil {
		return err
	}
	origin := filepath.Join(b.dir, "origin")
	if err := b.makeBacklog(ctx, origin, config); err != nil {
		return err
	}
	var took []float64
	for _, processors := range []int{1, 2} {
		events, seconds, err := b.settleBacklog(ctx, origin, config, processors)
		if err != nil {
			return err
		}
		b.record(fmt.Sprintf("settled on %d", processors), "events/s", events/seconds)
		took = append(took, seconds)
	}
	b.record("1 to 2 processors", "times", took[0]/took[1])
	return nil
}

// patient lets a program that pushes back take a backlog; an older one takes any.
var patient = []string{"collector: {max_backlog: 100000000, max_lag: 1h}\n", ""}

// makeBacklog sends events faster than they are settled, and kills the server.
func (b *bench) makeBacklog(ctx context.Context, dir, config string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	s, err := b.start(ctx, server.Demo, server.Options{Dir: dir, Config: config})
	if err != nil {
		return err
	}
	const perPost = 1000
	shop := traffic.New(or(b.People, 50_000), or(b.Items, 20_000))
	if err := acceptPeople(ctx, s, shop); err != nil {
		return err
	}
	count := int64(or(b.Events, 1_000_000) / perPost)
	if err := answered(posts(s, perPost, count, shop.Browsing(perPost)).Run(ctx), count); err != nil {
		return err
	}
	return s.Kill()
}

// settleBacklog starts a server on a copy, and again on what it has settled. It returns how many events the first start settled, and what it took longer than
// the second.
func (b *bench) settleBacklog(ctx context.Context, origin, config string, processors int) (events, seconds float64, err error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("on-%d", processors))
	if err := os.CopyFS(dir, os.DirFS(origin)); err != nil {
		return 0, 0, err
	}
	if err := os.Chmod(filepath.Join(dir, "data", "keys", "root.key"), 0o600); err != nil { // a copy is everybody's to read, which a start refuses
		return 0, 0, err
	}
	o := server.Options{Dir: dir, Config: config, Env: []string{fmt.Sprintf("GOMAXPROCS=%d", processors)}}
	var took [2]time.Duration
	for i := range took {
		began := time.Now()
		s, err := b.start(ctx, server.Demo, o)
		if err != nil {
			return 0, 0, err
		}
		if err := s.Settle(ctx); err != nil {
			return 0, 0, err
		}
		took[i] = time.Since(began)
		n, err := processed(ctx, s)
		if err != nil {
			return 0, 0, err
		}
		b.say("  start %d on %d processors: %.0f events in %.2f s", i+1, processors, n, took[i].Seconds())
		if i == 0 {
			events = n
		}
		if err := s.Stop(); err != nil {
			return 0, 0, err
		}
	}
	if seconds = (took[0] - took[1]).Seconds(); events == 0 || seconds <= 0 {
		return 0, 0, errors.New("there was no backlog to measure")
	}
	return events, seconds, nil
}

// processed is how many events the engine that was behind most has processed.
func processed(ctx context.Context, s *server.Server) (most float64, err error) {
	for _, engine := range []string{"filter", "personal", "history"} {
		n, _, err := s.Metric(ctx, "sluice_stream_records_total", fmt.Sprintf("engine=%q", engine))
		if err != nil {
			return 0, err
		}
		most = max(most, n)
	}
	return most, nil
}
