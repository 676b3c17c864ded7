// Package seal holds the deployment's keys: everything that is sealed or pseudonymous is so under a key derived from one root key.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Keyring derives and holds keys. It is safe for concurrent use.
type Keyring struct {
	root [32]byte
	aead cipher.AEAD
	logs *MAC      // of log pseudonyms
	dups *MAC      // of dedupe hashes
	sums sync.Pool // of *[MACSize]byte
}

// bodyKeyID is the id of the deployment's own sealing key. Ids from 2 on are for keys that can be destroyed one by one.
const bodyKeyID = 1

// ErrUnknownKey is returned for a key id that the ring does not hold (any more).
var ErrUnknownKey = errors.New("unknown sealing key")

// rootKeySize is the length of a root key in bytes.
const rootKeySize = 32

// Open reads the root key in the file at path. The error is fs.ErrNotExist where there is none: Create makes one.
func Open(path string) (*Keyring, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the root key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("reading the root key: %s must be readable by its owner alone: chmod 600 %s", path, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the root key: %w", err)
	}
	if len(data) != rootKeySize {
		return nil, fmt.Errorf("reading the root key: %s must have %d bytes, and has %d", path, rootKeySize, len(data))
	}
	if !random(data) {
		return nil, fmt.Errorf("reading the root key: %s must hold random bytes", path)
	}
	return NewKeyring([rootKeySize]byte(data)), nil
}

// random tells whether bytes may be a key: 32 that were drawn have fewer than 16 different ones once in 10²⁰ times.
func random(data []byte) bool {
	var seen [256]bool
	distinct := 0
	for _, b := range data {
		if !seen[b] {
			seen[b], distinct = true, distinct+1
		}
	}
	return distinct >= rootKeySize/2
}

// Fingerprint tells root keys apart and says nothing about the key.
func (k *Keyring) Fingerprint() string {
	derived := k.Derive("seal/fingerprint")
	return hex.EncodeToString(derived[:8])
}

// Create makes a root key of random bytes, in a file that its owner alone may read. A file that is there already is never overwritten: the error is
// fs.ErrExist. A crash leaves all of the key or nothing under path.
func Create(path string) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		var fault *fs.PathError
		if errors.As(err, &fault) {
			err = fault.Err // the temporary name says nothing
		}
		return fmt.Errorf("making a root key in %s: %w", filepath.Dir(path), err)
	}
	defer func() { err = errors.Join(err, os.Remove(temporary.Name())) }()
	if err := errors.Join(writeKey(temporary), temporary.Close()); err != nil {
		return fmt.Errorf("making a root key: %w", err)
	}
	if err := os.Link(temporary.Name(), path); err != nil {
		return fmt.Errorf("making a root key: %w", err)
	}
	return nil
}

func writeKey(file *os.File) error {
	var root [rootKeySize]byte
	_, _ = rand.Read(root[:]) // crypto/rand never fails
	if _, err := file.Write(root[:]); err != nil {
		return err
	}
	return file.Sync()
}

// NewKeyring makes a ring from a root key.
func NewKeyring(root [32]byte) *Keyring {
	k := &Keyring{root: root}
	body := k.Derive("seal/body")
	block, err := aes.NewCipher(body[:])
	if err != nil {
		panic(fmt.Sprintf("seal: AES with a 32-byte key: %v", err)) // cannot fail
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		panic(fmt.Sprintf("seal: GCM: %v", err)) // cannot fail
	}
	k.logs, k.dups = NewMAC(k.Derive("pseudonym/log")), NewMAC(k.Derive("pseudonym/dedupe"))
	k.sums.New = func() any { return new([MACSize]byte) }
	return k
}

// Derive is the key for a use (HKDF-SHA-256, RFC 5869, with the label as info).
func (k *Keyring) Derive(label string) [32]byte {
	key, err := hkdf.Key(sha256.New, k.root[:], nil, label, 32)
	if err != nil {
		panic(fmt.Sprintf("seal: HKDF: %v", err)) // cannot fail for 32 bytes
	}
	return [32]byte(key)
}

// LogKey is the log pseudonym of a subject ("u:…", "a:…", also in parts): the Kafka key of its records on sluice.events. It never changes, also not after an erasure.
func (k *Keyring) LogKey(subject ...string) [16]byte {
	room := k.sums.Get().(*[MACSize]byte) //nolint:forcetypeassert // the pool's New makes nothing else
	defer k.sums.Put(room)
	sum := k.logs.Append(room[:0])
	for _, part := range subject {
		sum.Text(part)
	}
	return [16]byte(sum.End())
}

// DedupeHash is what the filter remembers of an event: its id among those that the subject has of one kind. So a payment and a purchase may share an id.
func (k *Keyring) DedupeHash(subject string, kind byte, id string) uint64 {
	room := k.sums.Get().(*[MACSize]byte) //nolint:forcetypeassert // the pool's New makes nothing else
	defer k.sums.Put(room)
	sum := k.dups.Append(room[:0])
	sum.Text(subject)
	sum.Byte(0)
	sum.Byte(kind)
	sum.Text(id)
	return binary.BigEndian.Uint64(sum.End())
}

// Seal encrypts plaintext under the deployment's body key (AES-256-GCM, random nonce in front); additional is authenticated with it.
func (k *Keyring) Seal(plaintext, additional []byte) (keyID uint32, sealed []byte) {
	return k.AppendSealed(make([]byte, 0, k.aead.NonceSize()+len(plaintext)+k.aead.Overhead()), plaintext, additional)
}

// AppendSealed is Seal that appends to dst, which must not overlap with the plaintext.
func (k *Keyring) AppendSealed(dst, plaintext, additional []byte) (keyID uint32, sealed []byte) {
	from := len(dst)
	dst = slices.Grow(dst, k.aead.NonceSize()+len(plaintext)+k.aead.Overhead())[:from+k.aead.NonceSize()]
	nonce := dst[from:]
	_, _ = rand.Read(nonce) // crypto/rand never fails
	return bodyKeyID, k.aead.Seal(dst, nonce, plaintext, additional)
}

// Unseal decrypts what Seal made. Key id 0 means that the data is plain. Errors: ErrUnknownKey, or that the data is not authentic.
func (k *Keyring) Unseal(keyID uint32, sealed, additional []byte) ([]byte, error) {
	return k.UnsealInto(make([]byte, 0, len(sealed)), keyID, sealed, additional)
}

// UnsealInto is Unseal into the memory of a buffer, where it is large enough. Plain data stays where it is.
func (k *Keyring) UnsealInto(buffer []byte, keyID uint32, sealed, additional []byte) ([]byte, error) {
	switch keyID {
	case 0:
		return sealed, nil
	case bodyKeyID:
	default:
		return nil, fmt.Errorf("key %d: %w", keyID, ErrUnknownKey)
	}
	if len(sealed) < k.aead.NonceSize() {
		return nil, errors.New("sealed data: too short")
	}
	nonce, ciphertext := sealed[:k.aead.NonceSize()], sealed[k.aead.NonceSize():]
	plain, err := k.aead.Open(buffer[:0], nonce, ciphertext, additional)
	if err != nil {
		return nil, errors.New("sealed data: not authentic")
	}
	return plain, nil
}
