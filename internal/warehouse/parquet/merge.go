package parquet

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"

	"sluice/internal/pace"
	"sluice/internal/warehouse"
)

const (
	mergeFiles  = 32      // files of one level and day that become one of the next level
	crowdFiles  = 64      // so many of one level and day make their merge urgent: blocks come faster than it merges at its pace
	mergeRows   = 1 << 18 // a file with so many rows is large enough
	settleRows  = 1 << 20 // the same, once the day has ended
	settleAfter = 24 * time.Hour
	settleDays  = 32 // table-days that one Expire makes one file of, at most
)

// Tidy merges files, so that a day has few more than mergeFiles files of a level, and a row is merged as often as there are levels. It works at a pace of its
// own, beside Append.
func (s *Store) Tidy(ctx context.Context) error {
	var failed error
	for _, name := range slices.Sorted(maps.Keys(s.tables)) {
		t := s.tables[name]
		for _, day := range s.daysOf(t) {
			if err := s.tidy(ctx, t, day); err != nil {
				failed = errors.Join(failed, fmt.Errorf("merging files of %s of %s: %w", t.Name, day, err))
			}
		}
	}
	return failed
}

// tidy merges a day's files, level by level.
func (s *Store) tidy(ctx context.Context, t *table, day string) error {
	for level := 0; level == 0 || s.reaches(t, day, level); level++ {
		for len(s.smallOf(t, day, level)) >= mergeFiles {
			crowded := func() bool { return len(s.smallOf(t, day, level)) >= crowdFiles }
			err := s.mergeBeside(pace.With(ctx, pace.New(crowded)), t, day, level+1, func() []*file {
				small := s.smallOf(t, day, level)
				return small[:min(len(small), mergeFiles)]
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// smallOf are the files of a level that are to be merged, oldest first.
func (s *Store) smallOf(t *table, day string, level int) []*file {
	return slices.DeleteFunc(s.filesOf(t, day), func(f *file) bool { return f.Level != level || f.Rows >= mergeRows })
}

// reaches tells whether the day has files of the level or of a higher one.
func (s *Store) reaches(t *table, day string, level int) bool {
	return slices.ContainsFunc(s.filesOf(t, day), func(f *file) bool { return f.Level >= level })
}

// filesOf are the living files of a day, oldest first, in a slice of the caller's own.
func (s *Store) filesOf(t *table, day string) []*file {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(t.days[day])
}

// settle makes one file of each day that has long ended, some days at a time. Between two of them it lets others change files.
func (s *Store) settle(ctx context.Context, now time.Time) error {
	before, left := dayOf(now.Add(-settleAfter).UnixMicro()), settleDays
	for _, name := range slices.Sorted(maps.Keys(s.tables)) {
		t := s.tables[name]
		for _, day := range s.daysOf(t) {
			if day >= before || left == 0 {
				break
			}
			merged, err := s.settleDay(ctx, t, day)
			if err != nil {
				return err
			}
			if merged {
				left--
			}
		}
	}
	return nil
}

func (s *Store) settleDay(ctx context.Context, t *table, day string) (merged bool, err error) {
	unsettled := func() []*file {
		return slices.DeleteFunc(s.filesOf(t, day), func(f *file) bool { return f.Rows >= settleRows })
	}
	level, files := 1, unsettled()
	if len(files) < 2 {
		return false, nil
	}
	for _, f := range files {
		level = max(level, f.Level)
	}
	return true, s.mergeBeside(pace.With(ctx, pace.New(nil)), t, day, level, unsettled)
}

func (s *Store) daysOf(t *table) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(t.days))
}

// mergeBeside makes one file of those that choose gives, while others change files. If a purge writes one of them anew meanwhile, the merge begins once more,
// and then others wait for it.
func (s *Store) mergeBeside(ctx context.Context, t *table, day string, level int, choose func() []*file) error {
	s.merging.Lock()
	defer s.merging.Unlock()
	if s.isClosed() {
		return errClosed
	}
	files := choose()
	if len(files) < 2 {
		return nil
	}
	c, err := s.stageMerge(ctx, t, day, files, level)
	s.changing.Lock()
	defer s.changing.Unlock()
	if !s.haveAll(t, day, files) {
		if err == nil {
			c.abandon()
		}
		if files = choose(); len(files) < 2 {
			return nil
		}
		c, err = s.stageMerge(pace.With(ctx, nil), t, day, files, level)
	}
	if err != nil {
		return err
	}
	for _, f := range files {
		c.drop(f)
	}
	return s.commit(c)
}

// haveAll tells whether all of the files are still there.
func (s *Store) haveAll(t *table, day string, files []*file) bool {
	living := s.filesOf(t, day)
	return !slices.ContainsFunc(files, func(f *file) bool { return !slices.Contains(living, f) })
}

// stageMerge writes the file that several become. It holds a chunk of rows of each in memory.
func (s *Store) stageMerge(ctx context.Context, t *table, day string, files []*file, level int) (*staged, error) {
	c := s.begin()
	err := c.write(ctx, t, day, level, func(e *encoder) error {
		m := &merger{table: t.Table}
		defer m.close()
		for _, f := range files {
			o, err := open(ctx, s.path(f))
			if err != nil {
				return err
			}
			if err := m.add(o); err != nil {
				return err
			}
		}
		return m.writeTo(ctx, e)
	})
	if err != nil {
		c.abandon()
		return nil, err
	}
	return c, nil
}

// merger reads several files in the order of subject and time.
type merger struct {
	table   *warehouse.Table // with the columns that are read, subject and time among them
	cursors []*cursor        // all, for close
	heap    cursorHeap       // those with rows left
	out     *warehouse.Batch // given out by next, over and over
	used    int              // rows of the first cursor's own batch that next has given out, and must skip
}

// add takes a file, which the merger closes.
func (m *merger) add(o *opened) error {
	c := &cursor{file: o, table: m.table, age: len(m.cursors), groups: o.RowGroups(), subject: m.table.Column(m.table.Subject), time: m.table.Column(m.table.Time)}
	m.cursors = append(m.cursors, c)
	err := c.fill()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	heap.Push(&m.heap, c)
	return nil
}

func (m *merger) close() {
	for _, c := range m.cursors {
		if c.decoder != nil {
			c.decoder.close()
		}
		c.file.close()
	}
}

// writeTo encodes all rows from the files' own batches, without copying them together.
func (m *merger) writeTo(ctx context.Context, e *encoder) error {
	batches, refs := make([]*warehouse.Batch, len(m.cursors)), make([]ref, 0, chunkRows)
	for len(m.heap) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := m.heap[0]
		n := c.run(m.heap.second(), min(c.batch.Rows()-c.row, chunkRows-len(refs)))
		batches[c.age] = c.batch
		for row := c.row; row < c.row+n; row++ {
			refs = append(refs, ref{rowAt: rowAt{int32(c.age), int32(row)}})
		}
		if len(refs) == chunkRows || c.row+n == c.batch.Rows() { // the batch is about to be filled anew
			if err := e.write(batches, refs); err != nil {
				return err
			}
			refs = refs[:0]
		}
		if err := m.skip(n); err != nil {
			return err
		}
	}
	return nil
}

// next returns the next rows, or io.EOF. The batch is good until the next call.
func (m *merger) next(ctx context.Context) (*warehouse.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if m.used > 0 {
		if err := m.skip(m.used); err != nil {
			return nil, err
		}
		m.used = 0
	}
	if len(m.heap) == 0 {
		return nil, io.EOF
	}
	if c := m.heap[0]; len(m.heap) == 1 && c.row == 0 {
		m.used = c.batch.Rows()
		return c.batch, nil
	}
	if m.out == nil {
		m.out = warehouse.NewBatch(m.table).Grow(chunkRows)
	}
	m.out.Cut(0)
	for m.out.Rows() < chunkRows && len(m.heap) > 0 {
		c := m.heap[0]
		n := c.run(m.heap.second(), min(c.batch.Rows()-c.row, chunkRows-m.out.Rows()))
		m.out.Append(c.batch, c.row, c.row+n)
		if err := m.skip(n); err != nil {
			return nil, err
		}
	}
	return m.out, nil
}

// skip moves the first cursor on.
func (m *merger) skip(n int) error {
	c := m.heap[0]
	c.row += n
	if c.row == c.batch.Rows() {
		err := c.fill()
		if errors.Is(err, io.EOF) {
			heap.Pop(&m.heap)
			return nil
		}
		if err != nil {
			return err
		}
	}
	heap.Fix(&m.heap, 0)
	return nil
}

// cursor is a place in a file.
type cursor struct {
	file    *opened
	table   *warehouse.Table
	age     int
	groups  []parquet.RowGroup
	decoder *decoder
	batch   *warehouse.Batch
	row     int
	subject int // column, -1 = none
	time    int
}

// fill reads the next batch, or returns io.EOF.
func (c *cursor) fill() (err error) {
	for {
		if c.decoder == nil {
			if len(c.groups) == 0 {
				return io.EOF
			}
			g := c.groups[0]
			c.groups = c.groups[1:]
			if c.decoder, err = c.file.decode(c.table, g, 0, g.NumRows()); err != nil {
				return err
			}
		}
		c.batch, err = c.decoder.next()
		if err == nil {
			c.row = 0
			return nil
		}
		c.decoder.close()
		c.decoder = nil
		if !errors.Is(err, io.EOF) {
			return err
		}
	}
}

// compare orders the cursors' rows i and j.
func (c *cursor) compare(i int, d *cursor, j int) int {
	if c.subject >= 0 {
		if r := bytes.Compare(c.batch.Values[c.subject].Text(i), d.batch.Values[d.subject].Text(j)); r != 0 {
			return r
		}
	}
	return cmp.Or(cmp.Compare(c.batch.Values[c.time].Int(i), d.batch.Values[d.time].Int(j)), cmp.Compare(c.age, d.age))
}

// run counts the rows, at least one and at most limit, that come before the other cursor's row.
func (c *cursor) run(other *cursor, limit int) int {
	if other == nil {
		return limit
	}
	n := 1
	for n < limit && c.compare(c.row+n, other, other.row) < 0 {
		n++
	}
	return n
}

// cursorHeap has the cursor with the first row at its top.
type cursorHeap []*cursor

func (h cursorHeap) Len() int           { return len(h) }
func (h cursorHeap) Less(i, j int) bool { return h[i].compare(h[i].row, h[j], h[j].row) < 0 }
func (h cursorHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push and Pop are for package heap.
func (h *cursorHeap) Push(x any) { *h = append(*h, x.(*cursor)) }

// Pop removes the last one.
func (h *cursorHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// second is the cursor with the row that comes after the first one's; nil if there is none.
func (h cursorHeap) second() *cursor {
	switch len(h) {
	case 0, 1:
		return nil
	case 2:
		return h[1]
	}
	if h.Less(1, 2) {
		return h[1]
	}
	return h[2]
}
