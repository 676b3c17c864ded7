package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice/benchmarks/load"
	"sluice/benchmarks/server"
	"sluice/benchmarks/traffic"
)

// sized is the configuration for so many people: with a quarter of the memory for state, most events would read several records of their person from the disk.
const sized = "server: {state_mib: 1024, memory_mib: 2304}\n"

// million measures many people with little behind them each.
func million(ctx context.Context, b *bench) error {
	s, err := b.demo(ctx, sized)
	if err != nil {
		return err
	}
	const each, perPost = 4, 500
	shop := traffic.New(or(b.People, 1_000_000), or(b.Items, 100_000))
	if err := fillCatalogue(ctx, s, shop); err != nil {
		return err
	}
	empty, err := s.Heap(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := acceptPeople(ctx, s, shop); err != nil {
		return err
	}
	b.record("importing acceptances", "people/s", float64(shop.People)/time.Since(began).Seconds())
	b.memory(s, "when imported")
	past := traffic.Past{Each: each, Oldest: longAgo}
	if err := b.fillWatched(ctx, s, posts(s, perPost, shop.HistoryPosts(perPost, past), shop.Histories(perPost, past)), shop); err != nil {
		return err
	}
	full, err := s.Heap(ctx)
	if err != nil {
		return err
	}
	b.record("live heap a person, 4 events each", "KiB", (full-empty)/1024/float64(shop.People))
	b.memory(s, "when settled")
	b.record("on disk", "MB", s.Disk()/1e6)
	return b.restart(ctx, s, traffic.Person(1))
}

// fillWatched sends posts while lists are asked for, and records both.
func (b *bench) fillWatched(ctx context.Context, s *server.Server, l *load.Load, shop *traffic.Shop) error {
	asking, stop := context.WithCancel(ctx)
	defer stop()
	const rate = 50
	lists := &load.Load{Addr: s.Addr(), Connections: 8, Source: shop.Lists("home"), Rate: rate}
	var asked, sent *load.Result
	var running sync.WaitGroup
	running.Go(func() { asked = lists.Run(asking) })
	began := time.Now()
	sent = l.Run(ctx)
	settled := s.Settle(ctx)
	took := time.Since(began).Seconds()
	stop()
	running.Wait()
	if err := errors.Join(answered(sent, l.Count), settled); err != nil {
		return err
	}
	b.record("settled", "events/s", float64(shop.People*4)/took)
	b.record("posts answered 503", "", float64(sent.Unknown))
	b.record("posts answered 429 and sent again", "", float64(sent.Refused))
	b.record("lists meanwhile: p99", "ms", asked.Millis(99))
	b.record("lists meanwhile: answered 503", "", float64(asked.Unknown))
	b.record("lists meanwhile: answered 429", "", float64(asked.Refused))
	b.record("lists meanwhile: failed", "", float64(asked.Failed))
	return nil
}

// expiry lets all that a million people left expire at once: their events are a year and a day old, and then time goes on.
func expiry(ctx context.Context, b *bench) error {
	s, err := b.demo(ctx, "")
	if err != nil {
		return err
	}
	const perPost, age = 500, 366 * 24 * time.Hour
	shop, p := traffic.New(or(b.People, 1_000_000), or(b.Items, 20_000)), &probes{s: s}
	if err := acceptVisitors(ctx, s); err != nil {
		return err
	}
	if err := acceptPeople(ctx, s, shop); err != nil {
		return err
	}
	past := traffic.Past{Each: 1, Oldest: age}
	count := shop.HistoryPosts(perPost, past)
	if err := answered(posts(s, perPost, count, shop.Histories(perPost, past)).Run(ctx), count); err != nil {
		return err
	}
	if err := s.Settle(ctx); err != nil {
		return err
	}
	before, err := transactions(ctx, s)
	if err != nil {
		return err
	}
	expired, _, err := s.Metric(ctx, "sluice_features_expired_total")
	if err != nil {
		return err
	}
	b.memory(s, "before")
	if err := b.steady(ctx, s, shop, p, "while it expires", steadyPost, 8); err != nil {
		return err
	}
	if err := s.Settle(ctx); err != nil {
		return err
	}
	after, err := transactions(ctx, s)
	if err != nil {
		return err
	}
	gone, _, err := s.Metric(ctx, "sluice_features_expired_total")
	if err != nil {
		return err
	}
	b.record("entries expired", "", gone-expired)
	if longest, ok := after.longestSince(before); ok {
		b.record("longest transaction, at most", "ms", 1000*min(longest, beyondBuckets))
	}
	b.memory(s, "after")
	return nil
}

// beyondBuckets stands for what the last bucket does not bound, in seconds.
const beyondBuckets = 60

// buckets are a histogram's counts by upper bound, over all its labels.
type buckets map[float64]float64

// transactions reads how long transactions took, as far as the program tells.
func transactions(ctx context.Context, s *server.Server) (buckets, error) {
	b := make(buckets)
	err := s.Metrics(ctx, func(sample string, value float64) {
		var bound float64
		if le, ok := server.Label(sample, "sluice_stream_transaction_seconds_bucket", "le"); ok {
			if _, err := fmt.Sscan(le, &bound); err == nil {
				b[bound] += value
			}
		}
	})
	return b, err
}

// longestSince is the upper bound of the longest that was counted since.
func (b buckets) longestSince(before buckets) (seconds float64, ok bool) {
	var most float64
	for bound := range b {
		most = max(most, b[bound]-before[bound])
	}
	for bound := range b {
		if b[bound]-before[bound] == most && (!ok || bound < seconds) {
			seconds, ok = bound, true
		}
	}
	return seconds, ok && most > 0
}
