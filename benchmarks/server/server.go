// Package server starts the program that a benchmark measures, asks it what outsiders may ask, and reads what it costs.
package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sluice/deploy/local/kafka/kraft"
	"sluice/internal/process"
	"sluice/systemtest/client"
)

// Server is a running server. It can be stopped or killed and begun again.
type Server struct {
	*process.Process
	URL    string // of its present life
	Broker string // what it runs on

	dir, log string
	kafka    *kraft.Cluster // nil where the broker is embedded
}

// Options say what to start.
type Options struct {
	Binary string
	Dir    string   // gets data and logs; it must exist
	Config string   // text of a configuration file over the built-in one; empty: none
	Env    []string // beside the environment of this process
}

// Demo starts the demo on a free port, without a shop, and returns when it is ready.
func Demo(ctx context.Context, o Options) (*Server, error) {
	args := []string{"demo", "--listen", "127.0.0.1:0", "--data", filepath.Join(o.Dir, "data"), "--shop", "none", "--shoppers", "0"}
	if o.Config != "" {
		file := filepath.Join(o.Dir, "config.yaml")
		if err := os.WriteFile(file, []byte(o.Config), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--config", file)
	}
	s := newServer(o, args)
	s.Broker = "embedded"
	return s, s.Begin(ctx)
}

func newServer(o Options, args []string) *Server {
	log := filepath.Join(o.Dir, "sluice.log")
	return &Server{
		Process: process.New(process.Options{Name: "sluice", Path: o.Binary, Args: args, Env: o.Env, Log: log}),
		dir:     o.Dir, log: log,
	}
}

// brokerHeap is Kafka's own default.
const brokerHeap = "1g"

// OnKafka starts one Apache Kafka broker and a server with every role on it. The program itself makes topics and key, whatever its version wants.
func OnKafka(ctx context.Context, o Options) (s *Server, err error) {
	kafka, err := kraft.Start(ctx, kraft.Options{Dir: filepath.Join(o.Dir, "kafka"), Heap: brokerHeap, LongRun: true})
	if err != nil {
		return nil, err
	}
	root, config := filepath.Join(o.Dir, "root.key"), filepath.Join(o.Dir, "config.yaml")
	s = newServer(o, []string{"serve", "--config", config})
	s.Broker, s.kafka = "Apache Kafka "+kraft.Version, kafka
	text := fmt.Sprintf(`server: {listen: "127.0.0.1:0", data: %q, root_key: %q, node: one}
kafka: {brokers: ["%s"]}
keys: {write: [%s], server: [%s], operator: [%s]}
%s`, s.Data(), root, strings.Join(kafka.Addrs(), `", "`), client.WriteKey, client.ServerKey, client.OperatorKey, o.Config)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return s, err
	}
	for _, args := range [][]string{{"keys", "create", root}, {"topics", "create", "--config", config}} {
		if out, err := exec.CommandContext(ctx, o.Binary, args...).CombinedOutput(); err != nil {
			return s, fmt.Errorf("sluice %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return s, s.Begin(ctx)
}

// readyTime bounds how long a server may take to be ready.
const readyTime = 10 * time.Minute

// Begin starts the server and returns when it is ready.
func (s *Server) Begin(ctx context.Context) (err error) {
	if err := s.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	s.URL, err = s.Ready(ctx)
	return err
}

// stopTime bounds how long a server may take to stop.
const stopTime = time.Minute

// Stop asks the server to stop and waits until it has. One that does not is killed, and that is an error.
func (s *Server) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	err := s.Terminate(ctx)
	if err != nil && s.Running() {
		err = errors.Join(err, s.Kill())
	}
	return err
}

// Close ends the server and its broker at once.
func (s *Server) Close() (err error) {
	if s.Running() {
		err = s.Kill()
	}
	if s.kafka != nil {
		err = errors.Join(err, s.kafka.Close())
	}
	return err
}

// Addr is host:port of the present life.
func (s *Server) Addr() string { return strings.TrimPrefix(s.URL, "http://") }

// Data is the server's data directory.
func (s *Server) Data() string { return filepath.Join(s.dir, "data") }

// CPU is the user and system time that the server's present life has used.
func (s *Server) CPU() time.Duration { return process.CPU(s.PID()) }

// BrokerCPU is what the broker has used apart from the server, 0 where it is embedded.
func (s *Server) BrokerCPU() (used time.Duration) {
	if s.kafka == nil {
		return 0
	}
	for _, pid := range s.kafka.PIDs() {
		used += process.CPU(pid)
	}
	return used
}

// Memory is the present and the peak resident size in megabytes.
func (s *Server) Memory() (now, peak float64) { return process.Memory(s.PID()) }

// Disk is the size in bytes of all that is kept.
func (s *Server) Disk() float64 { return process.DiskUsage(s.dir) }
