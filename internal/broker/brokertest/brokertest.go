// Package brokertest gives tests topics of their own: on an embedded broker each, or all on the Apache Kafka cluster that Variable names.
package brokertest

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/broker"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

// Variable is the environment variable with the addresses of a Kafka cluster, host:port,…; tests run on the embedded broker where it is not set.
const Variable = "SLUICE_TEST_KAFKA"

// Kafka are the addresses of the cluster that the tests shall run on; none for the embedded broker.
func Kafka() []string {
	if addrs := os.Getenv(Variable); addrs != "" {
		return strings.Split(addrs, ",")
	}
	return nil
}

// Cluster is a cluster with every topic of Sluice, gone at the end of the test.
func Cluster(t testing.TB) stream.Cluster {
	t.Helper()
	cluster, _ := Stoppable(t)
	return cluster
}

// Stoppable is Cluster with a way to take the broker away from its clients for good.
func Stoppable(t testing.TB) (cluster stream.Cluster, stop func()) {
	t.Helper()
	cluster, stop = Empty(t)
	if err := topics.Create(t.Context(), cluster, 1); err != nil {
		t.Fatal(err)
	}
	return cluster, stop
}

// Empty is Stoppable without topics.
func Empty(t testing.TB) (cluster stream.Cluster, stop func()) {
	t.Helper()
	if addrs := Kafka(); addrs != nil {
		return onKafka(t, addrs)
	}
	b, err := broker.Start(broker.Options{Dir: t.TempDir(), Partitions: stream.Partitions})
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(b.Close)
	t.Cleanup(stop)
	return b.Cluster("sluice."), stop
}

// onKafka takes a prefix that no other test has.
func onKafka(t testing.TB, addrs []string) (stream.Cluster, func()) {
	t.Helper()
	line := &cable{conns: make(map[net.Conn]bool)}
	cluster := Prefix(t, addrs)
	cluster.Options = []kgo.Opt{kgo.Dialer(line.dial)}
	return cluster, line.cut
}

// Prefix is a cluster at the addresses under a prefix that no other test has; what is made under it is removed at the end of the test.
func Prefix(t testing.TB, addrs []string) stream.Cluster {
	t.Helper()
	cluster := stream.Cluster{Brokers: addrs, Prefix: "test-" + strings.ToLower(rand.Text()[:10]) + "."}
	t.Cleanup(func() {
		if err := remove(cluster); err != nil {
			t.Errorf("removing the test's topics: %v", err)
		}
	})
	return cluster
}

// remove deletes every topic under the cluster's prefix.
func remove(cluster stream.Cluster) error {
	client, err := cluster.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx := context.Background() // the test's own has ended
	admin := kadm.NewClient(client)
	all, err := admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	var own []string
	for _, name := range all.Names() {
		if strings.HasPrefix(name, cluster.Prefix) {
			own = append(own, name)
		}
	}
	if len(own) == 0 {
		return nil
	}
	_, err = admin.DeleteTopics(ctx, own...)
	return err
}

// errCut is what dialling gives after cut.
var errCut = errors.New("the broker has been taken away by the test")

// cable is the way to the brokers; cut ends every connection and lets no new one come.
type cable struct {
	mu    sync.Mutex // guards the rest
	conns map[net.Conn]bool
	gone  bool
}

func (c *cable) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return nil, errors.Join(errCut, conn.Close())
	}
	c.conns[conn] = true
	return conn, nil
}

func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	for conn := range c.conns {
		_ = conn.Close() // the client may have closed it
	}
}
