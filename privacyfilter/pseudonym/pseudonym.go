// Package pseudonym makes every pseudonym that leaves the raw log. Each purpose has keys of its own, so that no two purposes' streams can be joined.
package pseudonym

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"sync"

	"github.com/tink-crypto/tink-go/v2/daead/subtle"

	"sluice/internal/seal"
	"sluice/privacyfilter"
)

// Size is the length of a pseudonym; only sealed event ids of the history are longer.
const Size = 16

// Kinds that only this package makes; no identifier is of such a kind.
const (
	kindSubject     = "=subject"
	kindEvent       = "=event"
	kindFloor       = "=floor"
	kindContributor = "=contributor"
)

// Keys makes pseudonyms: the first 16 bytes of HMAC-SHA-256(key of the purpose, kind ‖ parts). It is safe for concurrent use.
type Keys struct {
	ring    *seal.Keyring
	history *subtle.AESSIV

	streams map[string]*purpose // the purposes with a stream; fixed

	mu     sync.Mutex // guards others
	others map[string]*purpose
}

// New derives the keys from the ring.
func New(ring *seal.Keyring) *Keys {
	left, right := ring.Derive("pseudonym/history/event/1"), ring.Derive("pseudonym/history/event/2")
	siv, err := subtle.NewAESSIV(append(left[:], right[:]...))
	if err != nil {
		panic(fmt.Sprintf("pseudonym: AES-SIV with a 64-byte key: %v", err)) // cannot fail
	}
	k := &Keys{ring: ring, history: siv, streams: make(map[string]*purpose), others: make(map[string]*purpose)}
	for _, name := range []string{privacyfilter.History, privacyfilter.Trending, privacyfilter.Risk, privacyfilter.Personalize} {
		k.streams[name] = newPurpose(ring, name)
	}
	return k
}

// Subject is the purpose's pseudonym of a subject ("u:…", "a:…") in an incarnation of it.
func (k *Keys) Subject(purpose, subject string, incarnation uint32) [Size]byte {
	return k.purpose(purpose).cached(memo{kind: kindSubject, value: subject, a: uint64(incarnation)})
}

// Event is the purpose's pseudonym of an event id of the subject. The history's is HistoryEvent.
func (k *Keys) Event(purpose, subject, id string) [Size]byte {
	return k.purpose(purpose).event(subject, id)
}

// Hash is the 64-bit form of a pseudonym: its first eight bytes, big endian. It is 0 for what is no pseudonym.
func Hash(pseudonym []byte) uint64 {
	if len(pseudonym) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(pseudonym)
}

// HistoryEvent seals an event id (AES-SIV, RFC 5297, with the subject as associated data): the id that the subject's history shows.
// Equal ids of a subject give equal bytes, 16 longer than the id.
func (k *Keys) HistoryEvent(subject, id string) []byte {
	sealed, err := k.history.EncryptDeterministically([]byte(id), []byte(subject))
	if err != nil {
		panic(fmt.Sprintf("pseudonym: AES-SIV of %d bytes: %v", len(id), err)) // fails only beyond 2³¹ bytes
	}
	return sealed
}

// ErrNotOurs is returned for a history event id that was not made for this subject.
var ErrNotOurs = errors.New("the event id is not one of this subject's history")

// OpenHistoryEvent is the event id in what HistoryEvent made. Error: ErrNotOurs.
func (k *Keys) OpenHistoryEvent(subject string, sealed []byte) (id string, err error) {
	plain, err := k.history.DecryptDeterministically(sealed, []byte(subject))
	if err != nil {
		return "", ErrNotOurs
	}
	return string(plain), nil
}

// Floor is the opaque form of a floor: equal for equal revisions of the subject, and joined to nothing.
func (k *Keys) Floor(purpose, subject string, rev privacyfilter.Revision) []byte {
	place := uint64(rev.Generation)<<32 | uint64(uint32(rev.Partition))
	sum := k.purpose(purpose).cached(memo{kind: kindFloor, value: subject, a: place, b: uint64(rev.Offset)})
	return sum[:]
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
	macs  sync.Pool // of *state
	cache *cache
}

// state is a keyed hash with room for its message and its sum.
type state struct {
	mac     hash.Hash
	message []byte
	sum     [sha256.Size]byte
}

func newPurpose(ring *seal.Keyring, name string) *purpose {
	key := ring.Derive("pseudonym/purpose/" + name)
	p := &purpose{cache: newCache()}
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

// event is not cached: an event id comes once.
func (p *purpose) event(subject, id string) [Size]byte {
	s := p.state(kindEvent)
	s.message = binary.BigEndian.AppendUint64(s.message, uint64(len(subject)))
	s.message = append(s.message, subject...)
	s.message = append(s.message, id...)
	return p.finish(s)
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
