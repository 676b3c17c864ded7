package warehouse

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func sortTable() *Table {
	return &Table{Name: "t", Time: "time", Subject: "subject", Key: []string{"key", "n"}, Columns: []Column{
		{Name: "subject", Kind: Bytes},
		{Name: "time", Kind: Time},
		{Name: "key", Kind: String},
		{Name: "n", Kind: Uint64},
		{Name: "b", Kind: Bool},
		{Name: "list", Kind: Strings},
		{Name: "ints", Kind: Int64s},
		{Name: "place", Kind: Int64},
	}}
}

// TestSort: rows come in the order of subject, time and key, equal ones as they were; whole rows move; and a batch that is sorted stays as it is.
func TestSort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := NewBatch(sortTable())
		n := rapid.IntRange(0, 60).Draw(t, "rows")
		for i := range n {
			subject := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 255}), 0, 10).Draw(t, "subject")
			at := rapid.Int64Range(-2, 2).Draw(t, "time")
			b.Bytes(subject)
			b.Int(at)
			b.String(rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "key"))
			b.Uint(rapid.Uint64Range(0, 2).Draw(t, "n"))
			b.Bool(at > 0)
			b.StringList([]string{string(subject)})
			b.IntList([]int64{at, int64(i)})
			b.Int(int64(i))
			if err := b.End(); err != nil {
				t.Fatal(err)
			}
		}
		b.Sort()
		v := b.Values
		for i := range n {
			if v[5].Strings(i)[0] != v[0].String(i) || !slices.Equal(v[6].Ints(i), []int64{v[1].Int(i), v[7].Int(i)}) || v[4].Bool(i) != (v[1].Int(i) > 0) {
				t.Fatalf("row %d is made of several", i)
			}
			if i == 0 {
				continue
			}
			if c := bytes.Compare(v[0].Text(i-1), v[0].Text(i)); c > 0 || c == 0 && !inOrder(v, i) {
				t.Fatalf("rows %d and %d are out of order", i-1, i)
			}
		}
		again := NewBatch(b.Table)
		again.Append(b, 0, n)
		again.Sort()
		if diff := cmp.Diff(b.Values, again.Values, cmpopts.EquateEmpty(), cmp.AllowUnexported(Values{})); diff != "" {
			t.Fatalf("sorting again changed rows:\n%s", diff)
		}
	})
}

// inOrder compares rows of one subject.
func inOrder(v []Values, i int) bool {
	type rest struct {
		time  int64
		key   string
		n     uint64
		place int64
	}
	x := rest{v[1].Int(i - 1), v[2].String(i - 1), v[3].Uint(i - 1), v[7].Int(i - 1)}
	y := rest{v[1].Int(i), v[2].String(i), v[3].Uint(i), v[7].Int(i)}
	switch {
	case x.time != y.time:
		return x.time < y.time
	case x.key != y.key:
		return x.key < y.key
	case x.n != y.n:
		return x.n < y.n
	default:
		return x.place < y.place
	}
}

func TestBatchTellsMistakes(t *testing.T) {
	table := &Table{Name: "t", Columns: []Column{{Name: "a", Kind: String}, {Name: "b", Kind: Int64}}}
	for name, fill := range map[string]func(*Batch){
		"too few":    func(b *Batch) { b.String("x") },
		"too many":   func(b *Batch) { b.String("x"); b.Int(1); b.Int(2) },
		"wrong kind": func(b *Batch) { b.Int(1); b.Int(2) },
	} {
		b := NewBatch(table)
		b.String("whole")
		b.Int(7)
		if err := b.End(); err != nil {
			t.Fatal(err)
		}
		if fill(b); b.End() == nil {
			t.Errorf("%s: no error", name)
		}
		b.Cut(1)
		if b.Rows() != 1 || b.Values[0].rows() != 1 || b.Values[1].rows() != 1 || !b.whole() {
			t.Errorf("%s: the row before it did not stay alone", name)
		}
	}
}

func TestPromise(t *testing.T) {
	text := promise([]int64{9, 9000000000})
	got, err := parsePromise(5, &text)
	if diff := cmp.Diff([]int64{9, 9000000000}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for _, other := range []string{"", "sluice-member-1", "{}"} {
		if got, err := parsePromise(5, &other); got != nil || err != nil {
			t.Errorf("metadata %q: %v, %v", other, got, err)
		}
	}
	for _, broken := range []string{"next=", "next=x", "next=5", "next=9,8", "next=9,"} {
		if _, err := parsePromise(5, &broken); err == nil {
			t.Errorf("metadata %q: no error", broken)
		}
	}
}
