package stream

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Feed hands what this process commits to the followers in it: they need not fetch it. It is a cache of the ends of partitions. A follower takes from it only
// what provably continues what it has, and fetches everything else, so that nothing depends on the feed but the cost. A nil Feed is none.
//
// Between two transactions of one producer lies a marker in every partition that the first one wrote: the producer cannot write there again before. So if the
// next transaction begins two offsets behind the last record of the one before, then the offset in between is that marker. Any other gap may be anything.
type Feed struct {
	mu      sync.Mutex // guards the rest
	tails   map[topicPartition]*tail
	readers map[string][]*feedReader // by full topic
	bytes   int                      // of all tails
	writers uint64                   // numbers given out
	limit   int                      // of bytes
}

const (
	feedBytes = 64 << 20 // of records that a feed keeps for its readers; whoever is further behind fetches
	tailShare = 8        // a partition may have this part of it
)

// NewFeed makes the feed of a process, which all its clusters' values share.
func NewFeed() *Feed {
	return &Feed{tails: make(map[topicPartition]*tail), readers: make(map[string][]*feedReader), limit: feedBytes}
}

// tail is the end of a partition as far as this process has written it.
type tail struct {
	segments []segment // the oldest first
	bytes    int

	// Of the newest segment, also when nobody needs it any more.
	end         int64 // offset of its last record
	writer      uint64
	transaction uint64
}

// segment is a stretch of a partition that one transaction wrote, without a gap between its records' offsets.
type segment struct {
	from        int64 // whoever has all below this offset can go on with the segment
	first, last int64
	time        int64  // of the first record, in Unix milliseconds
	data        []byte // per record: time after the first one ‖ length of key + 1 ‖ key ‖ length of value + 1 ‖ value; a length of 0 is nil
}

// feedReader is a follower's place at the feed.
type feedReader struct {
	feed  *Feed
	topic string        // full name
	wake  chan struct{} // capacity 1: there may be something to take
	at    [Partitions]int64
}

