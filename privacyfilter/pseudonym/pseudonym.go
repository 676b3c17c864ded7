// Package pseudonym makes every pseudonym that leaves the raw log. Each purpose has keys of its own, so that no two purposes' streams can be joined.
package pseudonym

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"sluice/internal/seal"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
)

// Size is the length of a pseudonym.
const Size = seal.MACSize

// Kinds that only this package makes; no identifier is of such a kind.
const (
	kindSubject     = "=subject"
	kindFloor       = "=floor"
	kindContributor = "=contributor"
)

// Keys makes pseudonyms: AES-CMAC (key of the purpose, kind ‖ 0 ‖ parts), and of events, which only this package opens again, blocks of AES.
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
	return [Size]byte(k.AppendSubject(make([]byte, 0, Size), purpose, subject, incarnation))
}

// AppendSubject appends the purpose's pseudonym of a subject.
func (k *Keys) AppendSubject(to []byte, purpose, subject string, incarnation uint32) []byte {
	return k.purpose(purpose).numbered(to, kindSubject, uint64(incarnation), 0, subject)
}

// EventHash is what every purpose's pseudonym of an event is made of: the event's dedupe hash, and the first half of its subject's log pseudonym.
type EventHash [Size]byte

// EventHash is the hash of the subject's event of the type with the id.
func (k *Keys) EventHash(subject string, t vocab.Type, id string) EventHash {
	key := k.ring.LogKey(subject)
	return EventHashOf(key[:], k.ring.DedupeHash(subject, byte(t), id))
}

// EventHashOf is the same of a record of the log: its key, and the dedupe hash in it.
func EventHashOf(logKey []byte, dedupe uint64) (h EventHash) {
	binary.BigEndian.PutUint64(h[:], dedupe)
	copy(h[8:], logKey)
	return h
}

// Dedupe is the event's dedupe hash.
func (h EventHash) Dedupe() uint64 { return binary.BigEndian.Uint64(h[:]) }

// Event is the purpose's pseudonym of the subject's event of the type with the id.
func (k *Keys) Event(purpose, subject string, t vocab.Type, id string) [Size]byte {
	return k.EventOf(purpose, k.EventHash(subject, t, id))
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
	return k.purpose(purpose).numbered(to, kindFloor, place, uint64(rev.Offset), subject)
}

// Contributor is the subject's key in one window of the trending lists. It changes with the window, so that windows cannot be joined.
func (k *Keys) Contributor(subject string, incarnation uint32, window int64) [Size]byte {
	return [Size]byte(k.AppendContributor(make([]byte, 0, Size), subject, incarnation, window))
}

// AppendContributor appends Contributor.
func (k *Keys) AppendContributor(to []byte, subject string, incarnation uint32, window int64) []byte {
	return k.purpose(privacyfilter.Trending).numbered(to, kindContributor, uint64(incarnation), uint64(window), subject)
}

// Identifier is the purpose's pseudonym of any other identifier: of a session, an order, a device … The kind is the field's own, by its definition.
func (k *Keys) Identifier(purpose, kind, value string) [Size]byte {
	return [Size]byte(k.AppendIdentifier(make([]byte, 0, Size), purpose, kind, value))
}

// AppendIdentifier appends Identifier.
func (k *Keys) AppendIdentifier(to []byte, purpose, kind, value string) []byte {
	sum := k.purpose(purpose).begin(to, kind)
	sum.Text(value)
	return sum.End()
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

// purpose holds one purpose's keys.
type purpose struct {
	mac    *seal.MAC
	events cipher.Block
}

func newPurpose(ring *seal.Keyring, name string) *purpose {
	events := ring.Derive("pseudonym/event/" + name)
	block, err := aes.NewCipher(events[:])
	if err != nil {
		panic(fmt.Sprintf("pseudonym: AES with a 32-byte key: %v", err)) // cannot fail
	}
	return &purpose{mac: seal.NewMAC(ring.Derive("pseudonym/purpose/" + name)), events: block}
}

// begin begins a pseudonym with its kind. A zero byte marks the kind's end.
func (p *purpose) begin(to []byte, kind string) seal.Sum {
	sum := p.mac.Append(to)
	sum.Text(kind)
	sum.Byte(0)
	return sum
}

// numbered is a pseudonym made of two numbers and a value. The numbers have a fixed size, so that no two of a kind give one message.
func (p *purpose) numbered(to []byte, kind string, a, b uint64, value string) []byte {
	sum := p.begin(to, kind)
	sum.Uint64(a)
	sum.Uint64(b)
	sum.Text(value)
	return sum.End()
}
