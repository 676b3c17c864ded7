package warehouse

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"sluice/internal/process"
	"sluice/internal/warehouse"
	"sluice/internal/warehouse/parquet"
	"sluice/replay"
	"sluice/systemtest/client"
	"sluice/systemtest/run"
)

// fraudResult is what the fraud part found.
type fraudResult struct {
	Account          replay.Account   `json:"replay"`
	Days             int              `json:"days"`               // with transactions, of the file and both stores
	DifferentDays    int              `json:"different_days"`     // of which count or sum are not the file's, in any store
	Decisions        map[string]int64 `json:"decisions"`          // by outcome, from the program's metrics
	DifferentOutcome int              `json:"different_outcomes"` // of which the count is another, in any store
	ClickHouse       filled           `json:"clickhouse"`
	Parquet          filled           `json:"parquet"`
}

func (r *fraudResult) differs() bool { return r.DifferentDays+r.DifferentOutcome > 0 || r.Days == 0 }

// filled is what it took to fill a store from the beginning of the topics, and to read it back.
type filled struct {
	Rows          int64   `json:"rows"`    // read back: risk_events and decisions
	Seconds       float64 `json:"seconds"` // from ready until everything is stored and committed; includes the wait before the last flush
	RowsPerSecond float64 `json:"rows_per_second"`
	CPU           float64 `json:"cpu_s"`       // of the warehouse's process; ClickHouse's own is not in it
	PeakRSS       float64 `json:"peak_rss_mb"` // of the warehouse's process
	Disk          float64 `json:"disk_mb"`

	ReadSeconds       float64 `json:"read_s"` // all columns of all rows
	ReadRowsPerSecond float64 `json:"read_rows_per_second"`
}

// fraud runs the transactions through the path, and what comes of them into one store after the other: there is one group for the warehouse, which begins
// anew for the second.
func fraud(ctx context.Context, o *Command, s *system, all *result, say run.SayFunc) error {
	r := new(fraudResult)
	all.Fraud = r
	file, err := s.transactions(o)
	if err != nil {
		return err
	}
	if err := s.replay(ctx, file, r); err != nil {
		return err
	}
	say("fraud: %d transactions replayed in %.0f s", r.Account.Read, r.Account.Seconds)
	if r.ClickHouse, err = s.fill(ctx, storeClickHouse); err != nil {
		return fmt.Errorf("filling ClickHouse: %w", err)
	}
	say("fraud: all in ClickHouse after %.0f s", r.ClickHouse.Seconds)
	if err := s.group.forget(ctx); err != nil {
		return err
	}
	if r.Parquet, err = s.fill(ctx, storeParquet); err != nil {
		return fmt.Errorf("filling Parquet files: %w", err)
	}
	say("fraud: all in Parquet files after %.0f s", r.Parquet.Seconds)
	return s.judge(ctx, file, r, say)
}

// judge reads both stores, and compares what they hold.
func (s *system) judge(ctx context.Context, file string, r *fraudResult, say run.SayFunc) error {
	inClickHouse, err := s.openClickHouse(ctx)
	if err != nil {
		return err
	}
	defer inClickHouse.Close() //nolint:errcheck // was only read
	inParquet, err := parquet.Open(s.path("parquet"), s.tables(), parquet.Options{})
	if err != nil {
		return err
	}
	defer inParquet.Close() //nolint:errcheck // was only read
	if err := s.readBack(ctx, inClickHouse, &r.ClickHouse); err != nil {
		return err
	}
	if err := s.readBack(ctx, inParquet, &r.Parquet); err != nil {
		return err
	}
	say("fraud: both stores are read back")
	if r.ClickHouse.Disk, err = s.diskOfClickHouse(ctx); err != nil {
		return err
	}
	r.Parquet.Disk = process.DiskUsage(s.path("parquet")) / 1e6
	if err := s.compareDays(ctx, file, inParquet, r); err != nil {
		return err
	}
	return s.compareOutcomes(ctx, inParquet, r)
}

