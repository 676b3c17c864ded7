package privacyfilter

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"sync"

	"sluice/internal/seal"
)

// A revision as clients hold it, before base64url: its place, and the first bytes of the sum over place ‖ subject.
const (
	placeBytes    = 4 + 2 + 8 // generation, partition, offset, big endian
	proofBytes    = 10
	revisionBytes = placeBytes + proofBytes
)

// RevisionText is the length of a revision as clients hold it.
const RevisionText = revisionBytes / 3 * 4

// Revisions writes and reads revisions as clients hold them: an opaque text that only a node of this deployment can make, for one subject alone. Whoever shows
// one has been told it, by an answer about this very person. It is safe for concurrent use.
type Revisions struct {
	mac  *seal.MAC
	sums sync.Pool // of *[seal.MACSize]byte
}

// NewRevisions derives the key from the ring.
func NewRevisions(ring *seal.Keyring) *Revisions {
	return &Revisions{mac: seal.NewMAC(ring.Derive("privacyfilter/revision")), sums: sync.Pool{New: func() any { return new([seal.MACSize]byte) }}}
}

// Text is a revision of the subject ("u:…", "a:…", also in parts) as clients hold it; empty for none.
func (r *Revisions) Text(at Revision, subject ...string) string {
	if at.IsZero() {
		return ""
	}
	var b [revisionBytes]byte
	binary.BigEndian.PutUint32(b[:], at.Generation)
	binary.BigEndian.PutUint16(b[4:], uint16(at.Partition))
	binary.BigEndian.PutUint64(b[6:], uint64(at.Offset))
	proof := r.proof(b[:placeBytes], subject)
	copy(b[placeBytes:], proof[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Read is the revision in a text. It tells false for a text that was not made for this very subject.
func (r *Revisions) Read(text string, subject ...string) (Revision, bool) {
	if len(text) != RevisionText {
		return Revision{}, false
	}
	var b [revisionBytes]byte
	if n, err := base64.RawURLEncoding.Decode(b[:], []byte(text)); err != nil || n != revisionBytes {
		return Revision{}, false
	}
	proof := r.proof(b[:placeBytes], subject)
	if subtle.ConstantTimeCompare(proof[:], b[placeBytes:]) == 0 {
		return Revision{}, false
	}
	return Revision{
		Generation: binary.BigEndian.Uint32(b[:]), Partition: int32(binary.BigEndian.Uint16(b[4:])), Offset: int64(binary.BigEndian.Uint64(b[6:])),
	}, true
}

// Place is Read for the log, which holds the plain place.
func (r *Revisions) Place(text, kind, id string) (place string, ok bool) {
	at, ok := r.Read(text, kind, id)
	if !ok {
		return "", false
	}
	return at.String(), true
}

// proof is what no one can make without the key.
func (r *Revisions) proof(place []byte, subject []string) [proofBytes]byte {
	room := r.sums.Get().(*[seal.MACSize]byte) //nolint:forcetypeassert // the pool's New makes nothing else
	defer r.sums.Put(room)
	sum := r.mac.Append(room[:0])
	sum.Bytes(place)
	for _, part := range subject {
		sum.Text(part)
	}
	return [proofBytes]byte(sum.End())
}
