package fleet

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/process"
	"sluice/systemtest/fault"
)

// Node is one process of sluice.
type Node struct {
	*process.Process
	Kafka []*fault.Proxy // between an isolated node and the brokers, one a broker

	web *fault.Proxy
	url atomic.Pointer[string]
}

const (
	readyTime = 90 * time.Second // bounds how long a node may take to be ready
	endTime   = 30 * time.Second // bounds how long it may take to end in order
)

// Begin starts the node and returns when it is ready.
func (n *Node) Begin(ctx context.Context) error {
	if err := n.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	url, err := n.Ready(ctx)
	if err != nil {
		return err
	}
	n.url.Store(&url)
	n.web.SetTarget(strings.TrimPrefix(url, "http://"))
	return nil
}

// End asks the node to end and waits until it has. One that does not is killed, and that is an error.
func (n *Node) End(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	err := n.Terminate(ctx)
	if err != nil && n.Running() {
		err = errors.Join(err, n.Kill())
	}
	return err
}

// URL is where the node is until it ends. It is empty before the first Begin.
func (n *Node) URL() string {
	if url := n.url.Load(); url != nil {
		return *url
	}
	return ""
}

// Front is an address that stays the same over the node's lives.
func (n *Node) Front() string { return "http://" + n.web.Addr() }

// Answers tells whether the node says now that it is ready.
func (n *Node) Answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL()+"/readyz", nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// Each does something to all nodes at the same time.
func Each(nodes []*Node, do func(*Node) error) error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = do(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
