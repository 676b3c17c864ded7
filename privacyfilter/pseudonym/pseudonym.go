// Package pseudonym makes every pseudonym that leaves the raw log. Each purpose has keys of its own, so that no two purposes' streams can be joined.
package pseudonym

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"sync"

	"sluice/internal/seal"
	"sluice/privacyfilter"
)

// Size is the length of a pseudonym.
const Size = 16

// Kinds that only this package makes; no identifier is of such a kind.
const (
	kindSubject     = "=subject"
	kindFloor       = "=floor"
	kindContributor = "=contributor"
)

// Keys makes pseudonyms: the first 16 bytes of HMAC-SHA-256(key of the purpose, kind ‖ parts), and of events, which only this package opens again, blocks of AES.
// It is safe for concurrent use.
type Keys struct {
	ring    *seal.Keyring
	streams map[string]*purpose // the purposes with a stream; fixed

	mu     sync.Mutex // guards others
	others map[string]*purpose
}

// New derives the keys from the ring.
func New(ring *seal.Keyring) *Keys {
	k := &Keys{ring: ring, streams: make(map[string]*purpose), others: make(map[string]*purpose)}
	for _, name := range []string{privacyfilter.History, privacyfilter.Trending, privacyfilter.Risk, privacyfilter.Personalize} {
		k.streams[name] = newPurpose(ring, name)
	}
	return k
}

// Subject is the purpose's pseudonym of a subject ("u:…", "a:…") in an incarnation of it.
func (k *Keys) Subject(purpose, subject string, incarnation uint32) [Size]byte {
	return k.purpose(purpose).cached(memo{kind: kindSubject, value: subject, a: uint64(incarnation)})
}

// EventHash is what every purpose's pseudonym of an event is made of: the event's dedupe hash, and the first half of its subject's log pseudonym.
type EventHash [Size]byte

// EventHash is the hash of the subject's event with the id.
func (k *Keys) EventHash(subject, id string) EventHash {
	key := k.ring.LogKey(subject)
	return EventHashOf(key[:], k.ring.DedupeHash(subject, id))
}

// EventHashOf is the same of a record of the log: its key, and the dedupe hash in it.
func EventHashOf(logKey []byte, dedupe uint64) (h EventHash) {
	binary.BigEndian.PutUint64(h[:], dedupe)
	copy(h[8:], logKey)
	return h
}

// Dedupe is the event's dedupe hash.
func (h EventHash) Dedupe() uint64 { return binary.BigEndian.Uint64(h[:]) }

// Event is the purpose's pseudonym of the subject's event with the id.
func (k *Keys) Event(purpose, subject, id string) [Size]byte {
	return k.EventOf(purpose, k.EventHash(subject, id))
}

// EventOf is the purpose's pseudonym of an event: its hash as one block of AES under the purpose's key.
func (k *Keys) EventOf(purpose string, h EventHash) (sum [Size]byte) {
	return [Size]byte(k.AppendEvent(make([]byte, 0, Size), purpose, h))
}

// AppendEvent appends the purpose's pseudonym of an event.
func (k *Keys) AppendEvent(to []byte, purpose string, h EventHash) []byte {
	to = append(to, h[:]...)
	block := to[len(to)-Size:]
	k.purpose(purpose).events.Encrypt(block, block)
	return to
}

// ErrNotOurs is returned for what is no pseudonym of an event of the subject.
var ErrNotOurs = errors.New("not an event of this subject")

// OpenEvent is the hash in the purpose's pseudonym of an event of the subject. Error: ErrNotOurs.
func (k *Keys) OpenEvent(purpose, subject string, event []byte) (h EventHash, err error) {
	if len(event) != Size {
		return h, ErrNotOurs
	}
	k.purpose(purpose).events.Decrypt(h[:], event)
	if key := k.ring.LogKey(subject); !bytes.Equal(h[8:], key[:Size-8]) {
		return h, ErrNotOurs
	}
	return h, nil
}

