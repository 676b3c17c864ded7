package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"sluice/systemtest/client"
	"sluice/systemtest/run"
)

// client asks the server rare questions, not those that are measured.
func (s *Server) client() *client.Client {
	return client.New(s.URL, http.DefaultTransport, 10*time.Minute)
}

// Post posts a body with the server key, and decodes the answer unless into is nil.
func (s *Server) Post(ctx context.Context, path string, body []byte, into any) error {
	return s.client().Call(ctx, http.MethodPost, path, body, into)
}

// Put is Post with another method.
func (s *Server) Put(ctx context.Context, path string, body []byte) error {
	return s.client().Call(ctx, http.MethodPut, path, body, nil)
}

// Refused tells whether an answer was that it may be asked again later.
func Refused(err error) bool {
	refused := (*client.Refused)(nil)
	return errors.As(err, &refused) && (refused.Status == http.StatusTooManyRequests || refused.Status == http.StatusServiceUnavailable)
}

// IsReady tells whether the server says now that it is ready.
func (s *Server) IsReady(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/readyz", nil)
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

// Policy is the version of the policy in force.
func (s *Server) Policy(ctx context.Context) (string, error) { return s.client().Policy(ctx) }

// Lag is how many records the engines have not committed yet.
func (s *Server) Lag(ctx context.Context) (int64, error) { return s.client().Lag(ctx) }

// Settle waits until every engine has committed all that was sent.
func (s *Server) Settle(ctx context.Context) error {
	for {
		lag, err := s.Lag(ctx)
		if err == nil && lag == 0 {
			return nil
		}
		if !s.Running() {
			return fmt.Errorf("the server ended; its log is %s", s.log)
		}
		if !run.Sleep(ctx, 20*time.Millisecond) { // polling from outside: nothing to wait on
			return errors.Join(err, fmt.Errorf("waiting for the stream, lag %d: %w", lag, ctx.Err()))
		}
	}
}

// Metric is the sum of the samples of a metric that have all the labels (such as `outcome="allow"`); ok tells whether there is any.
func (s *Server) Metric(ctx context.Context, name string, labels ...string) (sum float64, ok bool, err error) {
	err = s.Metrics(ctx, func(sample string, value float64) {
		have, rest, _ := strings.Cut(sample, "{")
		if have != name {
			return
		}
		for _, label := range labels {
			if !strings.Contains(rest, label) {
				return
			}
		}
		sum, ok = sum+value, true
	})
	return sum, ok, err
}

// Metrics calls each with every sample: its name with its labels, and its value.
func (s *Server) Metrics(ctx context.Context, each func(sample string, value float64)) error {
	body, err := s.operator(ctx, "/metrics")
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		at := strings.LastIndexByte(lines.Text(), ' ')
		if at < 0 || lines.Text()[0] == '#' {
			continue
		}
		var value float64
		if _, err := fmt.Sscan(lines.Text()[at+1:], &value); err != nil {
			return fmt.Errorf("reading the metrics: %w", err)
		}
		each(lines.Text()[:at], value)
	}
	return lines.Err()
}

// Label is the value of a sample's label, if the sample is of the metric.
func Label(sample, metric, label string) (value string, ok bool) {
	labels, ok := strings.CutPrefix(sample, metric+"{")
	if !ok {
		return "", false
	}
	_, rest, ok := strings.Cut(","+labels, ","+label+`="`)
	value, _, _ = strings.Cut(rest, `"`)
	return value, ok
}

// Heap is what lives in the server's memory, in bytes, after a collection.
func (s *Server) Heap(ctx context.Context) (live float64, err error) {
	body, err := s.operator(ctx, "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return 0, err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if number, ok := strings.CutPrefix(lines.Text(), "# HeapAlloc = "); ok {
			_, err := fmt.Sscan(number, &live)
			return live, err
		}
	}
	return 0, fmt.Errorf("the heap profile does not tell HeapAlloc: %w", lines.Err())
}

// Profile writes a CPU profile of the next seconds to a file.
func (s *Server) Profile(ctx context.Context, seconds int, path string) error {
	body, err := s.operator(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds))
	if err != nil {
		return err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// operator asks with the operator's key for what is no JSON.
func (s *Server) operator(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+client.OperatorKey)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, fmt.Errorf("%s: %s", path, answer.Status)
	}
	return answer.Body, nil
}
