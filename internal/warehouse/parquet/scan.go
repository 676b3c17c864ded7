package parquet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"sluice/internal/warehouse"
)

// scan is one reader under way.
type scan struct {
	table *table
	read  *warehouse.Table // with the columns that are read

	mu      sync.Mutex
	version uint64 // of the store when the day's files were opened
	purgers []*purger
	failed  error
}

// purged takes purges: files that are open may still hold their rows. It waits for the batch that is being handed out.
func (sc *scan) purged(t *table, purges []warehouse.Purge, version uint64) {
	if sc.table != t {
		return
	}
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.version >= version {
		return // the files are those without the rows
	}
	p, err := newPurger(t.Table, purges)
	if err != nil {
		sc.failed = err
		return
	}
	p.table, p.event, p.floor = sc.read, sc.read.Column(t.Event), sc.read.Column(t.Floor)
	sc.purgers = append(sc.purgers, p)
}

// Scan gives the rows by day; within a day by subject and time, so that one subject's rows come in the order of time. A row that is purged meanwhile is
// not given any more. each must not call Append.
func (s *Store) Scan(ctx context.Context, t *warehouse.Table, columns []string, from, to time.Time, each func(*warehouse.Batch) error) error {
	known := s.tables[t.Name]
	if known == nil {
		return fmt.Errorf("scanning: no table %s", t.Name)
	}
	asked, err := known.Select(columns)
	if err != nil {
		return fmt.Errorf("scanning: %w", err)
	}
	read, err := known.Select(withNeeded(known.Table, asked))
	if err != nil {
		return fmt.Errorf("scanning: %w", err)
	}
	sc := &scan{table: known, read: read}
	s.mu.Lock()
	s.scans[sc] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.scans, sc)
		s.mu.Unlock()
	}()
	low, high := from.UnixMicro(), to.UnixMicro()
	for _, day := range s.daysOf(known) {
		if day < dayOf(low) || day > dayOf(high) {
			continue
		}
		if err := s.scanDay(ctx, sc, day, asked, low, high, each); err != nil {
			return fmt.Errorf("scanning %s of %s: %w", known.Name, day, err)
		}
	}
	return nil
}

// withNeeded are the asked columns, then those that order and purges need.
func withNeeded(t *warehouse.Table, asked *warehouse.Table) []string {
	var names []string
	for _, c := range asked.Columns {
		names = append(names, c.Name)
	}
	for _, name := range []string{t.Subject, t.Time, t.Event, t.Floor} {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (s *Store) scanDay(
	ctx context.Context, sc *scan, day string, asked *warehouse.Table, low, high int64, each func(*warehouse.Batch) error,
) (err error) {
	defer recovered(&err)
	m := &merger{table: sc.read}
	defer m.close()
	if err := s.openDay(ctx, m, sc, day); err != nil {
		return err
	}
	for {
		b, err := m.next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := sc.give(b, asked, low, high, each); err != nil {
			return err
		}
	}
}

// openDay opens the day's files at once, so that a change cannot remove one of them before.
func (s *Store) openDay(ctx context.Context, m *merger, sc *scan, day string) error {
	files, err := s.openFiles(ctx, sc, day)
	for i, o := range files {
		if err == nil {
			err = m.add(o)
			continue
		}
		for _, rest := range files[i:] {
			rest.close()
		}
		break
	}
	return err
}

func (s *Store) openFiles(ctx context.Context, sc *scan, day string) (files []*opened, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, errClosed
	}
	sc.mu.Lock()
	sc.version, sc.purgers = s.version, nil
	sc.mu.Unlock()
	for _, f := range sc.table.days[day] {
		o, err := open(ctx, s.path(f))
		if err != nil {
			return files, err
		}
		files = append(files, o)
	}
	return files, nil
}

// give hands out the rows of a batch that are in time and not purged, with the asked columns only.
func (sc *scan) give(b *warehouse.Batch, asked *warehouse.Table, low, high int64, each func(*warehouse.Batch) error) error {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.failed != nil {
		return sc.failed
	}
	times, kept := &b.Values[sc.read.Column(sc.table.Time)], 0
	in := func(row int) bool { return times.Int(row) >= low && times.Int(row) < high && !sc.deletes(b, row) }
	out := warehouse.NewBatch(sc.read)
	for from := 0; from < b.Rows(); {
		if !in(from) {
			from++
			continue
		}
		to := from + 1
		for to < b.Rows() && in(to) {
			to++
		}
		kept += to - from
		if kept == b.Rows() {
			out = b
			break
		}
		out.Append(b, from, to)
		from = to
	}
	if kept == 0 {
		return nil
	}
	given := &warehouse.Batch{Table: asked, Values: out.Values[:len(asked.Columns)]}
	if err := given.Filled(kept); err != nil {
		return err
	}
	return each(given)
}

func (sc *scan) deletes(b *warehouse.Batch, row int) bool {
	if len(sc.purgers) == 0 {
		return false
	}
	subject := b.Values[sc.read.Column(sc.table.Subject)].Text(row)
	for _, p := range sc.purgers {
		if p.Deletes(p.table, subject, cell(b, p.event, row), cell(b, p.floor, row)) {
			return true
		}
	}
	return false
}

// Expire removes the days that lie wholly before what each table keeps, and makes one file of each day that has long ended.
func (s *Store) Expire(ctx context.Context, now time.Time) error {
	if err := s.removeExpired(now); err != nil {
		return fmt.Errorf("removing expired days: %w", err)
	}
	return s.settle(ctx, now)
}

func (s *Store) removeExpired(now time.Time) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.closed {
		return errClosed
	}
	c := s.begin()
	for _, t := range s.tables {
		if t.Keep == 0 {
			continue
		}
		oldest := dayOf(now.Add(-t.Keep).UnixMicro())
		for _, day := range s.daysOf(t) {
			if day >= oldest {
				break
			}
			for _, f := range s.filesOf(t, day) {
				c.drop(f)
			}
		}
	}
	return s.commit(c)
}
