// Package cursor seals what a later page must know into an opaque text: what was shown, what the constraints still look at, and under which grant.
package cursor

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"sluice/recommend/rank"
)

const (
	// Lifetime is how long a cursor can be used.
	Lifetime = 30 * time.Minute
	// MaxShown bounds the items that a cursor remembers: a list ends there.
	MaxShown = 1000
	// MaxLength bounds a cursor's text.
	MaxLength = 32 << 10

	version = 1
	// maxSlots and maxValues bound what a decoder allocates.
	maxSlots  = 128
	maxValues = 64
)

// Errors of Open.
var (
	ErrBroken  = errors.New("not a cursor of this API")
	ErrExpired = errors.New("cursor has expired")
)

// State is what a page hands on to the next one.
type State struct {
	Page    [8]byte     // digest of the page context; a cursor belongs to one
	Because uint8       // why the list is not personal, 0 = it is
	Grant   [16]byte    // digest of the grants under which a personal list was begun
	Shown   []uint32    // rank.Hash of the items shown so far; of two items that collide the second is not shown, so nothing is shown twice
	Slots   []rank.Slot // what constraints still look at, the oldest first
}

// Sealer seals and opens cursors under one key. It is safe for concurrent use.
type Sealer struct{ aead cipher.AEAD }

// NewSealer makes a sealer of AES-256-GCM with random nonces.
func NewSealer(key [32]byte) *Sealer {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(fmt.Sprintf("cursor: AES with a 32-byte key: %v", err)) // cannot fail
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(fmt.Sprintf("cursor: GCM: %v", err)) // cannot fail
	}
	return &Sealer{aead: aead}
}

// Seal makes a cursor that can be used for Lifetime.
func (s *Sealer) Seal(state *State, now time.Time) string {
	plain := binary.BigEndian.AppendUint64([]byte{version}, uint64(now.Add(Lifetime).UnixMicro()))
	plain = state.Append(plain)
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, plain, []byte("sluice cursor")))
}

// Open reads a cursor. Errors: ErrBroken, ErrExpired.
func (s *Sealer) Open(text string, now time.Time) (*State, error) {
	if len(text) > MaxLength {
		return nil, ErrBroken
	}
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, ErrBroken
	}
	plain, err := s.aead.Open(nil, nil, sealed, []byte("sluice cursor"))
	if err != nil || len(plain) < 9 || plain[0] != version {
		return nil, ErrBroken
	}
	if now.UnixMicro() >= int64(binary.BigEndian.Uint64(plain[1:])) {
		return nil, ErrExpired
	}
	r := reader{data: plain[9:]}
	state := r.state()
	if r.failed || len(r.data) > 0 {
		return nil, ErrBroken
	}
	return state, nil
}

// Append writes the state in its one form: equal states have equal bytes.
func (s *State) Append(b []byte) []byte {
	b = append(b, s.Page[:]...)
	b = append(b, s.Because)
	b = append(b, s.Grant[:]...)
	b = appendHashes(b, s.Shown)
	b = binary.AppendUvarint(b, uint64(len(s.Slots)))
	for i := range s.Slots {
		for _, values := range s.Slots[i] {
			b = appendHashes(b, values)
		}
	}
	return b
}

func appendHashes(b []byte, hashes []uint32) []byte {
	b = binary.AppendUvarint(b, uint64(len(hashes)))
	for _, h := range hashes {
		b = binary.BigEndian.AppendUint32(b, h)
	}
	return b
}

// reader reads a state. After a fault everything it returns is zero.
type reader struct {
	data   []byte
	failed bool
}

func (r *reader) state() *State {
	s := new(State)
	copy(s.Page[:], r.next(len(s.Page)))
	if b := r.next(1); len(b) == 1 {
		s.Because = b[0]
	}
	copy(s.Grant[:], r.next(len(s.Grant)))
	s.Shown = r.hashes(MaxShown)
	slots := r.count(maxSlots)
	for range slots {
		var slot rank.Slot
		for kind := range slot {
			slot[kind] = r.hashes(maxValues)
		}
		s.Slots = append(s.Slots, slot)
	}
	return s
}

func (r *reader) hashes(most int) []uint32 {
	data := r.next(4 * r.count(most))
	if len(data) == 0 {
		return nil
	}
	hashes := make([]uint32, len(data)/4)
	for i := range hashes {
		hashes[i] = binary.BigEndian.Uint32(data[4*i:])
	}
	return hashes
}

func (r *reader) count(most int) int {
	n, size := binary.Uvarint(r.data)
	if size <= 0 || n > uint64(most) {
		r.fail()
		return 0
	}
	r.data = r.data[size:]
	return int(n)
}

func (r *reader) next(n int) []byte {
	if n > len(r.data) {
		r.fail()
		return nil
	}
	data := r.data[:n]
	r.data = r.data[n:]
	return data
}

func (r *reader) fail() { r.failed, r.data = true, nil }
