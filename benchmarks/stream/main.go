// Command stream measures the whole path of a running sluice: it starts the given binary on an empty data directory, sends generated events, and reports
// throughput, CPU, memory, disk, and the time from an acknowledged event to a changed ranking.
//
//	go run ./benchmarks/stream -sluice bin/sluice
//
// The load: events of 412 bytes, 200 per request, 4 connections, 50,000 people, 20,000 items drawn by zipf 1.1; then posts of 20 at a steady rate
// while probes measure freshness. CPU is the server's alone (user + system of its process, broker included).
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type options struct {
	binary                         string
	events, people, items, perPost int
	connections                    int
	rate, steadyPost               int
	steady                         time.Duration
	out                            string
}

// result is what one run measured. Durations are in the units that the names say.
type result struct {
	Date              string  `json:"date"`
	Commit            string  `json:"commit"`
	Machine           string  `json:"machine"`
	Events            int     `json:"events"`
	BytesPerEvent     int     `json:"bytes_per_event"`
	AcceptedPerSecond float64 `json:"accepted_events_per_second"`
	SettledPerSecond  float64 `json:"settled_events_per_second"`
	CPUMicrosPerEvent float64 `json:"cpu_us_per_event"`
	RSSMegabytes      float64 `json:"rss_mb"`
	PeakRSSMegabytes  float64 `json:"peak_rss_mb"`
	DiskMegabytes     float64 `json:"disk_mb"`
	SteadyRate        int     `json:"steady_events_per_second"`
	SteadyCores       float64 `json:"steady_cores"`
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
	flag.Parse()
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "benchmark:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := start(ctx, o.binary, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	r := result{
		Date: time.Now().UTC().Format(time.DateOnly), Commit: commit(ctx), Machine: fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
		Events: o.events, SteadyRate: o.rate,
	}
	load := newLoad(o, server.url)
	if err := load.acceptPolicies(ctx); err != nil {
		return fmt.Errorf("importing people: %w", err)
	}
	if err := throughput(ctx, o, load, server, &r); err != nil {
		return err
	}
	if err := steady(ctx, o, load, server, &r); err != nil {
		return err
	}
	r.DiskMegabytes = diskUsage(dir) / 1e6
	return report(o.out, r)
}

func throughput(ctx context.Context, o options, load *load, server *server, r *result) error {
	cpu, began := server.cpu(), time.Now()
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
	r.CPUMicrosPerEvent = (server.cpu() - cpu).Seconds() * 1e6 / float64(o.events)
	r.RSSMegabytes, r.PeakRSSMegabytes = server.memory()
	return nil
}

// steady sends at a fixed rate while probes measure freshness and ranking latency.
func steady(ctx context.Context, o options, load *load, server *server, r *result) error {
	ctx, cancel := context.WithTimeout(ctx, o.steady)
	defer cancel()
	cpu, began := server.cpu(), time.Now()
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
	r.SteadyCores = (server.cpu() - cpu).Seconds() / time.Since(began).Seconds()
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

func report(path string, r result) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, string(data))
	if path == "" {
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// server is the measured process.
type server struct {
	cmd *exec.Cmd
	url string
}

func start(ctx context.Context, binary, dir string) (*server, error) {
	cmd := exec.CommandContext(ctx, binary, "demo", "--listen", "127.0.0.1:0", "--data", dir, "--shop", "none", "--shoppers", "0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "ready" {
			go func() {
				for lines.Scan() { //nolint:revive // drained so that the server never blocks on its output
				}
			}()
			return &server{cmd: cmd, url: fields[1]}, nil
		}
	}
	return nil, errors.Join(errors.New("the server ended before it was ready"), cmd.Wait())
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.cmd.Wait()
}

// cpu is the user and system time that the process has used.
func (s *server) cpu() time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(after)
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	const ticksPerSecond = 100
	return time.Duration(user+system) * time.Second / ticksPerSecond
}

// memory is the present and the peak resident size in megabytes.
func (s *server) memory() (now, peak float64) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kilobytes, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kilobytes / 1000
		case "VmHWM:":
			peak = kilobytes / 1000
		}
	}
	return now, peak
}

func diskUsage(dir string) (bytes float64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // files come and go while the server runs
		}
		if info, err := e.Info(); err == nil {
			bytes += float64(info.Size())
		}
		return nil
	})
	return bytes
}

var random = rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a reproducible load
