package crash

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/systemtest/client"
	"sluice/systemtest/fault"
	"sluice/systemtest/run"
)

// storefront calls the API through the balancer, and counts what it had to ask again.
type storefront struct {
	api *client.Client

	mu       sync.Mutex // guards failures
	failures map[string]int64
}

func newStorefront(b *fault.Balancer) *storefront {
	return &storefront{api: client.New("http://sluice", b, 30*time.Second), failures: make(map[string]int64)}
}

// failed counts a request that has to be made again, by what it was for and why it failed.
func (s *storefront) failed(method, path, why string) {
	what := "settings"
	switch method {
	case http.MethodPost:
		what = strings.TrimPrefix(path, "/v1/")
	case http.MethodGet:
		what = "reads"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures[what+": "+why]++
}

// anyRequest tells the balancer that all may be sent again: an event and a decision by their ids, a choice because repeating it changes nothing.
func anyRequest(*http.Request) bool { return true }

// retryWait is how long a client waits before it tries again.
const retryWait = 50 * time.Millisecond

// once makes one request. final is that trying again is in vain.
func (s *storefront) once(ctx context.Context, key, method, path string, body []byte, into any) (final bool, err error) {
	err = s.api.CallAs(ctx, key, method, path, body, into)
	if err == nil {
		return true, nil
	}
	refused := (*client.Refused)(nil)
	if !errors.As(err, &refused) {
		s.failed(method, path, "no answer")
		return false, err
	}
	if refused.Final() {
		return true, err
	}
	s.failed(method, path, whyFailed(refused))
	return false, err
}

// whyFailed is the code of a problem, or the status.
func whyFailed(r *client.Refused) string {
	if r.Code != "" {
		return r.Code
	}
	return strconv.Itoa(r.Status)
}

// until makes a request again and again until it is answered. body makes the body anew each time, with the time of sending.
func (s *storefront) until(ctx context.Context, key, method, path string, body func(now time.Time) []byte, into any) error {
	for {
		var data []byte
		if body != nil {
			data = body(time.Now())
		}
		final, err := s.once(ctx, key, method, path, data, into)
		if final {
			return err
		}
		if !run.Sleep(ctx, retryWait) {
			return ctx.Err()
		}
	}
}

// fixed is a body that does not change.
func fixed(format string, args ...any) func(time.Time) []byte {
	return func(time.Time) []byte { return fmt.Appendf(nil, format, args...) }
}
