package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"sluice/benchmarks/load"
	"sluice/benchmarks/server"
	"sluice/benchmarks/traffic"
	"sluice/systemtest/run"
)

// demo starts the program with everything on its embedded broker.
func (b *bench) demo(ctx context.Context, config string) (*server.Server, error) {
	return b.start(ctx, server.Demo, server.Options{Dir: b.dir, Config: config})
}

// start starts a server that is closed when the run is over.
func (b *bench) start(ctx context.Context, start func(context.Context, server.Options) (*server.Server, error), o server.Options) (*server.Server, error) {
	o.Binary = b.Sluice
	s, err := start(ctx, o)
	if s != nil {
		b.servers = append(b.servers, s)
	}
	return s, err
}

// bulk posts bodies one after another, for filling: a body that is refused is posted again.
func bulk(ctx context.Context, s *server.Server, path string, bodies [][]byte) error {
	for _, body := range bodies {
		for {
			err := s.Post(ctx, path, body, nil)
			if err == nil {
				break
			}
			if !server.Refused(err) || !run.Sleep(ctx, 100*time.Millisecond) {
				return fmt.Errorf("posting to %s: %w", path, err)
			}
		}
	}
	return nil
}

// visitors are more than all probes of a scenario.
const visitors = 5000

// acceptSome imports the acceptance of some of the shop's people.
func acceptSome(ctx context.Context, s *server.Server, from, people int) error {
	return accept(ctx, s, "u:", func(n int) string { return traffic.Person(from + n) }, people)
}

// acceptPeople imports the acceptance of everybody who has an account.
func acceptPeople(ctx context.Context, s *server.Server, shop *traffic.Shop) error {
	return accept(ctx, s, "u:", traffic.Person, shop.People)
}

// acceptVisitors imports the acceptance of those who will probe.
func acceptVisitors(ctx context.Context, s *server.Server) error {
	return accept(ctx, s, "a:", traffic.Visitor, visitors)
}

func accept(ctx context.Context, s *server.Server, prefix string, id func(int) string, n int) error {
	policy, err := s.Policy(ctx)
	if err != nil {
		return err
	}
	if err := bulk(ctx, s, "/v1/imports", traffic.Acceptances(policy, prefix, id, n)); err != nil {
		return err
	}
	return s.Settle(ctx)
}

// fillCatalogue posts the catalogue and waits until it is there.
func fillCatalogue(ctx context.Context, s *server.Server, shop *traffic.Shop) error {
	if err := bulk(ctx, s, "/v1/items", shop.Catalogue()); err != nil {
		return err
	}
	for {
		n, _, err := s.Metric(ctx, "sluice_catalog_items")
		if err != nil || int(n) == shop.Items {
			return err
		}
		if !run.Sleep(ctx, 100*time.Millisecond) { // polling from outside: nothing to wait on
			return fmt.Errorf("%d items of %d are there: %w", int(n), shop.Items, ctx.Err())
		}
	}
}

// postPause is how long a post that was refused waits.
const postPause = 10 * time.Millisecond

// accepted is a check that every event of a post was.
func accepted(n int) func([]byte) bool {
	want := fmt.Appendf(nil, `"accepted":%d,"duplicate":0,"denied":0,"rejected":0`, n)
	return func(body []byte) bool { return bytes.Contains(body, want) }
}

// posts is a closed load of a number of posts of n events each.
func posts(s *server.Server, n int, count int64, source func(int) load.Source) *load.Load {
	return &load.Load{Addr: s.Addr(), Connections: 4, Source: source, Count: count, Check: accepted(n), Again: postPause}
}

// longAgo is when a past begins that leaves nothing expired.
const longAgo = 21 * 24 * time.Hour

// fillHistories gives everybody a past and waits until all is settled.
func fillHistories(ctx context.Context, s *server.Server, shop *traffic.Shop, past traffic.Past) error {
	const perPost = 500
	all := shop.HistoryPosts(perPost, past)
	r := posts(s, perPost, all, shop.Histories(perPost, past)).Run(ctx)
	if err := answered(r, all); err != nil {
		return fmt.Errorf("filling histories: %w", err)
	}
	return s.Settle(ctx)
}

