package crash

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
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/systemtest/client"
	"sluice/systemtest/fault"
	"sluice/systemtest/run"
)

// roles are the processes of a deployment on Kafka, two of each: those in front answer requests, the others only work.
var roles = []struct {
	name, roles string
	front       bool
}{
	{"front", "collector,ranker,risk", true},
	{"filter", "filter", false},
	{"features", "features", false},
}

const (
	copies   = 2 // of each role
	replicas = 3
)

// startKafka starts brokers, unless some are named, and two processes of each role. Each process reaches the brokers through proxies of its own.
func startKafka(ctx context.Context, o *Command, say run.SayFunc) (s *system, err error) {
	s = &system{parts: stream.Partitions, broker: "kafka " + kraft.Version}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	cluster := stream.Cluster{Brokers: strings.Split(o.KafkaAddrs, ","), Prefix: fmt.Sprintf("crash-%d.", o.Seed)}
	brokersOf := func(string) []string { return cluster.Brokers }
	if o.KafkaAddrs == "" {
		own, err := startBrokers(ctx, o)
		if err != nil {
			return nil, err
		}
		s.brokers, cluster.Brokers, brokersOf = own, own.Addrs(), own.brokersOf
		say("three brokers run")
	}
	if err := topics.Create(ctx, cluster, replicas); err != nil {
		return s, err
	}
	root := inDir(o, "root.key")
	if err := seal.Create(root); err != nil {
		return s, err
	}
	if s.ring, err = seal.Open(root); err != nil {
		return s, err
	}
	for _, r := range roles {
		for i := range copies {
			name := nodeName(r.name, i)
			n, err := newServer(o, name, r.roles, cluster.Prefix, root, brokersOf(name))
			if err != nil {
				return s, err
			}
			n.front = r.front
			if own, ok := s.brokers.(*ownBrokers); ok {
				n.kafka = own.proxiesOf(name)
			}
			s.nodes = append(s.nodes, n)
		}
	}
	s.menu = kafkaMenu(s)
	s.storage = func() (stream.Cluster, func(), error) { return cluster, func() {}, nil }
	return s, s.open(ctx)
}

func nodeName(role string, i int) string { return fmt.Sprintf("%s-%d", role, i) }

// newServer writes a node's configuration.
func newServer(o *Command, name, roles, prefix, root string, brokers []string) (*node, error) {
	config := inDir(o, name+".yaml")
	text := fmt.Sprintf(`server: {listen: "127.0.0.1:0", data: %q, root_key: %q, node: %q}
kafka: {brokers: ["%s"], prefix: %q, replicas: %d}
keys: {write: [%s], server: [%s], operator: [%s]}
`, inDir(o, name), root, name, strings.Join(brokers, `", "`), prefix, replicas, client.WriteKey, client.ServerKey, client.OperatorKey)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return newNode(o, name, "serve", "--config", config, "--roles", roles)
}

// kafkaMenu is what is done to processes, their connections and brokers.
func kafkaMenu(s *system) []fault.Choice {
	var all, front, behind []string
	for _, n := range s.nodes {
		name := n.process.Name()
		all = append(all, name)
		if n.front {
			front = append(front, name)
		}
		if len(n.kafka) > 0 {
			behind = append(behind, name+":kafka")
		}
	}
	menu := []fault.Choice{
		{Kind: fault.Kill, Targets: all, Weight: 8},
		{Kind: fault.KillTwice, Targets: all, Weight: 3, Min: 20 * time.Millisecond, Max: 3 * time.Second},
		{Kind: fault.Pause, Targets: all, Weight: 4, Min: 100 * time.Millisecond, Max: 3 * time.Second},    // about the lease
		{Kind: fault.Pause, Targets: all, Weight: 3, Min: 10500 * time.Millisecond, Max: 14 * time.Second}, // beyond the session
		{Kind: fault.Terminate, Targets: all, Weight: 3},
		{Kind: fault.Cut, Targets: front, Weight: 2, Max: 2 * time.Second},
		{Kind: fault.Stall, Targets: front, Weight: 1, Min: time.Second, Max: 4 * time.Second},
	}
	if len(behind) > 0 {
		menu = append(menu,
			fault.Choice{Kind: fault.Cut, Targets: behind, Weight: 2, Max: 3 * time.Second},
			fault.Choice{Kind: fault.Stall, Targets: behind, Weight: 2, Min: 500 * time.Millisecond, Max: 13 * time.Second},
			fault.Choice{Kind: fault.Slow, Targets: behind, Weight: 1, Min: time.Second, Max: 5 * time.Second},
		)
	}
	if s.brokers != nil {
		var brokers []string
		for i := range s.brokers.Addrs() {
			brokers = append(brokers, fmt.Sprintf("broker-%d", i))
		}
		menu = append(menu,
			fault.Choice{Kind: fault.Kill, Targets: brokers, Weight: 3, Max: 8 * time.Second},
			fault.Choice{Kind: fault.Terminate, Targets: brokers, Weight: 1, Max: 8 * time.Second},
			fault.Choice{Kind: fault.Pause, Targets: brokers, Weight: 2, Min: 500 * time.Millisecond, Max: 12 * time.Second},
		)
	}
	return menu
}

// ownBrokers are brokers that this program started, each with a listener for each node, and a proxy before it.
type ownBrokers struct {
	*kraft.Cluster
	mu      sync.Mutex              // guards proxies
	proxies map[string]*fault.Proxy // by listener and broker
}

func startBrokers(ctx context.Context, o *Command) (*ownBrokers, error) {
	b := &ownBrokers{proxies: make(map[string]*fault.Proxy)}
	var listeners []string
	for _, r := range roles {
		for i := range copies {
			listener := listenerOf(nodeName(r.name, i))
			listeners = append(listeners, listener)
			for broker := range replicas {
				proxy, err := fault.NewProxy("127.0.0.1:0")
				if err != nil {
					return nil, err
				}
				b.proxies[proxyName(listener, broker)] = proxy
			}
		}
	}
	var err error
	b.Cluster, err = kraft.Start(ctx, kraft.Options{Brokers: replicas, Dir: filepath.Join(o.Dir, "kafka"), Nodes: listeners, Advertise: b.advertise})
	return b, err
}

// listenerOf is the listener of a node: letters and digits.
func listenerOf(node string) string { return strings.ToUpper(strings.ReplaceAll(node, "-", "")) }

func proxyName(listener string, broker int) string { return fmt.Sprintf("%s/%d", listener, broker) }

// advertise leads a node to a broker through their proxy.
func (b *ownBrokers) advertise(listener string, broker int, addr string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.proxies[proxyName(listener, broker)]
	p.SetTarget(addr)
	return p.Addr()
}

func (b *ownBrokers) brokersOf(node string) []string { return b.NodeAddrs(listenerOf(node)) }

func (b *ownBrokers) proxiesOf(node string) (proxies []*fault.Proxy) {
	for broker := range replicas {
		proxies = append(proxies, b.proxies[proxyName(listenerOf(node), broker)])
	}
	return proxies
}
