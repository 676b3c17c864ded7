package spill

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"sync/atomic"
)

// File is what a segment is written to.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

const (
	maxSegment = unit << offsetBits // 8 MiB
	maxRecord  = unit<<sizeBits - unit
)

// segment is a part of the values. It only grows, so a reader that holds it needs no lock.
type segment struct {
	number uint32 // in the table; another segment has it later
	serial uint64 // which no other one has
	file   File   // nil until something is written out
	refs   atomic.Int32

	end     int   // bytes
	flushed int   // of them in the file
	live    int   // bytes of values that can be read
	since   int64 // when the first garbage came, Unix nanoseconds; 0 = there is none
	damaged bool  // it cannot be cleaned
}

// unref takes back one reference: the file is closed with the last.
func (s *segment) unref() error {
	if s.refs.Add(-1) > 0 || s.file == nil {
		return nil
	}
	return s.file.Close()
}

// segments are the segments by number.
type segments struct {
	all    []*segment // nil = free
	free   []uint32
	serial uint64
}

func (s *segments) add() *segment {
	s.serial++
	seg := &segment{serial: s.serial}
	seg.refs.Store(1)
	if n := len(s.free); n > 0 {
		seg.number = s.free[n-1]
		s.free = s.free[:n-1]
		s.all[seg.number] = seg
		return seg
	}
	seg.number = uint32(len(s.all))
	s.all = append(s.all, seg)
	return seg
}

func (s *segments) remove(seg *segment) {
	s.all[seg.number] = nil
	s.free = append(s.free, seg.number)
}

// A record is: checksum of what follows (4 bytes), length of the value (4), number (4), list (4), owner (16), value, zeros up to a multiple of 8.
const headerBytes = 32

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func recordSize(value int) int { return (headerBytes + value + unit - 1) / unit * unit }

func appendRecord(buf []byte, owner Owner, at Place, value []byte) []byte {
	from := len(buf)
	buf = append(buf, 0, 0, 0, 0)
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(value)))
	buf = binary.LittleEndian.AppendUint32(buf, at.Number)
	buf = binary.LittleEndian.AppendUint32(buf, uint32(at.List))
	buf = append(append(buf, owner[:]...), value...)
	buf = append(buf, make([]byte, recordSize(len(value))-(headerBytes+len(value)))...)
	binary.LittleEndian.PutUint32(buf[from:], crc32.Checksum(buf[from+4:], castagnoli))
	return buf
}

// sizeOf is the size of the record that begins with the header.
func sizeOf(header []byte) int { return recordSize(int(binary.LittleEndian.Uint32(header[4:]))) }

func placeOf(record []byte) (Owner, Place) {
	return Owner(record[16:headerBytes]), Place{List: record[12], Number: binary.LittleEndian.Uint32(record[8:])}
}

// valueOf is the value of a whole record.
func valueOf(record []byte) []byte {
	return record[headerBytes : headerBytes+int(binary.LittleEndian.Uint32(record[4:]))]
}

// isWhole tells whether the record is as it was written.
func isWhole(record []byte) bool {
	return len(record) >= headerBytes && sizeOf(record) == len(record) && crc32.Checksum(record[4:], castagnoli) == binary.LittleEndian.Uint32(record)
}
