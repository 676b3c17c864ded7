package broker

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestAbortedRecordsOfManyPartitions reads more at once than a client asks for by itself, half of it aborted: the broker leaves out of an answer that it cuts
// off which transactions were.
func TestAbortedRecordsOfManyPartitions(t *testing.T) {
	const partitions, size = 64, 450 << 10
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := Start(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := adminOf(t, b).CreateTopic(ctx, partitions, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	writer, err := b.Cluster("").Client(
		kgo.TransactionalID("writer"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	write := func(word byte, end kgo.TransactionEndTry) {
		if err := writer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(partitions) {
			writer.Produce(ctx, &kgo.Record{Topic: topic, Partition: p, Value: bytes.Repeat([]byte{word}, size)}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if err := writer.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if err := writer.EndTransaction(ctx, end); err != nil {
			t.Fatal(err)
		}
	}
	write('a', kgo.TryAbort)
	write('c', kgo.TryCommit)

	from := make(map[int32]kgo.Offset)
	for p := range int32(partitions) {
		from[p] = kgo.NewOffset().AtStart()
	}
	reader, err := b.Cluster("").Client(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for read := 0; read < partitions; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if read++; r.Value[0] != 'c' {
				t.Errorf("read a record of partition %d that was aborted", r.Partition)
			}
		})
	}
}
