package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"sluice/benchmarks/server"
	"sluice/benchmarks/traffic"
	"sluice/systemtest/run"
)

// probes are visitors who come for the first time, look at an item, and ask for lists until one is personal. They have accepted the policy before.
type probes struct {
	s    *server.Server
	next int
}

// probesPerSecond bounds how many probes there are, so that they do not become the load.
const probesPerSecond = 20

// freshTime bounds how long a probe waits for a personal list.
const freshTime = 20 * time.Second

// during probes until ctx ends and records from when an event was acknowledged to when a list was personal.
func (p *probes) during(ctx context.Context, b *bench, name string) error {
	fresh := hdrhistogram.New(1, freshTime.Microseconds()*2, 3)
	var slowest time.Duration
	for due := time.Now(); ctx.Err() == nil; due = due.Add(time.Second / probesPerSecond) {
		if !run.Sleep(ctx, time.Until(due)) {
			break
		}
		took, err := p.probe(ctx, traffic.Visitor(p.next))
		p.next++
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return fmt.Errorf("probing: %w", err)
		}
		slowest = max(slowest, took)
		_ = fresh.RecordValue(max(1, took.Microseconds())) // within the bounds
	}
	b.record(name+": fresh p50", "ms", float64(fresh.ValueAtQuantile(50))/1000)
	b.record(name+": fresh p99", "ms", float64(fresh.ValueAtQuantile(99))/1000)
	b.record(name+": fresh, slowest", "ms", slowest.Seconds()*1000)
	b.record(name+": probes", "", float64(fresh.TotalCount()))
	return nil
}

func (p *probes) probe(ctx context.Context, visitor string) (took time.Duration, err error) {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	event := fmt.Appendf(nil, `{"id":%q,"type":"view_item","time":%q,"sent_at":%q,"anonymous_id":%q,"channel":"web","items":[{"item_id":"item-%06d"}]}`+"\n", "p-"+visitor, now, now, visitor, p.next%20)
	var taken struct{ Accepted int }
	if err := p.patiently(ctx, "/v1/events", event, &taken); err != nil {
		return 0, err
	}
	if taken.Accepted != 1 {
		return 0, errors.New("a probe's event was not accepted")
	}
	acknowledged, ask := time.Now(), fmt.Appendf(nil, `{"surface":"home","anonymous_id":%q,"limit":20}`, visitor)
	for {
		var list struct{ Personalized bool }
		if err := p.patiently(ctx, "/v1/recommendations", ask, &list); err != nil {
			return 0, err
		}
		took = time.Since(acknowledged)
		if list.Personalized {
			return took, nil
		}
		if took > freshTime {
			return 0, errors.New("no personal list in time")
		}
		run.Sleep(ctx, time.Millisecond) // polling from outside: nothing to wait on
	}
}

// patiently asks again what was refused.
func (p *probes) patiently(ctx context.Context, path string, body []byte, into any) error {
	for {
		err := p.s.Post(ctx, path, body, into)
		if err == nil || !server.Refused(err) || !run.Sleep(ctx, postPause) {
			return err
		}
	}
}
