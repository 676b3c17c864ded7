package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sluice/benchmarks/fleet"
	"sluice/internal/crashtest"
)

// recoverTime bounds how long a ranker may take to be ready after a fault.
const recoverTime = time.Minute

// menu is what is done to rankers: stopped, or their connections to the brokers stalled or cut; shorter and longer than a lease, and than a node is waited for.
func menu(s *system) []crashtest.Choice {
	var nodes, connections []string
	for _, r := range s.rankers {
		nodes = append(nodes, r.Name())
		connections = append(connections, r.Name()+":kafka")
	}
	const short, lease, long = 300 * time.Millisecond, 3 * time.Second, 15 * time.Second
	return []crashtest.Choice{
		{Kind: crashtest.Pause, Targets: nodes, Weight: 5, Min: short, Max: lease},
		{Kind: crashtest.Pause, Targets: nodes, Weight: 1, Min: lease, Max: long},
		{Kind: crashtest.Stall, Targets: connections, Weight: 3, Min: short, Max: lease},
		{Kind: crashtest.Stall, Targets: connections, Weight: 1, Min: lease, Max: long},
		{Kind: crashtest.Cut, Targets: connections, Weight: 2, Min: short, Max: lease},
		{Kind: crashtest.Cut, Targets: connections, Weight: 1, Min: lease, Max: long},
	}
}

// torment does one fault after another, until there were enough of them and enough is true, or ctx ends.
func torment(ctx context.Context, o options, s *system, w *witness, r *result, enough func() bool, say fleet.SayFunc) (problems []string) {
	if !fleet.Sleep(ctx, 5*time.Second) { // what is measured without a fault begins before the first
		return nil
	}
	schedule := crashtest.NewSchedule(o.seed, menu(s), time.Second, 4*time.Second)
	for r.NFaults < o.faults || !enough() {
		f := schedule.Next()
		if !fleet.Sleep(ctx, f.After) {
			return problems
		}
		w.fault.Add(1)
		err := strike(ctx, s, f)
		w.fault.Add(1)
		if err != nil {
			problems = append(problems, fmt.Sprintf("fault %v: %v", f, err))
		}
		r.Faults[fmt.Sprint(f.Kind)]++
		r.NFaults++
		say("%v; %d toggles, %d violations, %d late answers", f, w.toggles.Load(), w.violations.Load(), w.late.Load())
	}
	return problems
}

// strike does what the fault says, undoes it, and returns when the ranker is ready again.
func strike(ctx context.Context, s *system, f crashtest.Fault) error {
	name, _, _ := strings.Cut(f.Target, ":")
	for _, r := range s.rankers {
		if r.Name() != name {
			continue
		}
		if err := r.suffer(ctx, f); err != nil {
			return err
		}
		return r.recover(context.WithoutCancel(ctx))
	}
	return fmt.Errorf("there is no %s", name)
}

func (r *server) suffer(ctx context.Context, f crashtest.Fault) error {
	if f.Kind == crashtest.Pause {
		if err := r.Pause(); err != nil {
			return err
		}
		fleet.Sleep(ctx, f.For)
		return r.Resume()
	}
	for _, p := range r.Kafka {
		if f.Kind == crashtest.Cut {
			p.Refuse(true)
		} else {
			p.Stall(true)
		}
	}
	fleet.Sleep(ctx, f.For)
	for _, p := range r.Kafka {
		p.Heal()
	}
	return nil
}

func (r *server) recover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoverTime)
	defer cancel()
	for !r.Answers(ctx) {
		if !fleet.Sleep(ctx, 50*time.Millisecond) { // polling from outside: nothing to wait on
			return fmt.Errorf("%s is not ready %v after it", r.Name(), recoverTime)
		}
	}
	return nil
}
