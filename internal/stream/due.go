package stream

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
)

// Due names the keys that expire in each bucket of time, so that nothing has to be searched for. It is a list of keys a bucket, in chunks.
//
// A key may stand in it in vain: whoever is given one looks whether there is anything to expire.
type Due struct {
	table *Table[[]byte]
	size  int // of a key
	key   []byte
	keys  []byte
}

const (
	dueKeys  = 8  // in a chunk
	dueSkips = 64 // empty buckets that one step passes over
)

// OpenDue opens the index of keys of this many bytes, in a table of its own.
func OpenDue(t *Task, id byte, size int) *Due {
	return &Due{table: OpenTable[[]byte](t, id, "due", bytesCodec{}), size: size}
}

// bytesCodec keeps values as they are.
type bytesCodec struct{}

func (bytesCodec) Encode(buf []byte, v *[]byte) ([]byte, error) { return append(buf, *v...), nil }

func (bytesCodec) Decode(data []byte) (*[]byte, error) { return new(bytes.Clone(data)), nil }

var dueNext = []byte{'n'}

// next is the first bucket that may have keys.
func (d *Due) next() int64 {
	v := d.table.Get(dueNext)
	if v == nil || len(*v) != 8 {
		return math.MaxInt64
	}
	return int64(binary.BigEndian.Uint64(*v))
}

// Any tells whether buckets below limit may have keys.
func (d *Due) Any(limit int64) bool { return d.next() < limit }

func (d *Due) setNext(bucket int64) {
	d.table.Put(dueNext, new(binary.BigEndian.AppendUint64(nil, uint64(bucket))))
}

func (d *Due) bucketKey(bucket int64) []byte {
	d.key = binary.BigEndian.AppendUint64(append(d.key[:0], 'b'), uint64(bucket))
	return d.key
}

func (d *Due) chunkKey(bucket int64, number uint64) []byte {
	d.key = binary.BigEndian.AppendUint64(append(d.key[:0], 'c'), uint64(bucket))
	d.key = binary.BigEndian.AppendUint32(d.key, uint32(number))
	return d.key
}

// Add notes that a key is to be looked at when the bucket has expired.
func (d *Due) Add(bucket int64, key []byte) {
	if bucket < d.next() {
		d.setNext(bucket)
	}
	var sealed uint64
	var keys []byte
	if v := d.table.Get(d.bucketKey(bucket)); v != nil {
		sealed, keys = d.read(v)
	}
	if len(keys) >= dueKeys*d.size {
		d.table.Put(d.chunkKey(bucket, sealed), new(slices.Clone(keys)))
		sealed, keys = sealed+1, nil
	}
	d.write(bucket, sealed, keys, key)
}

// read is a bucket's record: the number of its chunks, and the keys that stand in the record itself.
func (d *Due) read(v *[]byte) (sealed uint64, keys []byte) {
	sealed, n := binary.Uvarint(*v)
	return sealed, (*v)[max(0, n):]
}

func (d *Due) write(bucket int64, sealed uint64, keys, key []byte) {
	buf := binary.AppendUvarint(make([]byte, 0, 2+len(keys)+len(key)), sealed)
	d.table.Put(d.bucketKey(bucket), new(append(append(buf, keys...), key...)))
}

// Step hands at most n keys of buckets below limit to expire. What it does depends on what was added and on the steps before alone.
func (d *Due) Step(limit int64, n int, expire func(bucket int64, key []byte)) {
	bucket := d.next()
	if bucket >= limit {
		return
	}
	begin := bucket
	v := d.table.Get(d.bucketKey(bucket))
	for ; v == nil && bucket < limit && bucket < begin+dueSkips; v = d.table.Get(d.bucketKey(bucket)) {
		bucket++
	}
	if bucket != begin {
		d.setNext(bucket)
	}
	if v == nil || bucket >= limit {
		return
	}
	keys := d.take(bucket, v, n)
	for ; len(keys) >= d.size; keys = keys[d.size:] {
		expire(bucket, keys[:d.size:d.size])
	}
}

// take takes the newest n keys out of a bucket's record. An emptied record is filled from a chunk.
func (d *Due) take(bucket int64, v *[]byte, n int) []byte {
	sealed, keys := d.read(v)
	from := max(0, len(keys)-n*d.size)
	d.keys = append(d.keys[:0], keys[from:]...)
	keys = keys[:from]
	if len(keys) == 0 && sealed > 0 {
		sealed--
		if chunk := d.table.Get(d.chunkKey(bucket, sealed)); chunk != nil {
			keys = *chunk
		}
		d.table.Delete(d.chunkKey(bucket, sealed))
	}
	if len(keys) == 0 && sealed == 0 {
		d.table.Delete(d.bucketKey(bucket))
	} else {
		d.write(bucket, sealed, keys, nil)
	}
	return d.keys
}
