package parquet

import (
	"testing"
	"time"

	"sluice/internal/warehouse"
)

// BenchmarkAppend is a row's way through the warehouse: decoded into a batch, sorted, written to a file. Blocks have 5,000 rows of 12 partitions.
func BenchmarkAppend(b *testing.B) {
	const partitions, perBlock = 12, 5000
	table := visits()
	src := source(table)
	s := openStore(b, b.TempDir(), table)
	rows := make([]visit, perBlock)
	for i := range rows {
		rows[i] = visitAt(i*7919%1000, i, day0.Add(time.Duration(i)*time.Second), "f------------016")
	}
	var at int64
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		blocks := make([]*warehouse.Block, partitions)
		for p := range blocks {
			batch := warehouse.NewBatch(table)
			for i := range rows {
				must(b, rows[i].append(batch))
			}
			batch.Sort()
			blocks[p] = &warehouse.Block{Source: src, Partition: int32(p), First: at, Next: at + perBlock, Batches: []*warehouse.Batch{batch}}
		}
		at += perBlock
		must(b, s.Append(b.Context(), blocks))
		n += partitions * perBlock
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/row")
}

// BenchmarkScan reads all columns, and two of them.
func BenchmarkScan(b *testing.B) {
	table := visits()
	src := source(table)
	s := openStore(b, b.TempDir(), table)
	const blocks, perBlock = 12, 5000
	for i := range blocks {
		rows := make([]visit, perBlock)
		for j := range rows {
			rows[j] = visitAt(j*7919%1000, j, day0.Add(time.Duration(j)*time.Second), "f------------016")
		}
		must(b, s.Append(b.Context(), []*warehouse.Block{block(b, src, 0, int64(i), int64(i+1), rows)}))
	}
	for name, columns := range map[string][]string{"all": nil, "two": {"type", "amount"}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				must(b, s.Scan(b.Context(), table, columns, day0, day0.AddDate(0, 0, 1), func(batch *warehouse.Batch) error {
					n += batch.Rows()
					return nil
				}))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/row")
		})
	}
}
