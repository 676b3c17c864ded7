package shop

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
)

// client calls the public API as a storefront would.
type client struct {
	base string
	key  string // server key
	http *http.Client
}

func newClient(base, key string, transport http.RoundTripper) *client {
	return &client{base: base, key: key, http: &http.Client{Timeout: 30 * time.Second, Transport: transport}}
}

func (c *client) call(ctx context.Context, method, path, contentType string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", contentType)
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
		return &statusError{method + " " + path, answer.StatusCode}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}

// statusError is an answer that is none of success.
type statusError struct {
	request string
	status  int
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: %d %s", e.request, e.status, http.StatusText(e.status))
}

const (
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second
)

// insist calls again while the server is busy, cannot know consent yet, or does not answer: a demo on a slow machine must not end for that. It gives up when
// the context ends.
func (c *client) insist(ctx context.Context, method, path, contentType string, body []byte, into any) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := c.call(ctx, method, path, contentType, body, into)
		if !passes(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// passes tells whether the same request may succeed a moment later.
func passes(err error) bool {
	if answer := (*statusError)(nil); errors.As(err, &answer) {
		return answer.status == http.StatusTooManyRequests || answer.status == http.StatusServiceUnavailable
	}
	network := net.Error(nil)
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (c *client) json(ctx context.Context, method, path string, body, into any) error {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	return c.call(ctx, method, path, "application/json", data, into)
}

// lines posts values as NDJSON, and insists.
func (c *client) lines(ctx context.Context, path string, values []any, into any) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	for _, v := range values {
		if err := encoder.Encode(v); err != nil {
			return err
		}
	}
	return c.insist(ctx, http.MethodPost, path, "application/x-ndjson", body.Bytes(), into)
}

// policy is the version of the policy in force.
func (c *client) policy(ctx context.Context) (string, error) {
	var policy struct{ Version string }
	if err := c.insist(ctx, http.MethodGet, "/v1/policy", "application/json", nil, &policy); err != nil {
		return "", fmt.Errorf("asking for the policy: %w", err)
	}
	return policy.Version, nil
}
