// Package fraud compares what a server keeps of the Fraud Detection Handbook's card transactions with a plain count of the file.
package fraud

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"sluice/features/entity"
	"sluice/features/record"
	"sluice/features/spec"
	"sluice/internal/broker"
	"sluice/internal/config"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
)

// terminalDay is one terminal on one UTC day, counted in days since 1970.
type terminalDay struct {
	terminal string
	day      int64
}

// TransactionMap is how the handbook's columns become payments.
const TransactionMap = `
set:    {type: payment, channel: server, jurisdiction: EU, order.currency: EUR, counterparty.kind: terminal}
fields: {id: TRANSACTION_ID, time: TX_DATETIME, user_id: CUSTOMER_ID, counterparty.id: TERMINAL_ID, order.order_id: TRANSACTION_ID, order.value: TX_AMOUNT}
time:   {zone: UTC}
ignore: [TX_FRAUD, TX_FRAUD_SCENARIO]
`

// Compare reads what the stopped server keeps of every terminal in its data directory and compares it, day by day, with the file. Days that the longest
// window has left behind are not kept and cannot be compared.
func Compare(ctx context.Context, file, data string) (days, different int, err error) {
	want, err := count(file)
	if err != nil {
		return 0, 0, fmt.Errorf("counting the file: %w", err)
	}
	b, err := broker.Start(broker.Options{Dir: filepath.Join(data, "broker")})
	if err != nil {
		return 0, 0, err
	}
	defer b.Close()
	ring, err := seal.Open(filepath.Join(data, "keys", "root.key"))
	if err != nil {
		return 0, 0, err
	}
	kept, oldest, err := keptDays(ctx, b.Cluster("sluice."))
	if err != nil {
		return 0, 0, fmt.Errorf("reading the entities: %w", err)
	}
	keys := pseudonym.New(ring)
	for at, n := range want {
		if at.day < oldest {
			continue
		}
		days++
		if kept[entityDay{keys.Identifier(privacyfilter.Risk, "counterparty", at.terminal), at.day}] != n {
			different++
		}
	}
	return days, different, nil
}

// entityDay is one counterparty, by its pseudonym, on one day.
type entityDay struct {
	entity [16]byte
	day    int64
}

// keptDays counts the payments of every counterparty and day that is kept, and tells the oldest day.
func keptDays(ctx context.Context, cluster stream.Cluster) (kept map[entityDay]int64, oldest int64, err error) {
	c, err := loadFeatures()
	if err != nil {
		return nil, 0, err
	}
	view := entity.NewView(cluster, c, record.ViewOptions{})
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- view.Run(ctx) }()
	select {
	case <-view.CaughtUp():
		cancel()
		err = <-ended
	case err = <-ended:
		cancel()
	}
	if err != nil {
		return nil, 0, err
	}
	kept, oldest = make(map[entityDay]int64), math.MaxInt64
	view.EachDay("counterparty.id", vocab.Type_PAYMENT, func(entity [16]byte, day, payments int64) bool {
		kept[entityDay{entity, day}] = payments
		oldest = min(oldest, day)
		return true
	})
	if len(kept) == 0 {
		return nil, 0, errors.New("no counterparty is kept")
	}
	return kept, oldest, nil
}

// loadFeatures compiles the built-in configuration as the server does.
func loadFeatures() (*spec.Config, error) {
	sections := make(map[string]config.Section)
	for name, data := range map[string][]byte{"register.yaml": privacyfilter.Defaults, "features.yaml": spec.Defaults} {
		file, err := config.Parse(name, data)
		if err != nil {
			return nil, err
		}
		for _, s := range file.Sections() {
			sections[s.Name] = s
		}
	}
	section := func(name string) config.Section { return sections[name] }
	register, err := privacyfilter.Load(section)
	if err != nil {
		return nil, err
	}
	return spec.Load(section, register)
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
