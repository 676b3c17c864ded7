package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"sluice/benchmarks/fraud"
	"sluice/benchmarks/server"
)

// fraudReplay replays the handbook's card transactions through collector, filter, features and risk, and compares what is kept with the file.
func fraudReplay(ctx context.Context, b *bench) (err error) {
	if _, err := os.Stat(b.Fraud); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s", errMissing, b.Fraud)
	}
	s, err := b.demo(ctx, "")
	if err != nil {
		return err
	}
	b.profile(ctx, s)
	cpu, began := s.CPU(), time.Now()
	read, err := b.replay(ctx, s)
	if err != nil {
		return fmt.Errorf("replaying: %w", err)
	}
	if err := s.Settle(ctx); err != nil {
		return err
	}
	b.record("transactions", "", read)
	b.record("settled", "events/s", read/time.Since(began).Seconds())
	b.record("server's CPU an event", "µs", (s.CPU()-cpu).Seconds()*1e6/read)
	b.memory(s, "when settled")
	b.record("on disk", "MB", s.Disk()/1e6)
	for _, outcome := range []string{"allow", "challenge", "review", "block"} {
		n, _, err := s.Metric(ctx, "sluice_risk_decisions_total", fmt.Sprintf("outcome=%q", outcome))
		if err != nil {
			return err
		}
		b.record("decided: "+outcome, "", n)
	}
	if err := s.Stop(); err != nil || b.Old {
		return err
	}
	days, different, err := fraud.Compare(ctx, b.Fraud, s.Data())
	if err != nil {
		return fmt.Errorf("comparing: %w", err)
	}
	b.record("terminal-days compared with the file", "", float64(days))
	b.record("terminal-days that differ", "", float64(different))
	return nil
}

// replay runs `sluice replay` and says how many transactions it read; all must have been accepted.
func (b *bench) replay(ctx context.Context, s *server.Server) (read float64, err error) {
	mapFile := filepath.Join(b.dir, "map.yaml")
	if err := os.WriteFile(mapFile, []byte(fraud.TransactionMap), 0o600); err != nil {
		return 0, err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, b.Sluice, "replay", "--events", b.Fraud, "--map", mapFile, "--to", s.URL, "--json")
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return 0, err
	}
	var account struct{ Read, Accepted float64 }
	if err := json.Unmarshal(out.Bytes(), &account); err != nil {
		return 0, err
	}
	if account.Accepted != account.Read || account.Read == 0 {
		return 0, fmt.Errorf("%.0f of %.0f transactions were accepted", account.Accepted, account.Read)
	}
	return account.Read, nil
}
