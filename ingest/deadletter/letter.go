// Package deadletter keeps inputs that could not be accepted, sealed, with the reason: they can be listed, shown, mended and driven again.
package deadletter

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"sluice/ingest/eventpb"
	"sluice/internal/seal"
)

// Stages that a letter can come from.
const (
	StageReplay  = "replay"  // a row of a file
	StageInbound = "inbound" // a record of sluice.inbound
	StageFilter  = "filter"  // a record of sluice.events

	StageWarehouse = "warehouse" // a record of a stream that the warehouse is filled from
)

// Letter is one input that could not be accepted.
type Letter struct {
	Stage    string
	Code     string // stable code of the fault
	Pointer  string // RFC 6901, the field at fault; empty if it is the whole input
	Detail   string // what was expected; never holds a value
	Source   string // run of a replay, or topic with its partition
	Position uint64 // row, or offset
	Index    uint32 // in the pack at the offset
	Time     int64  // Unix microseconds
	Payload  []byte // the input as it came
}

// ID names the letter: the first 16 bytes of SHA-256 over source, position, index and payload. A letter that is put twice is one letter.
func (l *Letter) ID() [16]byte {
	h := sha256.New()
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(l.Source)))
	h.Write(n[:])
	h.Write([]byte(l.Source))
	binary.BigEndian.PutUint64(n[:], l.Position)
	h.Write(n[:])
	binary.BigEndian.PutUint64(n[:], uint64(l.Index))
	h.Write(n[:])
	h.Write(l.Payload)
	return [16]byte(h.Sum(nil)[:16])
}

// Record encodes the letter for sluice.dead-letters. The key gives its partition. The payload in the value is sealed.
func (l *Letter) Record(keys *seal.Keyring) (key, value []byte, err error) {
	id := l.ID()
	keyID, sealed := keys.Seal(l.Payload, id[:])
	stored := &eventpb.DeadLetter{
		Id: hex.EncodeToString(id[:]), Stage: l.Stage, Code: l.Code, Pointer: l.Pointer, Detail: l.Detail,
		Time: l.Time, Source: l.Source, Position: l.Position, Index: l.Index, KeyId: keyID, Payload: sealed,
	}
	if value, err = stored.MarshalVT(); err != nil {
		return nil, nil, fmt.Errorf("encoding a dead letter: %w", err)
	}
	return id[:], value, nil
}

// marker is the record that says that a letter has been driven again.
func marker(id [16]byte, time int64) ([]byte, error) {
	return (&eventpb.DeadLetter{Id: hex.EncodeToString(id[:]), Time: time, Redriven: true}).MarshalVT()
}

// open decodes and unseals a stored letter.
func open(keys *seal.Keyring, key, value []byte) (*Letter, error) {
	var stored eventpb.DeadLetter
	if err := stored.UnmarshalVT(value); err != nil {
		return nil, fmt.Errorf("decoding a dead letter: %w", err)
	}
	payload, err := keys.Unseal(stored.KeyId, stored.Payload, key)
	if err != nil {
		return nil, fmt.Errorf("unsealing a dead letter: %w", err)
	}
	return &Letter{
		Stage: stored.Stage, Code: stored.Code, Pointer: stored.Pointer, Detail: stored.Detail,
		Source: stored.Source, Position: stored.Position, Index: stored.Index, Time: stored.Time, Payload: payload,
	}, nil
}

// ErrNotFound is returned for an id that is not (or no longer) kept.
var ErrNotFound = errors.New("no such dead letter")

// parseID reads the hex form of an id.
func parseID(s string) ([16]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 16 {
		return [16]byte{}, ErrNotFound
	}
	return [16]byte(b), nil
}
