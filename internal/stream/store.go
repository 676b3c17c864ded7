package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// Store is an engine's checkpoint on disk: the tables of its partitions and the changelog offset that they include, in one Pebble database.
//
// Keys: partition (2 bytes, big endian) ‖ table id ‖ key. Table id 0 is the store's own: it holds a partition's position.
type Store struct {
	db      *pebble.DB
	memory  *Memory
	flushed atomic.Int64 // Unix nanoseconds
}

// StoreOptions sizes a store.
type StoreOptions struct {
	CacheBytes int64   // block cache; 16 MiB if 0
	Memory     *Memory // that the store's tables share with others; one of DefaultMemory if nil
	Logger     pebble.Logger
}

const (
	memtableBytes = 8 << 20
	// tableBytes is the size of a file. Its filter and its index are one block each, and the cache must hold many of them. With Pebble's sizes, which double
	// from level to level, each key cost a read of a filter of a megabyte from the disk.
	tableBytes = 4 << 20
	flushEvery = time.Minute // so that a crash has little of a changelog to read again
)

// OpenStore opens or makes the database in dir. It has no write-ahead log, since the changelog has everything. A crash takes the end of what was written from
// the checkpoint, its position included.
func OpenStore(dir string, o StoreOptions) (*Store, error) {
	if o.CacheBytes == 0 {
		o.CacheBytes = 16 << 20
	}
	if o.Memory == nil {
		o.Memory = NewMemory(0)
	}
	if o.Logger == nil {
		o.Logger = quietLogger{}
	}
	cache := pebble.NewCache(o.CacheBytes)
	defer cache.Unref()
	options := &pebble.Options{Cache: cache, MemTableSize: memtableBytes, DisableWAL: true, Logger: o.Logger}
	for i := range options.TargetFileSizes {
		options.TargetFileSizes[i] = tableBytes
	}
	for i := range options.Levels {
		options.Levels[i].Compression = func() *sstable.CompressionProfile {
			if i == 0 {
				return sstable.NoCompression // is soon written again, to the next level
			}
			return sstable.SnappyCompression
		}
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // most of what is asked for and not in memory is nowhere
	}
	db, err := pebble.Open(dir, options)
	if err != nil {
		return nil, fmt.Errorf("opening checkpoint %s: %w", dir, err)
	}
	s := &Store{db: db, memory: o.Memory}
	s.flushed.Store(time.Now().UnixNano())
	return s, nil
}

// Close writes what is still in memory, and closes the database.
func (s *Store) Close() error { return errors.Join(s.db.Flush(), s.db.Close()) }

// flushNowAndThen writes what Pebble holds in memory.
func (s *Store) flushNowAndThen() error {
	now, last := time.Now().UnixNano(), s.flushed.Load()
	if now-last < int64(flushEvery) || !s.flushed.CompareAndSwap(last, now) {
		return nil
	}
	_, err := s.db.AsyncFlush()
	return err
}

// position is what a partition's checkpoint includes: the changelog below Next, written at Time.
type position struct {
	Next int64
	Time time.Time
}

// reaches tells whether the changelog that ends at end can be read on from the position. The position must be of this log, and not so old that tombstones may
// be gone which the checkpoint has not seen.
func (p position) reaches(end int64, retention time.Duration) bool {
	return p.Next <= end && (p.Next == end || time.Since(p.Time) < retention/2)
}

// partitionStore is one partition's part of a Store.
type partitionStore struct {
	*Store
	reader    pebble.Reader // the database, or a snapshot of it
	partition int32
}

func (s *Store) forPartition(p int32) *partitionStore {
	return &partitionStore{Store: s, reader: s.db, partition: p}
}

const keyPrefix = 2 + 1 // bytes before a table's key

func (p *partitionStore) key(table byte, key []byte) []byte {
	return p.appendKey(make([]byte, 0, keyPrefix+len(key)), table, key)
}

func (p *partitionStore) appendKey(buf []byte, table byte, key []byte) []byte {
	buf = binary.BigEndian.AppendUint16(buf, uint16(p.partition))
	return append(append(buf, table), key...)
}

func (p *partitionStore) get(table byte, key []byte, use func(data []byte) error) (found bool, err error) {
	data, closer, err := p.reader.Get(p.key(table, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = use(data)
	return true, errors.Join(err, closer.Close())
}

// scan yields the table's records until yield says stop.
func (p *partitionStore) scan(table byte, yield func(key, value []byte) (bool, error)) (err error) {
	it, err := p.reader.NewIter(&pebble.IterOptions{LowerBound: p.key(table, nil), UpperBound: p.key(table+1, nil)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		more, err := yield(it.Key()[keyPrefix:], it.Value())
		if err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// position reads how far the checkpoint goes; zero if there is none.
func (p *partitionStore) position() (pos position, err error) {
	_, err = p.get(0, nil, func(data []byte) error {
		if len(data) != 16 {
			return errors.New("checkpoint position: must be 16 bytes")
		}
		pos = position{Next: int64(binary.BigEndian.Uint64(data)), Time: time.UnixMicro(int64(binary.BigEndian.Uint64(data[8:])))}
		return nil
	})
	return pos, err
}

// batch collects writes of the partition that become visible together.
type batch struct {
	*partitionStore
	writes *pebble.Batch
}

func (p *partitionStore) newBatch() *batch {
	return &batch{partitionStore: p, writes: p.db.NewBatchWithSize(checkpointPiece + checkpointPiece/4)}
}

// set writes a table's record; a nil value deletes it.
func (b *batch) set(table byte, key, value []byte) error {
	if value == nil {
		op := b.writes.DeleteDeferred(keyPrefix + len(key))
		b.appendKey(op.Key[:0], table, key)
		return op.Finish()
	}
	op := b.writes.SetDeferred(keyPrefix+len(key), len(value))
	b.appendKey(op.Key[:0], table, key)
	copy(op.Value, value)
	return op.Finish()
}

func (b *batch) setPosition(pos position) error {
	data := binary.BigEndian.AppendUint64(nil, uint64(pos.Next))
	data = binary.BigEndian.AppendUint64(data, uint64(pos.Time.UnixMicro()))
	return b.writes.Set(b.key(0, nil), data, nil)
}

// commit applies the batch, and gives back its memory.
func (b *batch) commit() error {
	if err := errors.Join(b.writes.Commit(pebble.NoSync), b.writes.Close()); err != nil {
		return err
	}
	return b.flushNowAndThen()
}

// clear forgets the partition.
func (p *partitionStore) clear() error {
	end := binary.BigEndian.AppendUint16(nil, uint16(p.partition+1))
	return p.db.DeleteRange(p.key(0, nil), end, pebble.NoSync)
}

// quietLogger drops Pebble's progress notes; its errors come back as errors, and fatal ones must stop the process.
type quietLogger struct{}

func (quietLogger) Infof(string, ...any)  {}
func (quietLogger) Errorf(string, ...any) {}
func (quietLogger) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("pebble: "+format, args...))
}

var _ io.Closer = (*Store)(nil)
