package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"sluice/features"
	"sluice/internal/broker"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
)

// terminalDay is one terminal on one UTC day, counted in days since 1970.
type terminalDay struct {
	terminal string
	day      int64
}

// compare reads what the stopped server keeps of every terminal and compares it, day by day, with the file.
// Only days that no retention has expired can be compared: those that the store still has for any terminal.
func compare(ctx context.Context, file, dir string, r *result) (err error) {
	want, err := count(file)
	if err != nil {
		return fmt.Errorf("counting the file: %w", err)
	}
	b, err := broker.Start(broker.Options{Dir: filepath.Join(dir, "broker")})
	if err != nil {
		return err
	}
	defer b.Close()
	ring, err := seal.Open(filepath.Join(dir, "keys", "root.key"))
	if err != nil {
		return err
	}
	kept, oldest, err := keptDays(ctx, stream.Cluster{Brokers: b.Addrs(), Prefix: "sluice."})
	if err != nil {
		return fmt.Errorf("reading the entities: %w", err)
	}
	keys := pseudonym.New(ring)
	for at, n := range want {
		if at.day < oldest {
			continue
		}
		r.TerminalDays++
		if kept[entityDay{keys.Identifier(privacyfilter.Risk, "counterparty", at.terminal), at.day}] != n {
			r.DifferentDays++
		}
	}
	return nil
}

// entityDay is one counterparty, by its pseudonym, on one day.
type entityDay struct {
	entity [16]byte
	day    int64
}

// keptDays counts the payments of every counterparty and day that is kept, and tells the oldest day.
func keptDays(ctx context.Context, cluster stream.Cluster) (map[entityDay]int64, int64, error) {
	kept := make(map[entityDay]int64)
	err := features.EachEntityDay(ctx, cluster, func(kind byte, entity [16]byte, day, payments int64) {
		if kind == 'c' {
			kept[entityDay{entity, day}] = payments
		}
	})
	if err != nil || len(kept) == 0 {
		return nil, 0, errors.Join(err, errors.New("no counterparty is kept"))
	}
	days := make([]int64, 0, len(kept))
	for at := range kept {
		days = append(days, at.day)
	}
	return kept, slices.Min(days), nil
}

// count is the plain computation: payments per terminal and day of the file.
func count(name string) (map[terminalDay]int64, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	plain, err := zstd.NewReader(file)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	rows := csv.NewReader(plain)
	rows.ReuseRecord = true
	header, err := rows.Read()
	if err != nil {
		return nil, err
	}
	timeColumn, terminalColumn := slices.Index(header, "TX_DATETIME"), slices.Index(header, "TERMINAL_ID")
	if timeColumn < 0 || terminalColumn < 0 {
		return nil, errors.New("columns TX_DATETIME and TERMINAL_ID expected")
	}
	counts := make(map[terminalDay]int64)
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return counts, nil
		}
		if err != nil {
			return nil, err
		}
		at, err := time.Parse(time.DateTime, row[timeColumn])
		if err != nil {
			return nil, err
		}
		counts[terminalDay{row[terminalColumn], at.Unix() / 86_400}]++
	}
}
