package risk

import (
	"encoding/binary"
	"testing"
	"time"

	"sluice/internal/stream"
)

func recordAt(n int, at time.Time) *stream.Record {
	return &stream.Record{Key: binary.BigEndian.AppendUint64(nil, uint64(n)), Value: []byte("d"), Partition: int32(n % 16), Offset: int64(n), Time: at}
}

func TestIndexKeepsTheNewest(t *testing.T) {
	const keep, n = 80, 1000
	x := newIndex(keep, time.Hour)
	for i := range n {
		at := eventTime.Add(time.Duration(i^1) * time.Second) // two partitions, out of order
		rec := recordAt(i, at)
		if !x.add(idOf(rec.Key), rec) || x.add(idOf(rec.Key), rec) {
			t.Fatal("the first decision of an event is the one that counts")
		}
		x.prune()
		if x.size() > keep+keep/8+1 || x.size() != len(x.order) {
			t.Fatalf("the index holds %d and %d entries", x.size(), len(x.order))
		}
	}
	for i, want := range map[int]bool{n - 1: true, n - keep: true, 0: false} {
		at, ok := x.find(idOf(recordAt(i, eventTime).Key))
		if ok != want || ok && (at.offset != int64(i) || at.partition != int32(i%16)) {
			t.Errorf("%d: %v, %v", i, at, ok)
		}
	}
}

func TestIndexForgetsWhatIsOld(t *testing.T) {
	x := newIndex(1000, 64*time.Minute)
	for i, after := range []time.Duration{0, time.Minute, 63 * time.Minute, 65 * time.Minute} {
		rec := recordAt(i, eventTime.Add(after))
		x.add(idOf(rec.Key), rec)
		x.prune()
	}
	if _, ok := x.find(idOf(recordAt(0, eventTime).Key)); ok {
		t.Error("an entry older than the bound is found")
	}
	if _, ok := x.find(idOf(recordAt(1, eventTime).Key)); !ok || x.size() != 3 {
		t.Errorf("%d entries", x.size())
	}
	late := recordAt(9, eventTime)
	if x.add(idOf(late.Key), late) {
		t.Error("an entry older than the bound is taken")
	}
}
