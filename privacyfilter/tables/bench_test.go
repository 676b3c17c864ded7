package tables_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/internal/warehouse"
	"sluice/internal/warehouse/parquet"
	"sluice/privacyfilter/purposepb"
	"sluice/privacyfilter/tables"
)

// BenchmarkStore is a row's way from a record into a file: decoded into columns, put in order, written, and merged with others every 32 files. An operation
// is a flush of 12,800 events of 16 partitions. CPU time is the process's: other processes do not count.
func BenchmarkStore(b *testing.B) {
	for _, source := range tables.Sources(register(b), ring) {
		if source.Topic == topics.Ledger {
			continue
		}
		b.Run(source.Topic, func(b *testing.B) { benchmarkStore(b, source) })
	}
}

func benchmarkStore(b *testing.B, source *warehouse.Source) {
	const partitions, perBlock = 16, 800
	store, err := parquet.Open(b.TempDir(), source.Tables, parquet.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	records := make([]*stream.Record, 4*perBlock)
	for i := range records {
		records[i] = record(b, source.Topic, eventOf(source.Topic, i))
	}
	outs := make([]*warehouse.Rows, partitions)
	for i := range outs {
		outs[i] = warehouse.NewRows(source)
	}
	var decoding, storing cost
	rows, n := 0, 0
	for b.Loop() {
		blocks := make([]*warehouse.Block, partitions)
		decoding.measure(func() {
			for p, out := range outs {
				for range perBlock {
					if err := source.Decode(records[n%len(records)], out); err != nil {
						b.Fatal(err)
					}
					n++
				}
				at := int64(n / partitions / perBlock)
				blocks[p] = &warehouse.Block{Source: source, Partition: int32(p), First: at, Next: at + 1, Batches: out.Batches}
			}
		})
		storing.measure(func() {
			if err := errors.Join(store.Append(b.Context(), blocks), store.Tidy(b.Context())); err != nil {
				b.Fatal(err)
			}
		})
		for _, out := range outs {
			for _, batch := range out.Batches {
				rows += batch.Rows()
			}
			out.Cut()
		}
	}
	decoding.report(b, "decode", rows)
	storing.report(b, "store", rows)
}

// cost is what some calls took.
type cost struct {
	cpu    time.Duration
	allocs uint64
}

func (c *cost) measure(do func()) {
	cpu, allocs := spent()
	do()
	cpuAfter, allocsAfter := spent()
	c.cpu, c.allocs = c.cpu+cpuAfter-cpu, c.allocs+allocsAfter-allocs
}

func (c *cost) report(b *testing.B, what string, rows int) {
	b.ReportMetric(float64(c.cpu.Nanoseconds())/float64(rows), what+"-cpu-ns/row")
	b.ReportMetric(float64(c.allocs)/float64(rows), what+"-allocs/row")
}

// spent is what the process has used so far.
func spent() (cpu time.Duration, allocs uint64) {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), m.Mallocs
}

// eventOf is one of many events of many people.
func eventOf(topic string, n int) proto.Message {
	pseudonym := func(kind, n int) []byte {
		id := binary.BigEndian.AppendUint64(nil, uint64(n*64+kind+1)*0x9e3779b97f4a7c15)
		return binary.BigEndian.AppendUint64(id, uint64(n*64+kind+1)*0xd1b54a32d192ed03)
	}
	subject, event, floor, when := pseudonym(1, n*7919%1000), pseudonym(2, n), pseudonym(3, n*7919%1000), at+int64(n)*1_000_000
	items := []*vocab.Item{{ItemId: fmt.Sprint("item-", n*n%5000), Index: uint32(n % 20), Price: int64(n%100) * 990_000}}
	switch topic {
	case topics.History:
		return &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Event{Event: &purposepb.HistoryEvent{
			Subject: subject, Event: event, Type: vocab.Type_VIEW_ITEM, Time: when, Items: items, Floor: floor,
		}}}
	case topics.Personalize:
		return personal(&purposepb.PersonalEvent{
			Subject: subject, Event: event, Session: pseudonym(4, n/10), Type: vocab.Type_VIEW_ITEM, Time: when, Items: items, Surface: "home", Locale: "zh-CN",
			Floor: floor,
		})
	case topics.Trending:
		return &purposepb.TrendingRecord{Of: &purposepb.TrendingRecord_Event{Event: &purposepb.TrendingEvent{
			Contributor: subject, Event: event, Window: 2961, Type: vocab.Type_VIEW_ITEM, Time: when, Items: items, Locale: "zh-CN",
		}}}
	default:
		return &purposepb.RiskRecord{Event: &purposepb.RiskEvent{
			Subject: subject, Event: event, Session: pseudonym(4, n/10), Type: vocab.Type_PAYMENT, Time: when, Channel: vocab.Channel_WEB, Order: pseudonym(5, n),
			Value: int64(n%1000) * 10_000, HasValue: true, Currency: "EUR", Instrument: pseudonym(6, n%1000), Counterparty: pseudonym(7, n%200),
			CounterpartyKind: vocab.CounterpartyKind_SELLER, Device: pseudonym(8, n%1500), Ip: pseudonym(9, n%1500), EventHash: uint64(n) * 0x9e3779b97f4a7c15,
		}}
	}
}
