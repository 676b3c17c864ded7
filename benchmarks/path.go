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

const (
	steadyRate = 2000 // events a second
	steadyPost = 20
)

// path measures the whole path on the embedded broker.
func path(ctx context.Context, b *bench) error {
	s, err := b.demo(ctx, "")
	if err != nil {
		return err
	}
	shop, p := traffic.New(or(b.People, 50_000), or(b.Items, 20_000)), &probes{s: s}
	if err := b.throughput(ctx, s, shop, or(b.Events, 1_200_000)); err != nil {
		return err
	}
	if err := b.steady(ctx, s, shop, p, "steady, posts of 20", steadyPost, 8); err != nil {
		return err
	}
	if err := b.steady(ctx, s, shop, p, "steady, single posts", 1, 32); err != nil {
		return err
	}
	if err := s.Settle(ctx); err != nil {
		return err
	}
	return b.restart(ctx, s, traffic.Person(1))
}

// onKafka measures the same on one Apache Kafka broker, with fewer events.
func onKafka(ctx context.Context, b *bench) error {
	s, err := b.start(ctx, server.OnKafka, server.Options{Dir: b.dir})
	if err != nil {
		return err
	}
	shop := traffic.New(or(b.People, 50_000), or(b.Items, 20_000))
	if err := b.throughput(ctx, s, shop, or(b.Events, 300_000)); err != nil {
		return err
	}
	return b.steady(ctx, s, shop, &probes{s: s}, "steady, posts of 20", steadyPost, 8)
}

// throughput sends events as fast as they are accepted, and measures until all are settled.
func (b *bench) throughput(ctx context.Context, s *server.Server, shop *traffic.Shop, events int) error {
	const perPost = 200
	if err := acceptVisitors(ctx, s); err != nil {
		return err
	}
	empty, err := s.Heap(ctx)
	if err != nil {
		return err
	}
	if err := acceptPeople(ctx, s, shop); err != nil {
		return err
	}
	b.profile(ctx, s)
	count := int64(events / perPost)
	cpu, broker, own, began := s.CPU(), s.BrokerCPU(), load.OwnCPU(), time.Now()
	r := posts(s, perPost, count, shop.Browsing(perPost)).Run(ctx)
	if err := answered(r, count); err != nil {
		return fmt.Errorf("sending events: %w", err)
	}
	if err := s.Settle(ctx); err != nil {
		return err
	}
	took, n := time.Since(began).Seconds(), float64(count*perPost)
	b.record("settled", "events/s", n/took)
	b.record("accepted", "events/s", n/r.Seconds)
	b.record("posts refused (429) and sent again", "%", 100*r.Share(r.Refused))
	b.record("post p99", "ms", r.Millis(99))
	b.record("server's CPU an event", "µs", (s.CPU()-cpu).Seconds()*1e6/n)
	if used := s.BrokerCPU() - broker; used > 0 {
		b.record("broker's CPU an event", "µs", used.Seconds()*1e6/n)
	}
	b.record("generator's CPU an event", "µs", (load.OwnCPU()-own).Seconds()*1e6/n)
	b.memory(s, "when settled")
	full, err := s.Heap(ctx)
	if err != nil {
		return err
	}
	b.record(fmt.Sprintf("live heap a person, %.0f events each", n/float64(shop.People)), "KiB", (full-empty)/1024/float64(shop.People))
	b.record("live heap", "MB", full/1e6)
	b.record("on disk", "MB", s.Disk()/1e6)
	return nil
}

// steady sends events at a rate while probes look when they show. It begins when the server is at rest.
func (b *bench) steady(ctx context.Context, s *server.Server, shop *traffic.Shop, p *probes, name string, perPost, connections int) error {
	if err := quiet(ctx, s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*b.Window)
	defer cancel()
	l := &load.Load{
		Addr: s.Addr(), Connections: connections, Source: shop.Browsing(perPost), Check: accepted(perPost), Rate: float64(steadyRate) / float64(perPost),
	}
	var r *load.Result
	var probing error
	var both sync.WaitGroup
	broker := s.BrokerCPU()
	used := cores(s, func() {
		both.Go(func() { r = l.Run(ctx) })
		both.Go(func() { probing = p.during(ctx, b, name) })
		both.Wait()
	})
	if r.Good == 0 {
		return errors.Join(probing, fmt.Errorf("%s: no post was accepted: %s", name, r.Example))
	}
	b.record(name+": reached", "events/s", r.PerSecond()*float64(perPost))
	b.record(name+": server", "cores", used)
	if broker > 0 {
		b.record(name+": broker", "cores", (s.BrokerCPU()-broker).Seconds()/r.Seconds)
	}
	b.record(name+": post p50", "ms", r.Millis(50))
	b.record(name+": post p99", "ms", r.Millis(99))
	b.record(name+": generator and probes", "cores", r.OwnCores)
	return probing
}
