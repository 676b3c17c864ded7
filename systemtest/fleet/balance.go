package fleet

import (
	"context"
	"net/http"
	"time"

	"sluice/systemtest/fault"
)

// Balance spreads requests over the nodes until ctx ends, as an ordinary load balancer does: it asks /readyz ten times a second, and sends a request that
// met a broken connection or 503 once more, to another node. All may be sent twice: events and decisions have ids, and a choice that is made again changes nothing.
func Balance(ctx context.Context, nodes []*Node) *fault.Balancer {
	fronts := make([]string, len(nodes))
	for i, n := range nodes {
		fronts[i] = n.Front()
	}
	b := fault.NewBalancer(fronts, fault.BalancerOptions{
		Patience: 15 * time.Second, Attempts: 2, Retryable: func(*http.Request) bool { return true },
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: 30 * time.Second},
	})
	go b.Run(ctx)
	return b
}
