package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"golang.org/x/sync/errgroup"

	"sluice/internal/warehouse"
)

// Append stores blocks as the interface says: blocks of different partitions at once, blocks of one partition one after the other.
func (s *Store) Append(ctx context.Context, blocks []*warehouse.Block) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxConnections)
	for _, queue := range queues(blocks) {
		group.Go(func() error {
			for _, b := range queue {
				if err := s.store(ctx, b); err != nil {
					return fmt.Errorf("clickhouse: %s, partition %d: %w", b.Source.Topic, b.Partition, err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// queues groups blocks by partition, each group in the order of blocks.
func queues(blocks []*warehouse.Block) [][]*warehouse.Block {
	type partition struct {
		source *warehouse.Source
		number int32
	}
	place := map[partition]int{}
	var out [][]*warehouse.Block
	for _, b := range blocks {
		p := partition{b.Source, b.Partition}
		i, ok := place[p]
		if !ok {
			i = len(out)
			place[p], out = i, append(out, nil)
		}
		out[i] = append(out[i], b)
	}
	return out
}

// store inserts a block's rows and applies its purges.
func (s *Store) store(ctx context.Context, b *warehouse.Block) error {
	token := s.token(b)
	for _, rows := range b.Batches {
		if rows.Rows() == 0 {
			continue
		}
		rows.Sort()
		if err := s.insert(ctx, rows, token); err != nil {
			return fmt.Errorf("table %s: %w", rows.Table.Name, err)
		}
	}
	for _, t := range b.Source.Tables {
		if err := s.purge(ctx, t, b.Purges); err != nil {
			return fmt.Errorf("table %s: deleting: %w", t.Name, err)
		}
	}
	return nil
}

// token names a block for as long as tables remember it: equal for equal bounds only. The engine adds the month, so that a block that spans two months may
// be stored in one of them, and come again for the other.
func (s *Store) token(b *warehouse.Block) string {
	buf := make([]byte, 0, 96)
	buf = append(buf, s.deployment...)
	buf = append(buf, '/')
	buf = append(buf, b.Source.Topic...)
	for _, n := range []int64{int64(b.Partition), b.First, b.Next} {
		buf = append(buf, '/')
		buf = strconv.AppendInt(buf, n, 10)
	}
	return string(buf)
}

// insertSettings make an insert one block, stored when it is answered, and once.
func insertSettings(token string) ch.Settings {
	return ch.Settings{
		"insert_deduplicate":         1,
		"insert_deduplication_token": token,
		// Without it, the engine does not give the views a block that the table has, even if it was killed before the views had it.
		"deduplicate_blocks_in_dependent_materialized_views": 1,
		"async_insert": 0,
		// A replay of old events spans many months; the default of 100 would refuse a block for ever.
		"max_partitions_per_insert_block": 0,
	}
}

// insert stores a batch as one block.
func (s *Store) insert(ctx context.Context, b *warehouse.Batch, token string) error {
	if err := b.Filled(b.Rows()); err != nil {
		return err
	}
	types := s.types[b.Table.Name]
	if len(types) != len(b.Table.Columns) {
		return errors.New("the store was opened without this table")
	}
	ctx = ch.Context(ctx, ch.WithSettings(insertSettings(token)), ch.WithColumnNamesAndTypes(insertColumns(b.Table)))
	batch, err := s.conn.PrepareBatch(ctx, insertStatement(s.table(b.Table), b.Table))
	if err != nil {
		return withoutText(err)
	}
	defer batch.Close() //nolint:errcheck // after Send it does nothing
	for i := range b.Table.Columns {
		if err := appendColumn(batch.Column(i), b, i, types[i]); err != nil {
			_ = batch.Abort()
			return fmt.Errorf("column %s: the driver does not take the values", b.Table.Columns[i].Name)
		}
	}
	for i, c := range batch.Columns() {
		if c.Rows() != b.Rows() { // over HTTP the driver would send nothing then, and report no error
			_ = batch.Abort()
			return fmt.Errorf("column %s has %d values, the batch %d rows", b.Table.Columns[i].Name, c.Rows(), b.Rows())
		}
	}
	return withoutText(batch.Send())
}
