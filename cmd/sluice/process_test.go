package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// runAsSluice makes this test binary behave as the program, so that tests can kill a real process without building one.
const runAsSluice = "SLUICE_TEST_RUN_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(runAsSluice) != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// command is the program with arguments.
func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), runAsSluice+"=1")
	return cmd
}

// sluice runs the program to its end and returns what it printed and its exit code.
func sluice(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// demo is a running server.
type demo struct {
	t    testing.TB
	url  string
	dir  string
	cmd  *exec.Cmd
	logs *lockedBuffer
	via  http.RoundTripper // nil: straight to the server

	ended chan struct{}
}

// lockedBuffer is written by a process and read by the test.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// readyTime bounds how long a demo may take to be ready on a slow machine.
const readyTime = 2 * time.Minute

// startDemo starts a demo on a free port and returns when it is ready. It is stopped at the end of the test.
func startDemo(t testing.TB, dir string, args ...string) *demo {
	t.Helper()
	return startDemoAt(t, "127.0.0.1:0", dir, args...)
}

func startDemoAt(t testing.TB, listen, dir string, args ...string) *demo {
	t.Helper()
	return startProcess(t, dir, append([]string{"demo", "--listen", listen, "--data", dir}, args...)...)
}

// startProcess starts a server and returns when it is ready.
func startProcess(t testing.TB, dir string, args ...string) *demo {
	t.Helper()
	d := &demo{t: t, dir: dir, logs: new(lockedBuffer), ended: make(chan struct{})}
	d.cmd = command(context.Background(), args...)
	d.cmd.Stderr = d.logs
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go func() {
		defer close(d.ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "ready" {
				ready <- fields[1]
			}
		}
		_ = d.cmd.Wait() // the exit code is in ProcessState
	}()
	t.Cleanup(d.kill)
	select {
	case d.url = <-ready:
	case <-d.ended:
		t.Fatalf("the server ended before it was ready: %s", d.logs)
	case <-time.After(readyTime):
		t.Fatalf("the server was not ready after %v: %s", readyTime, d.logs)
	}
	return d
}

// kill ends the process as a crash does.
func (d *demo) kill() {
	_ = d.cmd.Process.Kill() // it may have ended already
	<-d.ended
}

// stop ends the process as Ctrl-C does and returns its exit code.
func (d *demo) stop() int {
	_ = d.cmd.Process.Signal(syscall.SIGINT) // it may have ended already
	<-d.ended
	return d.cmd.ProcessState.ExitCode()
}

// call makes a request with the demo's server key, or the operator's where the path asks for it, and returns status and body.
func (d *demo) call(method, path string, body any, headers ...string) (int, []byte) {
	d.t.Helper()
	status, data, err := d.request(method, path, body, headers...)
	if err != nil {
		d.t.Fatal(err)
	}
	return status, data
}

func (d *demo) request(method, path string, body any, headers ...string) (int, []byte, error) {
	var payload io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		payload = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return 0, nil, err
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, payload)
	if err != nil {
		return 0, nil, err
	}
	key := "demo_server"
	if path == "/metrics" || strings.HasPrefix(path, "/v1/state/digest") || strings.HasPrefix(path, "/v1/dead-letters") && method == http.MethodGet {
		key = "demo_operator"
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	answer, err := (&http.Client{Transport: d.via}).Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	return answer.StatusCode, data, err
}

// ask makes a request that must succeed and decodes the answer.
func (d *demo) ask(method, path string, body, into any, headers ...string) {
	d.t.Helper()
	status, data := d.call(method, path, body, headers...)
	if status/100 != 2 {
		d.t.Fatalf("%s %s: %d %s", method, path, status, data)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(data, into); err != nil {
		d.t.Fatalf("%s %s: %v in %s", method, path, err, data)
	}
}

// metric is the value of a series of /metrics as it is written there, 0 if there is none.
func (d *demo) metric(series string) float64 {
	d.t.Helper()
	status, body := d.call(http.MethodGet, "/metrics", nil)
	if status != http.StatusOK {
		d.t.Fatalf("/metrics: %d", status)
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				d.t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// eventually tries until the condition holds; it fails the test after a minute.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in a minute", what)
		}
		time.Sleep(5 * time.Millisecond) // asked from outside the process: there is nothing to wait on
	}
}

// settled waits until every engine has committed everything.
func (d *demo) settled() {
	d.t.Helper()
	eventually(d.t, "the stream settles", func() bool {
		var behind struct{ Lag int64 }
		d.ask(http.MethodGet, "/v1/state/lag", nil, &behind)
		return behind.Lag == 0
	})
}

// stores are the digests of the stores by name.
func (d *demo) stores() map[string]string {
	d.t.Helper()
	var digest struct {
		Lag    int64
		Stores []struct {
			Name, Digest string
			Keys         int64
		}
	}
	d.settled()
	d.ask(http.MethodGet, "/v1/state/digest", nil, &digest)
	if digest.Lag != 0 {
		d.t.Fatalf("lag %d", digest.Lag)
	}
	stores := make(map[string]string)
	for _, s := range digest.Stores {
		stores[s.Name] = fmt.Sprintf("%d keys, %s", s.Keys, s.Digest)
	}
	return stores
}
