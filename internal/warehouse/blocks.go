package warehouse

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/stream"
)

// topicPartition names a partition; the topic's name is the full one.
type topicPartition struct {
	topic     string
	partition int32
}

// held is what was read and is not stored.
type held struct {
	rows  int
	bytes int // of memory: the capacities of columns, purges, dead letters
	used  int // of these, what holds values
}

func (h *held) add(more held) {
	h.rows, h.bytes, h.used = h.rows+more.rows, h.bytes+more.bytes, h.used+more.used
}

func (h *held) sub(less held) { h.add(held{-less.rows, -less.bytes, -less.used}) }

const (
	maxBlockBytes = 4 << 20  // of values that a block takes
	maxJudged     = 1024     // purges that a store is asked about; more are many enough to be stored
	measureEvery  = 16 << 10 // bytes of records after which a block is measured anew
)

// building is a block while its rows come in, and until it is stored.
type building struct {
	Block
	held               // as of the last measurement
	read     int       // bytes of records since then
	out      *Rows     //
	since    time.Time // when its first record was read
	judged   int       // the first purges, of people of whom the store has no rows
	promised bool      // its end was durable before this member got the partition
	letters  []letter
}

// measure brings held up to date, and tells how it has changed.
func (b *building) measure() (change held) {
	now := held{rows: b.out.rows()}
	now.bytes, now.used = b.out.memory()
	for _, l := range b.letters {
		n := len(l.key) + len(l.value) + int(unsafe.Sizeof(l))
		now.bytes, now.used = now.bytes+n, now.used+n
	}
	change = now
	change.sub(b.held)
	b.held, b.read = now, 0
	b.Purges = b.out.Purges
	return change
}

// letter is a record that could not be decoded.
type letter struct {
	offset     int64
	key, value []byte
	err        error
}

// empty tells whether there is nothing to store: markers of transactions, records without rows, dead letters.
func (b *building) empty() bool { return b.out.rows() == 0 && len(b.out.Purges) == 0 }

// part collects the blocks of one partition. Only the session's own goroutine touches it.
type part struct {
	source    *Source
	partition int32
	maxRows   int

	promised []int64     // where the next blocks must end: their bounds were made durable before this member got the partition
	complete []*building // in order
	open     *building   // nil before its first record
	behind   bool        // the last flush has left whole blocks here
	purge    time.Time   // when the oldest purge that is here was read; zero = there is none
	held                 // by all blocks that are here
	spares   *spares     // of all partitions; nil = none

	next   int64 // offset after the last record that was read, -1 = none and none committed
	stored int64 // committed or known to the store, -1 = nothing
	high   int64 // high watermark of the last fetch that had records
	start  int64 // where reading begins; -1 = at the group's offset
	passed bool  // it was told that there are records before what is stored
}

// newPart is a partition as the group's offset has it, with the bounds that are promised after it. Where the store is ahead of the group, reading begins behind
// what the store has, and an empty block takes the group there. That happens if offsets were lost or set back, or if a member has died before it could commit.
func newPart(source *Source, partition int32, maxRows int, committed int64, promised []int64, store Store) *part {
	p := &part{source: source, partition: partition, maxRows: maxRows, promised: promised, next: committed, stored: committed, start: -1}
	ahead, ok := store.(Ahead)
	if !ok {
		return p
	}
	next, ok := ahead.Next(source.Topic, partition)
	if !ok || next <= committed {
		return p
	}
	p.next = max(committed, 0)
	for len(p.promised) > 0 && p.promised[0] <= next {
		p.promised = p.promised[1:]
	}
	b := p.block(p.next, time.Now())
	p.complete, p.open = append(p.complete, b), nil
	b.Next, p.next, p.stored, p.start = next, next, next, next
	return p
}

// lag counts the records that are not stored yet.
func (p *part) lag() int64 {
	if p.stored < 0 {
		return max(0, p.high)
	}
	return max(0, p.high-p.stored)
}

