package optout

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"sluice/systemtest/client"
	"sluice/systemtest/fleet"
	"sluice/systemtest/run"
)

// system is the deployment that is attacked.
type system struct {
	*fleet.Fleet
	collectors, rankers []*server
}

// server is a node with a client that asks it and no other.
type server struct {
	*fleet.Node
	api *client.Client
}

// patience is how long a client waits: longer than the longest fault, so that what a stopped process had ready is seen.
const patience = 30 * time.Second

// start starts brokers and nodes.
func start(ctx context.Context, o *Command, say run.SayFunc) (s *system, err error) {
	s = new(system)
	isolated := make([]string, o.Rankers)
	for i := range isolated {
		isolated[i] = rankerName(i)
	}
	if s.Fleet, err = fleet.Start(ctx, fleet.Options{Binary: o.Sluice, Dir: o.Dir, Brokers: o.Brokers, Isolated: isolated}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	say("%s run", s.Broker())
	for i := range o.Collectors {
		if _, err := s.Add(fmt.Sprintf("collector-%d", i), "collector", "filter", "features"); err != nil {
			return s, err
		}
	}
	for i := range o.Rankers {
		if _, err := s.Add(rankerName(i), "ranker"); err != nil {
			return s, err
		}
	}
	if err := fleet.Each(s.Nodes(), func(n *fleet.Node) error { return n.Begin(ctx) }); err != nil {
		return s, err
	}
	say("%d nodes run", len(s.Nodes()))
	for i, n := range s.Nodes() {
		one := &server{Node: n, api: client.New(n.URL(), &http.Transport{MaxIdleConnsPerHost: 256}, patience)}
		if i < o.Collectors {
			s.collectors = append(s.collectors, one)
		} else {
			s.rankers = append(s.rankers, one)
		}
	}
	return s, nil
}

func rankerName(i int) string { return fmt.Sprintf("ranker-%d", i) }

// ended names the nodes that have ended by themselves: no fault may do that.
func (s *system) ended() (problems []string) {
	for _, n := range s.Nodes() {
		if !n.Running() {
			problems = append(problems, n.Name()+" ended by itself")
		}
	}
	return problems
}
