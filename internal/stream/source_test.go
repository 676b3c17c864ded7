package stream_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
)

// fold is a view: the newest value of each key.
type fold struct {
	*stream.Follower
	first int // records until it had caught up

	mu     sync.Mutex // guards what follows
	values map[string]string
	read   int // records
}

func (f *fold) apply(recs []stream.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range recs {
		f.read++
		if r.Value == nil {
			delete(f.values, string(r.Key))
			continue
		}
		f.values[string(r.Key)] = string(r.Value)
	}
}

func (f *fold) state() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.values)
}

// follow starts a view of the counter's changelog, and returns it when it has caught up. It follows on until the test ends.
func follow(t *testing.T, cluster stream.Cluster, source stream.Source) *fold {
	t.Helper()
	f := &fold{values: make(map[string]string)}
	f.Follower = stream.NewFollower(cluster, "state.counter", stream.FollowerOptions{Apply: f.apply, Source: source})
	runFollower(t, f.Follower)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.first = f.read
	return f
}

// changelog is a random one of two tables, with deletions.
func changelog(random *rand.Rand, n int) []stream.Record {
	log := make([]stream.Record, n)
	for i := range log {
		key := append([]byte{byte(1 + random.IntN(2))}, strconv.Itoa(random.IntN(10))...)
		log[i] = stream.Record{Key: key, Value: fmt.Append(nil, i)}
		if random.IntN(3) == 0 {
			log[i].Value = nil
		}
	}
	return log
}

// newest are the newest records of each key; those of a key in newer may be of after next.
func newest(log []stream.Record, next int, newer func() bool) []stream.Record {
	last := make(map[string]stream.Record)
	for i, r := range log {
		if i < next || newer() {
			last[string(r.Key)] = r
		}
	}
	return slices.Collect(maps.Values(last))
}

// TestFollowerStartsFromCheckpoint: whatever the checkpoint is like, the view ends as one that has read the changelog alone.
func TestFollowerStartsFromCheckpoint(t *testing.T) {
	const length, half = 200, 100
	never := func() bool { return false }
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	other := changelog(random, length) // of another cluster
	log := changelog(random, length)
	now, longAgo := time.Now(), time.Now().Add(-13*time.Hour)

	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)
	const partition = 3
	client := producer(t, cluster)
	for _, r := range log {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: cluster.Topic("state.counter"), Partition: partition, Key: r.Key, Value: r.Value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	want := follow(t, cluster, stream.Source{}).state()
	if len(want) == 0 {
		t.Fatal("the changelog leaves nothing")
	}
	for _, c := range []struct {
		name    string
		records []stream.Record
		next    int64
		at      time.Time
		used    bool
	}{
		{"complete", newest(log, length, never), length, now, true},
		{"complete and old", newest(log, length, never), length, longAgo, true},
		{"behind", newest(log, half, never), half, now, true},
		{"behind, with newer pieces", newest(log, half, func() bool { return random.IntN(2) == 0 }), half, now, true},
		{"behind and too old", newest(other, half, never), half, longAgo, false},
		{"ahead: of another log", newest(other, length, never), length + 1, now, false},
		{"cleared", nil, 0, now, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := openStore(t)
			if err := store.Checkpoint(partition, c.records, c.next, c.at); err != nil {
				t.Fatal(err)
			}
			view := follow(t, cluster, stream.Source{Store: store, Tables: []byte{1, 2}})
			if diff := cmp.Diff(want, view.state()); diff != "" {
				t.Errorf("the log's state, the view's (-want +got):\n%s", diff)
			}
			if used := view.first < length; used != c.used {
				t.Errorf("checkpoint used: %t, expected %t", used, c.used)
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		if diff := cmp.Diff(want, follow(t, cluster, stream.Source{Store: openStore(t), Tables: []byte{1, 2}}).state()); diff != "" {
			t.Errorf("the log's state, the view's (-want +got):\n%s", diff)
		}
	})
	t.Run("one table", func(t *testing.T) {
		store := openStore(t)
		if err := store.Checkpoint(partition, newest(log, length, never), length, now); err != nil {
			t.Fatal(err)
		}
		one := maps.Clone(want)
		maps.DeleteFunc(one, func(key, _ string) bool { return key[0] != 2 })
		if diff := cmp.Diff(one, follow(t, cluster, stream.Source{Store: store, Tables: []byte{2}}).state()); diff != "" {
			t.Errorf("the log's state, the view's (-want +got):\n%s", diff)
		}
	})
}

// TestFollowerOfMovedPartitions: partitions leave the process, are changed elsewhere, and come back; views start at any moment from a checkpoint that is behind
// the log, or being written.
func TestFollowerOfMovedPartitions(t *testing.T) {
	const keys, each = 40, 3
	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)
	role := counterOf("counter", "in").Alone()
	client := producer(t, cluster)
	here, elsewhere := openStore(t), openStore(t)
	sent := 0
	send := func() {
		for i := range keys * each {
			client.Produce(t.Context(), &kgo.Record{Topic: cluster.Topic("in"), Partition: int32(i % 4), Key: fmt.Append(nil, i%keys)}, nil)
		}
		sent += each
	}
	source := stream.Source{Store: here, Tables: []byte{1}}
	var views []*fold
	for _, store := range []*stream.Store{here, elsewhere, here, elsewhere} {
		stop := workOn(t, cluster, role, store)
		send()
		views = append(views, follow(t, cluster, source)) // while the engine works
		if err := client.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		waitForCommitted(t, cluster, keys*sent)
		stop()
		views = append(views, follow(t, cluster, source))
	}
	if n := views[5].first; n != keys {
		t.Errorf("a view that started from a complete checkpoint read %d records, expected %d", n, keys)
	}
	want := make(map[string]string)
	for i := range keys {
		want["\x01"+strconv.Itoa(i)] = string(binary.BigEndian.AppendUint64(nil, uint64(sent)))
	}
	log := follow(t, cluster, stream.Source{})
	for i, view := range append(views, log) {
		for p, end := range log.Applied() {
			if err := view.Wait(t.Context(), int32(p), end); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, view.state()); diff != "" {
			t.Errorf("view %d (-want +got):\n%s", i, diff)
		}
	}
}

