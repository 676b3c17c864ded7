// Command stream measures the whole path of a running sluice: it starts the given binary on an empty data directory, sends generated events, and reports
// throughput, CPU, memory, disk, and the time from an acknowledged event to a changed ranking.
//
//	go run ./benchmarks/stream -sluice bin/sluice
//	go run ./benchmarks/stream -sluice bin/sluice -broker both -events 400000
//
// The first line measures the demo with its embedded broker. With -broker kafka, or after the other with both, `sluice serve` runs with every role on
// one Apache Kafka broker, which is started for it.
//
// The load: events of 412 bytes, 200 per request, 4 connections, 50,000 people, 20,000 items drawn by zipf 1.1; then posts of 20 at a steady rate
// while probes measure freshness. CPU is the server's alone (user + system of its process, the embedded broker included); Kafka's is told apart.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/process"
	"sluice/systemtest/run"
)

type options struct {
	binary                         string
	events, people, items, perPost int
	connections                    int
	rate, steadyPost               int
	steady                         time.Duration
	out, profile, broker           string
}

// result is what one run measured. Durations are in the units that the names say.
type result struct {
	run.Head
	Broker            string  `json:"broker"`
	Events            int     `json:"events"`
	BytesPerEvent     int     `json:"bytes_per_event"`
	AcceptedPerSecond float64 `json:"accepted_events_per_second"`
	SettledPerSecond  float64 `json:"settled_events_per_second"`
	CPUMicrosPerEvent float64 `json:"cpu_us_per_event"`
	BrokerCPUMicros   float64 `json:"broker_cpu_us_per_event,omitempty"`
	RSSMegabytes      float64 `json:"rss_mb"`
	PeakRSSMegabytes  float64 `json:"peak_rss_mb"`
	DiskMegabytes     float64 `json:"disk_mb"`
	SteadyRate        int     `json:"steady_events_per_second"`
	SteadyCores       float64 `json:"steady_cores"`
	BrokerSteadyCores float64 `json:"broker_steady_cores,omitempty"`
	FreshP50Millis    float64 `json:"fresh_p50_ms"`
	FreshP99Millis    float64 `json:"fresh_p99_ms"`
	Probes            int     `json:"probes"`
	RankP50Millis     float64 `json:"rank_p50_ms"`
	RankP99Millis     float64 `json:"rank_p99_ms"`
}

func main() {
	var o options
	flag.StringVar(&o.binary, "sluice", "bin/sluice", "the program to measure")
	flag.IntVar(&o.events, "events", 1_200_000, "events of the throughput phase")
	flag.IntVar(&o.people, "people", 50_000, "distinct people")
	flag.IntVar(&o.items, "items", 20_000, "distinct items")
	flag.IntVar(&o.perPost, "per-post", 200, "events per request")
	flag.IntVar(&o.connections, "connections", 4, "parallel connections")
	flag.IntVar(&o.rate, "rate", 2000, "events per second of the steady phase")
	flag.IntVar(&o.steadyPost, "steady-post", 20, "events per request of the steady phase")
	flag.DurationVar(&o.steady, "steady", 30*time.Second, "length of the steady phase")
	flag.StringVar(&o.out, "out", "", "append the result as a JSON line to this file")
	flag.StringVar(&o.broker, "broker", "embedded", "embedded, kafka or both")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile of the throughput phase to this file")
	flag.Parse()
	if err := benchmark(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "benchmark:", err)
		os.Exit(1)
	}
}

func benchmark(ctx context.Context, o options) error {
	systems, ok := map[string][]func(context.Context, options, string) (*system, error){
		"embedded": {startEmbedded}, "kafka": {startOnKafka}, "both": {startEmbedded, startOnKafka},
	}[o.broker]
	if !ok {
		return fmt.Errorf("-broker %s: embedded, kafka or both expected", o.broker)
	}
	for _, start := range systems {
		if err := measure(ctx, o, start); err != nil {
			return err
		}
	}
	return nil
}

// measure runs both phases on a new system.
func measure(ctx context.Context, o options, start func(context.Context, options, string) (*system, error)) (err error) {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := start(ctx, o, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	r := result{
		Head: run.NewHead(ctx), Broker: s.broker,
		Events: o.events, SteadyRate: o.rate,
	}
	load := newLoad(o, s.server.URL)
	if err := load.acceptPolicies(ctx); err != nil {
		return fmt.Errorf("importing people: %w", err)
	}
	if err := throughput(ctx, o, load, s, &r); err != nil {
		return err
	}
	if err := steady(ctx, o, load, s, &r); err != nil {
		return err
	}
	r.DiskMegabytes = process.DiskUsage(dir) / 1e6
	return run.Report(o.out, r)
}

func throughput(ctx context.Context, o options, load *load, s *system, r *result) error {
	if o.profile != "" {
		go func() {
			if err := s.server.Profile(ctx, 15, o.profile); err != nil {
				fmt.Fprintln(os.Stderr, "benchmark:", err)
			}
		}()
	}
	cpu, brokerCPU, began := s.server.CPU(), s.brokerCPU(), time.Now()
	bytes, err := load.send(ctx, o.events, o.perPost, o.connections)
	if err != nil {
		return fmt.Errorf("sending events: %w", err)
	}
	r.AcceptedPerSecond = float64(o.events) / time.Since(began).Seconds()
	r.BytesPerEvent = bytes / o.events
	if err := load.settle(ctx); err != nil {
		return fmt.Errorf("waiting for the stream: %w", err)
	}
	r.SettledPerSecond = float64(o.events) / time.Since(began).Seconds()
	r.CPUMicrosPerEvent = (s.server.CPU() - cpu).Seconds() * 1e6 / float64(o.events)
	r.BrokerCPUMicros = (s.brokerCPU() - brokerCPU).Seconds() * 1e6 / float64(o.events)
	r.RSSMegabytes, r.PeakRSSMegabytes = s.server.Memory()
	return nil
}

// steady sends at a fixed rate while probes measure freshness and ranking latency.
func steady(ctx context.Context, o options, load *load, s *system, r *result) error {
	ctx, cancel := context.WithTimeout(ctx, o.steady)
	defer cancel()
	cpu, brokerCPU, began := s.server.CPU(), s.brokerCPU(), time.Now()
	var wg sync.WaitGroup
	var sent atomic.Int64
	var sendErr, probeErr error
	wg.Go(func() { sendErr = load.pace(ctx, o.rate, o.steadyPost, &sent) })
	var fresh, rank []time.Duration
	wg.Go(func() { fresh, rank, probeErr = load.probe(ctx) })
	wg.Wait()
	if err := errors.Join(sendErr, probeErr); err != nil {
		return fmt.Errorf("steady phase: %w", err)
	}
	r.SteadyCores = (s.server.CPU() - cpu).Seconds() / time.Since(began).Seconds()
	r.BrokerSteadyCores = (s.brokerCPU() - brokerCPU).Seconds() / time.Since(began).Seconds()
	r.Probes = len(fresh)
	r.FreshP50Millis, r.FreshP99Millis = quantiles(fresh)
	r.RankP50Millis, r.RankP99Millis = quantiles(rank)
	return nil
}

func quantiles(d []time.Duration) (p50, p99 float64) {
	if len(d) == 0 {
		return 0, 0
	}
	slices.Sort(d)
	at := func(q float64) float64 {
		return float64(d[min(len(d)-1, int(q*float64(len(d))))].Microseconds()) / 1000
	}
	return at(.5), at(.99)
}

var random = rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a reproducible load
