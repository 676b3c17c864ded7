package stream_test

import (
	"encoding/binary"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
)

// flood puts 16 MiB under new keys for each record. It notes what tables take when a transaction begins.
type flood struct {
	task   *stream.Task
	bytes  *stream.Bytes
	memory *stream.Memory
	most   *atomic.Int64
	key    uint64
}

func (f *flood) Process(rec *stream.Record) error {
	f.most.Store(max(f.most.Load(), f.memory.Used()))
	for range 4096 {
		f.key++
		f.bytes.Put(binary.BigEndian.AppendUint64(nil, f.key), make([]byte, 4096))
	}
	f.task.Emit("out", rec.Partition, rec.Key, rec.Value)
	return nil
}

// TestTablesStayWithinTheirMemory: what comes next waits until the checkpoint holds what tables must forget.
func TestTablesStayWithinTheirMemory(t *testing.T) {
	const limit, records = 4 << 20, 3
	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)
	memory, most := stream.NewMemory(limit), new(atomic.Int64)
	store, err := stream.OpenStore(t.TempDir(), stream.StoreOptions{Memory: memory})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	engine := stream.Engine{Name: "counter", Inputs: []string{"in"}, Open: func(task *stream.Task) (stream.Processor, error) {
		return &flood{task: task, bytes: stream.OpenBytes(task, 1, "flood"), memory: memory, most: most}, nil
	}}
	workOn(t, cluster, engine.Alone(), store)
	client := producer(t, cluster)
	for n := range records {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: cluster.Topic("in"), Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		waitForCommitted(t, cluster, n+1)
	}
	if got := most.Load(); got > limit+limit/8 {
		t.Errorf("a transaction began while tables took %d bytes, of %d that they may", got, limit)
	}
}