// transactionMap is how the handbook's columns become payments.
const transactionMap = `
set:    {type: payment, channel: server, jurisdiction: EU, order.currency: EUR, counterparty.kind: terminal}
fields: {id: TRANSACTION_ID, time: TX_DATETIME, user_id: CUSTOMER_ID, counterparty.id: TERMINAL_ID, order.order_id: TRANSACTION_ID, order.value: TX_AMOUNT}
time:   {zone: UTC}
ignore: [TX_FRAUD, TX_FRAUD_SCENARIO]
`

// replay sends the transactions, waits until they are decided, and notes the decisions.
func (s *system) replay(ctx context.Context, file string, r *fraudResult) error {
	if err := os.WriteFile(s.path("map.yaml"), []byte(transactionMap), 0o600); err != nil {
		return err
	}
	var out, complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, s.binary, "replay", "--events", file, "--map", s.path("map.yaml"), "--to", s.url, "--key", client.ServerKey, "--json")
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("sluice replay: %w: %s", err, complaints.Bytes())
	}
	if err := json.Unmarshal(out.Bytes(), &r.Account); err != nil {
		return err
	}
	if err := s.api.Settle(ctx); err != nil {
		return err
	}
	metrics, err := scrape(ctx, s.url)
	if err != nil {
		return err
	}
	r.Decisions = make(map[string]int64)
	for name, n := range metrics {
		if labels, ok := strings.CutPrefix(name, "sluice_risk_decisions_total{"); ok {
			_, rest, _ := strings.Cut(labels, `outcome="`)
			outcome, _, _ := strings.Cut(rest, `"`)
			r.Decisions[outcome] += int64(n)
		}
	}
	return nil
}

// fill runs a warehouse process until everything that the topics hold is in its store.
func (s *system) fill(ctx context.Context, store string) (f filled, err error) {
	ends, err := s.group.ends(ctx)
	if err != nil {
		return f, err
	}
	p, url, err := s.serve(ctx, "warehouse-"+store, store, "warehouse")
	if err != nil {
		return f, err
	}
	began := time.Now()
	w := watch(ctx, url)
	err = s.stored(ctx, ends)
	f.Seconds = time.Since(began).Seconds()
	seen := w.stop()
	if err != nil {
		return f, err
	}
	last, err := scrape(ctx, url)
	if err != nil {
		return f, err
	}
	f.CPU = last["process_cpu_seconds_total"]
	f.PeakRSS = max(seen.rss, last["process_resident_memory_bytes"]) / 1e6
	return f, end(ctx, p)
}

// readBack reads every column of every row, as a replay does.
func (s *system) readBack(ctx context.Context, store warehouse.Store, f *filled) error {
	began := time.Now()
	for _, name := range []string{"risk_events", "decisions"} {
		err := s.scan(ctx, store, name, nil, func(b *warehouse.Batch) error {
			f.Rows += int64(b.Rows())
			return nil
		})
		if err != nil {
			return err
		}
	}
	f.ReadSeconds = time.Since(began).Seconds()
	f.ReadRowsPerSecond = float64(f.Rows) / f.ReadSeconds
	f.RowsPerSecond = float64(f.Rows) / f.Seconds
	return nil
}

// scan reads a table, all of its time.
func (s *system) scan(ctx context.Context, store warehouse.Store, table string, columns []string, each func(*warehouse.Batch) error) error {
	for _, t := range s.tables() {
		if t.Name == table {
			return store.Scan(ctx, t, columns, time.Unix(0, 0), time.Now().AddDate(1, 0, 0), each)
		}
	}
	return fmt.Errorf("there is no table %s", table)
}

// diskOfClickHouse is what the living parts of all tables take, in megabytes.
func (s *system) diskOfClickHouse(ctx context.Context) (megabytes float64, err error) {
	var size uint64
	err = s.conn.QueryRow(ctx, "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = '"+database+"'").Scan(&size)
	return float64(size) / 1e6, err
}
