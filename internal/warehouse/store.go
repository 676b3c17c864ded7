package warehouse

import (
	"context"
	"time"
)

// Block is what one stretch of a topic's partition holds. A retry of a block has the same bounds, and so the same rows and purges. Purges come after all
// rows, except for those that a purge names as kept. Rows are in the order of the stream, in which no store must keep them: two purposes' rows of an event
// have the same rank there.
type Block struct {
	Source      *Source
	Partition   int32
	First, Next int64    // offsets: from First up to but not including Next
	Batches     []*Batch // parallel to Source.Tables
	Purges      []Purge
}

// Store is a place for rows. Clickhouse and parquet have one each.
type Store interface {
	// Append stores blocks, each once: a block with the same source, partition and bounds may come again, after an error, a crash or from another
	// member of the group, and adds nothing. Then it applies the block's purges, and returns when what they delete can no longer be read.
	// Blocks of one partition are in their order, and no row follows a block with purges: these may be applied again with a block that comes again,
	// since nothing after it was stored.
	// An error means that none, some or all of it is done. Errors hold no values. ctx may have a pacer (internal/pace), which the work should follow.
	Append(ctx context.Context, blocks []*Block) error
	// Scan gives every row of the table with a time in [from, to), of some columns (nil = all), in batches that are valid until each returns.
	// Rows of one subject come in the order of time; there is no other order.
	Scan(ctx context.Context, t *Table, columns []string, from, to time.Time, each func(*Batch) error) error
	// Expire deletes what is older than each table keeps.
	Expire(ctx context.Context, now time.Time) error
	Close() error
}

// Knower is a Store that can tell at once that purges delete nothing that it has: they need not be stored before the rows around them.
type Knower interface {
	// MayHold tells whether a row of one of the purges' subjects may be stored.
	MayHold(s *Source, purges []Purge) bool
}

// Tidier is a Store that has something to do after blocks are stored, for which nobody waits. Its errors hold no values.
type Tidier interface {
	// Tidy may run beside the Store's other methods, and has a pace of its own.
	Tidy(ctx context.Context) error
}

// Ahead is a Store that knows how far each partition is stored. The writer never reads what lies before, even if the group's offsets are lost.
type Ahead interface {
	// Next is the offset after what is stored of a topic, by its short name; false if nothing is.
	Next(topic string, partition int32) (next int64, known bool)
}