// add takes the next record. The error is that the record cannot be decoded.
func (p *part) add(r *kgo.Record, short string, now time.Time) error {
	if r.Offset < p.next {
		return nil
	}
	for len(p.promised) > 0 && r.Offset >= p.promised[0] {
		p.close(p.promised[0], now) // its last records are gone from the log
	}
	b := p.block(r.Offset, now)
	var err error
	if !r.Attrs.IsControl() {
		err = p.decode(b, r, short, now)
	}
	p.next = r.Offset + 1
	b.Next = p.next
	if b.read += len(r.Key) + len(r.Value); b.read >= measureEvery {
		p.measure()
	}
	switch {
	case len(p.promised) > 0:
		if p.next == p.promised[0] {
			p.close(p.next, now)
		}
	case b.out.rows() >= p.maxRows || b.used >= maxBlockBytes:
		p.close(p.next, now)
	}
	return err
}

// block is the open block; a new one goes on where the last one ended, also where the log has lost what came after it.
func (p *part) block(offset int64, now time.Time) *building {
	if p.open != nil {
		return p.open
	}
	first := p.next
	if first < 0 {
		first, p.stored = offset, offset
	}
	out := p.spares.take(p.source)
	if out == nil {
		out = NewRows(p.source)
	}
	p.open = &building{Block: Block{Source: p.source, Partition: p.partition, First: first, Next: first, Batches: out.Batches}, out: out, since: now}
	return p.open
}

// close ends the open block at next, the promised bound if there is one.
func (p *part) close(next int64, now time.Time) {
	b := p.block(next, now)
	p.measure()
	b.Next, p.next = next, next
	if len(p.promised) > 0 {
		b.promised, p.promised = true, p.promised[1:]
	}
	p.complete = append(p.complete, b)
	p.open = nil
}

var errHalfRow = errors.New("a decoder must finish its rows")

// decode appends the rows of the record's entries to the block.
func (p *part) decode(b *building, r *kgo.Record, short string, now time.Time) error {
	rec := stream.RecordOf(r, short)
	var failed error
	purges := len(b.out.Purges)
	for entry := range rec.Entries() {
		if err := p.decodeEntry(b, entry); err != nil {
			failed = err
		}
	}
	if p.purge.IsZero() && len(b.out.Purges) > purges {
		p.purge = now
	}
	return failed
}

// decodeEntry appends an entry's rows. An entry that cannot be decoded leaves none and becomes a letter.
func (p *part) decodeEntry(b *building, rec *stream.Record) error {
	before := make([]int, 0, 8)
	for _, batch := range b.out.Batches {
		before = append(before, batch.Rows())
	}
	purges := len(b.out.Purges)
	err := p.source.Decode(rec, b.out)
	if err == nil && !b.out.whole() {
		err = errHalfRow
	}
	if err != nil {
		for i, batch := range b.out.Batches {
			batch.Cut(before[i])
		}
		b.out.cutPurges(purges)
		b.letters = append(b.letters, letter{rec.Offset, bytes.Clone(rec.Key), bytes.Clone(rec.Value), err}) // not the memory of the whole fetch
	}
	return err
}

// measure brings what the open block holds up to date.
func (p *part) measure() {
	if p.open != nil {
		p.held.add(p.open.measure())
	}
}

// maxBlocks is how many blocks of one partition one flush holds: their bounds must fit the 4096 bytes of a commit's metadata.
const maxBlocks = 64

// take gives up the blocks of a flush, whole ones and, if no bound is promised for it, the open one. No row follows the block of a purge: a store may carry
// out again the purges of a block that comes again, and would not put back what they deleted of later blocks.
func (p *part) take() []*building {
	n, purged := 0, false
	for n < min(len(p.complete), maxBlocks) && (!purged || p.complete[n].rows == 0) {
		purged = purged || len(p.complete[n].Purges) > 0
		n++
	}
	if n == len(p.complete) && n < maxBlocks && !purged && len(p.promised) == 0 && p.open != nil {
		p.close(p.next, p.open.since)
		n++
	}
	taken := p.complete[:n:n]
	p.complete = p.complete[n:]
	p.behind = len(p.complete) > 0
	for _, b := range taken {
		p.sub(b.held)
	}
	if p.purge = (time.Time{}); p.behind || p.open != nil && len(p.open.out.Purges) > 0 {
		p.purge = time.Now()
	}
	return taken
}

