package fault

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// backend is a node that can be told to be unready, to answer 503, or to break off.
type backend struct {
	*httptest.Server
	unready, away, breaks atomic.Bool
	served                atomic.Int64
}

func newBackend(t *testing.T) *backend {
	b := new(backend)
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/readyz":
			if b.unready.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		case b.away.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case b.breaks.Load():
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half of it")
			panic(http.ErrAbortHandler)
		default:
			b.served.Add(1)
			_, _ = io.Copy(w, r.Body)
		}
	}))
	t.Cleanup(b.Close)
	return b
}

// balanced starts a balancer over the nodes and waits until all are ready.
func balanced(t *testing.T, o BalancerOptions, nodes ...*backend) *Balancer {
	t.Helper()
	o.Every = 5 * time.Millisecond
	urls := make([]string, len(nodes))
	for i, n := range nodes {
		urls[i] = n.URL
	}
	b := NewBalancer(urls, o)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { b.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	for i := range nodes {
		eventually(t, "ready", func() bool { return b.Ready()[i] })
	}
	return b
}

// send posts a text and returns what comes back.
func send(t *testing.T, b *Balancer, method, text string) (string, int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://any/echo?x=1", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{Transport: b}).Do(req)
	if err != nil {
		return "", 0, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	return string(data), answer.StatusCode, err
}

func TestBalancerSpreads(t *testing.T) {
	one, two := newBackend(t), newBackend(t)
	b := balanced(t, BalancerOptions{}, one, two)
	for range 10 {
		if text, status, err := send(t, b, http.MethodPost, "hello"); text != "hello" || status != http.StatusOK || err != nil {
			t.Fatal(text, status, err)
		}
	}
	if one.served.Load() != 5 || two.served.Load() != 5 {
		t.Errorf("served %d and %d", one.served.Load(), two.served.Load())
	}
	one.unready.Store(true)
	eventually(t, "one leaves", func() bool { return !b.Ready()[0] })
	for range 4 {
		_, _, _ = send(t, b, http.MethodPost, "hello")
	}
	if one.served.Load() != 5 || b.Stats().Failed != 0 {
		t.Errorf("served %d, %+v", one.served.Load(), b.Stats())
	}
}

func TestBalancerTriesAnother(t *testing.T) {
	for what, hurt := range map[string]func(*backend){
		"503": func(b *backend) { b.away.Store(true) }, "breaks off": func(b *backend) { b.breaks.Store(true) },
		"gone": func(b *backend) { b.CloseClientConnections(); b.Listener.Close() },
	} {
		t.Run(what, func(t *testing.T) {
			bad, good := newBackend(t), newBackend(t)
			b := balanced(t, BalancerOptions{}, bad, good)
			hurt(bad)
			for range 6 {
				if text, status, err := send(t, b, http.MethodPut, "hello"); text != "hello" || status != http.StatusOK || err != nil {
					t.Errorf("%q, %d, %v", text, status, err)
				}
			}
			if b.Stats().Failed != 0 || good.served.Load() != 6 {
				t.Errorf("served %d, %+v", good.served.Load(), b.Stats())
			}
		})
	}
}

// TestBalancerDoesNotRepeatAPost unless it is told that it may.
func TestBalancerDoesNotRepeatAPost(t *testing.T) {
	bad, good := newBackend(t), newBackend(t)
	bad.breaks.Store(true)
	b := balanced(t, BalancerOptions{}, bad, good)
	failed := 0
	for range 2 { // one goes to each
		if _, _, err := send(t, b, http.MethodPost, "hello"); err != nil {
			failed++
		}
	}
	if s := b.Stats(); failed != 1 || s.Failed != 1 || s.Retried != 0 || s.Requests != 2 {
		t.Errorf("%d failed, %+v", failed, s)
	}
}

func TestBalancerWithoutANode(t *testing.T) {
	node := newBackend(t)
	b := balanced(t, BalancerOptions{}, node)
	node.unready.Store(true)
	eventually(t, "it leaves", func() bool { return !b.Ready()[0] })
	if _, status, err := send(t, b, http.MethodGet, ""); status != http.StatusOK || err != nil { // it may still answer
		t.Errorf("status %d, %v", status, err)
	}
	node.unready.Store(false)
	eventually(t, "it comes back", func() bool { return b.Ready()[0] })
	node.away.Store(true)
	if _, status, err := send(t, b, http.MethodGet, ""); status != http.StatusServiceUnavailable || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
	if s := b.Stats(); s.Failed != 1 || s.Retried != 2 {
		t.Errorf("%+v", s)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) { // the balancer asks on its own time
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in a minute", what)
		}
	}
}
