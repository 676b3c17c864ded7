package parquet

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sluice/internal/warehouse"
)

// visits has a column of every kind.
func visits() *warehouse.Table {
	return &warehouse.Table{
		Name: "visits", Time: "time", Keep: 30 * 24 * time.Hour, Key: []string{"event"}, Subject: "subject", Event: "event", Floor: "floor",
		Columns: []warehouse.Column{
			{Name: "subject", Kind: warehouse.Bytes},
			{Name: "event", Kind: warehouse.Bytes},
			{Name: "time", Kind: warehouse.Time},
			{Name: "floor", Kind: warehouse.Bytes},
			{Name: "type", Kind: warehouse.String},
			{Name: "amount", Kind: warehouse.Int64},
			{Name: "hash", Kind: warehouse.Uint64},
			{Name: "known", Kind: warehouse.Bool},
			{Name: "items", Kind: warehouse.Strings},
			{Name: "prices", Kind: warehouse.Int64s},
		},
	}
}

// visit is a row of it.
type visit struct {
	Subject, Event string
	Time           int64
	Floor          string
}

var types = []string{"view", "click", "add_to_cart", "purchase", "search"}

func (v visit) append(b *warehouse.Batch) error {
	n := int(binary.BigEndian.Uint32([]byte(v.Event)[len(v.Event)-4:]))
	b.Bytes([]byte(v.Subject))
	b.Bytes([]byte(v.Event))
	b.Int(v.Time)
	b.Bytes([]byte(v.Floor))
	b.String(types[n%len(types)])
	b.Int(int64(n)*10_000 - 5)
	b.Uint(uint64(n) * 0x9e3779b97f4a7c15)
	b.Bool(n%3 == 0)
	items, prices := []string{}, []int64{}
	for i := range n % 4 {
		items = append(items, fmt.Sprintf("item-%d", (n+i)%100))
		prices = append(prices, int64(n+i))
	}
	b.StringList(items)
	b.IntList(prices)
	return b.End()
}

// visitAt makes a row; equal arguments give equal rows.
func visitAt(subject, event int, at time.Time, floor string) visit {
	s := binary.BigEndian.AppendUint64(nil, uint64(subject)*0x9e3779b97f4a7c15)
	e := binary.BigEndian.AppendUint64([]byte("event---"), uint64(event))
	return visit{string(binary.BigEndian.AppendUint64(s, uint64(subject))), string(e), at.UnixMicro(), floor}
}

var day0 = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func source(t *warehouse.Table) *warehouse.Source {
	return &warehouse.Source{Topic: "in", Tables: []*warehouse.Table{t}}
}

func block(tb testing.TB, s *warehouse.Source, partition int32, first, next int64, rows []visit, purges ...warehouse.Purge) *warehouse.Block {
	tb.Helper()
	b := warehouse.NewBatch(s.Tables[0])
	for _, r := range rows {
		if err := r.append(b); err != nil {
			tb.Fatal(err)
		}
	}
	b.Sort()
	return &warehouse.Block{Source: s, Partition: partition, First: first, Next: next, Batches: []*warehouse.Batch{b}, Purges: purges}
}

func openStore(tb testing.TB, dir string, tables ...*warehouse.Table) *Store {
	tb.Helper()
	s, err := Open(dir, tables, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// all scans every row, and checks order and the columns that visit does not name.
func all(tb testing.TB, s *Store, t *warehouse.Table) []visit {
	tb.Helper()
	return between(tb, s, t, time.Unix(0, 0), day0.AddDate(10, 0, 0))
}

func between(tb testing.TB, s *Store, t *warehouse.Table, from, to time.Time) []visit {
	tb.Helper()
	var rows []visit
	last := make(map[string]int64)
	err := s.Scan(context.Background(), t, nil, from, to, func(b *warehouse.Batch) error {
		for i := range b.Rows() {
			v := visit{string(b.Values[0].Text(i)), string(b.Values[1].Text(i)), b.Values[2].Int(i), string(b.Values[3].Text(i))}
			if v.Time < last[v.Subject] {
				return fmt.Errorf("a subject's rows are not in the order of time")
			}
			last[v.Subject] = v.Time
			want := warehouse.NewBatch(b.Table)
			must(tb, v.append(want))
			for c := range want.Values {
				x, y := &want.Values[c], &b.Values[c]
				same := true
				switch b.Table.Columns[c].Kind {
				case warehouse.String:
					same = x.String(0) == y.String(i)
				case warehouse.Int64:
					same = x.Int(0) == y.Int(i)
				case warehouse.Uint64:
					same = x.Uint(0) == y.Uint(i)
				case warehouse.Bool:
					same = x.Bool(0) == y.Bool(i)
				case warehouse.Strings:
					same = slices.Equal(x.Strings(0), y.Strings(i))
				case warehouse.Int64s:
					same = slices.Equal(x.Ints(0), y.Ints(i))
				}
				if !same {
					return fmt.Errorf("column %s came back changed", b.Table.Columns[c].Name)
				}
			}
			rows = append(rows, v)
		}
		return nil
	})
	must(tb, err)
	return rows
}

// sorted orders rows for comparison.
func sorted(rows []visit) []visit {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b visit) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Time, b.Time), cmp.Compare(a.Event, b.Event), cmp.Compare(a.Floor, b.Floor))
	})
	return rows
}

func files(tb testing.TB, dir string) []string {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*", "day=*", "*.parquet"))
	must(tb, err)
	return paths
}
