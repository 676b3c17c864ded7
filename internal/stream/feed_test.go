package stream

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

const fedTopic = "sluice.state.x"

// written are records of the partition at the offsets.
func written(partition int32, offsets ...int64) []kgo.Record {
	recs := make([]kgo.Record, len(offsets))
	for i, offset := range offsets {
		recs[i] = kgo.Record{Topic: fedTopic, Partition: partition, Offset: offset, Key: []byte("k"), Value: fmt.Append(nil, offset), Timestamp: time.UnixMilli(1_800_000_000_000 + offset)}
	}
	return recs
}

// offsetsFrom are the offsets that the reader is given at one, in their order.
func offsetsFrom(r *feedReader, partition int32, next int64) (offsets []int64) {
	taken, _ := r.take(partition, next)
	for _, s := range taken {
		for _, rec := range s.appendTo(nil, "state.x", partition, next) {
			offsets = append(offsets, rec.Offset)
		}
	}
	return offsets
}

func TestFeedGivesOnlyWhatContinues(t *testing.T) {
	type transaction struct {
		writer  int
		offsets []int64
	}
	for _, tc := range []struct {
		name         string
		transactions []transaction
		next         int64
		want         []int64
		missed       bool
	}{
		{"from the first record on", []transaction{{0, []int64{4, 5}}}, 4, []int64{4, 5}, false},
		{"from within", []transaction{{0, []int64{4, 5, 6}}}, 5, []int64{5, 6}, false},
		{"over a marker", []transaction{{0, []int64{4, 5}}, {0, []int64{7, 8}}}, 4, []int64{4, 5, 7, 8}, false},
		{"from a marker on", []transaction{{0, []int64{4, 5}}, {0, []int64{7, 8}}}, 6, []int64{7, 8}, false},
		{"from behind a marker on", []transaction{{0, []int64{4, 5}}, {0, []int64{7, 8}}}, 7, []int64{7, 8}, false},
		{"what came before is unknown", []transaction{{0, []int64{4, 5}}}, 3, nil, true},
		{"all is known", []transaction{{0, []int64{4, 5}}}, 6, nil, false},
		{"up to a gap of two", []transaction{{0, []int64{4, 5}}, {0, []int64{8}}}, 4, []int64{4, 5}, false},
		{"up to another producer's", []transaction{{0, []int64{4, 5}}, {1, []int64{7}}}, 4, []int64{4, 5}, false},
		{"up to a gap within a transaction", []transaction{{0, []int64{4, 5, 7}}}, 4, []int64{4, 5}, false},
		{"older than what is there", []transaction{{0, []int64{7}}, {0, []int64{4, 5}}}, 4, nil, true},
		{"without offsets", []transaction{{0, []int64{-1, 0, 1}}}, 0, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			feed := NewFeed()
			r := feed.reader(fedTopic)
			writers := []feedWriter{feed.writer(), feed.writer()}
			for _, tx := range tc.transactions {
				writers[tx.writer].committed(written(1, tx.offsets...))
			}
			if got := offsetsFrom(r, 1, tc.next); !slices.Equal(got, tc.want) {
				t.Errorf("from %d on: %v, want %v", tc.next, got, tc.want)
			}
			if _, missed := r.take(1, tc.next); missed != tc.missed {
				t.Errorf("missed: %v, want %v", missed, tc.missed)
			}
			if got := offsetsFrom(r, 2, tc.next); got != nil {
				t.Errorf("another partition: %v", got)
			}
		})
	}
}

