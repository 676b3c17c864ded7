package filter

import (
	"context"
	"encoding/binary"
	"sync"

	"sluice/ingest/eventpb"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

// A replay's rows are settled once: four bits a row tell how. A row that is sent again is known by its own bits, whatever became of it.
const (
	rowUnknown   = 0
	rowAccepted  = 1
	rowDuplicate = 2
	rowDenied    = 3
	rowRejected  = 4

	rowsPerBlock = 1024
	rowsPerByte  = 2
	rowBits      = 8 / rowsPerByte
	rowMask      = 1<<rowBits - 1
)

// block holds the bits of rowsPerBlock neighbouring rows of a run, for the rows that are in this partition, and the newest hour of their receipt.
type block struct {
	hour uint32
	rows [rowsPerBlock / rowsPerByte]byte
}

func (b *block) get(row uint64) byte {
	i := row % rowsPerBlock
	return b.rows[i/rowsPerByte] >> (i % rowsPerByte * rowBits) & rowMask
}

func (b *block) set(row uint64, bits byte) {
	i := row % rowsPerBlock
	b.rows[i/rowsPerByte] |= bits << (i % rowsPerByte * rowBits)
}

// blockKey is run ‖ number of the block, eight bytes each, big endian.
func blockKey(run, row uint64) (key [16]byte) {
	binary.BigEndian.PutUint64(key[:], run)
	binary.BigEndian.PutUint64(key[8:], row/rowsPerBlock)
	return key
}

// rowSettled tells whether the record is a row of a replay that was settled before, and is still known.
func (f *filter) rowSettled(lr *eventpb.LogRecord) bool {
	if lr.Run == 0 {
		return false
	}
	key := blockKey(lr.Run, lr.Row)
	b := f.runs.Get(key[:])
	return b != nil && b.hour >= f.cutoff() && b.get(lr.Row) != rowUnknown
}

// settleRow notes what became of a replay's row; the first outcome stays.
func (f *filter) settleRow(lr *eventpb.LogRecord, bits byte) {
	if lr.Run == 0 || f.rowSettled(lr) {
		return
	}
	key := blockKey(lr.Run, lr.Row)
	had := f.runs.Get(key[:])
	b := f.runs.Mutate(key[:])
	if b.hour < f.cutoff() {
		*b = block{} // it is to be forgotten
	}
	b.set(lr.Row, bits)
	b.hour = max(b.hour, hourOf(lr.ReceivedAt), f.cutoff())
	if had == nil {
		f.expires(dueRun, key[:], b.hour+dedupeHours)
	}
}

// expireRun forgets a block if its newest row has expired, else it is looked at again.
func (f *filter) expireRun(key []byte) {
	switch b := f.runs.Get(key); {
	case b == nil:
	case b.hour < f.cutoff():
		f.runs.Delete(key)
	default:
		f.expires(dueRun, key, b.hour+dedupeHours)
	}
}

// blockCodec writes the hour, four bytes big endian, and the rows up to the last that is not zero.
type blockCodec struct{}

func (blockCodec) Encode(buf []byte, b *block) ([]byte, error) {
	used := len(b.rows)
	for used > 0 && b.rows[used-1] == 0 {
		used--
	}
	return append(binary.BigEndian.AppendUint32(buf, b.hour), b.rows[:used]...), nil
}

func (blockCodec) Decode(data []byte) (*block, error) {
	b := new(block)
	if len(data) < 4 || len(data)-4 > len(b.rows) {
		return nil, errEncoding
	}
	b.hour = binary.BigEndian.Uint32(data)
	copy(b.rows[:], data[4:])
	return b, nil
}

// settled counts rows by what became of them: at the place of their bits.
type settled [rowRejected + 1]int64

// count counts the rows of an encoded block.
func count(encoded []byte) (n settled) {
	for _, b := range encoded[min(4, len(encoded)):] {
		for ; b != 0; b >>= rowBits {
			if bits := b & rowMask; bits != rowUnknown && int(bits) < len(n) {
				n[bits]++
			}
		}
	}
	return n
}

func (s *settled) add(o settled, sign int64) {
	for i := range s {
		s[i] += sign * o[i]
	}
}

// Runs is a view of what became of every replay's rows. It follows the filter's changelog and reads nothing but the run table.
type Runs struct {
	follower *stream.Follower

	mu     sync.Mutex // guards blocks and runs
	blocks map[partitionBlock]settled
	runs   map[uint64]settled
}

type partitionBlock struct {
	partition int32
	key       [16]byte
}

// NewRuns makes the view; Run fills it. It starts from the filter's checkpoint, nil if this process has none.
func NewRuns(cluster stream.Cluster, checkpoint *stream.Store) *Runs {
	r := &Runs{blocks: make(map[partitionBlock]settled), runs: make(map[uint64]settled)}
	r.follower = stream.NewFollower(cluster, topics.State("filter"), stream.FollowerOptions{
		Apply: r.apply, Source: stream.Source{Store: checkpoint, Tables: []byte{tableRuns}},
	})
	return r
}

// Run follows until ctx ends.
func (r *Runs) Run(ctx context.Context) error { return r.follower.Run(ctx) }

// CaughtUp is closed once everything that was settled before the start is known.
func (r *Runs) CaughtUp() <-chan struct{} { return r.follower.CaughtUp() }

// Settled tells how many rows of the run the filter has settled, and how. A run that nobody knows, or that is older than a week, has none.
func (r *Runs) Settled(run uint64) (accepted, duplicate, denied, rejected int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.runs[run]
	return s[rowAccepted], s[rowDuplicate], s[rowDenied], s[rowRejected]
}

func (r *Runs) apply(recs []stream.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range recs {
		if key := recs[i].Key; len(key) == 17 && key[0] == tableRuns {
			r.applyBlock(partitionBlock{recs[i].Partition, [16]byte(key[1:])}, count(recs[i].Value))
		}
	}
}

// applyBlock takes away what the block's older version had, and adds what the new one has; a deleted block has nothing.
func (r *Runs) applyBlock(at partitionBlock, now settled) {
	run := binary.BigEndian.Uint64(at.key[:])
	total := r.runs[run]
	total.add(r.blocks[at], -1)
	total.add(now, 1)
	r.set(at, now)
	if total == (settled{}) {
		delete(r.runs, run)
		return
	}
	r.runs[run] = total
}

func (r *Runs) set(at partitionBlock, now settled) {
	if now == (settled{}) {
		delete(r.blocks, at)
		return
	}
	r.blocks[at] = now
}
