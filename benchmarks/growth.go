package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sluice/benchmarks/server"
	"sluice/benchmarks/traffic"
	"sluice/internal/process"
)

// growth measures one more event of people who have little and much behind them.
func growth(ctx context.Context, b *bench) error {
	s, err := b.demo(ctx, "")
	if err != nil {
		return err
	}
	const few, many, more = 24, 200, 5
	shop := traffic.New(or(b.People, 4000), or(b.Items, 20_000))
	if err := acceptPeople(ctx, s, shop); err != nil {
		return err
	}
	if err := fillHistories(ctx, s, shop, traffic.Past{Each: few, Oldest: longAgo, Newest: longAgo / 2}); err != nil {
		return err
	}
	if err := b.oneMore(ctx, s, shop, few, shop.People*more); err != nil {
		return err
	}
	if err := fillHistories(ctx, s, shop, traffic.Past{Each: many - few - more, Oldest: longAgo / 2, FirstVisit: few}); err != nil {
		return err
	}
	if err := b.oneMore(ctx, s, shop, many, shop.People*more); err != nil {
		return err
	}
	ratio := func(name string) {
		a, ok := b.line.Value(fmt.Sprintf("with %d kept: %s", few, name))
		if z, also := b.line.Value(fmt.Sprintf("with %d kept: %s", many, name)); ok && also {
			b.record(fmt.Sprintf("%d to %d kept: %s", few, many, name), "times", z.Runs[len(z.Runs)-1]/a.Runs[len(a.Runs)-1])
		}
	}
	ratio("server's CPU an event")
	ratio("changelogs an event")
	ratio("history's changelog an event")
	return nil
}

// oneMore measures events of people who have about so many kept.
func (b *bench) oneMore(ctx context.Context, s *server.Server, shop *traffic.Shop, kept, events int) error {
	const perPost = 200
	count := int64(events / perPost)
	name := fmt.Sprintf("with %d kept: ", kept)
	if err := quiet(ctx, s); err != nil {
		return err
	}
	before, cpu := topicBytes(s), s.CPU()
	if err := answered(posts(s, perPost, count, shop.Browsing(perPost)).Run(ctx), count); err != nil {
		return err
	}
	if err := errors.Join(s.Settle(ctx), quiet(ctx, s)); err != nil {
		return err
	}
	n := float64(count * perPost)
	b.record(name+"server's CPU an event", "µs", (s.CPU()-cpu).Seconds()*1e6/n)
	after := topicBytes(s)
	var all, changelogs float64
	for _, topic := range slices.Sorted(maps.Keys(after)) {
		grown := (after[topic] - before[topic]) / n
		all += grown
		if engine, ok := strings.CutPrefix(topic, "sluice.state."); ok && grown > 0 {
			changelogs += grown
			b.record(name+engine+"'s changelog an event", "bytes", grown)
		}
	}
	b.record(name+"changelogs an event", "bytes", changelogs)
	b.record(name+"all topics an event", "bytes", all)
	return nil
}

// topicBytes is what the embedded broker's topics take on disk.
func topicBytes(s *server.Server) map[string]float64 {
	sizes := make(map[string]float64)
	dir := filepath.Join(s.Data(), "broker", "partitions")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return sizes
	}
	for _, e := range entries {
		topic := e.Name()[:strings.LastIndexByte(e.Name(), '-')]
		sizes[topic] += process.DiskUsage(filepath.Join(dir, e.Name()))
	}
	return sizes
}
