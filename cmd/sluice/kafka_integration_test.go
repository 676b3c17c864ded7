//go:build integration

package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/deploy/local/kafka/kraft"
)

// startKafka starts brokers of the test's own.
func startKafka(t testing.TB, o kraft.Options) *kraft.Cluster {
	t.Helper()
	o.Dir = filepath.Join(t.TempDir(), "kafka")
	cluster, err := kraft.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	return cluster
}

func writeFile(t testing.TB, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestSecureKafka makes topics and serves through TLS and SCRAM, with both hashes, and says what is wrong where a password or an authority is.
func TestSecureKafka(t *testing.T) {
	kafka := startKafka(t, kraft.Options{Secure: &kraft.Credentials{User: "sluice", Password: "a password of the test"}})
	dir := t.TempDir()
	password := writeFile(t, dir, "password", "a password of the test\n")
	wrong := writeFile(t, dir, "wrong", "another password\n")
	root := filepath.Join(dir, "root.key")
	if _, stderr, code := sluice(t, "keys", "create", root); code != exitDone {
		t.Fatal(stderr)
	}
	config := func(name, mechanism, passwordFile, ca string) string {
		return writeFile(t, dir, name+".yaml", strings.NewReplacer("DIR", dir, "ROOT", root, "BROKERS", strings.Join(kafka.SecureAddrs(), ", "),
			"MECHANISM", mechanism, "PASSWORD", passwordFile, "CA", ca).Replace(`
server: {listen: 127.0.0.1:0, data: DIR/data, root_key: ROOT, node: one}
kafka:
  brokers: [BROKERS]
  tls: {enabled: true, ca: "CA"}
  sasl: {mechanism: MECHANISM, user: sluice, password_file: PASSWORD}
keys: {write: [demo_write], server: [demo_server], operator: [demo_operator]}
`))
	}
	good := config("good", "scram-sha-512", password, kafka.CA())
	if _, stderr, code := sluice(t, "topics", "check", "--config", good); code != exitFailed {
		t.Errorf("checking before creating: exit code %d: %s", code, stderr)
	}
	for _, mechanism := range []string{"scram-sha-256", "scram-sha-512"} { // the second finds them there
		if _, stderr, code := sluice(t, "topics", "create", "--config", config(mechanism, mechanism, password, kafka.CA())); code != exitDone {
			t.Fatalf("%s: exit code %d: %s", mechanism, code, stderr)
		}
	}
	if stdout, stderr, code := sluice(t, "topics", "check", "--config", good); code != exitDone {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	for name, c := range map[string]struct{ config, says string }{
		"password":  {config("password", "scram-sha-512", wrong, kafka.CA()), "SASL"},
		"authority": {config("authority", "scram-sha-512", password, ""), "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			_, stderr, code := sluice(t, "topics", "check", "--config", c.config)
			if code != exitFailed || !strings.Contains(stderr, c.says) || strings.Contains(stderr, "another password") {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
	d := startProcess(t, dir, "serve", "--config", good)
	revision := d.accept("visitor")
	d.post(view("first", "visitor", "item-1", revision, time.Now(), 0))
	eventually(t, "a personal answer", func() bool {
		var personal struct{ Personalized bool }
		d.ask(http.MethodPost, "/v1/recommendations", map[string]any{"surface": "home", "anonymous_id": "visitor"}, &personal)
		return personal.Personalized
	})
	if code := d.stop(); code != exitDone {
		t.Errorf("stopping: exit code %d: %s", code, d.logs)
	}
}
