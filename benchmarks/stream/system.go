package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice/benchmarks/server"
	"sluice/deploy/local/kafka/kraft"
	"sluice/internal/process"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

// system is the server under load, with the broker that it does not have in itself.
type system struct {
	broker string
	server *server.Server
	kafka  *kraft.Cluster // nil where the broker is embedded
}

func startEmbedded(ctx context.Context, o options, dir string) (*system, error) {
	started, err := server.Demo(ctx, o.binary, dir)
	return &system{broker: "embedded", server: started}, err
}

// brokerHeap is Kafka's own default.
const brokerHeap = "1g"

func startOnKafka(ctx context.Context, o options, dir string) (s *system, err error) {
	s = &system{broker: "Apache Kafka " + kraft.Version}
	if s.kafka, err = kraft.Start(ctx, kraft.Options{Dir: filepath.Join(dir, "kafka"), Heap: brokerHeap, LongRun: true}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.kafka.Close())
		}
	}()
	cluster := stream.Cluster{Brokers: s.kafka.Addrs(), Prefix: "sluice."}
	if err := topics.Create(ctx, cluster, 1); err != nil {
		return nil, err
	}
	root, config := filepath.Join(dir, "root.key"), filepath.Join(dir, "sluice.yaml")
	if err := seal.Create(root); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`server: {listen: "127.0.0.1:0", data: %q, root_key: %q, node: one}
kafka: {brokers: ["%s"]}
keys: {write: [demo_write], server: [demo_server], operator: [demo_operator]}
`, filepath.Join(dir, "data"), root, strings.Join(cluster.Brokers, `", "`))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s.server, err = server.Start(ctx, o.binary, dir, "serve", "--config", config)
	return s, err
}

// brokerCPU is what the brokers have used apart from the server, 0 where the broker is embedded.
func (s *system) brokerCPU() (used time.Duration) {
	if s.kafka == nil {
		return 0
	}
	for _, pid := range s.kafka.PIDs() {
		used += process.CPU(pid)
	}
	return used
}

func (s *system) stop() error {
	err := s.server.Stop()
	if s.kafka != nil {
		err = errors.Join(err, s.kafka.Close())
	}
	return err
}
