package deadletter

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/ingest/eventpb"
	"sluice/internal/stream"
)

func record(t *testing.T, n int, time int64, redriven bool) stream.Record {
	t.Helper()
	stored := &eventpb.DeadLetter{Stage: StageReplay, Time: time, Position: uint64(n), Redriven: redriven}
	if !redriven {
		stored.Payload = []byte("sealed")
	}
	value, err := stored.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return stream.Record{Key: binary.BigEndian.AppendUint64(make([]byte, 8), uint64(n)), Value: value, Offset: int64(n)}
}

func TestIndexIsBounded(t *testing.T) {
	const keep, n = 80, 1000
	x := newIndex(keep)
	for i := range n { // two partitions interleaved out of order
		x.apply([]stream.Record{record(t, i, int64(i^1), false), {Key: []byte("foreign"), Value: []byte{0xff}}, record(t, i, 0, i%2 == 0)})
		if len(x.order) > keep+keep/8+1 || len(x.order) != len(x.byID) {
			t.Fatalf("the index holds %d and %d letters", len(x.order), len(x.byID))
		}
	}
	page, next, err := x.list(Query{Limit: 3, State: "open"})
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for len(got) < 5 {
		for _, e := range page {
			got = append(got, e.position)
		}
		if page, next, err = x.list(Query{Limit: 2, State: "open", Cursor: next}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]uint64{997, 999, 995}, []uint64{got[1], got[0], got[2]}); diff != "" {
		t.Error(diff, got)
	}
	open := 0
	for _, e := range x.order {
		if !e.redriven {
			open++
		}
	}
	if x.openCount() != open {
		t.Errorf("%d open counted, %d are", x.openCount(), open)
	}
}
