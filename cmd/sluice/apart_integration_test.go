//go:build integration

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/deploy/local/kafka/kraft"
	"sluice/systemtest/fault"
)

// apart is a deployment of two processes for each role.
var apart = []struct {
	name  string
	roles []string
}{
	{"front-a", []string{"collector", "ranker", "risk"}},
	{"front-b", []string{"collector", "ranker", "risk"}},
	{"filter-a", []string{"filter"}},
	{"filter-b", []string{"filter"}},
	{"features-a", []string{"features"}},
	{"features-b", []string{"features"}},
}

// fronts is how many of them answer requests.
const fronts = 2

// TestRolesApart serves from six processes on three brokers: both rankers obey a switch at once, and a rolling restart of all six loses no request of a
// balancer that never tries one twice.
func TestRolesApart(t *testing.T) {
	const replicas = 3
	kafka := startKafka(t, kraft.Options{Brokers: replicas})
	deployment := newDeployment(t, t.TempDir(), kafka.Addrs(), replicas)
	nodes := make([]*demo, len(apart))
	listens := make([]string, len(apart))
	var urls []string
	for i, node := range apart {
		listens[i] = freeAddress(t)
		nodes[i] = deployment.start(t, node.name, listens[i], replicas, node.roles...)
		if i < fronts {
			urls = append(urls, nodes[i].url)
		}
	}
	nodes[0].obeysEverywhere(nodes[1])

	balancer := fault.NewBalancer(urls, fault.BalancerOptions{Attempts: 1})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { balancer.Run(ctx) })
	eventually(t, "both fronts are ready", func() bool { ready := balancer.Ready(); return ready[0] && ready[1] })
	var failed, sent atomic.Int64
	for client := range 4 {
		running.Go(func() { hammerThrough(ctx, t, balancer, client, &sent, &failed) })
	}
	for i, node := range apart {
		if code := nodes[i].stop(); code != exitDone {
			t.Errorf("%s: exit code %d: %s", node.name, code, nodes[i].logs)
		}
		nodes[i] = deployment.start(t, node.name, listens[i], replicas, node.roles...)
	}
	cancel()
	running.Wait()
	if sent.Load() < 1000 || failed.Load() > 0 {
		t.Errorf("%d of %d requests failed during the rolling restart", failed.Load(), sent.Load())
	}
	t.Logf("%d requests during the rolling restart", sent.Load())
	nodes[0].obeysEverywhere(nodes[1])
}

// obeysEverywhere switches a new visitor on and off through one node, and asks both.
func (d *demo) obeysEverywhere(other *demo) {
	d.t.Helper()
	who := fmt.Sprintf("visitor-%d", time.Now().UnixNano())
	revision := d.accept(who)
	d.post(view("first-"+who, who, "item-1", revision, time.Now(), 0))
	for _, node := range []*demo{d, other} {
		eventually(d.t, "a personal answer of both", func() bool { return node.rank(who).Personalized })
	}
	d.set(http.MethodPut, "/v1/visitors/"+who+"/consent/personalize", map[string]string{"decision": "deny"})
	for _, node := range []*demo{d, other} {
		if node.rank(who).Personalized {
			d.t.Error("personal after the acknowledged opt-out")
		}
	}
}

// hammerThrough sends events and asks for rankings until ctx ends.
func hammerThrough(ctx context.Context, t *testing.T, via http.RoundTripper, client int, sent, failed *atomic.Int64) {
	d := &demo{t: t, url: "http://balancer", via: via}
	for n := 0; ctx.Err() == nil; n++ {
		who := fmt.Sprintf("client-%d", client)
		for _, request := range []struct {
			path string
			body any
		}{
			{"/v1/events", []any{view(fmt.Sprintf("%s-%d", who, n), who, fmt.Sprintf("item-%d", n%20), "", time.Now(), 0)}},
			{"/v1/recommendations", map[string]any{"surface": "home", "anonymous_id": who}},
		} {
			sent.Add(1)
			status, _, err := d.request(http.MethodPost, request.path, request.body)
			if err != nil || status/100 != 2 {
				failed.Add(1)
				t.Logf("%s: %d %v", request.path, status, err)
			}
		}
		time.Sleep(5 * time.Millisecond) // a rate, not a wait
	}
}

// freeAddress is an address of loopback that nobody has now: a process that is started again must have its old one.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
