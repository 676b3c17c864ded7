package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// restore brings the checkpoints of the partitions up to the high watermark of their changelog and returns the offsets reached.
//
// It reads committed records, and control records with them, up to the high watermark: the last stable offset would hide what was committed
// after a dead member's open transaction. Reading on waits until the broker has ended that transaction.
func restore(ctx context.Context, cluster Cluster, changelog string, store *Store, partitions []int32, retention time.Duration) (map[int32]int64, error) {
	if len(partitions) == 0 {
		return nil, nil
	}
	topic := cluster.Topic(changelog)
	_, ends, err := bounds(ctx, cluster, topic)
	if err != nil {
		return nil, err
	}
	reached := make(map[int32]int64, len(partitions))
	from := make(map[int32]kgo.Offset)
	for _, p := range partitions {
		next, err := startAt(store.forPartition(p), ends[p], retention)
		if err != nil {
			return nil, err
		}
		reached[p] = next
		if next < ends[p] {
			from[p] = kgo.NewOffset().At(next)
		}
	}
	if len(from) == 0 {
		return reached, nil
	}
	return reached, readChangelog(ctx, cluster, topic, store, from, ends, reached)
}

// startAt is the first changelog offset that the checkpoint lacks. It is 0, with an empty checkpoint, if nothing can be read on from the checkpoint.
func startAt(p *partitionStore, end int64, retention time.Duration) (int64, error) {
	pos, err := p.position()
	if err != nil {
		return 0, err
	}
	if pos.reaches(end, retention) {
		return pos.Next, nil
	}
	return 0, p.clear()
}

func readChangelog(ctx context.Context, cluster Cluster, topic string, store *Store, from map[int32]kgo.Offset, ends, reached map[int32]int64) error {
	client, err := cluster.Client(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(100*time.Millisecond),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for behind(from, ends, reached) {
		fetches := client.PollRecords(ctx, 100_000)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fetchError(fetches); err != nil {
			return err
		}
		var failed error
		fetches.EachPartition(func(part kgo.FetchTopicPartition) {
			if failed == nil && len(part.Records) > 0 {
				failed = applyChangelog(store.forPartition(part.Partition), part.Records)
				reached[part.Partition] = part.Records[len(part.Records)-1].Offset + 1
			}
		})
		if failed != nil {
			return fmt.Errorf("writing restored records: %w", failed)
		}
	}
	return nil
}

func applyChangelog(p *partitionStore, records []*kgo.Record) error {
	b := p.newBatch()
	for _, r := range records {
		if r.Attrs.IsControl() || len(r.Key) == 0 {
			continue
		}
		if err := b.set(r.Key[0], r.Key[1:], r.Value); err != nil {
			return err
		}
	}
	if err := b.setPosition(position{Next: records[len(records)-1].Offset + 1, Time: time.Now()}); err != nil {
		return err
	}
	return b.commit()
}

// behind tells whether a partition has not reached its end. Compaction may have removed the very last records, so the client's own position counts as well. It
// is in reached once the client has seen a later record, or the marker of a transaction.
func behind(from map[int32]kgo.Offset, ends, reached map[int32]int64) bool {
	for p := range from {
		if reached[p] < ends[p] {
			return true
		}
	}
	return false
}

// bounds lists the first offsets and the high watermarks of a topic's partitions.
func bounds(ctx context.Context, cluster Cluster, topic string) (starts, ends map[int32]int64, err error) {
	client, err := cluster.Client()
	if err != nil {
		return nil, nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	first, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, nil, fmt.Errorf("listing the start of %s: %w", topic, err)
	}
	last, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, nil, fmt.Errorf("listing the end of %s: %w", topic, err)
	}
	if starts, err = byPartition(first[topic]); err != nil {
		return nil, nil, fmt.Errorf("listing the start of %s: %w", topic, err)
	}
	if ends, err = byPartition(last[topic]); err != nil {
		return nil, nil, fmt.Errorf("listing the end of %s: %w", topic, err)
	}
	if len(ends) == 0 {
		return nil, nil, fmt.Errorf("topic %s: no partitions", topic)
	}
	return starts, ends, nil
}

// Written tells whether the topic with the short name ever held a record, also if it holds none now.
func Written(ctx context.Context, cluster Cluster, topic string) (bool, error) {
	_, ends, err := bounds(ctx, cluster, cluster.Topic(topic))
	for _, end := range ends {
		if end > 0 {
			return true, err
		}
	}
	return false, err
}

func byPartition(listed map[int32]kadm.ListedOffset) (map[int32]int64, error) {
	offsets := make(map[int32]int64, len(listed))
	for p, o := range listed {
		if o.Err != nil {
			return nil, fmt.Errorf("partition %d: %w", p, o.Err)
		}
		offsets[p] = o.Offset
	}
	return offsets, nil
}