// reader makes a reader of the topic with the full name; close ends it.
func (f *Feed) reader(topic string) *feedReader {
	r := &feedReader{feed: f, topic: topic, wake: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers[topic] = append(f.readers[topic], r)
	return r
}

func (r *feedReader) close() {
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	left := slices.DeleteFunc(f.readers[r.topic], func(other *feedReader) bool { return other == r })
	if len(left) > 0 {
		f.readers[r.topic] = left
		return
	}
	delete(f.readers, r.topic)
	for at, t := range f.tails {
		if at.topic == r.topic {
			f.bytes -= t.bytes
			delete(f.tails, at)
		}
	}
}

// take returns what can be read by somebody who has all of the partition below the offset. Or it says that this was missed: something later was written that
// does not continue it. The feed forgets what all readers have.
func (r *feedReader) take(partition int32, next int64) (taken []segment, missed bool) {
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	r.at[partition] = next
	t := f.tails[topicPartition{r.topic, partition}]
	if t == nil {
		return nil, false
	}
	f.forget(t, f.needed(r.topic, partition))
	for i, s := range t.segments {
		if s.from <= next && next <= s.last {
			return slices.Clone(t.segments[i : i+t.chain(i)]), false
		}
	}
	return nil, t.end >= next
}

// chain is how many segments from place i on can be read one after the other.
func (t *tail) chain(i int) int {
	n := 1
	for i+n < len(t.segments) && t.segments[i+n].from == t.segments[i+n-1].last+1 {
		n++
	}
	return n
}

// needed is the offset below which no reader needs the partition.
func (f *Feed) needed(topic string, partition int32) int64 {
	readers := f.readers[topic]
	least := readers[0].at[partition]
	for _, r := range readers[1:] {
		least = min(least, r.at[partition])
	}
	return least
}

// forget drops what lies below the offset.
func (f *Feed) forget(t *tail, below int64) {
	n := 0
	for n < len(t.segments) && t.segments[n].last < below {
		n++
	}
	f.drop(t, n)
}

// drop drops the n oldest segments.
func (f *Feed) drop(t *tail, n int) {
	for _, s := range t.segments[:n] {
		t.bytes -= len(s.data)
		f.bytes -= len(s.data)
	}
	t.segments = slices.Delete(t.segments, 0, n)
}

// feedWriter puts the transactions of one producer on the feed.
type feedWriter struct {
	feed        *Feed
	number      uint64
	transaction uint64
}

// writer makes a writer for a producer. Another session's is another producer, whatever its id: what lies between the two is not known.
func (f *Feed) writer() feedWriter {
	if f == nil {
		return feedWriter{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writers++
	return feedWriter{feed: f, number: f.writers}
}

// committed adds everything that a committed transaction has written, in any number of slices. Records of one partition come in their order. It copies.
func (w *feedWriter) committed(written ...[]kgo.Record) {
	if w.feed == nil {
		return
	}
	w.transaction++
	for _, records := range written {
		for len(records) > 0 {
			n := consecutive(records)
			w.add(records[:n])
			records = records[n:]
		}
	}
}

// consecutive is how many of the first records follow each other in one partition.
func consecutive(records []kgo.Record) int {
	n := 1
	for n < len(records) {
		last, r := &records[n-1], &records[n]
		if r.Partition != last.Partition || r.Offset != last.Offset+1 || r.Topic != last.Topic {
			break
		}
		n++
	}
	return n
}

// add puts a stretch at the end of its partition's tail, if there are readers. One without offsets, or that is older than the tail, is left out.
func (w *feedWriter) add(records []kgo.Record) {
	f, at := w.feed, topicPartition{records[0].Topic, records[0].Partition}
	if records[0].Offset < 0 || !f.isRead(at.topic) {
		return
	}
	s := encodeSegment(records)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.readers[at.topic]) == 0 {
		return
	}
	t := f.tails[at]
	if t == nil {
		t = &tail{end: -1}
		f.tails[at] = t
	}
	if s.first <= t.end {
		return
	}
	if s.first == t.end+2 && w.number == t.writer && w.transaction != t.transaction {
		s.from = t.end + 1 // of the marker
	}
	t.end, t.writer, t.transaction = s.last, w.number, w.transaction
	t.segments = append(t.segments, s)
	t.bytes += len(s.data)
	f.bytes += len(s.data)
	for len(t.segments) > 0 && (t.bytes > f.limit/tailShare || f.bytes > f.limit) {
		f.drop(t, 1)
	}
	for _, r := range f.readers[at.topic] {
		wake(r.wake)
	}
}

func (f *Feed) isRead(topic string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.readers[topic]) > 0
}

// encodeSegment copies the records, which follow each other, into one piece of memory. Headers are not kept: tasks write none.
func encodeSegment(records []kgo.Record) segment {
	first := &records[0]
	s := segment{from: first.Offset, first: first.Offset, last: records[len(records)-1].Offset, time: first.Timestamp.UnixMilli()}
	size := 0
	for i := range records {
		r := &records[i]
		size += varintSize(r.Timestamp.UnixMilli()-s.time) + fieldSize(r.Key) + fieldSize(r.Value)
	}
	s.data = make([]byte, 0, size)
	for i := range records {
		r := &records[i]
		s.data = binary.AppendVarint(s.data, r.Timestamp.UnixMilli()-s.time)
		s.data = appendField(s.data, r.Key)
		s.data = appendField(s.data, r.Value)
	}
	return s
}

func appendField(to, field []byte) []byte {
	if field == nil {
		return append(to, 0)
	}
	to = binary.AppendUvarint(to, uint64(len(field))+1)
	return append(to, field...)
}

func fieldSize(field []byte) int { return uvarintSize(uint64(len(field))+1) + len(field) }

func uvarintSize(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func varintSize(v int64) int { return uvarintSize(uint64(v)<<1 ^ uint64(v>>63)) }

// appendTo appends the segment's records from the offset on, and the entries of packs. They share the segment's memory.
func (s *segment) appendTo(to []Record, topic string, partition int32, next int64) []Record {
	data := s.data
	for offset := s.first; offset <= s.last; offset++ {
		after, n := binary.Varint(data)
		r := Record{Topic: topic, Partition: partition, Offset: offset, Time: time.UnixMilli(s.time + after)}
		data = data[n:]
		r.Key, data = cutField(data)
		r.Value, data = cutField(data)
		if offset >= next {
			to = appendEntries(to, r)
		}
	}
	return to
}

func cutField(data []byte) (field, rest []byte) {
	size, n := binary.Uvarint(data)
	data = data[n:]
	if size == 0 {
		return nil, data
	}
	return data[: size-1 : size-1], data[size-1:]
}