// answered is an error unless so many requests were answered well.
func answered(r *load.Result, want int64) error {
	if r.Good == want {
		return nil
	}
	return fmt.Errorf("%d of %d requests were answered well; %d wrong, %d failed: %s", r.Good, want, r.Wrong, r.Failed, r.Example)
}

// personal and impersonal check that a list is what was asked for.
func personal(body []byte) bool { return bytes.Contains(body, []byte(`"personalized":true`)) }

func impersonal(body []byte) bool {
	return bytes.Contains(body, []byte(`"personalized":false`)) && bytes.Contains(body, []byte(`"item_id"`))
}

// flow is events that come all the time while something else is measured. A nil flow is none.
type flow struct {
	stop  context.CancelFunc
	done  chan *load.Result
	taken atomic.Int64 // posts
	per   int          // events a post
	alone float64      // cores that the server uses for it alone
	post  float64      // seconds of CPU that the server then uses for a post
}

// quietCores is what a server at rest may use.
const quietCores = 0.1

// quiet waits until the server is at rest. It catches up on files and compactions long after the stream is settled, and that is not what is measured next.
func quiet(ctx context.Context, s *server.Server) error {
	for cores(s, func() { run.Sleep(ctx, time.Second) }) > quietCores {
		if ctx.Err() != nil {
			return fmt.Errorf("waiting for a server at rest: %w", ctx.Err())
		}
	}
	return nil
}

// settling is how long the flow runs before it is measured: everything that it makes the server do from time to time must have begun.
const settling = 4 * time.Second

// startFlow begins to post events at a rate, in posts of n, and sees what the server uses for it alone.
func (b *bench) startFlow(ctx context.Context, s *server.Server, shop *traffic.Shop, rate, n int) (*flow, error) {
	if err := quiet(ctx, s); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	f := &flow{stop: stop, done: make(chan *load.Result, 1), per: n}
	l := &load.Load{
		Addr: s.Addr(), Connections: 8, Source: shop.Browsing(n), Check: accepted(n), Rate: float64(rate) / float64(n), Taken: &f.taken,
	}
	go func() { f.done <- l.Run(ctx) }()
	run.Sleep(ctx, settling)
	taken, began := f.taken.Load(), time.Now()
	f.alone = cores(s, func() { run.Sleep(ctx, b.Window) })
	f.post = f.alone * time.Since(began).Seconds() / float64(max(1, f.taken.Load()-taken))
	return f, nil
}

// posts is how many have been taken.
func (f *flow) posts() int64 {
	if f == nil {
		return 0
	}
	return f.taken.Load()
}

// cost is the CPU that the server used for the posts that were taken since.
func (f *flow) cost(since int64) (seconds float64) {
	if f == nil {
		return 0
	}
	return float64(f.taken.Load()-since) * f.post
}

// end ends the flow and records what it reached.
func (f *flow) end(b *bench) error {
	f.stop()
	r := <-f.done
	b.record("flow: events reached", "/s", r.PerSecond()*float64(f.per))
	b.record("flow: server alone", "cores", f.alone)
	b.record("flow: post p99", "ms", r.Millis(99))
	if r.Good == 0 {
		return fmt.Errorf("no event flowed in: %s", r.Example)
	}
	return nil
}

// cores is what the server uses while something is done.
func cores(s *server.Server, do func()) float64 {
	cpu, began := s.CPU(), time.Now()
	do()
	return (s.CPU() - cpu).Seconds() / time.Since(began).Seconds()
}