// TestFollowerLoadsPartitionsSideBySide: a partition's records come in the order of its tables and keys, from one goroutine at a time, between the beginning and
// the end of loading; then come those of the log.
func TestFollowerLoadsPartitionsSideBySide(t *testing.T) {
	const keys, partitions = 6000, stream.Partitions
	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)
	client, store := producer(t, cluster), openStore(t)
	for p := range int32(partitions) {
		records := make([]stream.Record, keys)
		for i := range records {
			records[i] = stream.Record{Key: fmt.Appendf([]byte{byte(1 + i%2)}, "%d-%05d", p, i), Value: fmt.Append(nil, p)}
		}
		if err := store.Checkpoint(p, records, 1, time.Now()); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the checkpoint has the first one
			client.Produce(t.Context(), &kgo.Record{Topic: cluster.Topic("state.counter"), Partition: p, Key: []byte("\x01log"), Value: fmt.Append(nil, p)}, nil)
		}
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var at string                 // of loading
	var applying sync.Mutex       // free unless a batch is being applied
	var read [partitions][]string // keys by partition
	f := stream.NewFollower(cluster, "state.counter", stream.FollowerOptions{
		Source: stream.Source{Store: store, Tables: []byte{1, 2}},
		Load: func() func() {
			at += "begun "
			return func() { at += "loaded " }
		},
		Apply: func(recs []stream.Record) {
			if !applying.TryLock() {
				t.Error("two batches are applied at once")
				return
			}
			defer applying.Unlock()
			for _, r := range recs {
				if isLog := string(r.Key) == "\x01log"; isLog != (at == "begun loaded ") {
					t.Errorf("%q comes when loading is %q", r.Key, at)
				}
				if string(r.Value) != strconv.Itoa(int(r.Partition)) {
					t.Errorf("%q has %q", r.Key, r.Value)
				}
				read[r.Partition] = append(read[r.Partition], string(r.Key))
			}
		},
	})
	runFollower(t, f)
	for p, got := range read {
		if len(got) != keys+1 || !slices.IsSorted(got[:keys]) || got[keys] != "\x01log" {
			t.Errorf("partition %d: %d records, expected those of the checkpoint in order and one of the log", p, len(got))
		}
	}
}
