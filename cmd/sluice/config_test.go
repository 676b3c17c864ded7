package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/app"
	"sluice/internal/config"
)

// writeConfig writes a configuration file.
func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestConfigCheck: a file is checked without brokers, data or keys.
func TestConfigCheck(t *testing.T) {
	good, bad := writeConfig(t, "kafka:\n  brokers: [127.0.0.1:1]\n"), writeConfig(t, "kafka:\n  replicas: 0\n")
	const tells = "the configuration is valid\nagainst what is built in:\n  kafka.brokers changed\n"
	if stdout, stderr, code := sluice(t, "config", "check", good); code != exitDone || stdout != tells || stderr != "" {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
	for path, want := range map[string]verdict{
		good: {Valid: true, Errors: []finding{}, Warnings: []finding{}, Changes: []config.Change{{Section: "kafka", Name: "brokers", Kind: config.Changed}}, Keys: []app.KeyInfo{}},
		bad:  {Errors: []finding{{File: bad, Line: 2, Column: 13, Field: "kafka.replicas", Detail: "must be at least 1"}}, Warnings: []finding{}, Changes: []config.Change{}, Keys: []app.KeyInfo{}},
	} {
		stdout, stderr, code := sluice(t, "config", "check", "--json", path)
		var got verdict
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || stderr != "" || (code == exitUsage) == want.Valid {
			t.Errorf("exit %d, %v: %q, %q", code, err, stdout, stderr)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// TestErrorsAreToldApart: each of several errors has a line of its own, whichever way they were joined.
func TestErrorsAreToldApart(t *testing.T) {
	faults := func(messages ...string) (all config.Errors) {
		for _, m := range messages {
			all = append(all, &config.Error{File: "f.yaml", Message: m})
		}
		return all
	}
	plain := errors.New("plain")
	for _, c := range []struct {
		name string
		err  error
		code int
		want string
	}{
		{"nothing", nil, exitDone, ""},
		{"one", plain, exitFailed, "sluice: plain\n"},
		{"faults of a file", faults("a", "b"), exitUsage, "sluice: f.yaml: a\nsluice: f.yaml: b\n"},
		{"of two files", errors.Join(faults("a"), usage(faults("b")), plain), exitUsage, "sluice: f.yaml: a\nsluice: f.yaml: b\nsluice: plain\n"},
		{"in words of its own", fmt.Errorf("%w: %w", plain, faults("a")), exitUsage, "sluice: plain: f.yaml: a\n"},
		{"told already", errors.Join(usage(errSilent), plain), exitUsage, "sluice: plain\n"},
		{"interrupted", fmt.Errorf("%w; that is all", errInterrupted), exitInterrupted, "sluice: interrupted; that is all\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stderr strings.Builder
			if code := exitCode(c.err, &stderr); code != c.code || stderr.String() != c.want {
				t.Errorf("exit %d: %s", code, stderr.String())
			}
		})
	}
}

// TestKeysCreate: the key that the command makes is what serve takes.
func TestKeysCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	if stdout, stderr, code := sluice(t, "keys", "create", path); code != exitDone || !strings.HasPrefix(stdout, path) {
		t.Fatalf("exit %d, %q, %q", code, stdout, stderr)
	}
	config := writeConfig(t, "server: {data: /tmp, root_key: "+path+"}\nkafka:\n  brokers: [127.0.0.1:1]\nkeys: {server: [0123456789abcdef]}\n")
	if stdout, stderr, code := sluice(t, "serve", "--check", "--config", config); code != exitDone {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
}

// TestAPIKeys: a key that the command makes is taken by its hash; a weak one is refused; config check tells of keys without telling them.
func TestAPIKeys(t *testing.T) {
	stdout, stderr, code := sluice(t, "keys", "generate", "--prefix", "ok_")
	match := regexp.MustCompile(`^key:  (ok_[a-z2-7]{26})\nhash: (sha256:[0-9a-f]{64})\n$`).FindStringSubmatch(stdout)
	if code != exitDone || match == nil || !strings.Contains(stderr, "kept nowhere") {
		t.Fatalf("exit %d, %q, %q", code, stdout, stderr)
	}
	key, hash := match[1], match[2]
	for _, c := range []struct {
		stdin, want string
		code        int
	}{
		{key + "\n", hash + "\n", exitDone}, {"short", "", exitUsage}, {"replace-this-server-key\n", "", exitUsage}, {"", "", exitUsage}, {strings.Repeat("x", 10_000), "", exitUsage},
	} {
		var out, errs bytes.Buffer
		cmd := command(t.Context(), "keys", "hash")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(c.stdin), &out, &errs
		if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != c.code || out.String() != c.want || c.stdin != "" && strings.Contains(errs.String(), strings.TrimSpace(c.stdin)) {
			t.Errorf("%q: %v, %q, %q", c.stdin, err, out.String(), errs.String())
		}
	}
	config := writeConfig(t, `
keys:
  operator: ["`+hash+`", "old-1234567890abcdefgh"]
  write: [page-1234567890abcdefgh]
  origins: {page-1234567890abcdefgh: ["https://shop.example"]}
  not_before: {"`+hash+`": 2026-01-01}
  expires: {"`+hash+`": 2222-01-01T12:00:00Z, old-1234567890abcdefgh: 2026-01-01}
`)
	stdout, stderr, code = sluice(t, "config", "check", config)
	want := regexp.MustCompile(`API key: write [0-9a-f]{8} for pages of https://shop\.example\nAPI key: operator ` + hash[7:15] + ` hashed from 2026-01-01T00:00:00Z until 2222-01-01T12:00:00Z\n` +
		`API key: operator [0-9a-f]{8} until 2026-01-01T00:00:00Z\nwarning: \S+: keys\.expires: the operator key [0-9a-f]{8} has expired and lets nobody in\n$`)
	if code != exitDone || !want.MatchString(stdout) || strings.Contains(stdout+stderr, "1234567890") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	d := startDemo(t, t.TempDir(), "--shop", "none", "--shoppers", "0", "--config", config)
	for shown, status := range map[string]int{key: http.StatusOK, hash: http.StatusUnauthorized, "old-1234567890abcdefgh": http.StatusUnauthorized} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+shown)
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err := errors.Join(err, answer.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != status {
			t.Errorf("%s: %d", shown, answer.StatusCode)
		}
		if status == http.StatusOK && !strings.Contains(string(body), `sluice_key_expires_timestamp_seconds{key="`+hash[7:15]+`",role="operator"} 7.95`) {
			t.Error("the metric does not tell when the key expires")
		}
	}
	if logs := d.logs.String(); !strings.Contains(logs, "an API key has expired") || strings.Contains(logs, "1234567890") || strings.Contains(logs, key) {
		t.Errorf("the log: %s", logs)
	}
}

// TestEventClockOnAnEmptyLog: where the events are the clock, an empty log must not be waited for; and the digest of a directory asks the topics of
// the prefix that it was made with.
func TestEventClockOnAnEmptyLog(t *testing.T) {
	config := writeConfig(t, "clock: event\nkafka: {prefix: other.}\n")
	d := startDemo(t, t.TempDir(), "--shop", "none", "--config", config)
	d.accept("v")
	before := d.stores()
	if code := d.stop(); code != exitDone {
		t.Fatalf("exit %d", code)
	}
	stdout, stderr, code := sluice(t, "state", "digest", "--data", d.dir, "--config", config)
	if code != exitDone {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	for name, digest := range before {
		if _, sum, _ := strings.Cut(digest, ", "); !strings.Contains(stdout, sum) {
			t.Errorf("%s: %s is not in\n%s", name, digest, stdout)
		}
	}
}
