package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/internal/crashtest"
)

// client calls the API through the balancer, as a storefront does.
type client struct {
	http *http.Client

	mu       sync.Mutex // guards failures
	failures map[string]int64
}

func newClient(b *crashtest.Balancer) *client {
	return &client{http: &http.Client{Transport: b, Timeout: 30 * time.Second}, failures: make(map[string]int64)}
}

// failed counts a request that has to be made again, by what it was for and why it failed.
func (c *client) failed(method, path, why string) {
	what := "settings"
	switch method {
	case http.MethodPost:
		what = strings.TrimPrefix(path, "/v1/")
	case http.MethodGet:
		what = "reads"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures[what+": "+why]++
}

// whyFailed is the code of a problem, or the status.
func whyFailed(status int, data []byte) string {
	var problem struct{ Code string }
	if json.Unmarshal(data, &problem) == nil && problem.Code != "" {
		return problem.Code
	}
	return strconv.Itoa(status)
}

// anyRequest tells the balancer that all may be sent again: an event and a decision by their ids, a choice because repeating it changes nothing.
func anyRequest(*http.Request) bool { return true }

// refusal is an answer that sending the same again does not change.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

const (
	serverKey   = "demo_server"
	writeKey    = "demo_write"
	operatorKey = "demo_operator"
)

// retryWait is how long a client waits before it tries again.
const retryWait = 50 * time.Millisecond

// once makes one request. The error is a *refusal if trying again is in vain.
func (c *client) once(ctx context.Context, key, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://sluice"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if len(body) > 0 {
		req.Header.Set("Content-Type", contentType(path))
	}
	answer, err := c.http.Do(req)
	if err != nil {
		c.failed(method, path, "no answer")
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if status := answer.StatusCode; status >= http.StatusMultipleChoices {
		err := &refusal{fmt.Sprintf("%s %s: %s: %.300s", method, path, answer.Status, data)}
		if status < http.StatusInternalServerError && status != http.StatusTooManyRequests && status != http.StatusConflict {
			return err
		}
		c.failed(method, path, whyFailed(status, data))
		return errors.New(err.text)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}

// until makes a request again and again until it is answered. body makes the body anew each time, with the time of sending.
func (c *client) until(ctx context.Context, key, method, path string, body func(now time.Time) []byte, into any) error {
	for {
		var data []byte
		if body != nil {
			data = body(time.Now())
		}
		err := c.once(ctx, key, method, path, data, into)
		if err == nil {
			return nil
		}
		if final := (*refusal)(nil); asRefusal(err, &final) {
			return err
		}
		if !sleep(ctx, retryWait) {
			return ctx.Err()
		}
	}
}

func asRefusal(err error, into **refusal) bool {
	r, ok := err.(*refusal) //nolint:errorlint // once never wraps it
	if ok {
		*into = r
	}
	return ok
}

// fixed is a body that does not change.
func fixed(format string, args ...any) func(time.Time) []byte {
	return func(time.Time) []byte { return fmt.Appendf(nil, format, args...) }
}

func contentType(path string) string {
	if strings.HasPrefix(path, "/v1/events") {
		return "application/x-ndjson"
	}
	return "application/json"
}

// sleep waits; it tells whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
