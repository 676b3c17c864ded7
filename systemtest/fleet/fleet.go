// Package fleet runs several sluice processes on Apache Kafka on this machine, for tests that look at a deployment from outside. Everything listens
// on loopback only, and ends when this process ends.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sluice/deploy/local/kafka/kraft"
	"sluice/internal/process"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/systemtest/client"
	"sluice/systemtest/fault"
)

// Options say what to start.
type Options struct {
	Binary   string   // the program sluice
	Dir      string   // data, configuration and logs; it must exist
	Brokers  int      // 1 or 3
	Isolated []string // names of nodes that reach the brokers through proxies of their own
}

// Fleet is a deployment: brokers with topics, a root key, and nodes.
type Fleet struct {
	Cluster stream.Cluster
	Ring    *seal.Keyring

	o       Options
	kafka   *kraft.Cluster
	mu      sync.Mutex                // guards proxies: a broker asks for them when it starts
	proxies map[string][]*fault.Proxy // by isolated node, one a broker
	nodes   []*Node
}

const prefix = "sluice."

// Start starts the brokers, and makes the topics and the root key. It starts no node.
func Start(ctx context.Context, o Options) (f *Fleet, err error) {
	f = &Fleet{o: o, proxies: make(map[string][]*fault.Proxy)}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := f.makeProxies(); err != nil {
		return f, err
	}
	listeners := make([]string, len(o.Isolated))
	for i, name := range o.Isolated {
		listeners[i] = listenerOf(name)
	}
	f.kafka, err = kraft.Start(ctx, kraft.Options{Brokers: o.Brokers, Dir: f.path("kafka"), Nodes: listeners, Advertise: f.advertise})
	if err != nil {
		return f, err
	}
	f.Cluster = stream.Cluster{Brokers: f.kafka.Addrs(), Prefix: prefix}
	if err := topics.Create(ctx, f.Cluster, o.Brokers); err != nil {
		return f, err
	}
	if err := seal.Create(f.rootKey()); err != nil {
		return f, err
	}
	f.Ring, err = seal.Open(f.rootKey())
	return f, err
}

func (f *Fleet) path(elements ...string) string {
	return filepath.Join(append([]string{f.o.Dir}, elements...)...)
}

func (f *Fleet) rootKey() string { return f.path("root.key") }

func (f *Fleet) makeProxies() error {
	for _, name := range f.o.Isolated {
		for range f.o.Brokers {
			proxy, err := fault.NewProxy("127.0.0.1:0")
			if err != nil {
				return err
			}
			f.proxies[listenerOf(name)] = append(f.proxies[listenerOf(name)], proxy)
		}
	}
	return nil
}

// listenerOf is the listener of a node: letters and digits.
func listenerOf(node string) string { return strings.ToUpper(strings.ReplaceAll(node, "-", "")) }

// advertise leads a node to a broker through their proxy.
func (f *Fleet) advertise(listener string, broker int, addr string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	proxy := f.proxies[listener][broker]
	proxy.SetTarget(addr)
	return proxy.Addr()
}

// Broker says what the nodes run on.
func (f *Fleet) Broker() string {
	return fmt.Sprintf("kafka %s, %d brokers", kraft.Version, f.o.Brokers)
}

// Add makes a node with the given roles. Begin starts it.
func (f *Fleet) Add(name string, roles ...string) (*Node, error) {
	n := &Node{}
	addrs := f.Cluster.Brokers
	if proxies, ok := f.proxies[listenerOf(name)]; ok {
		n.Kafka, addrs = proxies, f.kafka.NodeAddrs(listenerOf(name))
	}
	config := f.path(name + ".yaml")
	text := fmt.Sprintf(`server: {listen: "127.0.0.1:0", data: %q, root_key: %q, node: %q}
kafka: {brokers: ["%s"], prefix: %q, replicas: %d}
keys: {write: [%s], server: [%s], operator: [%s]}
`, f.path(name), f.rootKey(), name, strings.Join(addrs, `", "`), prefix, f.o.Brokers, client.WriteKey, client.ServerKey, client.OperatorKey)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	var err error
	if n.web, err = fault.NewProxy("127.0.0.1:0"); err != nil {
		return nil, err
	}
	n.Process = process.New(process.Options{
		Name: name, Path: f.o.Binary, Args: []string{"serve", "--config", config, "--roles", strings.Join(roles, ",")}, Log: f.path(name + ".log"),
	})
	f.nodes = append(f.nodes, n)
	return n, nil
}

// Nodes are all that were added, in that order.
func (f *Fleet) Nodes() []*Node { return f.nodes }

// CPU is the processor time that the brokers and the running nodes have used since they started.
func (f *Fleet) CPU() (brokers, nodes time.Duration) {
	for _, pid := range f.kafka.PIDs() {
		brokers += process.CPU(pid)
	}
	for _, n := range f.nodes {
		if pid := n.PID(); pid != 0 {
			nodes += process.CPU(pid)
		}
	}
	return brokers, nodes
}

// Close ends everything, at once.
func (f *Fleet) Close() error {
	var errs []error
	for _, n := range f.nodes {
		if n.Running() {
			errs = append(errs, n.Kill())
		}
		errs = append(errs, n.web.Close())
	}
	for _, proxies := range f.proxies {
		for _, p := range proxies {
			errs = append(errs, p.Close())
		}
	}
	if f.kafka != nil {
		errs = append(errs, f.kafka.Close())
	}
	return errors.Join(errs...)
}
