package optout

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sluice/systemtest/fault"
	"sluice/systemtest/run"
)

// recoverTime bounds how long a ranker may take to be ready after a fault.
const recoverTime = time.Minute

// menu is what is done to rankers: stopped, or their connections to the brokers stalled or cut; shorter and longer than a lease, and than a node is waited for.
func menu(s *system) []fault.Choice {
	var nodes, connections []string
	for _, r := range s.rankers {
		nodes = append(nodes, r.Name())
		connections = append(connections, r.Name()+":kafka")
	}
	const short, lease, long = 300 * time.Millisecond, 3 * time.Second, 15 * time.Second
	return []fault.Choice{
		{Kind: fault.Pause, Targets: nodes, Weight: 5, Min: short, Max: lease},
		{Kind: fault.Pause, Targets: nodes, Weight: 1, Min: lease, Max: long},
		{Kind: fault.Stall, Targets: connections, Weight: 3, Min: short, Max: lease},
		{Kind: fault.Stall, Targets: connections, Weight: 1, Min: lease, Max: long},
		{Kind: fault.Cut, Targets: connections, Weight: 2, Min: short, Max: lease},
		{Kind: fault.Cut, Targets: connections, Weight: 1, Min: lease, Max: long},
	}
}

// torment does one fault after another, until there were enough of them and enough is true, or ctx ends.
func torment(ctx context.Context, o *Command, s *system, w *witness, r *result, enough func() bool, say run.SayFunc) (problems []string) {
	if !run.Sleep(ctx, 5*time.Second) { // what is measured without a fault begins before the first
		return nil
	}
	schedule := fault.NewSchedule(o.Seed, menu(s), time.Second, 4*time.Second)
	for r.NFaults < o.Faults || !enough() {
		f := schedule.Next()
		if !run.Sleep(ctx, f.After) {
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
func strike(ctx context.Context, s *system, f fault.Fault) error {
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

func (r *server) suffer(ctx context.Context, f fault.Fault) error {
	if f.Kind == fault.Pause {
		if err := r.Pause(); err != nil {
			return err
		}
		run.Sleep(ctx, f.For)
		return r.Resume()
	}
	for _, p := range r.Kafka {
		if f.Kind == fault.Cut {
			p.Refuse(true)
		} else {
			p.Stall(true)
		}
	}
	run.Sleep(ctx, f.For)
	for _, p := range r.Kafka {
		p.Heal()
	}
	return nil
}

func (r *server) recover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoverTime)
	defer cancel()
	for !r.Answers(ctx) {
		if !run.Sleep(ctx, 50*time.Millisecond) { // polling from outside: nothing to wait on
			return fmt.Errorf("%s is not ready %v after it", r.Name(), recoverTime)
		}
	}
	return nil
}
