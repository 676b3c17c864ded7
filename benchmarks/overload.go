package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"sluice/benchmarks/load"
	"sluice/benchmarks/server"
	"sluice/benchmarks/traffic"
	"sluice/systemtest/client"
	"sluice/systemtest/run"
)

// overload measures what those who are served notice of those who are too many.
func overload(ctx context.Context, b *bench) error {
	s, err := b.demo(ctx, "")
	if err != nil {
		return err
	}
	shop := traffic.New(or(b.People, 50_000), or(b.Items, 100_000))
	if err := fillCatalogue(ctx, s, shop); err != nil {
		return err
	}
	if err := acceptPeople(ctx, s, shop); err != nil {
		return err
	}
	settled, err := settledRate(ctx, s, shop, or(b.Events, 600_000))
	if err != nil {
		return err
	}
	b.record("settled, measured beforehand", "events/s", settled)
	b.memory(s, "before")
	if err := b.press(ctx, s, shop, "half", settled/2, 6*b.Window); err != nil {
		return err
	}
	if err := s.Settle(ctx); err != nil {
		return err
	}
	if err := b.press(ctx, s, shop, "twice", settled*2, 24*b.Window); err != nil {
		return err
	}
	began := time.Now()
	if err := s.Settle(ctx); err != nil {
		return err
	}
	b.record("settling what was accepted, afterwards", "s", time.Since(began).Seconds())
	b.memory(s, "in the end")
	for _, what := range []string{"posts", "lists", "opt-outs"} {
		half, ok := b.line.Value("half: " + what + " p99")
		if twice, also := b.line.Value("twice: " + what + " p99"); ok && also {
			b.record("twice to half: "+what+" p99", "times", twice.Runs[len(twice.Runs)-1]/half.Runs[len(half.Runs)-1])
		}
	}
	return nil
}

// settledRate sends events as fast as they are taken, and says how many a second are settled.
func settledRate(ctx context.Context, s *server.Server, shop *traffic.Shop, events int) (float64, error) {
	const perPost = 200
	count, began := int64(events/perPost), time.Now()
	if err := answered(posts(s, perPost, count, shop.Browsing(perPost)).Run(ctx), count); err != nil {
		return 0, err
	}
	err := s.Settle(ctx)
	return float64(count*perPost) / time.Since(began).Seconds(), err
}

// press posts at a rate for a time, while lists are asked for and people opt out and in.
func (b *bench) press(ctx context.Context, s *server.Server, shop *traffic.Shop, name string, rate float64, d time.Duration) error {
	const perPost, listRate, choiceRate = 200, 100, 20
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	loads := map[string]*load.Load{
		"posts":    {Connections: 32, Source: shop.Browsing(perPost), Check: accepted(perPost), Rate: rate / perPost},
		"lists":    {Connections: 16, Source: shop.Lists("home"), Rate: listRate},
		"opt-outs": {Connections: 8, Source: choices(shop, "deny", 3), Rate: choiceRate},
		"opt-ins":  {Connections: 8, Source: choices(shop, "allow", 2), Rate: choiceRate},
	}
	results := make(map[string]*load.Result)
	var mu sync.Mutex // guards results
	var running sync.WaitGroup
	for what, l := range loads {
		l.Addr = s.Addr()
		running.Go(func() {
			r := l.Run(ctx)
			mu.Lock()
			defer mu.Unlock()
			results[what] = r
		})
	}
	var oldest, most float64
	running.Go(func() { oldest, most = watch(ctx, s) })
	used := cores(s, running.Wait)
	for _, what := range []string{"posts", "lists", "opt-outs", "opt-ins"} {
		r := results[what]
		if r.Good == 0 {
			return fmt.Errorf("%s: none of the %s was answered well: %s", name, what, r.Example)
		}
		b.record(name+": "+what+" p99", "ms", r.Millis(99))
		b.record(name+": "+what+" answered 429", "%", 100*r.Share(r.Refused))
		b.record(name+": "+what+" answered 503", "%", 100*r.Share(r.Unknown))
		b.record(name+": "+what+" failed", "%", 100*r.Share(r.Failed+r.Wrong))
	}
	b.record(name+": posted", "events/s", rate)
	b.record(name+": accepted", "events/s", results["posts"].PerSecond()*perPost)
	b.record(name+": oldest lease (1 s and more is a lapse)", "s", oldest)
	b.record(name+": most resident", "MB", most)
	b.record(name+": server", "cores", used)
	b.record(name+": generator", "cores", results["posts"].OwnCores)
	return nil
}

// choices is requests by which people of one quarter change their mind. Each quarter has its own way: who opts out does not opt in meanwhile.
func choices(shop *traffic.Shop, decision string, quarter int) func(int) load.Source {
	size := shop.People / 4
	return traffic.Requests(func(n int) load.Request {
		path := "/v1/users/" + traffic.Person(quarter*size+n) + "/consent/personalize"
		return load.NewRequest(http.MethodPut, path, client.ServerKey, fmt.Appendf(nil, `{"decision":%q}`, decision))
	}, size)
}

// watch looks at the lease's age and at the memory until ctx ends.
func watch(ctx context.Context, s *server.Server) (oldest, resident float64) {
	for run.Sleep(ctx, 200*time.Millisecond) {
		age, _, err := s.Metric(ctx, "sluice_consent_lease_age_seconds")
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			age = 1 // it does not even answer
		}
		now, _ := s.Memory()
		oldest, resident = max(oldest, age), max(resident, now)
	}
	return oldest, resident
}
