package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/systemtest/fault"
	"sluice/systemtest/fleet"
	"sluice/systemtest/run"
)

// system is the deployment that is measured.
type system struct {
	*fleet.Fleet
	collectors, rankers *fault.Balancer // what answers requests

	first, spare map[string][]*fleet.Node // by the name of the role: two of each from the beginning, and one more of some
	unwatch      context.CancelFunc
}

// groups are the processes: two of each, and a third one where spare.
var groups = []struct {
	name  string
	roles []string
	spare bool
}{
	{"collector", []string{"collector", "risk"}, false},
	{"filter", []string{"filter"}, true},
	{"features", []string{"features"}, true},
	{"ranker", []string{"ranker"}, true},
}

const copies = 2

// start starts the brokers and two nodes of each group.
func start(ctx context.Context, o *Command, say run.SayFunc) (s *system, err error) {
	s = &system{first: make(map[string][]*fleet.Node), spare: make(map[string][]*fleet.Node), unwatch: func() {}}
	if s.Fleet, err = fleet.Start(ctx, fleet.Options{Binary: o.Sluice, Dir: o.Dir, Brokers: o.Brokers}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	say("%s run", s.Broker())
	for _, g := range groups {
		for i := range copies {
			n, err := s.Add(fmt.Sprintf("%s-%d", g.name, i), g.roles...)
			if err != nil {
				return s, err
			}
			s.first[g.name] = append(s.first[g.name], n)
		}
	}
	if err := fleet.Each(s.Nodes(), func(n *fleet.Node) error { return n.Begin(ctx) }); err != nil {
		return s, err
	}
	for _, g := range groups {
		if !g.spare {
			continue
		}
		n, err := s.Add(fmt.Sprintf("%s-%d", g.name, copies), g.roles...)
		if err != nil {
			return s, err
		}
		s.spare[g.name] = append(s.spare[g.name], n)
	}
	say("%d nodes run", copies*len(groups))
	return s, s.watch(ctx)
}

// watch starts the balancers and returns when they know the nodes.
func (s *system) watch(ctx context.Context) error {
	watching, stop := context.WithCancel(ctx)
	s.unwatch = stop
	s.collectors = fleet.Balance(watching, s.first["collector"])
	s.rankers = fleet.Balance(watching, append(s.first["ranker"][:copies:copies], s.spare["ranker"]...))
	for _, b := range []*fault.Balancer{s.collectors, s.rankers} {
		for range 100 {
			if ready := b.Ready(); ready[0] && ready[1] {
				break
			}
			if !run.Sleep(ctx, 50*time.Millisecond) {
				return ctx.Err()
			}
		}
	}
	return nil
}

// Close ends everything, at once.
func (s *system) Close() error {
	s.unwatch()
	return s.Fleet.Close()
}

// script makes the changes one after another; each begins a phase. The problems are processes that did not take it as they must.
func script(ctx context.Context, o *Command, s *system, r *recorder, say run.SayFunc) (problems []string, err error) {
	wrong := func(err error) {
		if err != nil {
			problems = append(problems, err.Error())
		}
	}
	var killed []*fleet.Node
	kill := func(group string) func() {
		return func() {
			n := s.first[group][0]
			killed = append(killed, n)
			wrong(n.Kill())
		}
	}
	begin := func(n *fleet.Node) error { return n.Begin(ctx) }
	for _, step := range []struct {
		name   string
		do     func()
		length time.Duration
	}{
		{"", nil, o.Phase / 3}, // the warm-up, which has begun
		{phaseBefore, nil, o.Calm},
		{"filter killed", kill("filter"), o.Phase},
		{"features killed", kill("features"), o.Phase},
		{"ranker killed", kill("ranker"), o.Phase},
		{"collector killed", kill("collector"), o.Phase},
		{"all started again", func() { wrong(fleet.Each(killed, begin)) }, o.Phase},
		{"one of each added", func() { wrong(fleet.Each(s.spares(), begin)) }, o.Phase},
		{"rolling restart", func() { s.roll(ctx, wrong, say) }, 0},
		{phaseAfter, nil, o.Calm},
	} {
		if step.name != "" {
			say("%s", step.name)
			r.begin(step.name, s)
		}
		if step.do != nil {
			step.do()
		}
		if !run.Sleep(ctx, step.length) {
			return problems, ctx.Err()
		}
	}
	for _, n := range s.Nodes() {
		if !n.Running() {
			problems = append(problems, n.Name()+" ended by itself")
		}
	}
	return problems, nil
}

func (s *system) spares() (nodes []*fleet.Node) {
	for _, g := range groups {
		nodes = append(nodes, s.spare[g.name]...)
	}
	return nodes
}

// roll restarts every node in order, one by one.
func (s *system) roll(ctx context.Context, wrong func(error), say run.SayFunc) {
	for _, n := range s.Nodes() {
		if ctx.Err() != nil {
			return
		}
		began := time.Now()
		wrong(n.End(ctx))
		ended := time.Since(began)
		wrong(n.Begin(ctx))
		say("%s: ended after %.1f s, ready again after %.1f s", n.Name(), ended.Seconds(), time.Since(began).Seconds())
	}
}
