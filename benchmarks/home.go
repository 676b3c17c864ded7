package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/benchmarks/server"
	"sluice/benchmarks/traffic"
)

func home(ctx context.Context, b *bench) error { return b.home(ctx, 50_000, 24) }

func home200(ctx context.Context, b *bench) error { return b.home(ctx, 10_000, 200) }

// home measures the first page for people with a past, in a shop where things go on.
func (b *bench) home(ctx context.Context, size, each int) error {
	s, err := b.demo(ctx, "")
	if err != nil {
		return err
	}
	shop := traffic.New(or(b.People, size), or(b.Items, 100_000))
	if err := b.open(ctx, s, shop, or(b.Events, each)); err != nil {
		return err
	}
	people, strangers := shop.Lists("home"), traffic.StrangersLists("home")
	if err := errors.Join(verify(ctx, s, "people", people, personal), verify(ctx, s, "strangers", strangers, impersonal)); err != nil {
		return err
	}
	f, err := b.startFlow(ctx, s, shop, steadyRate, steadyPost)
	if err != nil {
		return err
	}
	b.profile(ctx, s)
	errs := []error{b.ladder(ctx, s, "people", people, personal, or(b.Rate, 1500), f)}
	errs = append(errs, b.ladder(ctx, s, "strangers", strangers, impersonal, 2*or(b.Rate, 1500), f))
	errs = append(errs, f.end(b))
	b.memory(s, "in the end")
	return errors.Join(errs...)
}

// open fills a shop: its catalogue, the acceptance and the past of everybody. What the second half of the people adds to the live heap is what a person takes:
// buffers and caches of a fixed size are full by then.
func (b *bench) open(ctx context.Context, s *server.Server, shop *traffic.Shop, each int) error {
	if err := fillCatalogue(ctx, s, shop); err != nil {
		return err
	}
	half := shop.People / 2
	var heaps []float64
	var took time.Duration
	for _, past := range []traffic.Past{
		{People: half, Each: each, Oldest: longAgo},
		{From: half, People: shop.People - half, Each: each, Oldest: longAgo},
	} {
		began := time.Now()
		if err := acceptSome(ctx, s, past.From, past.People); err != nil {
			return err
		}
		if err := fillHistories(ctx, s, shop, past); err != nil {
			return err
		}
		took += time.Since(began)
		if err := quiet(ctx, s); err != nil {
			return err
		}
		heap, err := s.Heap(ctx)
		if err != nil {
			return err
		}
		heaps = append(heaps, heap)
	}
	b.record("filling histories", "events/s", float64(shop.People*each)/took.Seconds())
	b.record(fmt.Sprintf("live heap a further person, %d events each", each), "KiB", (heaps[1]-heaps[0])/1024/float64(shop.People-half))
	b.memory(s, "when filled")
	return nil
}
