// Command fraud replays the card transactions of the Fraud Detection Handbook through the whole path (collector, filter, features, risk) of a sluice
// started on an empty directory. It reports throughput, CPU, memory, disk and decisions by outcome, and compares what is kept per terminal and day
// with a plain count from the file.
//
//	go run ./benchmarks/fraud -sluice bin/sluice -events ../shared/data/fraud_transactions.csv.zst
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sluice/benchmarks/server"
	"sluice/internal/process"
	"sluice/replay"
	"sluice/systemtest/run"
)

type options struct {
	binary, events, out string
	days                int
}

// result is what one run measured. Durations are in the units that the names say.
type result struct {
	run.Head
	Account           replay.Account   `json:"account"`
	EventsPerSecond   float64          `json:"events_per_second"` // of the whole path: the last store has settled
	CPUMicrosPerEvent float64          `json:"cpu_us_per_event"`  // of the server alone, broker included
	RSSMegabytes      float64          `json:"rss_mb"`
	PeakRSSMegabytes  float64          `json:"peak_rss_mb"`
	DiskMegabytes     float64          `json:"disk_mb"`
	Decisions         map[string]int64 `json:"decisions"` // by outcome
	TerminalDays      int              `json:"terminal_days"`
	DifferentDays     int              `json:"different_terminal_days"` // of which the kept count is not the file's
}

func main() {
	var o options
	flag.StringVar(&o.binary, "sluice", "bin/sluice", "the program to measure")
	flag.StringVar(&o.events, "events", "../shared/data/fraud_transactions.csv.zst", "the transactions")
	flag.StringVar(&o.out, "out", "", "append the result as a JSON line to this file")
	flag.IntVar(&o.days, "days", 0, "keep the state of this many days, so that every day of the file can be compared; 0 = as built in")
	flag.Parse()
	if err := benchmark(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "benchmark:", err)
		os.Exit(1)
	}
}

func benchmark(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "sluice-fraud-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := result{Head: run.NewHead(ctx)}
	if err := measure(ctx, o, dir, &r); err != nil {
		return err
	}
	if err := compare(ctx, o, dir, &r); err != nil {
		return err
	}
	if err := run.Report(o.out, r); err != nil {
		return err
	}
	if r.DifferentDays > 0 {
		return fmt.Errorf("%d of %d counts per terminal and day differ from the file's", r.DifferentDays, r.TerminalDays)
	}
	return nil
}

// measure replays the file into a fresh server, which it stops at the end.
func measure(ctx context.Context, o options, dir string, r *result) (err error) {
	configFile := filepath.Join(dir, "features.yaml")
	if err := os.WriteFile(configFile, featuresFile(o.days), 0o600); err != nil {
		return err
	}
	s, err := server.Demo(ctx, o.binary, dir, "--config", configFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	mapFile := filepath.Join(dir, "map.yaml")
	if err := os.WriteFile(mapFile, []byte(transactionMap), 0o600); err != nil {
		return err
	}
	cpu := s.CPU()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, o.binary, "replay", "--events", o.events, "--map", mapFile, "--to", s.URL, "--json")
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("replaying: %w", err)
	}
	if err := json.Unmarshal(out.Bytes(), &r.Account); err != nil {
		return err
	}
	r.EventsPerSecond = float64(r.Account.Read) / r.Account.Seconds
	r.CPUMicrosPerEvent = (s.CPU() - cpu).Seconds() * 1e6 / float64(r.Account.Read)
	r.RSSMegabytes, r.PeakRSSMegabytes = s.Memory()
	r.DiskMegabytes = process.DiskUsage(dir) / 1e6
	r.Decisions, err = decisions(ctx, s.URL)
	return err
}

// transactionMap is how the handbook's columns become payments.
const transactionMap = `
set:    {type: payment, channel: server, jurisdiction: EU, order.currency: EUR, counterparty.kind: terminal}
fields: {id: TRANSACTION_ID, time: TX_DATETIME, user_id: CUSTOMER_ID, counterparty.id: TERMINAL_ID, order.order_id: TRANSACTION_ID, order.value: TX_AMOUNT}
time:   {zone: UTC}
ignore: [TX_FRAUD, TX_FRAUD_SCENARIO]
`

// decisions reads the decisions by outcome from the metrics.
func decisions(ctx context.Context, url string) (map[string]int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer demo_operator")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(answer.Body); err != nil {
		return nil, err
	}
	counts := make(map[string]int64)
	for line := range strings.Lines(text.String()) {
		labels, ok := strings.CutPrefix(line, "sluice_risk_decisions_total{")
		if !ok {
			continue
		}
		_, rest, _ := strings.Cut(labels, `outcome="`)
		outcome, _, _ := strings.Cut(rest, `"`)
		_, number, _ := strings.Cut(labels, "} ")
		var n float64
		if _, err := fmt.Sscan(number, &n); err != nil {
			return nil, fmt.Errorf("reading the metrics: %w", err)
		}
		counts[outcome] += int64(n)
	}
	return counts, nil
}
