package clickhouse

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"sluice/internal/warehouse"
)

// scanRows is how many rows a batch of Scan has at most.
const scanRows = 8192

// scanSettings let the engine read a day in the order of the tables' index: only each subject's rows are sorted by time. FINAL merges copies of a row that
// a second insert left; copies have the same time, so that they are in one partition, and each partition is merged for itself.
var scanSettings = ch.Settings{
	"do_not_merge_across_partitions_select_final": 1,
	"optimize_read_in_order":                      1,
	"max_bytes_before_external_sort":              256 << 20,
	"max_threads":                                 2,
}

// Scan gives a table's rows as the interface says: day by day, within a day by subject and time.
func (s *Store) Scan(ctx context.Context, t *warehouse.Table, names []string, from, to time.Time, each func(*warehouse.Batch) error) error {
	selected, err := t.Select(names)
	if err != nil {
		return fmt.Errorf("clickhouse: %w", err)
	}
	days, err := s.days(ctx, t, from, to)
	if err != nil {
		return fmt.Errorf("clickhouse: table %s: finding the days: %w", t.Name, err)
	}
	r := newReader(selected)
	for _, day := range days {
		start, end := later(day, from), sooner(day.AddDate(0, 0, 1), to)
		if err := s.scanDay(ctx, r, start, end, each); err != nil {
			return fmt.Errorf("clickhouse: table %s: reading a day: %w", t.Name, err)
		}
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func sooner(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// days are the days of the interval that have rows, in order. They are found in the first column of the index.
func (s *Store) days(ctx context.Context, t *warehouse.Table, from, to time.Time) ([]time.Time, error) {
	// As numbers: the driver would give a date as midnight in the engine's time zone.
	query := "SELECT toUInt32(day) FROM (SELECT DISTINCT toDate(" + quoteName(t.Time) + ") AS day FROM " + s.table(t) + " WHERE " + between(t, from, to) + ") ORDER BY day"
	var out []time.Time
	err := each(ctx, s.conn, query, func(rows driver.Rows) error {
		var day uint32
		if err := rows.Scan(&day); err != nil {
			return err
		}
		out = append(out, time.Unix(int64(day)*86400, 0).UTC())
		return nil
	})
	return out, err
}

// between is the condition of the times in [from, to).
func between(t *warehouse.Table, from, to time.Time) string {
	at := func(v time.Time) string {
		return "fromUnixTimestamp64Micro(" + strconv.FormatInt(clamped(v.UnixMicro()), 10) + ", 'UTC')"
	}
	return quoteName(t.Time) + " >= " + at(from) + " AND " + quoteName(t.Time) + " < " + at(to)
}

func (s *Store) scanDay(ctx context.Context, r *reader, from, to time.Time, each func(*warehouse.Batch) error) error {
	ctx, cancel := context.WithCancel(ctx)
	rows, err := s.conn.Query(ch.Context(ctx, ch.WithSettings(scanSettings)), s.scanQuery(r.table, from, to))
	if err != nil {
		cancel()
		return withoutText(err)
	}
	defer rows.Close() //nolint:errcheck // what it would say is in rows.Err
	defer cancel()     // first, so that closing does not read the rest
	for more := true; more; {
		batch := warehouse.NewBatch(r.table)
		if more, err = r.fill(rows, batch); err != nil {
			return err
		}
		if batch.Rows() == 0 {
			continue
		}
		if err := each(batch); err != nil {
			return err
		}
	}
	return withoutText(rows.Err())
}

// scanQuery reads a table's columns; times as numbers, which cost less to read. The table may be a selection: the order is by columns that it may not have.
func (s *Store) scanQuery(t *warehouse.Table, from, to time.Time) string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		if names[i] = quoteName(c.Name); c.Kind == warehouse.Time {
			names[i] = "toUnixTimestamp64Micro(" + names[i] + ")"
		}
	}
	order := quoteName(t.Time)
	if t.Subject != "" {
		order = quoteName(t.Subject) + ", " + order
	}
	return "SELECT " + strings.Join(names, ", ") + " FROM " + s.table(t) + " FINAL WHERE " + between(t, from, to) +
		" ORDER BY toDate(" + quoteName(t.Time) + "), " + order
}
