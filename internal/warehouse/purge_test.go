package warehouse

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func purgeSource() *Source {
	event := func(name string) *Table {
		return &Table{Name: name, Subject: "subject", Event: "event", Floor: "floor", Columns: []Column{
			{Name: "subject", Kind: Bytes}, {Name: "event", Kind: Bytes}, {Name: "floor", Kind: Bytes},
		}}
	}
	bare := event("bare")
	bare.Floor = ""
	return &Source{Tables: []*Table{event("floored"), bare, {Name: "proofs", Subject: "subject", Columns: bare.Columns}}}
}

// stored is a row that a store has.
type stored struct{ table, subject, event, floor string }

// TestPurgesAreExact cuts random rows and purges into blocks, and repeats some of them, whose rows a store then leaves out. What is left is what carrying out
// each purge in its place leaves.
func TestPurgesAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source := purgeSource()
		var want, got []stored
		events := 0
		word := func(name, of string, n int) string { return fmt.Sprint(of, rapid.IntRange(0, n).Draw(t, name)) }
		for range rapid.IntRange(1, 6).Draw(t, "blocks") {
			out := NewRows(source)
			var rows []stored
			for range rapid.IntRange(0, 12).Draw(t, "records") {
				subject := word("subject", "s", 3)
				if rapid.Bool().Draw(t, "purge") {
					p := Purge{Subject: []byte(subject)}
					switch rapid.IntRange(0, 2).Draw(t, "what") {
					case 0:
						p.Floor = []byte(word("floor", "f", 2))
					case 1:
						p.Event = []byte(word("event", "e", events))
					}
					out.Purge(p)
					want = carriedOut(source, want, &p)
					continue
				}
				events++
				for i := range rapid.IntRange(1, 2).Draw(t, "rows") { // in one table, or in two
					row := stored{source.Tables[i].Name, subject, fmt.Sprint("e", events+100), word("floor", "f", 2)}
					b := out.Batches[i]
					b.Bytes([]byte(row.subject))
					b.Bytes([]byte(row.event))
					b.Bytes([]byte(row.floor))
					if err := b.End(); err != nil {
						t.Fatal(err)
					}
					rows, want = append(rows, row), append(want, row)
				}
			}
			out.keep()
			got = append(got, rows...)
			for range rapid.IntRange(1, 2).Draw(t, "times") {
				for i := range out.Purges {
					got = carriedOut(source, got, &out.Purges[i])
				}
			}
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(stored{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func carriedOut(s *Source, rows []stored, p *Purge) []stored {
	purger := NewPurger([]Purge{*p})
	return slices.DeleteFunc(slices.Clone(rows), func(r stored) bool {
		i := slices.IndexFunc(s.Tables, func(t *Table) bool { return t.Name == r.table })
		return purger.Deletes(s.Tables[i], []byte(r.subject), []byte(r.event), []byte(r.floor))
	})
}

// BenchmarkPurges is what purges of people without rows cost a block that has rows of others.
func BenchmarkPurges(b *testing.B) {
	source := packed()
	const rows, purges = 10_000, 100_000
	b.ReportAllocs()
	for b.Loop() {
		out := NewRows(source)
		var id [16]byte
		for i := range purges + rows {
			binary.BigEndian.PutUint64(id[:], uint64(i)*0x9e3779b97f4a7c15)
			if i%(purges/rows+1) > 0 {
				out.Purge(Purge{Subject: id[:], Floor: id[:]})
				continue
			}
			batch := out.Batches[0]
			batch.Bytes(id[:])
			batch.Bytes(id[:])
			batch.String("view_item")
			batch.Int(int64(i))
			batch.EndList()
			batch.EndList()
			batch.Bool(true)
			batch.Bytes(id[:])
			if err := batch.End(); err != nil {
				b.Fatal(err)
			}
		}
		out.keep()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*purges), "ns/purge")
}
