package warehouse

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"

	"sluice/internal/warehouse"
)

// tally is how many transactions a day had, and what they were worth in micros.
type tally struct{ count, micros int64 }

// days are tallies by the UTC day.
type days map[string]tally

func (d days) add(day string, count, micros int64) {
	t := d[day]
	d[day] = tally{t.count + count, t.micros + micros}
}

// compareDays counts and sums by day: the file itself, ClickHouse in SQL, and the Parquet files.
func (s *system) compareDays(ctx context.Context, file string, inParquet warehouse.Store, r *fraudResult) error {
	fromFile, err := daysOfFile(file)
	if err != nil {
		return err
	}
	fromClickHouse, err := s.daysOfClickHouse(ctx)
	if err != nil {
		return err
	}
	fromParquet := make(days)
	err = s.scan(ctx, inParquet, "risk_events", []string{"time", "value"}, func(b *warehouse.Batch) error {
		for i := range b.Rows() {
			fromParquet.add(time.UnixMicro(b.Values[0].Int(i)).UTC().Format(time.DateOnly), 1, b.Values[1].Int(i))
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.Days, r.DifferentDays = different(fromFile, fromClickHouse, fromParquet)
	return nil
}

// compareOutcomes compares the decisions by outcome with what the program has counted itself.
func (s *system) compareOutcomes(ctx context.Context, inParquet warehouse.Store, r *fraudResult) error {
	fromClickHouse := make(map[string]int64)
	rows, err := s.conn.Query(ctx, "SELECT outcome, toInt64(count()) FROM decisions GROUP BY outcome")
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // what it would say is in rows.Err
	for rows.Next() {
		var outcome string
		var n int64
		if err := rows.Scan(&outcome, &n); err != nil {
			return err
		}
		fromClickHouse[outcome] = n
	}
	if err := rows.Err(); err != nil {
		return err
	}
	fromParquet := make(map[string]int64)
	err = s.scan(ctx, inParquet, "decisions", []string{"outcome"}, func(b *warehouse.Batch) error {
		for i := range b.Rows() {
			outcome := string(b.Values[0].Text(i))
			fromParquet[outcome]++
		}
		return nil
	})
	_, r.DifferentOutcome = different(r.Decisions, fromClickHouse, fromParquet)
	return err
}

// different counts the keys that any of the maps has, and those of which the maps do not say the same.
func different[V comparable](maps ...map[string]V) (keys, differing int) {
	all := make(map[string]bool)
	for _, m := range maps {
		for key := range m {
			all[key] = true
		}
	}
	for key := range all {
		if slices.ContainsFunc(maps, func(m map[string]V) bool { return m[key] != maps[0][key] }) {
			differing++
		}
	}
	return len(all), differing
}

// daysOfClickHouse asks in SQL, without FINAL: a row that is there twice counts twice.
func (s *system) daysOfClickHouse(ctx context.Context) (days, error) {
	rows, err := s.conn.Query(ctx, "SELECT toString(toDate(time)) AS day, toInt64(count()), sum(value) FROM risk_events GROUP BY day")
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // what it would say is in rows.Err
	found := make(days)
	for rows.Next() {
		var day string
		var t tally
		if err := rows.Scan(&day, &t.count, &t.micros); err != nil {
			return nil, err
		}
		found[day] = t
	}
	return found, rows.Err()
}

// Columns of the transactions' file.
const (
	timeColumn   = "TX_DATETIME"
	amountColumn = "TX_AMOUNT"
)

// daysOfFile is the plain computation.
func daysOfFile(name string) (days, error) {
	file, err := openFile(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	rows := csv.NewReader(file)
	rows.ReuseRecord = true
	header, err := rows.Read()
	if err != nil {
		return nil, err
	}
	at, amount := slices.Index(header, timeColumn), slices.Index(header, amountColumn)
	if at < 0 || amount < 0 {
		return nil, errors.New("there must be columns " + timeColumn + " and " + amountColumn)
	}
	found := make(days)
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		value, err := strconv.ParseFloat(row[amount], 64)
		if err != nil {
			return nil, err
		}
		day, err := time.Parse(time.DateTime, row[at])
		if err != nil {
			return nil, err
		}
		found.add(day.Format(time.DateOnly), 1, int64(math.Round(value*1e6)))
	}
}

// zipped is an unpacked file.
type zipped struct {
	*zstd.Decoder
	file *os.File
}

func (z zipped) Close() error {
	z.Decoder.Close()
	return z.file.Close()
}

func openFile(name string) (io.ReadCloser, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if !packed(name) {
		return file, nil
	}
	plain, err := zstd.NewReader(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return zipped{plain, file}, nil
}

func packed(name string) bool { return len(name) > 4 && name[len(name)-4:] == ".zst" }

// transactions is the file, or one with as many of its transactions as were asked for.
func (s *system) transactions(o *Command) (name string, err error) {
	if o.Rows == 0 {
		return o.Events, nil
	}
	from, err := openFile(o.Events)
	if err != nil {
		return "", err
	}
	defer from.Close()
	name = s.path("transactions.csv")
	to, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	lines, out := bufio.NewReader(from), bufio.NewWriter(to)
	for range o.Rows + 1 { // and the header
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		if _, err := out.Write(line); err != nil {
			return "", err
		}
	}
	return name, out.Flush()
}
