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

// load hands over the partition's records as its changelog would, table by table, and returns the offset from which the changelog must be read: its start if
// the checkpoint has nothing that can be used. Some records may be newer than the offset. Reading on from it brings all to one state.
func (s *sourceSnapshot) load(ctx context.Context, topic string, partition int32, start, end int64, apply func(recs []Record)) (next int64, err error) {
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
	batch := sourceBatch{apply: apply, record: Record{Topic: topic, Partition: partition, Offset: pos.Next - 1}}
	for _, table := range s.Tables {
		err := part.scan(table, func(key, value []byte) (bool, error) {
			batch.add(table, key, value)
			return true, ctx.Err()
		})
		if err != nil {
			return 0, fmt.Errorf("reading table %d of partition %d: %w", table, partition, err)
		}
	}
	batch.flush()
	return pos.Next, nil
}

// sourceBatch gathers records for apply, which may keep their keys and values.
type sourceBatch struct {
	apply   func(recs []Record)
	record  Record // what all have in common
	records []Record
	arena   []byte
}

func (b *sourceBatch) add(table byte, key, value []byte) {
	size := 1 + len(key) + len(value)
	if cap(b.arena)-len(b.arena) < size {
		b.arena = make([]byte, 0, max(size, sourceBytes))
	}
	from := len(b.arena)
	b.arena = append(append(append(b.arena, table), key...), value...)
	middle, to := from+1+len(key), len(b.arena)
	b.record.Key, b.record.Value = b.arena[from:middle:middle], b.arena[middle:to:to]
	b.records = append(b.records, b.record)
	if len(b.records) == sourceRecords {
		b.flush()
	}
}

func (b *sourceBatch) flush() {
	if len(b.records) == 0 {
		return
	}
	b.apply(b.records)
	b.records = b.records[:0]
}
