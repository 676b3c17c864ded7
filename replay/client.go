package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice/internal/httpx"
)

// client talks to the server, and tries again where trying again may help.
type client struct {
	base     string
	key      string
	http     *http.Client
	retryFor time.Duration
	pause    func(ctx context.Context, d time.Duration) error
	notef    func(format string, args ...any)
}

// connections is how many requests are under way at once.
const connections = 4

const (
	ndjson          = "application/x-ndjson"
	requestTimeout  = time.Minute
	firstPause      = 100 * time.Millisecond
	longestPause    = 5 * time.Second
	maxAnswer       = 16 << 20
	defaultRetryFor = 2 * time.Minute
)

// StatusError is an answer that trying again does not change.
type StatusError struct {
	Path   string
	Status int
	Code   string // of the problem, empty if the answer had none
	Detail string

	body []byte
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s answered %d %s", e.Path, e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

func newClient(o *Options) (*client, error) {
	to, err := url.Parse(o.To)
	if err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		return nil, fileError("--to", "must be a URL such as http://127.0.0.1:8080")
	}
	c := &client{base: strings.TrimRight(o.To, "/"), key: o.Key, http: o.HTTP, retryFor: o.RetryFor, pause: pause, notef: o.notef}
	if c.http == nil {
		c.http = &http.Client{Timeout: requestTimeout, Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 2 * connections, DisableCompression: true, WriteBufferSize: 64 << 10, IdleConnTimeout: time.Minute,
		}}
	}
	if c.retryFor == 0 {
		c.retryFor = defaultRetryFor
	}
	return c, nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// post sends a body of lines and decodes the answer.
func (c *client) post(ctx context.Context, path string, body []byte, into any) error {
	return c.call(ctx, http.MethodPost, path, body, into)
}

func (c *client) get(ctx context.Context, path string, into any) error {
	return c.call(ctx, http.MethodGet, path, nil, into)
}

// call tries for retryFor: connections that fail, 5xx, and 429 as its Retry-After asks. Other answers but 2xx are a *StatusError.
func (c *client) call(ctx context.Context, method, path string, body []byte, into any) error {
	var failing time.Time
	noted := false
	wait := firstPause
	for {
		after, err := c.once(ctx, method, path, body, into)
		if err == nil {
			return nil
		}
		var final *StatusError
		if ctx.Err() != nil || errors.As(err, &final) {
			return err
		}
		now := time.Now()
		if failing.IsZero() {
			failing = now
		}
		if !noted && !errors.Is(err, errPushedBack) {
			noted = true
			c.notef("%s: %v; trying again for %v", path, err, c.retryFor)
		}
		left := c.retryFor - now.Sub(failing)
		if left <= 0 {
			return fmt.Errorf("%s: gave up after %v: %w", path, c.retryFor, err)
		}
		if err := c.pause(ctx, min(left, max(wait, after))); err != nil {
			return err
		}
		wait = min(2*wait, longestPause)
	}
}

// errPushedBack is that the server takes no more for a moment, which a replay at full speed runs into as a matter of course.
var errPushedBack = errors.New("answered 429 Too Many Requests")

// once makes one request. After is how long the server asks to wait.
func (c *client) once(ctx context.Context, method, path string, body []byte, into any) (after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if body != nil {
		req.Header.Set("Content-Type", ndjson)
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return 0, unwrapURL(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return 0, fmt.Errorf("reading the answer: %w", err)
	}
	status := answer.StatusCode
	switch {
	case status/100 == 2:
		if err := json.Unmarshal(data, into); err != nil {
			return 0, fmt.Errorf("reading the answer: %w", err)
		}
		return 0, nil
	case status/100 == 5 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
		err := fmt.Errorf("answered %s", answer.Status)
		if status == http.StatusTooManyRequests {
			err = errPushedBack
		}
		return time.Duration(max(0, seconds)) * time.Second, err
	}
	final := &StatusError{Path: path, Status: status, body: data}
	var problem httpx.Problem
	if json.Unmarshal(data, &problem) == nil {
		final.Code, final.Detail = problem.Code, problem.Detail
	}
	return 0, final
}

// unwrapURL drops the address that net/http puts before every error: ours name the path already.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
