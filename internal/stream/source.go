package stream

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Source is the checkpoint that this process keeps of an engine. A follower of the engine's changelog starts from it, and then reads the rest of the changelog.
// Without one, which is the zero Source, the follower reads the changelog from its beginning.
type Source struct {
	Store  *Store
	Tables []byte // ids of the tables that the follower looks at, ascending
}

const (
	sourceRecords = 4096     // applied at once
	sourceBytes   = 64 << 10 // keys and values that share an allocation
	sourceAhead   = 2        // batches that are read while one is applied
)

// sourceSnapshot is a Source at one moment; nil if there is none.
type sourceSnapshot struct {
	*Source
	reader *pebble.Snapshot
}

func (s *Source) snapshot() *sourceSnapshot {
	if s.Store == nil {
		return nil
	}
	return &sourceSnapshot{s, s.Store.db.NewSnapshot()}
}

func (s *sourceSnapshot) close() error {
	if s == nil {
		return nil
	}
	return s.reader.Close()
}

// load hands over the partition's records as its changelog would, table by table. It returns the offset from which the changelog must be read: the changelog's
// start if the checkpoint has nothing that can be used. Some records may be newer than the offset. Reading on from it brings all to one state.
func (s *sourceSnapshot) load(ctx context.Context, topic string, partition int32, start, end int64, to *sourceBatches) (next int64, err error) {
	if s == nil {
		return start, nil
	}
	part := &partitionStore{Store: s.Store, reader: s.reader, partition: partition}
	pos, err := part.position()
	if err != nil {
		return 0, err
	}
	if pos.Next <= start || !pos.reaches(end, 2*awayLimit) {
		return start, nil
	}
	batch := sourceBatch{to: to, record: Record{Topic: topic, Partition: partition, Offset: pos.Next - 1}}
	for _, table := range s.Tables {
		err := part.scan(table, func(key, value []byte) (bool, error) {
			return true, batch.add(ctx, table, key, value)
		})
		if err != nil {
			return 0, fmt.Errorf("reading table %d of partition %d: %w", table, partition, err)
		}
	}
	return pos.Next, batch.flush(ctx)
}

// sourceBatches is the way of records from those who read a source, partition beside partition, to the one who applies them.
type sourceBatches struct {
	full  chan []Record
	empty chan []Record // memory of what was applied
}

func newSourceBatches() *sourceBatches {
	return &sourceBatches{full: make(chan []Record, sourceAhead), empty: make(chan []Record, sourceAhead)}
}

// apply applies what comes until there is no more.
func (b *sourceBatches) apply(apply func(recs []Record)) {
	for recs := range b.full {
		apply(recs)
		clear(recs)
		select {
		case b.empty <- recs[:0]:
		default:
		}
	}
}

// send hands over a batch, and returns memory for the next one.
func (b *sourceBatches) send(ctx context.Context, recs []Record) ([]Record, error) {
	select {
	case b.full <- recs:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case next := <-b.empty:
		return next, nil
	default:
		return make([]Record, 0, sourceRecords), nil
	}
}

// sourceBatch gathers records of a partition for apply, which may keep their keys and values.
type sourceBatch struct {
	to      *sourceBatches
	record  Record // what all have in common
	records []Record
	arena   []byte
}

func (b *sourceBatch) add(ctx context.Context, table byte, key, value []byte) error {
	size := 1 + len(key) + len(value)
	if cap(b.arena)-len(b.arena) < size {
		b.arena = make([]byte, 0, max(size, sourceBytes))
	}
	from := len(b.arena)
	b.arena = append(append(append(b.arena, table), key...), value...)
	middle, to := from+1+len(key), len(b.arena)
	b.record.Key, b.record.Value = b.arena[from:middle:middle], b.arena[middle:to:to]
	b.records = append(b.records, b.record)
	if len(b.records) < sourceRecords {
		return nil
	}
	return b.flush(ctx)
}

func (b *sourceBatch) flush(ctx context.Context) (err error) {
	if len(b.records) > 0 {
		b.records, err = b.to.send(ctx, b.records)
	}
	return err
}
