package crash

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/internal/broker"
	"sluice/internal/process"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/systemtest/fault"
	"sluice/systemtest/run"
)

// system is what is attacked: processes behind proxies behind a balancer, and brokers.
type system struct {
	broker   string
	parts    int32 // partitions of every keyed topic
	nodes    []*node
	brokers  brokers // nil: none that can be attacked
	balancer *fault.Balancer
	ring     *seal.Keyring
	menu     []fault.Choice

	// storage opens what the stopped system has kept.
	storage func() (cluster stream.Cluster, done func(), err error)

	watching context.CancelFunc
	watched  sync.WaitGroup
}

// node is one process of sluice. Everything that reaches it, or that it reaches, goes through proxies of its own.
type node struct {
	front   bool // it answers requests
	process *process.Process
	web     *fault.Proxy
	kafka   []*fault.Proxy // one a broker
}

// brokers are processes that can be attacked.
type brokers interface {
	Addrs() []string
	Kill(i int) error
	Shutdown(i int) error
	Pause(i int) error
	Continue(i int) error
	Restart(i int) error
	Close() error
}

// prefix of the topics, as the demo has it.
const prefix = "sluice."

func start(ctx context.Context, o *Command, say run.SayFunc) (*system, error) {
	switch o.Broker {
	case "embedded":
		return startEmbedded(ctx, o)
	case "kafka":
		return startKafka(ctx, o, say)
	default:
		return nil, fmt.Errorf("--broker %s: must be embedded or kafka", o.Broker)
	}
}

// startEmbedded starts one demo, which holds the broker.
func startEmbedded(ctx context.Context, o *Command) (*system, error) {
	data := inDir(o, "data")
	s := &system{broker: "embedded", parts: broker.DefaultPartitions}
	n, err := newNode(o, "demo", "demo", "--listen", "127.0.0.1:0", "--data", data, "--shop", "none", "--shoppers", "0")
	if err != nil {
		return nil, err
	}
	n.front = true
	s.nodes = []*node{n}
	s.menu = []fault.Choice{
		{Kind: fault.Kill, Targets: []string{"demo"}, Weight: 8},
		{Kind: fault.KillTwice, Targets: []string{"demo"}, Weight: 3, Min: 20 * time.Millisecond, Max: 2 * time.Second},
		{Kind: fault.Pause, Targets: []string{"demo"}, Weight: 3, Min: 100 * time.Millisecond, Max: 3 * time.Second},    // about the lease
		{Kind: fault.Pause, Targets: []string{"demo"}, Weight: 2, Min: 10500 * time.Millisecond, Max: 14 * time.Second}, // beyond the session
		{Kind: fault.Terminate, Targets: []string{"demo"}, Weight: 3},
		{Kind: fault.Cut, Targets: []string{"demo"}, Weight: 2, Max: 2 * time.Second},
		{Kind: fault.Stall, Targets: []string{"demo"}, Weight: 1, Min: time.Second, Max: 8 * time.Second},
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if s.ring, err = seal.Open(filepath.Join(data, "keys", "root.key")); err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.storage = func() (stream.Cluster, func(), error) {
		b, err := broker.Start(broker.Options{Dir: filepath.Join(data, "broker")})
		if err != nil {
			return stream.Cluster{}, nil, err
		}
		return b.Cluster(prefix), b.Close, nil
	}
	return s, nil
}

func newNode(o *Command, name string, args ...string) (*node, error) {
	web, err := fault.NewProxy("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &node{web: web, process: process.New(process.Options{
		Name: name, Path: o.Sluice, Args: args, Log: inDir(o, name+".log"),
	})}, nil
}

// readyTime bounds how long a process may take to be ready.
const readyTime = 90 * time.Second

// begin starts the process, and leads the balancer to it once it is ready.
func (n *node) begin(ctx context.Context) error {
	if err := n.process.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	url, err := n.process.Ready(ctx)
	if err != nil {
		return err
	}
	n.web.SetTarget(strings.TrimPrefix(url, "http://"))
	return nil
}

// proxies are those that a fault on the target reaches: all of the node's, or only those towards the brokers.
func (n *node) proxies(part string) []*fault.Proxy {
	if part == "kafka" {
		return n.kafka
	}
	return append([]*fault.Proxy{n.web}, n.kafka...)
}

// open starts the nodes and the balancer.
func (s *system) open(ctx context.Context) error {
	var urls []string
	errs := make([]error, len(s.nodes))
	var wg sync.WaitGroup
	for i, n := range s.nodes {
		if n.front {
			urls = append(urls, "http://"+n.web.Addr())
		}
		wg.Go(func() { errs[i] = n.begin(ctx) })
	}
	wg.Wait()
	s.balancer = fault.NewBalancer(urls, fault.BalancerOptions{Patience: 5 * time.Second, Retryable: anyRequest})
	watching, stop := context.WithCancel(ctx)
	s.watching = stop
	s.watched.Go(func() { s.balancer.Run(watching) })
	return errors.Join(errs...)
}

// node finds the node of a target, "name" or "name:part".
func (s *system) node(target string) (n *node, part string) {
	name, part, _ := strings.Cut(target, ":")
	i := slices.IndexFunc(s.nodes, func(n *node) bool { return n.process.Name() == name })
	if i < 0 {
		return nil, ""
	}
	return s.nodes[i], part
}

// stop ends the nodes in order, and tells what went wrong.
func (s *system) stop(ctx context.Context) (problems []string) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, n := range s.nodes {
		if err := n.process.Terminate(ctx); err != nil {
			problems = append(problems, err.Error())
		}
	}
	return problems
}

// close gives everything up, at once.
func (s *system) close() error {
	if s.watching != nil {
		s.watching()
		s.watched.Wait()
	}
	var errs []error
	for _, n := range s.nodes {
		if n.process.Running() {
			errs = append(errs, n.process.Kill())
		}
		for _, p := range n.proxies("") {
			errs = append(errs, p.Close())
		}
	}
	if s.brokers != nil {
		errs = append(errs, s.brokers.Close())
	}
	return errors.Join(errs...)
}