func TestFeedKeepsRecords(t *testing.T) {
	var pack Packer
	for i := range 3 {
		copy(pack.Add(uint32(i), []byte{byte(i), 'k'}, 2), "vv")
	}
	packKey, packValue := pack.Record()
	at := time.UnixMilli(1_800_000_000_123)
	recs := []kgo.Record{
		{Topic: fedTopic, Offset: 10, Key: []byte("tombstone"), Timestamp: at},
		{Topic: fedTopic, Offset: 11, Key: packKey, Value: packValue, Timestamp: at.Add(-time.Second)},
		{Topic: fedTopic, Offset: 12, Value: []byte{}, Timestamp: at.Add(time.Hour)},
	}
	var want []Record
	for i := range recs {
		want = appendEntries(want, RecordOf(&recs[i], "state.x"))
	}
	feed := NewFeed()
	r, w := feed.reader(fedTopic), feed.writer()
	w.committed(recs)
	var got []Record
	taken, _ := r.take(0, 10)
	for _, s := range taken {
		got = s.appendTo(got, "state.x", 0, 10)
		if len(s.data) != cap(s.data) {
			t.Errorf("%d bytes in memory for %d", len(s.data), cap(s.data))
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		if g.Offset != w.Offset || g.Index != w.Index || g.KeyID != w.KeyID || !bytes.Equal(g.Key, w.Key) || !bytes.Equal(g.Value, w.Value) ||
			(g.Key == nil) != (w.Key == nil) || (g.Value == nil) != (w.Value == nil) || !g.Time.Equal(w.Time) || g.Topic != w.Topic {
			t.Errorf("record %d: %+v, want %+v", i, g, w)
		}
	}
}

func TestFeedIsBounded(t *testing.T) {
	feed := NewFeed()
	feed.limit = 8000
	slow, quick := feed.reader(fedTopic), feed.reader(fedTopic)
	w := feed.writer()
	for n := range int64(1000) {
		w.committed(written(0, 2*n))
		if got := offsetsFrom(quick, 0, 2*n); !slices.Equal(got, []int64{2 * n}) {
			t.Fatalf("at %d: %v", 2*n, got)
		}
	}
	if feed.bytes > feed.limit/tailShare || feed.bytes == 0 {
		t.Errorf("%d bytes are kept for a slow reader, want at most %d", feed.bytes, feed.limit/tailShare)
	}
	if got := offsetsFrom(slow, 0, 0); got != nil {
		t.Errorf("what was dropped is given: %v", got)
	}
	if got := offsetsFrom(slow, 0, 1990); !slices.Equal(got, []int64{1990, 1992, 1994, 1996, 1998}) {
		t.Errorf("once it has fetched: %v", got)
	}
	slow.close()
	if got := offsetsFrom(quick, 0, 2000); got != nil || feed.bytes != 0 {
		t.Errorf("%v is left, %d bytes", got, feed.bytes)
	}
	w.committed(written(0, 2000))
	quick.close()
	if w.committed(written(0, 2002)); feed.bytes != 0 || len(feed.tails) != 0 {
		t.Errorf("%d bytes are kept for nobody", feed.bytes)
	}
}

// TestFeedNeverSkips lets producers share a partition in any way that a log allows. Whoever takes from the feed what it has, and fetches the rest, reads every
// committed record once and in order.
func TestFeedNeverSkips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		feed := NewFeed()
		feed.limit = rapid.IntRange(100, 20_000).Draw(t, "limit")
		r := feed.reader(fedTopic)
		writers := []feedWriter{feed.writer(), feed.writer()}
		var log []bool // by offset: a committed record
		open := make([][]int64, len(writers))
		next := int64(0)
		end := func(n int, commit bool) {
			for _, offset := range open[n] {
				log[offset] = commit
			}
			if len(open[n]) > 0 {
				log = append(log, false) // the marker
			}
			if commit && rapid.IntRange(0, 9).Draw(t, "told") > 0 {
				writers[n].committed(written(0, open[n]...))
			}
			open[n] = nil
		}
		read := func(offsets []int64) {
			for _, offset := range offsets {
				for ; next < offset; next++ {
					if log[next] {
						t.Fatalf("the record at %d was passed by", next)
					}
				}
				next++
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			n := rapid.IntRange(0, 1).Draw(t, "producer")
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0, 1:
				open[n] = append(open[n], int64(len(log)))
				log = append(log, false)
			case 2, 3:
				end(n, true)
			case 4:
				end(n, false)
			case 5:
				log = append(log, true) // somebody else's, outside of transactions
			default:
				got := offsetsFrom(r, 0, next)
				if len(got) > 0 {
					read(got)
					continue
				}
				stable := int64(len(log))
				for _, offsets := range open {
					if len(offsets) > 0 {
						stable = min(stable, offsets[0])
					}
				}
				until := min(stable, next+int64(rapid.IntRange(0, 5).Draw(t, "fetched")))
				next = max(next, until)
			}
		}
	})
}

func BenchmarkFeed(b *testing.B) {
	feed := NewFeed()
	readers := []*feedReader{feed.reader(fedTopic), feed.reader(fedTopic)}
	w := feed.writer()
	recs := make([]kgo.Record, 500)
	for i := range recs {
		recs[i] = kgo.Record{Topic: fedTopic, Key: make([]byte, 17), Value: make([]byte, 120)}
	}
	var batch []Record
	offset := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		first := offset
		for i := range recs {
			recs[i].Offset = offset
			offset++
		}
		offset++ // the marker
		w.committed(recs)
		for _, r := range readers {
			taken, _ := r.take(0, first)
			for _, s := range taken {
				batch = s.appendTo(batch[:0], "state.x", 0, first)
			}
		}
	}
	if len(batch) != len(recs) {
		b.Fatalf("%d records of %d", len(batch), len(recs))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(recs)), "ns/record")
}
