//go:build integration

package main

import (
	"bufio"
	"context"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/deploy/local/clickhouse/engine"
)

var ready = regexp.MustCompile(`^ready (http://127\.0\.0\.1:\d+) version=\d+\.\d+\.[\d.]+\n$`)

// launch starts the command and returns it with its URL.
func launch(t *testing.T, binary, data, listen string) (*exec.Cmd, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary, "--data", data, "--listen", listen)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	match := ready.FindStringSubmatch(line)
	if match == nil {
		t.Fatalf("the command says %q (%v)", line, err)
	}
	return cmd, match[1]
}

func ask(t *testing.T, url, statement, want string) {
	t.Helper()
	response, err := http.Post(url, "", strings.NewReader(statement))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var got strings.Builder
	if _, err := bufio.NewReader(response.Body).WriteTo(&got); err != nil || response.StatusCode != http.StatusOK || got.String() != want {
		t.Fatalf("%s: %s %q (%v), %q expected", statement, response.Status, got.String(), err, want)
	}
}

// TestCommand kills the command, whose engine must die with it, starts it again on the same data and address, and ends it in peace.
func TestCommand(t *testing.T) {
	if _, err := engine.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	binary, data := filepath.Join(t.TempDir(), "clickhouse"), t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	first, url := launch(t, binary, data, "127.0.0.1:0")
	ask(t, url, "CREATE TABLE numbers (n Int64) ENGINE = MergeTree ORDER BY n", "")
	ask(t, url, "INSERT INTO numbers FORMAT TSV\n1\n2\n", "")
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // killed
	second, url := launch(t, binary, data, strings.TrimPrefix(url, "http://"))
	ask(t, url, "SELECT sum(n) FROM numbers", "3\n")
	if err := second.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}