// rest are the promised bounds of blocks that are not taken yet.
func (p *part) rest() []int64 {
	var bounds []int64
	for _, b := range p.complete {
		if b.promised {
			bounds = append(bounds, b.Next)
		}
	}
	return append(bounds, p.promised...)
}

// oldest is the oldest block here.
func (p *part) oldest() *building {
	if len(p.complete) > 0 {
		return p.complete[0]
	}
	return p.open
}

// urgent tells whether blocks must not wait for others. They must not if a purge has waited for the delay and may delete stored rows, or if a flush ended at a
// purge and left what came after it.
func (p *part) urgent(store Store, delay time.Duration) bool {
	if p.behind || p.purge.IsZero() || time.Since(p.purge) < delay {
		return p.behind
	}
	knower, ok := store.(Knower)
	if !ok || len(p.complete) > 0 || p.open == nil || p.open.judged+maxJudged < len(p.open.out.Purges) {
		return true
	}
	if purges := p.open.out.Purges; knower.MayHold(p.source, purges[p.open.judged:]) {
		return true
	}
	p.open.judged, p.purge = len(p.open.out.Purges), time.Time{}
	return false
}

// spares are the columns of blocks that are stored, for the next blocks of any partition. Were they each partition's own, those that are busy in turn would
// leave the whole bound to columns that nobody fills.
type spares struct {
	rows  map[*Source][]*Rows
	bytes int // of memory
	most  int
}

// put takes a block's columns, if there is room. Those that were mostly empty are let go, so that a burst's memory does not stay.
func (s *spares) put(b *building) {
	if 2*b.used < b.bytes || s.bytes+b.bytes > s.most {
		return
	}
	b.out.Cut()
	if s.rows == nil {
		s.rows = make(map[*Source][]*Rows)
	}
	s.rows[b.Source] = append(s.rows[b.Source], b.out)
	s.bytes += b.out.size()
}

// take gives columns of the source, nil if there are none.
func (s *spares) take(source *Source) *Rows {
	if s == nil || len(s.rows[source]) == 0 {
		return nil
	}
	of := s.rows[source]
	out := of[len(of)-1]
	of[len(of)-1] = nil
	s.rows[source] = of[:len(of)-1]
	s.bytes -= out.size()
	return out
}

// drop lets all of them go.
func (s *spares) drop() { s.rows, s.bytes = nil, 0 }

// promisePrefix marks metadata of an offset that promises blocks: "next=120,140" beside the offset 100 stands for [100, 120) and [120, 140).
const promisePrefix = "next="

// promise writes the bounds of blocks that follow one another, "" if there are none.
func promise(bounds []int64) string {
	if len(bounds) == 0 {
		return ""
	}
	text := []byte(promisePrefix)
	for i, next := range bounds {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, next, 10)
	}
	return string(text)
}

// parsePromise reads what promise wrote. Other metadata, as tools and clients write, promises nothing.
func parsePromise(offset int64, metadata *string) ([]int64, error) {
	if metadata == nil {
		return nil, nil
	}
	list, ok := strings.CutPrefix(*metadata, promisePrefix)
	if !ok {
		return nil, nil
	}
	var bounds []int64
	for word := range strings.SplitSeq(list, ",") {
		next, err := strconv.ParseInt(word, 10, 64)
		if err != nil || next <= offset {
			return nil, fmt.Errorf("the metadata of offset %d must be rising offsets after %q", offset, promisePrefix)
		}
		bounds, offset = append(bounds, next), next
	}
	return bounds, nil
}