// Hash is the 64-bit form of a pseudonym: its first eight bytes, big endian. It is 0 for what is no pseudonym.
func Hash(pseudonym []byte) uint64 {
	if len(pseudonym) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(pseudonym)
}

// Floor is the opaque form of a floor: equal for equal revisions of the subject, and joined to nothing.
func (k *Keys) Floor(purpose, subject string, rev privacyfilter.Revision) []byte {
	return k.AppendFloor(nil, purpose, subject, rev)
}

// AppendFloor appends Floor.
func (k *Keys) AppendFloor(to []byte, purpose, subject string, rev privacyfilter.Revision) []byte {
	place := uint64(rev.Generation)<<32 | uint64(uint32(rev.Partition))
	sum := k.purpose(purpose).cached(memo{kind: kindFloor, value: subject, a: place, b: uint64(rev.Offset)})
	return append(to, sum[:]...)
}

// Contributor is the subject's key in one window of the trending lists. It changes with the window, so that windows cannot be joined.
func (k *Keys) Contributor(subject string, incarnation uint32, window int64) [Size]byte {
	return k.purpose(privacyfilter.Trending).cached(memo{kind: kindContributor, value: subject, a: uint64(incarnation), b: uint64(window)})
}

// Identifier is the purpose's pseudonym of any other identifier: of a session, an order, a device … The kind is the field's own, by its definition.
func (k *Keys) Identifier(purpose, kind, value string) [Size]byte {
	return k.purpose(purpose).cached(memo{kind: kind, value: value})
}

func (k *Keys) purpose(name string) *purpose {
	if p := k.streams[name]; p != nil {
		return p
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.others[name]
	if p == nil {
		p = newPurpose(k.ring, name)
		k.others[name] = p
	}
	return p
}

// purpose holds one purpose's key and the pseudonyms that it made lately.
type purpose struct {
	macs   sync.Pool // of *state
	cache  *cache
	events cipher.Block
}

// state is a keyed hash with room for its message and its sum.
type state struct {
	mac     hash.Hash
	message []byte
	sum     [sha256.Size]byte
}

func newPurpose(ring *seal.Keyring, name string) *purpose {
	key := ring.Derive("pseudonym/purpose/" + name)
	events := ring.Derive("pseudonym/event/" + name)
	block, err := aes.NewCipher(events[:])
	if err != nil {
		panic(fmt.Sprintf("pseudonym: AES with a 32-byte key: %v", err)) // cannot fail
	}
	p := &purpose{cache: newCache(), events: block}
	p.macs.New = func() any { return &state{mac: hmac.New(sha256.New, key[:])} }
	return p
}

// memo is what a cached pseudonym is made of: fixed-size numbers around one value, so that no two memos give one message.
type memo struct {
	kind, value string
	a, b        uint64
}

func (p *purpose) cached(m memo) [Size]byte {
	fingerprint := p.cache.fingerprint(m)
	if sum, ok := p.cache.get(fingerprint); ok {
		return sum
	}
	s := p.state(m.kind)
	s.message = binary.BigEndian.AppendUint64(s.message, m.a)
	s.message = binary.BigEndian.AppendUint64(s.message, m.b)
	s.message = append(s.message, m.value...)
	sum := p.finish(s)
	p.cache.put(fingerprint, sum)
	return sum
}

// state takes a hash and begins a message with the kind, whose end a zero byte marks.
func (p *purpose) state(kind string) *state {
	s := p.macs.Get().(*state) //nolint:forcetypeassert // the pool's New makes nothing else
	s.message = append(append(s.message[:0], kind...), 0)
	return s
}

func (p *purpose) finish(s *state) [Size]byte {
	s.mac.Reset()
	s.mac.Write(s.message)
	s.mac.Sum(s.sum[:0])
	sum := [Size]byte(s.sum[:Size])
	clear(s.message)
	p.macs.Put(s)
	return sum
}
