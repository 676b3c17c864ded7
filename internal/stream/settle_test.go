package stream_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
)

// worker does about what the filter does for an event: a few microseconds of hashing, a changed record, an output.
type worker struct {
	task   *stream.Task
	counts *stream.Table[uint64]
	done   *atomic.Int64
}

func (w *worker) Process(rec *stream.Record) error {
	sum := sha256.Sum256(rec.Value)
	for range 60 {
		sum = sha256.Sum256(sum[:])
	}
	*w.counts.Mutate(rec.Key) += binary.BigEndian.Uint64(sum[:])
	w.task.Emit("out", rec.Partition, rec.Key, sum[:])
	w.done.Add(1)
	return nil
}

// BenchmarkSettle works a prefilled backlog off, with the broker in the same process: compare -cpu 1,2.
func BenchmarkSettle(b *testing.B) {
	const backlog = 200_000
	for b.Loop() {
		b.StopTimer()
		cluster, _ := brokertest.Empty(b)
		createTopics(b, cluster)
		client := producer(b, cluster)
		value := make([]byte, 400)
		for i := range backlog {
			key := fmt.Appendf(nil, "%08d", i%20_000)
			client.Produce(b.Context(), &kgo.Record{Topic: cluster.Topic("in"), Partition: int32(i % stream.Partitions), Key: key, Value: value}, nil)
		}
		if err := client.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
		var done atomic.Int64
		engine := stream.Engine{Name: "counter", Inputs: []string{"in"}, Open: func(t *stream.Task) (stream.Processor, error) {
			return &worker{task: t, counts: stream.OpenTable[uint64](t, 1, "counts", uint64Codec{}), done: &done}, nil
		}}
		b.StartTimer()
		stop := work(b, cluster, engine.Alone())
		waitForCommitted(b, cluster, backlog)
		b.StopTimer()
		stop()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)*backlog/b.Elapsed().Seconds(), "records/s")
}
