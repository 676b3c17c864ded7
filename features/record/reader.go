package record

import "encoding/binary"

// Reader decodes records of an engine's changelog for a view, one at a time and into the same memory. Entries are pieces of it and of the record.
type Reader struct {
	Head    Head    // that was read last
	Entries []Entry // of the chunk that was read last

	r reader
}

// ReadHead reads a head with this many lists.
func (d *Reader) ReadHead(value []byte, lists int) error {
	d.r = reader{data: value, bodies: d.r.bodies[:0]}
	return d.Head.decode(&d.r, lists)
}

// ReadChunk reads a chunk.
func (d *Reader) ReadChunk(value []byte) error {
	d.r = reader{data: value, bodies: d.r.bodies[:0]}
	d.Entries = d.r.entries(d.Entries[:0])
	return d.r.err()
}

// ChunkOf is the list that a chunk's key names, and the chunk's number; the key must be longer than ChunkPlace.
func ChunkOf(key []byte) (list int, number uint32) {
	place := key[len(key)-ChunkPlace:]
	return int(place[0]), binary.BigEndian.Uint32(place[1:])
}

// ChunkPlace is the number of bytes that a chunk's key has after its head's key.
const ChunkPlace = 1 + chunkBytes
