// Package client calls the API of a running sluice, as a storefront and an operator do.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"sluice/systemtest/run"
)

// Keys that every node of a system test knows; the demo's are the same.
const (
	WriteKey    = "demo_write"
	ServerKey   = "demo_server"
	OperatorKey = "demo_operator"
)

// Client calls the API.
type Client struct {
	base string
	http http.Client
}

// New makes a client of a base URL; behind a balancer, any. A request that takes longer than patience has failed.
func New(base string, transport http.RoundTripper, patience time.Duration) *Client {
	return &Client{base: base, http: http.Client{Transport: transport, Timeout: patience}}
}

// Refused is an answer other than 2xx.
type Refused struct {
	Status int
	Code   string // of the problem; empty if there is none
	text   string
}

// Final tells that asking the same again is in vain.
func (r *Refused) Final() bool {
	return r.Status < http.StatusInternalServerError && r.Status != http.StatusTooManyRequests && r.Status != http.StatusConflict
}

// Error says what was asked and what was answered.
func (r *Refused) Error() string { return r.text }

// Call makes one request with the server key, and decodes the answer unless into is nil. Its error is a *Refused if there was an answer.
func (c *Client) Call(ctx context.Context, method, path string, body []byte, into any) error {
	return c.CallAs(ctx, ServerKey, method, path, body, into)
}

// CallAs is Call with another key.
func (c *Client) CallAs(ctx context.Context, key, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if len(body) > 0 {
		req.Header.Set("Content-Type", contentType(path))
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		var problem struct{ Code string }
		_ = json.Unmarshal(data, &problem) // an answer without a problem has no code
		return &Refused{answer.StatusCode, problem.Code, fmt.Sprintf("%s %s: %s: %.300s", method, path, answer.Status, data)}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}

// Reason names a failure without what differs from one request to the next, for counting.
func Reason(err error) string {
	var refused *Refused
	var timeout net.Error
	switch {
	case errors.As(err, &refused):
		return fmt.Sprintf("%d %s", refused.Status, refused.Code)
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

func contentType(path string) string {
	if path == "/v1/events" || path == "/v1/imports" {
		return "application/x-ndjson"
	}
	return "application/json"
}

// Policy asks which version of the policy is in force.
func (c *Client) Policy(ctx context.Context) (version string, err error) {
	var policy struct{ Version string }
	err = c.Call(ctx, http.MethodGet, "/v1/policy", nil, &policy)
	return policy.Version, err
}

// Lag asks how many records the engines have not committed yet.
func (c *Client) Lag(ctx context.Context) (int64, error) {
	var lag struct{ Lag int64 }
	err := c.CallAs(ctx, OperatorKey, http.MethodGet, "/v1/state/lag", nil, &lag)
	return lag.Lag, err
}

// Settle waits until the engines have committed everything. The error, if they have not when ctx ends, tells how much is left.
func (c *Client) Settle(ctx context.Context) error {
	var lag int64
	for {
		now, err := c.Lag(ctx)
		if err == nil && now == 0 {
			return nil
		}
		if err == nil {
			lag = now
		}
		if !run.Sleep(ctx, 50*time.Millisecond) { // polling from outside: nothing to wait on
			return fmt.Errorf("%d records are not processed yet: %w", lag, ctx.Err())
		}
	}
}
