package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
		good: {Valid: true, Errors: []finding{}, Warnings: []finding{}, Changes: []config.Change{{Section: "kafka", Name: "brokers", Kind: config.Changed}}},
		bad:  {Errors: []finding{{File: bad, Line: 2, Column: 13, Field: "kafka.replicas", Detail: "must be at least 1"}}, Warnings: []finding{}, Changes: []config.Change{}},
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
