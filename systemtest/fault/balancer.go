package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// BalancerOptions say how a balancer works. Zero values have defaults.
type BalancerOptions struct {
	Ready     string                       // path that tells whether a node is ready; /readyz
	Every     time.Duration                // how often it is asked; 100 ms
	Patience  time.Duration                // of one attempt, also of one question; 3 s
	Attempts  int                          // for one request; 3
	Retryable func(req *http.Request) bool // whether a request may be sent again after it has failed; GET, HEAD, PUT and DELETE
	Transport http.RoundTripper            // http.DefaultTransport with more idle connections
}

// BalancerStats count what a balancer did.
type BalancerStats struct {
	Requests int64 `json:"requests"`
	Retried  int64 `json:"retried"` // attempts after the first
	Failed   int64 `json:"failed"`  // requests that got no answer, or 502, 503 or 504
}

// Balancer spreads requests over nodes as a load balancer does: it asks them whether they are ready, sends each request to the next one that is, and tries
// another one when a connection fails or a node answers 502, 503 or 504. If none is ready it tries them all the same. It is an http.RoundTripper: a request's scheme and host are replaced.
type Balancer struct {
	o     BalancerOptions
	nodes []string

	mu    sync.Mutex // guards what follows
	ready []bool     // by node
	next  int
	stats BalancerStats
}

var _ http.RoundTripper = (*Balancer)(nil)

// NewBalancer makes a balancer over base URLs. Run asks the nodes; until it does, none is ready.
func NewBalancer(nodes []string, o BalancerOptions) *Balancer {
	if o.Ready == "" {
		o.Ready = "/readyz"
	}
	if o.Every == 0 {
		o.Every = 100 * time.Millisecond
	}
	if o.Patience == 0 {
		o.Patience = 3 * time.Second
	}
	if o.Attempts == 0 {
		o.Attempts = 3
	}
	if o.Retryable == nil {
		o.Retryable = idempotent
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second}
	}
	return &Balancer{o: o, nodes: nodes, ready: make([]bool, len(nodes))}
}

func idempotent(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete:
		return true
	default:
		return false
	}
}

// Run asks the nodes whether they are ready until ctx ends.
func (b *Balancer) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for i := range b.nodes {
		wg.Go(func() { b.watch(ctx, i) })
	}
	wg.Wait()
}

func (b *Balancer) watch(ctx context.Context, node int) {
	ticker := time.NewTicker(b.o.Every)
	defer ticker.Stop()
	for {
		b.note(node, b.ask(ctx, node))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (b *Balancer) ask(ctx context.Context, node int) bool {
	ctx, cancel := context.WithTimeout(ctx, b.o.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.nodes[node]+b.o.Ready, nil)
	if err != nil {
		return false
	}
	answer, err := b.o.Transport.RoundTrip(req)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err == nil && answer.StatusCode == http.StatusOK
}

func (b *Balancer) note(node int, ready bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready[node] = ready
}

// Ready tells which nodes are ready, in the order in which they were given.
func (b *Balancer) Ready() []bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]bool(nil), b.ready...)
}

// Stats are the counts so far.
func (b *Balancer) Stats() BalancerStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

// RoundTrip sends the request to a node. The whole answer is read before it returns, so that an answer that breaks off is a failed attempt, too.
func (b *Balancer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	b.count(func(s *BalancerStats) { s.Requests++ })
	var answer *http.Response
	var err error
	tried := make([]bool, len(b.nodes))
	for attempt := range b.o.Attempts {
		node := b.pick(tried)
		if attempt > 0 {
			b.count(func(s *BalancerStats) { s.Retried++ })
		}
		answer, err = b.attempt(req, node)
		if err == nil && !isGone(answer.StatusCode) {
			return answer, nil
		}
		if err != nil {
			b.note(node, false) // until it says otherwise
		}
		tried[node] = true
		if !b.o.Retryable(req) || req.Context().Err() != nil {
			break
		}
	}
	b.count(func(s *BalancerStats) { s.Failed++ })
	return answer, err
}

// isGone tells whether a status says that another node may do better.
func isGone(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// pick is the next ready node, one that was not tried yet if there is one. If none is ready, every node is as good: it may still serve some requests.
func (b *Balancer) pick(tried []bool) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ready := range []bool{true, false} {
		for _, again := range []bool{false, true} {
			for range b.nodes {
				b.next = (b.next + 1) % len(b.nodes)
				if b.ready[b.next] == ready && tried[b.next] == again {
					return b.next
				}
			}
		}
	}
	return b.next
}

func (b *Balancer) count(what func(*BalancerStats)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	what(&b.stats)
}

func (b *Balancer) attempt(req *http.Request, node int) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), b.o.Patience)
	defer cancel()
	to, err := http.NewRequestWithContext(ctx, req.Method, b.nodes[node]+req.URL.RequestURI(), nil)
	if err != nil {
		return nil, err
	}
	to.Header = req.Header.Clone()
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return nil, errors.New("a request's body must be one that can be read again")
		}
		if to.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
		to.ContentLength, to.GetBody = req.ContentLength, req.GetBody
	}
	answer, err := b.o.Transport.RoundTrip(to)
	if err != nil {
		return nil, fmt.Errorf("node %d: %w", node, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("node %d: %w", node, err)
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}
