package filter

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"sluice/internal/stream"
	"sluice/privacyfilter/pseudonym"
)

// dedupe remembers the 8-byte hashes of a subject's accepted events, by the hour in which they were received.
//
// The hashes of the newest hour stand in the subject's head while they are few: one record and one lookup for most people. What is older, or more, stands in
// chunks keyed (subject, hour, n) that the head points to. A chunk holds the hashes that begin with the bits of n: an hour that outgrows its chunks doubles
// their number, so that a lookup reads one chunk an hour, and no record grows without bound.
type dedupe struct {
	heads  *stream.Table[head]
	chunks *stream.Table[chunk]
}

const (
	inlineHashes = 16 // of the newest hour, in the head
	chunkHashes  = 24 // at most, in one chunk: an event writes one anew
	maxBits      = 24
	nothingLeft  = math.MaxUint32 // hour of nothing
)

// head is what is known of one subject.
type head struct {
	older  []chunked // hours with chunks, oldest first
	hour   uint32    // the newest hour
	hashes chunk     // of the newest hour, unless it has chunks
}

// chunked is an hour with hashes in 1<<bits chunks.
type chunked struct {
	hour uint32
	bits uint8
}

// chunk is a sorted set of hashes.
type chunk []uint64

func (c chunk) has(hash uint64) bool {
	_, ok := slices.BinarySearch(c, hash)
	return ok
}

func (c chunk) with(hash uint64) chunk {
	i, ok := slices.BinarySearch(c, hash)
	if ok {
		return c
	}
	return slices.Insert(c, i, hash)
}

func openDedupe(t *stream.Task) dedupe {
	return dedupe{
		heads:  stream.OpenTable[head](t, tableDedupe, "dedupe", headCodec{}),
		chunks: stream.OpenTable[chunk](t, tableChunks, "dedupe_chunks", chunkCodec{}),
	}
}

// has tells whether the hash is known of an hour that is not before cutoff.
func (d *dedupe) has(subject []byte, hash uint64, cutoff uint32) bool {
	h := d.heads.Get(subject)
	if h == nil || h.hour < cutoff {
		return false
	}
	if h.hashes.has(hash) {
		return true
	}
	for _, o := range slices.Backward(h.older) {
		if o.hour < cutoff {
			break
		}
		key := chunkKey(subject, o.hour, o.bucket(hash))
		if c := d.chunks.Get(key[:]); c != nil && c.has(hash) {
			return true
		}
	}
	return false
}

// add remembers a hash that is not known yet, and tells whether the subject is new. An hour before the newest counts as the newest: what is kept longer than it
// must be does no harm.
func (d *dedupe) add(subject []byte, hash uint64, received uint32) (isNew bool) {
	h := d.heads.Get(subject)
	if h == nil {
		d.heads.Put(subject, &head{hour: received, hashes: chunk{hash}})
		return true
	}
	if last := len(h.older) - 1; last >= 0 && h.older[last].hour == h.hour && received <= h.hour {
		d.addToChunk(subject, last, hash)
		return false
	}
	h = d.heads.Mutate(subject)
	if received > h.hour {
		d.retire(subject, h)
		h.hour = received
	}
	if h.hashes = h.hashes.with(hash); len(h.hashes) > inlineHashes {
		d.retire(subject, h)
	}
	return false
}

// retire moves the newest hour's hashes from the head to a chunk.
func (d *dedupe) retire(subject []byte, h *head) {
	if len(h.hashes) == 0 {
		return
	}
	key := chunkKey(subject, h.hour, 0)
	hashes := h.hashes
	d.chunks.Put(key[:], &hashes)
	h.older = append(h.older, chunked{hour: h.hour})
	h.hashes = nil
}

// addToChunk adds to the hour at place i of the head, which has chunks.
func (d *dedupe) addToChunk(subject []byte, i int, hash uint64) {
	o := d.heads.Get(subject).older[i]
	key := chunkKey(subject, o.hour, o.bucket(hash))
	for full := d.chunks.Get(key[:]); full != nil && len(*full) >= chunkHashes && o.bits < maxBits; full = d.chunks.Get(key[:]) {
		o = d.double(subject, i)
		key = chunkKey(subject, o.hour, o.bucket(hash))
	}
	c := d.chunks.Mutate(key[:])
	*c = c.with(hash)
}

// double splits every chunk of an hour in two.
func (d *dedupe) double(subject []byte, i int) chunked {
	o := &d.heads.Mutate(subject).older[i]
	for n := int64(1)<<o.bits - 1; n >= 0; n-- { // from the last, so that no chunk is written over before it is read
		key := chunkKey(subject, o.hour, uint32(n))
		c := d.chunks.Get(key[:])
		if c == nil {
			continue
		}
		low, high := split(*c, o.bits)
		d.chunks.Delete(key[:])
		d.putChunk(chunkKey(subject, o.hour, uint32(2*n)), low)
		d.putChunk(chunkKey(subject, o.hour, uint32(2*n+1)), high)
	}
	o.bits++
	return *o
}

