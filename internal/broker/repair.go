package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/stream"
)

// repairTime bounds the repair at the start.
const repairTime = 2 * time.Minute

// repair mends what the death of the process left of transactions. The broker takes every transaction without an end for aborted, but
//   - it writes no marker then, and readers of committed records would wait for it, or drop what the same producer commits later: write the markers;
//   - a transaction was being ended, and is committed on some partitions and aborted on others: complete it from its journal.
func (b *Broker) repair() error {
	ctx, cancel := context.WithTimeout(context.Background(), repairTime)
	defer cancel()
	client, err := b.Cluster("").Client()
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(ctx)
	if err != nil {
		return fmt.Errorf("listing offsets: %w", err)
	}
	if err := abortOpen(ctx, admin, ends); err != nil {
		return fmt.Errorf("ending open transactions: %w", err)
	}
	names, err := os.ReadDir(b.journals())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := b.complete(ctx, admin, name.Name()); err != nil {
			return fmt.Errorf("completing the last transaction of %s: %w", name.Name(), err)
		}
	}
	return nil
}

// abortOpen writes an abort marker of every transactional producer to every partition that holds something.
// Where a producer has no open transaction a marker says nothing.
func abortOpen(ctx context.Context, admin *kadm.Client, ends kadm.ListedOffsets) error {
	listed, err := admin.ListTransactions(ctx, nil, nil)
	if err != nil {
		return err
	}
	written := make(kadm.TopicsSet)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err == nil && o.Offset > 0 {
			written.Add(o.Topic, o.Partition)
		}
	})
	if len(listed) == 0 || len(written) == 0 {
		return nil
	}
	var markers []kadm.TxnMarkers
	for _, t := range listed {
		markers = append(markers, kadm.TxnMarkers{ProducerID: t.ProducerID, Topics: written})
	}
	responses, err := admin.WriteTxnMarkers(ctx, markers...)
	if err != nil {
		return err
	}
	for _, byTopic := range responses {
		for _, byPartition := range byTopic.Topics {
			for _, p := range byPartition.Partitions {
				if p.Err != nil {
					return fmt.Errorf("%s/%d: %w", p.Topic, p.Partition, p.Err)
				}
			}
		}
	}
	return nil
}

// complete reads an engine's journal and, if its transaction is committed in part, commits the rest. It may itself be cut short:
// what it writes is a transaction with a journal as well.
func (b *Broker) complete(ctx context.Context, admin *kadm.Client, engine string) (err error) {
	journal, err := b.Journal(engine)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	t, err := journal.read()
	if err != nil || t == nil {
		return err
	}
	missing, committed, err := b.missing(ctx, admin, t)
	if err != nil {
		return err
	}
	if !committed && !t.Certain {
		return journal.End() // aborted everywhere: its input will be read again
	}
	if len(missing) > 0 {
		if err := b.write(ctx, journal, t, missing); err != nil {
			return err
		}
	}
	if err := commitOffsets(ctx, admin, t); err != nil {
		return err
	}
	return journal.End()
}

// missing are the transaction's records in partitions that lack its commit marker, and whether another partition has it.
func (b *Broker) missing(ctx context.Context, admin *kadm.Client, t *stream.Transaction) (records []*kgo.Record, committed bool, err error) {
	for _, span := range t.Outputs {
		found, isCommitted, err := b.readSpan(ctx, admin, t.ProducerID, span)
		if err != nil {
			return nil, false, fmt.Errorf("reading %s/%d: %w", span.Topic, span.Partition, err)
		}
		if isCommitted {
			committed = true
			continue
		}
		records = append(records, found...)
	}
	return records, committed, nil
}

// readSpan reads a partition from the span's first record to its end: the transaction's records, and whether its commit marker follows.
func (b *Broker) readSpan(ctx context.Context, admin *kadm.Client, producer int64, span stream.Span) (records []*kgo.Record, committed bool, err error) {
	listed, err := admin.ListEndOffsets(ctx, span.Topic)
	if err != nil {
		return nil, false, err
	}
	end, _ := listed.Lookup(span.Topic, span.Partition)
	client, err := b.Cluster("").Client(kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadUncommitted()), kgo.ConsumePartitions(
		map[string]map[int32]kgo.Offset{span.Topic: {span.Partition: kgo.NewOffset().At(span.First)}},
	))
	if err != nil {
		return nil, false, err
	}
	defer client.Close()
	for next := span.First; next < end.Offset; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, false, err
		}
		for _, r := range fetches.Records() {
			next = r.Offset + 1
			switch {
			case r.ProducerID != producer:
			case !r.Attrs.IsControl() && r.Offset <= span.Last:
				records = append(records, r)
			case r.Attrs.IsControl() && r.Offset > span.Last:
				return records, isCommit(r), nil // the first marker after it is its own
			}
		}
	}
	return records, false, nil
}

// isCommit reads a control record's key: version (2 bytes) ‖ type (2 bytes), 1 = commit.
func isCommit(r *kgo.Record) bool { return len(r.Key) >= 4 && binary.BigEndian.Uint16(r.Key[2:]) == 1 }

// write appends the records again, to the same partitions and in the same order, in one transaction.
func (b *Broker) write(ctx context.Context, journal *Journal, t *stream.Transaction, records []*kgo.Record) error {
	client, err := b.Cluster("").Client(
		kgo.TransactionalID("repair-"+t.Group), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	spans := make([]kgo.Record, len(records))
	for i, r := range records {
		spans[i] = kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp}
		client.Produce(ctx, &spans[i], nil)
	}
	if err := client.Flush(ctx); err != nil {
		return errors.Join(err, client.EndTransaction(ctx, kgo.TryAbort))
	}
	id, _, err := client.ProducerID(ctx)
	if err == nil {
		err = journal.Begin(stream.Transaction{Group: t.Group, ProducerID: id, Outputs: stream.Spans(spans), Offsets: t.Offsets, Certain: true})
	}
	if err != nil {
		return errors.Join(err, client.EndTransaction(ctx, kgo.TryAbort))
	}
	return client.EndTransaction(ctx, kgo.TryCommit)
}

// commitOffsets commits the transaction's input offsets where the group is behind them.
func commitOffsets(ctx context.Context, admin *kadm.Client, t *stream.Transaction) error {
	have, err := admin.FetchOffsets(ctx, t.Group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return err
	}
	behind := make(kadm.Offsets)
	for _, place := range t.Offsets {
		if at, ok := have.Lookup(place.Topic, place.Partition); !ok || at.At < place.Offset {
			behind.Add(kadm.Offset{Topic: place.Topic, Partition: place.Partition, At: place.Offset, LeaderEpoch: place.Epoch})
		}
	}
	if len(behind) == 0 {
		return nil
	}
	return admin.CommitAllOffsets(ctx, t.Group, behind)
}