// window measures requests for a time. What the server uses for the events that flow in meanwhile is not counted as the requests'.
func (b *bench) window(ctx context.Context, s *server.Server, name string, l *load.Load, f *flow) error {
	l.For(ctx, b.Window/10) // connections are open, caches warm
	cpu, flowed := s.CPU(), f.posts()
	r := l.For(ctx, b.Window)
	whole := (s.CPU() - cpu).Seconds()
	used := whole - f.cost(flowed)
	if r.Good == 0 {
		return fmt.Errorf("%s: no good answer of %d: %s", name, r.Asked(), r.Example)
	}
	b.record(name+": answers", "/s", r.PerSecond())
	b.record(name+": p50", "ms", r.Millis(50))
	b.record(name+": p99", "ms", r.Millis(99))
	b.record(name+": server's CPU a request", "ms", used*1000/float64(r.Asked()))
	b.record(name+": server with what flows in", "cores", whole/r.Seconds)
	b.record(name+": generator", "cores", r.OwnCores)
	b.record(name+": answered 503", "%", 100*r.Share(r.Unknown))
	b.record(name+": answered 429", "%", 100*r.Share(r.Refused))
	b.record(name+": not as asked for", "%", 100*r.Share(r.Wrong))
	b.record(name+": failed", "%", 100*r.Share(r.Failed))
	return nil
}

// verify is an error unless the program, at rest, answers some requests as they are asked for: what is measured must be the real thing.
func verify(ctx context.Context, s *server.Server, what string, source func(int) load.Source, check func([]byte) bool) error {
	const some = 50
	r := (&load.Load{Addr: s.Addr(), Connections: 1, Source: source, Check: check, Count: some, Again: postPause}).Run(ctx)
	if err := answered(r, some); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// ladder measures a closed loop with 1, 8 and 32 connections, then an open one at a rate over 32.
func (b *bench) ladder(ctx context.Context, s *server.Server, name string, source func(int) load.Source, check func([]byte) bool, rate float64, f *flow) error {
	var errs []error
	for _, connections := range []int{1, 8, 32} {
		l := &load.Load{Addr: s.Addr(), Connections: connections, Source: source, Check: check}
		errs = append(errs, b.window(ctx, s, fmt.Sprintf("%s, closed, %d", name, connections), l, f))
	}
	l := &load.Load{Addr: s.Addr(), Connections: 32, Source: source, Check: check, Rate: rate}
	return errors.Join(append(errs, b.window(ctx, s, fmt.Sprintf("%s, open at %.0f/s, 32", name, rate), l, f))...)
}

// memory records what the server takes.
func (b *bench) memory(s *server.Server, when string) {
	now, peak := s.Memory()
	b.record("resident "+when, "MB", now)
	b.record("peak resident until then, "+when, "MB", peak)
}

// restart stops the server and measures how long it takes until it is ready again, and answers.
func (b *bench) restart(ctx context.Context, s *server.Server, ask string) error {
	if err := s.Stop(); err != nil {
		return err
	}
	began := time.Now()
	if err := s.Begin(ctx); err != nil {
		return err
	}
	for !s.IsReady(ctx) {
		if !run.Sleep(ctx, 20*time.Millisecond) { // polling from outside: nothing to wait on
			return ctx.Err()
		}
	}
	b.record("restart: until ready", "s", time.Since(began).Seconds())
	var answer struct{ Personalized bool }
	if err := s.Post(ctx, "/v1/recommendations", fmt.Appendf(nil, `{"surface":"home","user_id":%q,"limit":20}`, ask), &answer); err != nil {
		return err
	}
	if !answer.Personalized {
		return errors.New("the list after the restart is not personal")
	}
	b.record("restart: until the first personal list", "s", time.Since(began).Seconds())
	if err := s.Settle(ctx); err != nil {
		return err
	}
	now, _ := s.Memory()
	b.record("restart: resident when ready", "MB", now)
	return nil
}

// profile writes a CPU profile of what is going on, if one is wanted. It does not wait.
func (b *bench) profile(ctx context.Context, s *server.Server) {
	if b.Profile == "" {
		return
	}
	path := filepath.Join(filepath.Dir(b.Profile), b.name+"-"+filepath.Base(b.Profile))
	go func() {
		if err := s.Profile(ctx, 15, path); err != nil {
			b.say("  no profile: %v", err)
		}
	}()
}