// split parts sorted hashes that share their first bits by the next one.
func split(c chunk, bits uint8) (low, high chunk) {
	i := slices.IndexFunc(c, func(hash uint64) bool { return hash>>(63-bits)&1 == 1 })
	if i < 0 {
		i = len(c)
	}
	return slices.Clone(c[:i]), slices.Clone(c[i:])
}

func (d *dedupe) putChunk(key [chunkKeySize]byte, c chunk) {
	if len(c) > 0 {
		d.chunks.Put(key[:], &c)
	}
}

// expire forgets every hour of the subject before cutoff and returns the oldest that is left, nothingLeft if none is.
func (d *dedupe) expire(subject []byte, cutoff uint32) (oldest uint32) {
	had := d.heads.Get(subject)
	if had == nil {
		return nothingLeft
	}
	if oldest = had.oldest(); oldest >= cutoff {
		return oldest
	}
	h := d.heads.Mutate(subject)
	kept := h.older[:0]
	for _, o := range h.older {
		if o.hour >= cutoff {
			kept = append(kept, o)
			continue
		}
		for n := range uint32(1) << o.bits {
			key := chunkKey(subject, o.hour, n)
			d.chunks.Delete(key[:])
		}
	}
	h.older = kept
	if h.hour < cutoff {
		d.heads.Delete(subject) // its newest hour has expired, so all have
		return nothingLeft
	}
	return h.oldest()
}

// oldest is the oldest hour.
func (h *head) oldest() uint32 {
	if len(h.older) > 0 {
		return h.older[0].hour
	}
	return h.hour
}

// bucket is the chunk that holds the hash.
func (o chunked) bucket(hash uint64) uint32 {
	return uint32(hash >> (64 - o.bits))
}

const chunkKeySize = pseudonym.Size + 8

func chunkKey(subject []byte, hour, n uint32) (key [chunkKeySize]byte) {
	copy(key[:pseudonym.Size], subject)
	binary.BigEndian.PutUint32(key[pseudonym.Size:], hour)
	binary.BigEndian.PutUint32(key[pseudonym.Size+4:], n)
	return key
}

var errEncoding = errors.New("not what this version writes")

// headCodec writes: the newest hour, the number of older ones, (hour, bits) of each, as varints; then the hashes.
type headCodec struct{}

func (headCodec) Encode(buf []byte, h *head) ([]byte, error) {
	buf = binary.AppendUvarint(buf, uint64(h.hour))
	buf = binary.AppendUvarint(buf, uint64(len(h.older)))
	for _, o := range h.older {
		buf = binary.AppendUvarint(buf, uint64(o.hour))
		buf = append(buf, o.bits)
	}
	return chunkCodec{}.Encode(buf, &h.hashes)
}

func (headCodec) Decode(data []byte) (*head, error) {
	h := new(head)
	newest, data, ok := uvarint32(data)
	count, data, ok2 := uvarint32(data)
	if !ok || !ok2 || int64(count) > int64(len(data)) {
		return nil, errEncoding
	}
	h.hour, h.older = newest, make([]chunked, count)
	for i := range h.older {
		var at uint32
		if at, data, ok = uvarint32(data); !ok || len(data) == 0 || data[0] > maxBits {
			return nil, errEncoding
		}
		h.older[i], data = chunked{hour: at, bits: data[0]}, data[1:]
	}
	hashes, err := chunkCodec{}.Decode(data)
	if err != nil {
		return nil, err
	}
	h.hashes = *hashes
	return h, nil
}

func uvarint32(data []byte) (v uint32, rest []byte, ok bool) {
	n, size := binary.Uvarint(data)
	if size <= 0 || n > math.MaxUint32 {
		return 0, nil, false
	}
	return uint32(n), data[size:], true
}

// chunkCodec writes the hashes one after the other, big endian.
type chunkCodec struct{}

func (chunkCodec) Encode(buf []byte, c *chunk) ([]byte, error) {
	for _, hash := range *c {
		buf = binary.BigEndian.AppendUint64(buf, hash)
	}
	return buf, nil
}

func (chunkCodec) Decode(data []byte) (*chunk, error) {
	if len(data)%8 != 0 {
		return nil, errEncoding
	}
	c := make(chunk, 0, len(data)/8)
	for ; len(data) > 0; data = data[8:] {
		c = append(c, binary.BigEndian.Uint64(data))
	}
	return &c, nil
}

// numberCodec writes a mark.
type numberCodec struct{}

func (numberCodec) Encode(buf []byte, v *int64) ([]byte, error) {
	return binary.AppendVarint(buf, *v), nil
}

func (numberCodec) Decode(data []byte) (*int64, error) {
	v, n := binary.Varint(data)
	if n <= 0 {
		return nil, errEncoding
	}
	return &v, nil
}
