// Package parquet keeps the warehouse's tables in Parquet files by day, for one machine: DIR/<table>/day=2026-11-24/<number>.parquet. Any tool that knows
// Parquet can read them. Rows of a file are in the order of subject and time.
package parquet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"sluice/internal/pace"
	"sluice/internal/warehouse"
)

// Options of a store.
type Options struct {
	Sync   bool         // fsync before rows count as stored: survives the loss of power; without it, the death of the process
	Logger *slog.Logger // nil = none
	// Deployment tells one log from another that has the same topics and offsets: prefix and generation. It is part of what the store knows about each
	// partition, so that the rows of a log that was started anew are not taken for those of the one before.
	Deployment string
}

// Store is a directory of Parquet files, which one Store at a time may have open. Its methods may be called at once from several goroutines. One of them changes
// files at a time. A merge encodes beside it, and holds it up only while it puts one file in the place of several. Readers wait for neither.
// The order of locks is merging, changing, mu.
type Store struct {
	dir    string
	lock   *os.File
	o      Options
	tables map[string]*table

	merging  sync.Mutex // held by a merge, from its first file's opening to its end
	changing sync.Mutex // held by who changes files
	mu       sync.RWMutex
	given    uint64    // highest number of a file that was given since Open, also to a change that failed
	manifest *manifest // what it knows is read under either of changing and mu, and changed under both; its file is written under changing
	version  uint64    // counts changes
	scans    map[*scan]struct{}
	closed   bool
	filters  atomic.Int64 // bytes of all files' filters
}

var (
	_ warehouse.Store  = (*Store)(nil)
	_ warehouse.Ahead  = (*Store)(nil)
	_ warehouse.Knower = (*Store)(nil)
	_ warehouse.Tidier = (*Store)(nil)
)

// table is what the store knows about one.
type table struct {
	*warehouse.Table
	schema   *parquet.Schema
	encoders [2][]*encoder // that nobody uses now, by whether the file is a merged one; under the store's mu
	days     map[string][]*file
}

const (
	extension = ".parquet"
	dayMicros = int64(24 * time.Hour / time.Microsecond)
)

// codecs: what is merged soon is not compressed; what stays, by Zstandard at the level that costs least.
var codecs = [2]compress.Codec{&parquet.Uncompressed, &zstd.Codec{Level: zstd.SpeedFastest}}

// Open opens a directory, which is made if it is missing. It removes what a crash left half done. Errors name the directory that another process has open,
// or the file that is missing or damaged.
func Open(dir string, tables []*warehouse.Table, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{dir: dir, o: o, tables: make(map[string]*table, len(tables)), scans: make(map[*scan]struct{})}
	for _, t := range tables {
		if err := checkTable(t); err != nil {
			return nil, fmt.Errorf("opening the warehouse: %w", err)
		}
		if s.tables[t.Name] != nil {
			return nil, fmt.Errorf("opening the warehouse: table %s: its name must be its own", t.Name)
		}
		s.tables[t.Name] = &table{Table: t, schema: schemaOf(t), days: make(map[string][]*file)}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the warehouse's directory: %w", err)
	}
	var err error
	if s.lock, err = lock(dir); err != nil {
		return nil, fmt.Errorf("opening the warehouse: %w", err)
	}
	if s.manifest, err = openManifest(dir, o.Deployment, o.Sync); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the warehouse: %w", err), s.manifest.close(), s.lock.Close())
	}
	return s, nil
}

// checkTable refuses what this store cannot keep.
func checkTable(t *warehouse.Table) error {
	if t.Name == "" || strings.ContainsAny(t.Name, `/\.`) {
		return errors.New("a table's name must be without slashes and dots")
	}
	if c := t.Column(t.Time); c < 0 || t.Columns[c].Kind != warehouse.Time {
		return fmt.Errorf("table %s: must have a time column", t.Name)
	}
	for _, name := range []string{t.Subject, t.Event, t.Floor} {
		if c := t.Column(name); name != "" && (c < 0 || t.Columns[c].Kind != warehouse.Bytes) {
			return fmt.Errorf("table %s: column %s must be there and of bytes", t.Name, name)
		}
	}
	return nil
}

// load sorts the living files by table and day, and removes the others. Files of tables that are no longer declared stay.
func (s *Store) load() error {
	for path, f := range s.manifest.live {
		info, err := os.Stat(filepath.Join(s.dir, path))
		if err != nil {
			return fmt.Errorf("a file of the manifest: %w", err)
		}
		if info.Size() != f.Size {
			return fmt.Errorf("%s is damaged: it must have %d bytes, and has %d", filepath.Join(s.dir, path), f.Size, info.Size())
		}
		if t := s.tables[f.Table]; t != nil {
			t.days[f.Day] = append(t.days[f.Day], f)
		}
	}
	for _, t := range s.tables {
		for _, files := range t.days {
			slices.SortFunc(files, byAge)
		}
	}
	return s.removeStrays()
}

