package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The broker writes a batch to a segment's .dat file and then 15 bytes about it to the .idx file. A process that dies in between leaves an index that lacks
// one entry, and everything that is written later is described by its neighbour's entry: batches of transactions are taken for plain ones, and aborted
// records come back. So after an unclean stop each index is made anew from its batches, before the broker reads it.

const (
	indexEntry    = 15
	indexVersion  = 1
	batchHead     = 12 // offset and length
	batchEpoch    = 12 // leader epoch, 4 bytes
	batchFlags    = 21 // attributes, 2 bytes
	transactional = 0x10
	control       = 0x20
)

// mendIndexes rewrites the indexes that have another number of entries than there are batches, or that say something else about a batch's transaction.
func mendIndexes(dir string) error {
	return filepath.WalkDir(filepath.Join(dir, "partitions"), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".dat") {
			return err
		}
		if err := mendIndex(path); err != nil {
			return fmt.Errorf("mending the index of %s: %w", path, err)
		}
		return nil
	})
}

func mendIndex(segment string) error {
	data, err := os.ReadFile(segment)
	if err != nil {
		return err
	}
	path := strings.TrimSuffix(segment, ".dat") + ".idx"
	index, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var made []byte
	wrong := false
	for len(data) >= batchHead {
		size := batchHead + int(binary.BigEndian.Uint32(data[8:]))
		if size > len(data) || size < batchFlags+2 {
			break // torn: the broker cuts it off
		}
		flags := binary.BigEndian.Uint16(data[batchFlags:])
		inTransaction := byte(0)
		if flags&transactional != 0 && flags&control == 0 {
			inTransaction = 1
		}
		n := len(made)
		if n+indexEntry > len(index) || index[n+indexEntry-1] != inTransaction {
			wrong = true
		}
		made = append(made, entryOf(data, inTransaction)...)
		data = data[size:]
	}
	if !wrong && len(index) == len(made) {
		return nil
	}
	return os.WriteFile(path, made, 0o644)
}

// entryOf is: version ‖ low byte of the CRC-32C of the rest ‖ leader epoch ‖ newest time before it (unused) ‖ 1 if it is of a transaction. Little endian.
func entryOf(batch []byte, inTransaction byte) []byte {
	e := make([]byte, indexEntry)
	e[0] = indexVersion
	binary.LittleEndian.PutUint32(e[2:], binary.BigEndian.Uint32(batch[batchEpoch:]))
	e[indexEntry-1] = inTransaction
	e[1] = byte(crc32.Checksum(e[2:], castagnoli))
	return e
}
