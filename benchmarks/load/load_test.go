package load

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func startServer(t *testing.T, answer http.HandlerFunc) (addr string) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func constant(r Request) func(int) Source {
	return func(int) Source { return func() Request { return r } }
}

// TestAnswersAreCounted: every kind of answer is counted as what it is, and every body is read as it was sent.
func TestAnswersAreCounted(t *testing.T) {
	var n atomic.Int64
	addr := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "hello" || r.Header.Get("Authorization") != "Bearer key" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		switch n.Add(1) % 5 {
		case 0:
			fmt.Fprint(w, "good")
		case 1:
			fmt.Fprint(w, strings.Repeat("good", 50_000)) // in chunks
		case 2:
			w.WriteHeader(http.StatusTooManyRequests)
		case 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 4:
			fmt.Fprint(w, "bad")
		}
	})
	l := &Load{
		Addr: addr, Connections: 3, Count: 50, Source: constant(NewRequest(http.MethodPost, "/v1/events", "key", []byte("hello"))),
		Check: func(body []byte) bool { return string(body) == "good" || len(body) == 200_000 },
	}
	r := l.Run(t.Context())
	if r.Good != 20 || r.Wrong != 10 || r.Refused != 10 || r.Unknown != 10 || r.Failed != 0 || r.Latency.TotalCount() != 20 {
		t.Errorf("%+v", r)
	}
	if r.Example != "bad" {
		t.Errorf("example %q", r.Example)
	}
}

// TestLatencyCountsFromWhenItWasDue: a server that stalls once delays what was due meanwhile, which an open load must show.
func TestLatencyCountsFromWhenItWasDue(t *testing.T) {
	const stall, rate = 300 * time.Millisecond, 200
	var n atomic.Int64
	addr := startServer(t, func(http.ResponseWriter, *http.Request) {
		if n.Add(1) == 10 {
			time.Sleep(stall) // the fault that is measured
		}
	})
	l := &Load{Addr: addr, Connections: 1, Count: 100, Rate: rate, Source: constant(NewRequest(http.MethodGet, "/", "key", nil))}
	r := l.Run(t.Context())
	var late int64
	for _, bar := range r.Latency.Distribution() {
		if bar.From >= (stall / 3).Microseconds() {
			late += bar.Count
		}
	}
	if least := int64(rate * stall.Seconds() / 2); r.Good != 100 || late < least {
		t.Errorf("%d good, %d late; at least %d were due in the first half of the stall", r.Good, late, least)
	}
}

// TestRefusedIsSentAgain: what is refused is sent again until it is taken.
func TestRefusedIsSentAgain(t *testing.T) {
	var n atomic.Int64
	addr := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%3 != 0 {
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	l := &Load{Addr: addr, Connections: 1, Count: 5, Again: time.Millisecond, Source: constant(NewRequest(http.MethodGet, "/", "key", nil))}
	if r := l.Run(t.Context()); r.Good != 5 || r.Refused != 10 {
		t.Errorf("%+v", r)
	}
}

// TestABrokenConnectionIsMadeAnew: it counts as failed, and the load goes on.
func TestABrokenConnectionIsMadeAnew(t *testing.T) {
	var n atomic.Int64
	addr := startServer(t, func(http.ResponseWriter, *http.Request) {
		if n.Add(1) == 2 {
			panic(http.ErrAbortHandler)
		}
	})
	l := &Load{Addr: addr, Connections: 1, Count: 5, Source: constant(NewRequest(http.MethodGet, "/", "key", nil))}
	if r := l.Run(t.Context()); r.Good != 4 || r.Failed != 1 || r.Example == "" {
		t.Errorf("%+v", r)
	}
}