// byAge orders files as they were made.
func byAge(a, b *file) int { return strings.Compare(a.Name, b.Name) }

func (s *Store) removeStrays() error {
	paths, err := filepath.Glob(filepath.Join(s.dir, "*", "day=*", "*"+extension))
	if err != nil {
		return err
	}
	for _, path := range paths {
		below, err := filepath.Rel(s.dir, path)
		if err != nil {
			return err
		}
		if s.manifest.live[below] != nil {
			continue
		}
		s.o.Logger.Info("a file of the warehouse that a crash left is removed", "file", below)
		if err := os.Remove(path); err != nil {
			return err
		}
		_ = os.Remove(filepath.Dir(path)) // if it was the last one
	}
	return nil
}

// Close ends the store's use of its directory. It waits for a change or a merge under way.
func (s *Store) Close() error {
	s.merging.Lock()
	defer s.merging.Unlock()
	s.changing.Lock()
	defer s.changing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.manifest.close(), s.lock.Close())
}

func (s *Store) isClosed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.closed
}

// partition is the manifest's name of a partition.
func (s *Store) partition(topic string, partition int32) string {
	return keyOf(s.o.Deployment, topic+"/"+strconv.Itoa(int(partition)))
}

// Next is the offset after what is stored of a partition of this deployment's log.
func (s *Store) Next(topic string, partition int32) (next int64, known bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	next, known = s.manifest.next[s.partition(topic, partition)]
	return next, known
}

var errClosed = errors.New("the warehouse is closed")

// Append stores the blocks that are not stored yet, and carries out their purges: all of it becomes visible at once, at the end. It works at the pace of ctx.
func (s *Store) Append(ctx context.Context, blocks []*warehouse.Block) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.closed {
		return errClosed
	}
	c := s.begin()
	if err := s.stage(ctx, c, blocks); err != nil {
		c.abandon()
		return err
	}
	return s.commit(c)
}

// stage writes the files of a change.
func (s *Store) stage(ctx context.Context, c *staged, blocks []*warehouse.Block) error {
	fresh, err := s.fresh(c, blocks)
	if err != nil {
		return err
	}
	for _, b := range fresh {
		if err := s.fits(b); err != nil {
			return err
		}
	}
	if err := s.stagePurges(ctx, c, fresh); err != nil {
		return err
	}
	return s.stageRows(ctx, c, fresh)
}

// fits tells whether the store was opened with the block's tables.
func (s *Store) fits(b *warehouse.Block) error {
	for i, t := range b.Source.Tables {
		known := s.tables[t.Name]
		if known == nil || !slices.EqualFunc(known.Columns, t.Columns, func(x, y warehouse.Column) bool { return x.Name == y.Name && x.Kind == y.Kind }) {
			return fmt.Errorf("storing rows: table %s must be as the store knows it", t.Name)
		}
		if b.Batches[i].Table != t {
			return fmt.Errorf("storing rows: a batch must be of table %s", t.Name)
		}
	}
	return nil
}

// fresh are the blocks that are not stored yet. Their ends go into the change.
func (s *Store) fresh(c *staged, blocks []*warehouse.Block) ([]*warehouse.Block, error) {
	var fresh []*warehouse.Block
	for _, b := range blocks {
		at := s.partition(b.Source.Topic, b.Partition)
		next, known := c.Next[at]
		if !known {
			next, known = s.manifest.next[at]
		}
		switch {
		case known && b.Next <= next:
			// After a crash or a rebalance that is as it should be; a topic that was made anew, with offsets from 0, would show itself here.
			s.o.Logger.Warn("a block that the warehouse has already was not stored again", "partition", at, "next", b.Next, "stored", next)
			continue
		case known && b.First < next:
			return nil, fmt.Errorf("storing [%d, %d) of %s: must begin at or after %d", b.First, b.Next, at, next)
		}
		c.Next[at] = b.Next
		fresh = append(fresh, b)
	}
	return fresh, nil
}

// staged is a change while its files are written.
type staged struct {
	change
	store   *Store
	dropped map[string]bool
	purges  map[*table][]warehouse.Purge
}

func (s *Store) begin() *staged {
	return &staged{change: change{Next: make(map[string]int64)}, store: s, dropped: make(map[string]bool), purges: make(map[*table][]warehouse.Purge)}
}

// number gives a new file its number.
func (s *Store) number() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given = max(s.given, s.manifest.last) + 1
	return s.given
}

