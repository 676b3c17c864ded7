package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
)

// deploymentDir is a directory with what the processes of one deployment share: the root key, and a prefix that no other test has.
type deploymentDir struct {
	path    string
	cluster stream.Cluster
}

// nodeConfig is a process's configuration file. Everything that it does not say is as it is built in.
var nodeConfig = template.Must(template.New("").Parse(`server:
  listen: {{.Listen}}
  data: {{.Dir}}/{{.Node}}
  root_key: {{.Dir}}/keys/root.key
  node: {{.Node}}
kafka:
  brokers: [{{.Brokers}}]
  prefix: "{{.Prefix}}"
  replicas: {{.Replicas}}
keys: {write: [demo_write], server: [demo_server], operator: [demo_operator]}
{{.More}}`))

// newDeployment makes the topics and the key of a deployment in a directory. One that has been made there before goes on.
func newDeployment(t testing.TB, dir string, addrs []string, replicas int) *deploymentDir {
	t.Helper()
	d := &deploymentDir{path: dir}
	file := filepath.Join(dir, "prefix")
	if prefix, err := os.ReadFile(file); err == nil {
		d.cluster = stream.Cluster{Brokers: addrs, Prefix: string(prefix)}
		return d
	}
	d.cluster = brokertest.Prefix(t, addrs)
	if err := os.WriteFile(file, []byte(d.cluster.Prefix), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "keys", "root.key")
	if _, err := os.Stat(root); err != nil {
		if _, stderr, code := run0(t, "keys", "create", root); code != exitDone {
			t.Fatal(stderr)
		}
	}
	if _, stderr, code := run0(t, "topics", "create", "--config", d.config(t, "topics", "127.0.0.1:0", replicas, "")); code != exitDone {
		t.Fatal(stderr)
	}
	return d
}

// run0 runs a tool of the program in this process.
func run0(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return out.String(), errs.String(), code
}

// config writes a node's configuration file; more are further sections.
func (d *deploymentDir) config(t testing.TB, node, listen string, replicas int, more string) string {
	t.Helper()
	var text bytes.Buffer
	err := nodeConfig.Execute(&text, map[string]any{
		"Listen": listen, "Dir": d.path, "Node": node, "Brokers": strings.Join(d.cluster.Brokers, ", "), "Prefix": d.cluster.Prefix, "Replicas": replicas, "More": more,
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(d.path, fmt.Sprintf("%s.yaml", node))
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// start starts a node and returns when it is ready. No roles: every one.
func (d *deploymentDir) start(t testing.TB, node, listen string, replicas int, roles ...string) *demo {
	t.Helper()
	args := []string{"serve", "--config", d.config(t, node, listen, replicas, "")}
	if len(roles) > 0 {
		args = append(args, "--roles", strings.Join(roles, ","))
	}
	return startProcess(t, d.path, args...)
}

// startEmpty starts a server with every role and no shop: the demo on its own broker, or a node on the tests' Kafka cluster.
func startEmpty(t testing.TB, dir string) *demo {
	t.Helper()
	return startEmptyAt(t, "127.0.0.1:0", dir)
}

func startEmptyAt(t testing.TB, listen, dir string) *demo {
	t.Helper()
	addrs := brokertest.Kafka()
	if addrs == nil {
		return startDemoAt(t, listen, dir, "--shop", "none", "--shoppers", "0")
	}
	return newDeployment(t, dir, addrs, 1).start(t, "one", listen, 1)
}
