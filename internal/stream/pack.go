package stream

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math"
	"slices"
)

// A pack is one record that holds many: what a task writes to one partition in a transaction. Its entries keep their order. A pack mixes people, so each entry
// has a key id of its own. It can be sealed under a key of its own, and that key can be destroyed while the other entries stay readable.
//
//	record: key {0}, value: version (1) ‖ entry…
//	entry:  key id ‖ length of key ‖ key ‖ length of value ‖ value        numbers are unsigned varints
const (
	packVersion = 1
	packBytes   = 512 << 10 // the next entry begins another pack
)

// packKey is the key of every pack. A changelog's keys begin with the id of a table, which is never 0; all other keys are longer.
var packKey = []byte{0}

// Packer puts entries into a pack. The zero value is ready for the first.
type Packer struct{ value []byte }

// Fits tells whether the pack takes an entry of this size. An empty pack takes any.
func (p *Packer) Fits(key []byte, size int) bool {
	return len(p.value) == 0 || len(p.value)+len(key)+size <= packBytes
}

// Add appends an entry and returns its value: size bytes that the caller fills before it adds another. keyID is the key that the value is sealed with,
// 0 if it is plain.
func (p *Packer) Add(keyID uint32, key []byte, size int) []byte {
	if len(p.value) == 0 {
		p.value = append(p.value, packVersion)
	}
	p.value = binary.AppendUvarint(p.value, uint64(keyID))
	p.value = binary.AppendUvarint(p.value, uint64(len(key)))
	p.value = append(p.value, key...)
	p.value = binary.AppendUvarint(p.value, uint64(size))
	p.value = slices.Grow(p.value, size)
	from := len(p.value)
	p.value = p.value[:from+size]
	return p.value[from:]
}

// Record is the pack as a record's key and value, which must not be changed. The packer does not use the value again until Reset.
func (p *Packer) Record() (key, value []byte) { return packKey, p.value }

// Reset begins another pack in the memory of this one.
func (p *Packer) Reset() { p.value = p.value[:0] }

// Entries yields what the record holds: the entries of a pack, else the record itself. A yielded record is valid until the next one, its key and value as long
// as the record's. A pack that is not well-formed is yielded as it stands: whoever reads it judges it.
func (r *Record) Entries() iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		if !r.isPack() {
			yield(r)
			return
		}
		entry := *r
		for rest := r.Value[1:]; len(rest) > 0; entry.Index++ {
			entry.KeyID, entry.Key, entry.Value, rest, _ = cutEntry(rest)
			if !yield(&entry) {
				return
			}
		}
	}
}

// appendEntries appends what Entries yields.
func appendEntries(to []Record, r Record) []Record {
	if !r.isPack() {
		return append(to, r)
	}
	entry := r
	for rest := r.Value[1:]; len(rest) > 0; entry.Index++ {
		entry.KeyID, entry.Key, entry.Value, rest, _ = cutEntry(rest)
		to = append(to, entry)
	}
	return to
}

// isPack tells whether the record is a well-formed pack.
func (r *Record) isPack() bool {
	if !bytes.Equal(r.Key, packKey) || len(r.Value) < 2 || r.Value[0] != packVersion {
		return false
	}
	for rest := r.Value[1:]; len(rest) > 0; {
		_, _, _, after, ok := cutEntry(rest)
		if !ok {
			return false
		}
		rest = after
	}
	return true
}

// cutEntry reads the first entry of data.
func cutEntry(data []byte) (keyID uint32, key, value, rest []byte, ok bool) {
	id, n := binary.Uvarint(data)
	if n <= 0 || id > math.MaxUint32 {
		return 0, nil, nil, nil, false
	}
	if key, data, ok = cutBytes(data[n:]); !ok {
		return 0, nil, nil, nil, false
	}
	value, rest, ok = cutBytes(data)
	return uint32(id), key, value, rest, ok
}

// cutBytes reads bytes after their length.
func cutBytes(data []byte) (field, rest []byte, ok bool) {
	size, n := binary.Uvarint(data)
	if n <= 0 || size > uint64(len(data)-n) {
		return nil, nil, false
	}
	end := n + int(size)
	return data[n:end:end], data[end:], true
}

// openPack is the pack of one partition in a task's transaction.
type openPack struct {
	topicPartition
	*Packer
}

const (
	sparePacks = 8         // packers that a task keeps for its next transactions
	spareBytes = 256 << 10 // one that has grown larger is let go
)

// newPacker takes a packer of a former transaction, or makes one.
func (t *Task) newPacker() *Packer {
	n := len(t.spare) - 1
	if n < 0 {
		return new(Packer)
	}
	p := t.spare[n]
	t.spare = t.spare[:n]
	return p
}

// Pack adds an entry to what the transaction puts on a partition, and returns its value: size bytes that the caller fills at once. keyID is the key that the
// value is sealed with, 0 if it is plain. Entries of a partition keep their order; what Emit sends there stands before them.
func (t *Task) Pack(topic string, partition int32, keyID uint32, key []byte, size int) []byte {
	p := t.openPack(topicPartition{topic, partition})
	if !p.Fits(key, size) {
		t.emitPack(p)
		p.Packer = t.newPacker()
	}
	return p.Add(keyID, key, size)
}

// openPack is the pack of the partition, an empty one if there is none yet. There are few: a look at each is quicker than a map.
func (t *Task) openPack(at topicPartition) *openPack {
	for i := range t.packs {
		if t.packs[i].topicPartition == at {
			return &t.packs[i]
		}
	}
	t.packs = append(t.packs, openPack{at, t.newPacker()})
	return &t.packs[len(t.packs)-1]
}

func (t *Task) emitPack(p *openPack) {
	key, value := p.Record()
	t.emitted = append(t.emitted, Emitted{Topic: p.topic, Partition: p.partition, Key: key, Value: value})
	t.packed = append(t.packed, p.Packer)
}

// closePacks emits the transaction's packs, before its outputs are produced.
func (t *Task) closePacks() {
	for i := range t.packs {
		t.emitPack(&t.packs[i])
	}
	t.packs = t.packs[:0]
}

// dropPacks forgets the packs of a transaction that has ended. If it was committed, nobody reads their memory any more.
func (t *Task) dropPacks(committed bool) {
	if committed {
		for _, p := range t.packed {
			if len(t.spare) < sparePacks && cap(p.value) <= spareBytes {
				p.Reset()
				t.spare = append(t.spare, p)
			}
		}
	}
	clear(t.packed)
	clear(t.packs)
	t.packs, t.packed = t.packs[:0], t.packed[:0]
}

// unpacked are records and the entries of packs, one after the other, in memory of their own.
func unpacked(emitted []Emitted) []Emitted {
	var out []Emitted
	for _, e := range emitted {
		rec := Record{Topic: e.Topic, Partition: e.Partition, Key: e.Key, Value: e.Value}
		for entry := range rec.Entries() {
			out = append(out, Emitted{Topic: e.Topic, Partition: e.Partition, Key: bytes.Clone(entry.Key), Value: bytes.Clone(entry.Value)})
		}
	}
	return out
}
