package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"unsafe"
)

// MACSize is the length of a sum.
const MACSize = aes.BlockSize

// MAC is a keyed hash of 16 bytes, AES-CMAC (NIST SP 800-38B, RFC 4493) with a 256-bit key: a pseudo-random function, like HMAC. Of the short messages that
// pseudonyms are made of it costs a block of AES for each 16 bytes, which is less than finding a sum in a cache. It is safe for concurrent use.
type MAC struct {
	block         cipher.Block
	whole, padded [MACSize]byte // subkeys of a last block that is full, and of one that is not
}

// NewMAC makes a MAC under a key.
func NewMAC(key [32]byte) *MAC {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(fmt.Sprintf("seal: AES with a 32-byte key: %v", err)) // cannot fail
	}
	m := &MAC{block: block}
	block.Encrypt(m.whole[:], m.whole[:])
	double(&m.whole)
	m.padded = m.whole
	double(&m.padded)
	return m
}

// double multiplies by x in the field of 2¹²⁸ elements.
func double(b *[MACSize]byte) {
	high, low := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	carry := high >> 63
	binary.BigEndian.PutUint64(b[:8], high<<1|low>>63)
	binary.BigEndian.PutUint64(b[8:], low<<1^carry*0x87)
}

// Sum is a hash while its message is being written. It makes the sum in place, at the end of the bytes that it appends to.
type Sum struct {
	mac *MAC
	out []byte
	n   int // bytes of the message in the last block
}

// Append begins a sum that is appended to the bytes.
func (m *MAC) Append(to []byte) Sum {
	return Sum{mac: m, out: append(to, make([]byte, MACSize)...)}
}

func (s *Sum) last() []byte { return s.out[len(s.out)-MACSize:] }

// Text adds to the message.
func (s *Sum) Text(text string) {
	s.Bytes(unsafe.Slice(unsafe.StringData(text), len(text)))
}

// Bytes adds to the message.
func (s *Sum) Bytes(data []byte) {
	for last := s.last(); len(data) > 0; {
		if s.n == MACSize {
			s.mac.block.Encrypt(last, last)
			s.n = 0
		}
		k := subtle.XORBytes(last[s.n:], last[s.n:], data)
		s.n, data = s.n+k, data[k:]
	}
}

// Byte adds to the message.
func (s *Sum) Byte(b byte) {
	last := s.last()
	if s.n == MACSize {
		s.mac.block.Encrypt(last, last)
		s.n = 0
	}
	last[s.n] ^= b
	s.n++
}

// Uint64 adds to the message, big endian.
func (s *Sum) Uint64(v uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	s.Bytes(b[:])
}

// End is the bytes that were appended to, with the sum.
func (s *Sum) End() []byte {
	last, subkey := s.last(), &s.mac.whole
	if s.n < MACSize {
		last[s.n] ^= 0x80
		subkey = &s.mac.padded
	}
	subtle.XORBytes(last, last, subkey[:])
	s.mac.block.Encrypt(last, last)
	return s.out
}
