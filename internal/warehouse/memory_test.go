package warehouse

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/stream"
)

// packed is a source of records that hold many events or purges: the first byte tells which, the next four how many.
func packed() *Source {
	table := &Table{
		Name: "events", Time: "time", Key: []string{"subject", "event"}, Subject: "subject", Event: "event", Floor: "floor", Columns: []Column{
			{Name: "subject", Kind: Bytes},
			{Name: "event", Kind: Bytes},
			{Name: "type", Kind: String},
			{Name: "time", Kind: Time},
			{Name: "items", Kind: Strings},
			{Name: "prices", Kind: Int64s},
			{Name: "known", Kind: Bool},
			{Name: "floor", Kind: Bytes},
		},
	}
	return &Source{Topic: "packed", Tables: []*Table{table}, Decode: func(rec *stream.Record, out *Rows) error {
		var id [16]byte
		b := out.Batches[0]
		for i := range binary.BigEndian.Uint32(rec.Value[1:]) {
			binary.BigEndian.PutUint64(id[:], (uint64(rec.Offset)<<20+uint64(i))*0x9e3779b97f4a7c15)
			if rec.Value[0] == 'p' {
				out.Purge(Purge{Subject: id[:], Floor: id[8:]})
				continue
			}
			b.Bytes(id[:])
			b.Bytes(id[:])
			b.String("view_item")
			b.Int(rec.Offset)
			b.AddString("item-4711")
			b.EndList()
			b.AddInt(19_990_000)
			b.EndList()
			b.Bool(true)
			b.Bytes(id[:])
			if err := b.End(); err != nil {
				return err
			}
		}
		return nil
	}}
}

func pack(kind byte, n uint32, padding int) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, n), make([]byte, padding)...)
}

// TestMemory fills a writer until reading would stop, and compares what it says it holds, and the bound, with what is live.
func TestMemory(t *testing.T) {
	for name, kinds := range map[string]string{"rows": "r", "purges": "p", "both": "rp", "dead letters": "x"} {
		t.Run(name, func(t *testing.T) { fillMemory(t, kinds) })
	}
}

func fillMemory(t *testing.T, kinds string) {
	const bound = 32 << 20
	source := packed()
	if decode := source.Decode; kinds == "x" {
		source.Decode = func(rec *stream.Record, out *Rows) error {
			_ = decode(rec, out)
			return fmt.Errorf("an event expected")
		}
	}
	s := &session{Writer: New(stream.Cluster{}, []*Source{source}, nil, Options{MaxBytes: bound, Letters: noLetters{}})}
	a := s.assign()
	for i := range int32(stream.Partitions) {
		a.parts[topicPartition{"packed", i}] = a.part(s.Writer, source, i, 0, nil)
	}
	before := live()
	var offset int64
	for !s.full(a) {
		var topic kgo.FetchTopic
		topic.Topic = "packed"
		for i := range int32(stream.Partitions) {
			kind := kinds[int(offset+int64(i))%len(kinds)]
			topic.Partitions = append(topic.Partitions, kgo.FetchPartition{Partition: i, Records: []*kgo.Record{{
				Partition: i, Offset: offset, Value: pack(kind, 300, 10_000),
			}}})
		}
		offset++
		if err := s.take(a, kgo.Fetches{{Topics: []kgo.FetchTopic{topic}}}); err != nil {
			t.Fatal(err)
		}
		if a.flight == nil && s.due(a) {
			a.flight = a.gather(nil, true, purgeDelay) // and the store does not answer
		}
	}
	taken, said := live()-before, a.held().bytes
	t.Logf("%d rows: %d bytes live, %d told", a.held().rows, taken, said)
	if taken > bound || taken < bound/2 {
		t.Errorf("%d bytes are live, the bound is %d", taken, bound)
	}
	if diff := taken - said; diff > said/10 || diff < -said/10 {
		t.Errorf("%d bytes are live, and %d are told", taken, said)
	}
	runtime.KeepAlive(a)
}

// live is what is reachable on the heap.
func live() int {
	runtime.GC()
	runtime.GC() // what the first one's sweep has found
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestSpareColumnsAreUsedAgain: the next block of a source takes the columns of one that is stored, unless these were made for many more rows.
func TestSpareColumnsAreUsedAgain(t *testing.T) {
	kept := &spares{most: 1 << 20}
	p := newPart(packed(), 0, 1000, 0, nil, nil)
	p.spares = kept
	read := func(n uint32) *building {
		if err := p.add(&kgo.Record{Offset: p.next, Value: pack('r', n, 0)}, "packed", time.Now()); err != nil {
			t.Fatal(err)
		}
		return p.take()[0]
	}
	b := read(900)
	kept.put(b)
	again := read(1)
	if again.out != b.out || again.rows != 1 || kept.bytes != 0 {
		t.Errorf("a block of %d rows in columns of its own, %d bytes are spare", again.rows, kept.bytes)
	}
	if kept.put(again); kept.bytes > 0 {
		t.Errorf("%d bytes are kept for one row", kept.bytes)
	}
	if b, kept.most = read(900), b.bytes-1; b.bytes <= kept.most {
		t.Fatal("the block fits")
	}
	if kept.put(b); kept.bytes > 0 {
		t.Errorf("%d bytes are kept, %d may be", kept.bytes, kept.most)
	}
}

// noLetters is a place for dead letters that nothing reaches.
type noLetters struct{ Letters }

// TestPartitionsThatAreBusyInTurn: what a partition has stored leaves no memory behind that adds up with the others'.
func TestPartitionsThatAreBusyInTurn(t *testing.T) {
	const bound = 32 << 20
	source := packed()
	s := &session{Writer: New(stream.Cluster{}, []*Source{source}, nil, Options{MaxBytes: bound})}
	a := s.assign()
	for i := range int32(stream.Partitions) {
		a.parts[topicPartition{"packed", i}] = a.part(s.Writer, source, i, 0, nil)
	}
	read := func(partition int32, rows uint32) {
		t.Helper()
		at := a.parts[topicPartition{"packed", partition}].next
		fetches := kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "packed", Partitions: []kgo.FetchPartition{{
			Partition: partition, Records: []*kgo.Record{{Partition: partition, Offset: at, Value: pack('r', rows, 0)}},
		}}}}}}
		if err := s.take(a, fetches); err != nil {
			t.Fatal(err)
		}
	}
	store := func() {
		t.Helper()
		f := a.gather(nil, true, purgeDelay)
		close(f.done)
		a.flight = f
		if err := s.land(a); err != nil {
			t.Fatal(err)
		}
	}
	before := live()
	for i := range int32(stream.Partitions) {
		for range 120 {
			read(i, 300)
		}
		store()
	}
	if taken := live() - before; taken > bound/2 {
		t.Errorf("%d bytes are live when all is stored, the bound is %d", taken, bound)
	}
	for i := range int32(stream.Partitions) { // a row in each takes columns that are made for thousands
		for a.flight == nil && !s.due(a) && a.parts[topicPartition{"packed", i}].open == nil {
			read(i, 1)
		}
	}
	if taken := live() - before; taken > bound {
		t.Errorf("%d bytes are live, the bound is %d", taken, bound)
	}
	runtime.KeepAlive(a)
}
