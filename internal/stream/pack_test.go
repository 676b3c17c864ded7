package stream_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"sluice/internal/broker/brokertest"
	"sluice/internal/seal"
	"sluice/internal/stream"
)

// line is an entry of a pack, as tests compare it.
type line struct {
	Index      int
	KeyID      uint32
	Key, Value string
}

func packOf(lines ...line) stream.Record {
	var p stream.Packer
	for _, l := range lines {
		copy(p.Add(l.KeyID, []byte(l.Key), len(l.Value)), l.Value)
	}
	key, value := p.Record()
	return stream.Record{Topic: "in", Partition: 3, Offset: 17, Key: key, Value: value}
}

func linesOf(rec stream.Record) (lines []line) {
	for e := range rec.Entries() {
		lines = append(lines, line{e.Index, e.KeyID, string(e.Key), string(e.Value)})
	}
	return lines
}

func TestPackGivesBackItsEntries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := make([]line, rapid.IntRange(1, 20).Draw(t, "entries"))
		for i := range want {
			want[i] = line{i, rapid.Uint32().Draw(t, "key id"), rapid.String().Draw(t, "key"), rapid.String().Draw(t, "value")}
		}
		rec := packOf(want...)
		if diff := cmp.Diff(want, linesOf(rec)); diff != "" {
			t.Fatal(diff)
		}
		for cut := 2; cut < len(rec.Value); cut++ { // what was cut within an entry is yielded as it stands, not in part
			part := rec
			part.Value = rec.Value[:cut]
			if got := linesOf(part); len(got) == 1 && got[0].Value == string(part.Value) {
				continue
			} else if diff := cmp.Diff(want[:len(got)], got); diff != "" {
				t.Fatalf("cut at %d: %s", cut, diff)
			}
		}
	})
}

func TestWhatIsNoPackStandsAlone(t *testing.T) {
	for name, rec := range map[string]stream.Record{
		"event":           {Key: []byte("0123456789abcdef"), Value: []byte{1, 0, 0, 0}},
		"tombstone":       {Key: []byte{0}},
		"other version":   {Key: []byte{0}, Value: []byte{2, 0, 0, 0}},
		"no entries":      {Key: []byte{0}, Value: []byte{1}},
		"huge length":     {Key: []byte{0}, Value: []byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}},
		"key id too long": {Key: []byte{0}, Value: []byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff([]line{{0, 0, string(rec.Key), string(rec.Value)}}, linesOf(rec)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestOneEntryOfAPackIsSealedAlone: whoever lacks its key loses this entry and no other.
func TestOneEntryOfAPackIsSealedAlone(t *testing.T) {
	ring := seal.NewKeyring([32]byte{1})
	ann, bob := []byte("ann's pseudonym."), []byte("bob's pseudonym.")
	keyID, sealed := ring.Seal([]byte("ann's event"), ann)
	rec := packOf(line{KeyID: keyID, Key: string(ann), Value: string(sealed)}, line{Key: string(bob), Value: "bob's event"}, line{KeyID: 7, Key: string(bob), Value: "destroyed"})
	var got []string
	for e := range rec.Entries() {
		value, err := ring.Unseal(e.KeyID, e.Value, e.Key)
		if errors.Is(err, seal.ErrUnknownKey) {
			value = []byte("unknown key")
		} else if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(value))
	}
	if diff := cmp.Diff([]string{"ann's event", "bob's event", "unknown key"}, got); diff != "" {
		t.Error(diff)
	}
	if bytes.Contains(rec.Value, []byte("ann's event")) {
		t.Error("the pack holds in the clear what was sealed")
	}
	for e := range rec.Entries() { // the seal holds for its own key alone
		if _, err := ring.Unseal(e.KeyID, e.Value, bob); e.Index == 0 && err == nil {
			t.Error("another's entry could be opened")
		}
	}
}

// TestTransactionIsAPackAPartition: many entries are one record, in order, until it is full.
func TestTransactionIsAPackAPartition(t *testing.T) {
	cluster, _ := brokertest.Empty(t)
	createTopics(t, cluster)
	run(t, cluster, new(watch), func(task *stream.Task) stream.Processor { return repacker{task} })
	want := make([]line, 0, 5)
	for i := range 5 {
		want = append(want, line{Index: i, Key: fmt.Sprint("key ", i), Value: fmt.Sprint("value ", i)})
	}
	in := packOf(want...)
	large := string(make([]byte, 300<<10))
	recs := []*kgo.Record{
		{Topic: cluster.Topic("in"), Partition: 3, Key: in.Key, Value: in.Value},
		{Topic: cluster.Topic("in"), Partition: 4, Key: []byte("a"), Value: []byte(large)},
		{Topic: cluster.Topic("in"), Partition: 4, Key: []byte("b"), Value: []byte(large)},
	}
	if err := producer(t, cluster).ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	waitForCommitted(t, cluster, 3)
	got := make(map[int32][]line)
	offsets := make(map[int32]map[int64]bool)
	err := stream.ReadAll(t.Context(), cluster, "out", func(recs []stream.Record) {
		for _, r := range recs {
			got[r.Partition] = append(got[r.Partition], line{r.Index, r.KeyID, string(r.Key), string(r.Value)})
			if offsets[r.Partition] == nil {
				offsets[r.Partition] = make(map[int64]bool)
			}
			offsets[r.Partition][r.Offset] = true
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int32][]line{3: want, 4: {{Key: "a", Value: large}, {Key: "b", Value: large}}}, got); diff != "" {
		t.Error(diff)
	}
	if len(offsets[3]) != 1 || len(offsets[4]) != 2 {
		t.Errorf("one record for what fits, two for what does not, expected: %v", offsets)
	}
}

// repacker packs what comes, in its own partition.
type repacker struct{ task *stream.Task }

func (r repacker) Process(rec *stream.Record) error {
	copy(r.task.Pack("out", rec.Partition, rec.KeyID, rec.Key, len(rec.Value)), rec.Value)
	return nil
}

func BenchmarkEntries(b *testing.B) {
	lines := make([]line, 1000)
	for i := range lines {
		lines[i] = line{Key: "0123456789abcdef", Value: string(make([]byte, 120))}
	}
	rec := packOf(lines...)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for e := range rec.Entries() {
			n += len(e.Value)
		}
	}
}
