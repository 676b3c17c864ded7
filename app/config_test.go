package app

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestDeploymentKeepsWhatIsLeftOut: what a file's section of the deployment leaves out stays as it is built in.
func TestDeploymentKeepsWhatIsLeftOut(t *testing.T) {
	builtin := func() deployment {
		return deployment{
			Server: serverConfig{Listen: "127.0.0.1:8080", Linger: "3s", State: 256, Waiting: 512, Memory: 1280},
			Kafka:  kafkaConfig{Brokers: []string{}, Prefix: "sluice.", Replicas: 1, Generation: 1},
			Warehouse: warehouseConfig{
				Store: "parquet", Flush: "10s", ClickHouse: clickhouseConfig{Addresses: []string{}, Protocol: "native", Database: "sluice", User: "default"},
			},
			Keys: keysConfig{Write: []string{}, Server: []string{}, Operator: []string{}},
		}
	}
	for _, c := range []struct {
		name, yaml string
		want       func(d *deployment)
	}{
		{"nothing", "", func(*deployment) {}},
		{"empty sections", "kafka: {}\nserver: {}\n", func(*deployment) {}},
		{"brokers", "kafka:\n  brokers: [k:9092]\n", func(d *deployment) { d.Kafka.Brokers = []string{"k:9092"} }},
		{"deep", "kafka: {tls: {ca: ca.pem}, sasl: {user: u}}\n", func(d *deployment) { d.Kafka.TLS.CA, d.Kafka.SASL.User = "ca.pem", "u" }},
		{"no prefix on purpose", "kafka: {prefix: \"\"}\n", func(d *deployment) { d.Kafka.Prefix = "" }},
		{"data", "server: {data: /d}\n", func(d *deployment) { d.Server.Data = "/d" }},
		{"no linger", "server: {linger: 0s}\n", func(d *deployment) { d.Server.Linger = "0s" }},
		{"one role's keys", "keys: {server: [s]}\n", func(d *deployment) { d.Keys.Server = []string{"s"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sluice.yaml")
			if err := os.WriteFile(path, []byte(c.yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			config, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			got, err := loadDeployment(config)
			if err != nil {
				t.Fatal(err)
			}
			want := builtin()
			c.want(&want)
			if diff := cmp.Diff(&want, got, cmpopts.IgnoreUnexported(serverConfig{}, warehouseConfig{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}
