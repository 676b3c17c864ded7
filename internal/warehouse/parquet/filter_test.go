package parquet

import (
	"encoding/binary"
	"testing"
	"time"

	"sluice/internal/warehouse"
)

// TestFilter: every subject that was added is found, whatever its length, and of others at most one in a thousand.
func TestFilter(t *testing.T) {
	const n = 20_000
	subject := func(i int) []byte {
		return append(make([]byte, i%3*8), binary.BigEndian.AppendUint32(nil, uint32(i))...) // equal beginnings
	}
	var all subjects
	for i := range n {
		all.add(subject(i))
	}
	f, wrong := newFilter(all.hashes), 0
	for i := range n {
		if !f.has(hashOf(subject(i))) {
			t.Fatalf("subject %d is not found", i)
		}
		if f.has(hashOf(subject(n + i))) {
			wrong++
		}
	}
	if wrong > n/1000 {
		t.Errorf("%d of %d others are found", wrong, n)
	}
	if newFilter(nil).has(1) {
		t.Error("an empty filter has a subject")
	}
}

// TestMayHold: the store knows of whom it has no rows, also of files that it has not written itself, once it had to look into them.
func TestMayHold(t *testing.T) {
	dir, table := t.TempDir(), visits()
	src, s := source(table), openStore(t, dir, table)
	known, stranger := visitAt(1, 1, day0, "f"), visitAt(2, 2, day0, "f")
	holds := func(v visit) bool { return s.MayHold(src, []warehouse.Purge{{Subject: []byte(v.Subject)}}) }
	if holds(known) {
		t.Error("an empty store has rows")
	}
	must(t, s.Append(t.Context(), []*warehouse.Block{block(t, src, 0, 0, 1, []visit{known, visitAt(3, 3, day0.Add(24*time.Hour), "f")})}))
	if !holds(known) || holds(stranger) {
		t.Errorf("known %v, a stranger %v", holds(known), holds(stranger))
	}
	must(t, s.Close())
	s = openStore(t, dir, table)
	if !holds(stranger) {
		t.Error("files that were not looked into have no rows of somebody")
	}
	must(t, s.Append(t.Context(), []*warehouse.Block{block(t, src, 0, 1, 2, nil, warehouse.Purge{Subject: []byte(stranger.Subject)})}))
	if !holds(known) || holds(stranger) {
		t.Errorf("after a purge: known %v, a stranger %v", holds(known), holds(stranger))
	}
	must(t, s.Append(t.Context(), []*warehouse.Block{block(t, src, 0, 2, 3, nil, warehouse.Purge{Subject: []byte(known.Subject)})}))
	if rows := all(t, s, table); len(rows) != 1 || holds(known) {
		t.Errorf("%d rows, known %v", len(rows), holds(known))
	}
}

// BenchmarkPurgesOfStrangers is what the purge of somebody without rows costs a store with a month of files.
func BenchmarkPurgesOfStrangers(b *testing.B) {
	table := visits()
	src, s := source(table), openStore(b, b.TempDir(), table)
	const days, people, purges = 30, 2000, 10_000
	var rows []visit
	for day := range days {
		for i := range people {
			rows = append(rows, visitAt(day*people+i, day*people+i, day0.AddDate(0, 0, day), "f"))
		}
	}
	must(b, s.Append(b.Context(), []*warehouse.Block{block(b, src, 0, 0, 1, rows)}))
	strangers := make([]warehouse.Purge, purges)
	for i := range strangers {
		strangers[i].Subject = []byte(visitAt(days*people+i, 0, day0, "").Subject)
	}
	at := int64(1)
	b.ReportAllocs()
	for b.Loop() {
		must(b, s.Append(b.Context(), []*warehouse.Block{block(b, src, 0, at, at+1, nil, strangers...)}))
		at++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*purges), "ns/purge")
}