// write makes a new file of a day from what fill writes, at the pace of ctx. A file without rows is none.
func (c *staged) write(ctx context.Context, t *table, day string, level int, fill func(*encoder) error) (err error) {
	c.Number = c.store.number()
	f := &file{Table: t.Name, Day: day, Name: fmt.Sprintf("%010d%s", c.Number, extension), Level: level}
	c.Add = append(c.Add, f) // also while it is not whole: abandon removes it
	path := filepath.Join(c.store.dir, f.path())
	if err := makeDay(filepath.Dir(path), c.store.o.Sync); err != nil {
		return fmt.Errorf("storing rows: %w", err)
	}
	e := c.store.encoder(t, level)
	defer func() {
		e.abandon()
		if err == nil {
			c.store.keepEncoder(t, level, e) // else it is in the middle of a file
		}
	}()
	defer recovered(&err)
	if err := e.begin(path, pace.From(ctx)); err != nil {
		return fmt.Errorf("storing rows: %w", err)
	}
	if err := fill(e); err != nil {
		return fmt.Errorf("storing rows of %s: %w", t.Name, err)
	}
	if f.Rows = e.rows; f.Rows == 0 {
		c.Add = c.Add[:len(c.Add)-1]
		return os.Remove(path)
	}
	if f.Size, err = e.end(c.store.o.Sync); err != nil {
		return fmt.Errorf("storing rows of %s: %w", t.Name, err)
	}
	if t.Subject != "" && !e.copied {
		c.store.setFilter(f, newFilter(e.subjects.hashes))
	}
	return syncDir(filepath.Dir(path), c.store.o.Sync)
}

// makeDay makes the directory of a table's day, and its name durable.
func makeDay(dir string, sync bool) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	table := filepath.Dir(dir)
	return errors.Join(syncDir(table, sync), syncDir(filepath.Dir(table), sync))
}

// encoder is one that nobody else uses, for a file of the level.
func (s *Store) encoder(t *table, level int) *encoder {
	s.mu.Lock()
	defer s.mu.Unlock()
	merged := min(level, 1)
	idle := t.encoders[merged]
	if len(idle) == 0 {
		return newEncoder(t.Table, writerOf(t.Table, t.schema, codecs[merged]))
	}
	t.encoders[merged] = idle[:len(idle)-1]
	return idle[len(idle)-1]
}

// keepEncoder keeps an encoder for the next file.
func (s *Store) keepEncoder(t *table, level int, e *encoder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	merged := min(level, 1)
	t.encoders[merged] = append(t.encoders[merged], e)
}

// drop lets a file go with the change.
func (c *staged) drop(f *file) {
	if path := f.path(); !c.dropped[path] {
		c.dropped[path] = true
		c.Drop = append(c.Drop, path)
	}
}

// abandon removes the files of a change that was never committed.
func (c *staged) abandon() {
	for _, f := range c.Add {
		c.store.dropFilter(f)
		_ = os.Remove(filepath.Join(c.store.dir, f.path())) // a stray is removed by the next Open
	}
}

// commit makes the change durable and visible, then removes what it dropped. Scans that have dropped files open give none of the purged rows from here on.
func (s *Store) commit(c *staged) error {
	if len(c.Add) == 0 && len(c.Drop) == 0 && len(c.Next) == 0 {
		return nil
	}
	if err := s.manifest.write(&c.change); err != nil {
		if s.manifest.mend() == nil { // else its files stay: the line may have been written
			c.abandon()
		}
		return err
	}
	s.mu.Lock()
	s.manifest.apply(&c.change)
	s.version++
	version := s.version
	for _, f := range c.Add {
		t := s.tables[f.Table]
		t.days[f.Day] = append(slices.Clone(t.days[f.Day]), f)
	}
	var days []string
	for _, t := range s.tables {
		for day, files := range t.days {
			kept := slices.DeleteFunc(slices.Clone(files), func(f *file) bool {
				if !c.dropped[f.path()] {
					return false
				}
				s.dropFilter(f)
				return true
			})
			switch {
			case len(kept) == len(files):
			case len(kept) == 0:
				delete(t.days, day)
				days = append(days, filepath.Join(t.Name, "day="+day))
			default:
				t.days[day] = kept
			}
		}
	}
	scans := make([]*scan, 0, len(s.scans))
	for sc := range s.scans {
		scans = append(scans, sc)
	}
	s.mu.Unlock()
	for t, purges := range c.purges {
		for _, sc := range scans {
			sc.purged(t, purges, version)
		}
	}
	for _, path := range c.Drop {
		if err := os.Remove(filepath.Join(s.dir, path)); err != nil {
			s.o.Logger.Warn("could not remove a file that the warehouse no longer has", "file", path, "error", err)
		}
	}
	for _, day := range days {
		_ = os.Remove(filepath.Join(s.dir, day)) // empty now; one that is not stays
	}
	if s.manifest.overgrown() {
		if err := s.manifest.rewrite(); err != nil {
			s.o.Logger.Warn("the warehouse's manifest could not be made smaller; it will be tried again", "error", err)
		}
	}
	return nil
}

// dayOf is the UTC day of a time.
func dayOf(micros int64) string { return time.UnixMicro(micros).UTC().Format(time.DateOnly) }

// dayNumber counts days from 1970-01-01.
func dayNumber(micros int64) int64 {
	n := micros / dayMicros
	if micros%dayMicros < 0 {
		n--
	}
	return n
}
