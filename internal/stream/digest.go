package stream

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Projection turns a changelog record into what a digest compares: no offsets, revisions, received times, keys or caches.
// It may yield any number of (key, value) pairs in named stores.
type Projection func(table byte, key, value []byte, yield func(store string, key, value []byte))

// StoreDigest is the digest of one store.
type StoreDigest struct {
	Name   string `json:"name"`
	Keys   int64  `json:"keys"`
	Digest string `json:"digest"` // "sha256:" ‖ hex of the sum
}

// StateDigest is the digest of everything that the engines keep.
type StateDigest struct {
	Digest string        `json:"digest"`
	Lag    int64         `json:"lag"`
	Stores []StoreDigest `json:"stores"`
}

// Digest reads the changelogs of the engines up to their high watermarks. Per store it is the sum modulo 2²⁵⁶ of
// SHA-256(length of the key, 8 bytes big endian ‖ key ‖ value): independent of order, partitions and timing.
// Lag is the number of input records that the roles have not committed yet.
func Digest(ctx context.Context, cluster Cluster, roles []Role, projections map[string]Projection) (*StateDigest, error) {
	lag, err := Lag(ctx, cluster, roles)
	if err != nil {
		return nil, err
	}
	totals := make(map[string]*total)
	for _, role := range roles {
		for _, engine := range role.Engines {
			project, ok := projections[engine.Name]
			if !ok {
				continue
			}
			if err := digestEngine(ctx, cluster, engine, project, totals); err != nil {
				return nil, fmt.Errorf("digesting %s: %w", engine.Name, err)
			}
		}
	}
	out := &StateDigest{Lag: lag}
	whole := sha256.New()
	for name, t := range totals {
		out.Stores = append(out.Stores, StoreDigest{Name: name, Keys: t.keys, Digest: "sha256:" + hex.EncodeToString(t.sum.bytes())})
	}
	slices.SortFunc(out.Stores, func(a, b StoreDigest) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range out.Stores {
		fmt.Fprintf(whole, "%s %d %s\n", s.Name, s.Keys, s.Digest)
	}
	out.Digest = "sha256:" + hex.EncodeToString(whole.Sum(nil))
	return out, nil
}

// total is a store's running sum.
type total struct {
	keys int64
	sum  sum256
}

// part is what one changelog record adds to a store.
type part struct {
	to   *total
	keys int64
	sum  sum256
}

// digestEngine keeps, for each changelog key, what its newest record adds, so that an older one can be taken away again.
func digestEngine(ctx context.Context, cluster Cluster, engine Engine, project Projection, totals map[string]*total) error {
	parts := make(map[string][]part)
	apply := func(recs []Record) {
		for i := range recs {
			if len(recs[i].Key) == 0 {
				continue
			}
			key := string(recs[i].Key)
			for _, p := range parts[key] {
				p.to.keys -= p.keys
				p.to.sum.subtract(p.sum)
			}
			delete(parts, key)
			if recs[i].Value != nil {
				parts[key] = partsOf(recs[i], project, totals)
			}
		}
	}
	return ReadAll(ctx, cluster, engine.Changelog(), apply)
}

func partsOf(rec Record, project Projection, totals map[string]*total) []part {
	var parts []part
	project(rec.Key[0], rec.Key[1:], rec.Value, func(store string, key, value []byte) {
		t := totals[store]
		if t == nil {
			t = new(total)
			totals[store] = t
		}
		h := hashPair(key, value)
		t.keys++
		t.sum.add(h)
		for i := range parts {
			if parts[i].to == t {
				parts[i].keys++
				parts[i].sum.add(h)
				return
			}
		}
		parts = append(parts, part{to: t, keys: 1, sum: h})
	})
	return parts
}

// ReadAll gives apply every record that the topic holds now, and returns.
func ReadAll(ctx context.Context, cluster Cluster, topic string, apply func(recs []Record)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := NewFollower(cluster, topic, FollowerOptions{Apply: apply})
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	select {
	case <-f.CaughtUp():
		cancel()
		return <-ended
	case err := <-ended:
		if err == nil {
			err = ctx.Err()
		}
		return err
	}
}

// Lag is the number of input records that the roles have not committed yet, transaction markers included.
func Lag(ctx context.Context, cluster Cluster, roles []Role) (int64, error) {
	client, err := cluster.Client()
	if err != nil {
		return 0, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	var lag int64
	for _, role := range roles {
		var names []string
		for _, engine := range role.Engines {
			for _, in := range engine.Inputs {
				names = append(names, cluster.Topic(in))
			}
		}
		ends, err := admin.ListEndOffsets(ctx, names...)
		if err != nil {
			return 0, fmt.Errorf("listing the end of the inputs of %s: %w", role.Name, err)
		}
		committed, err := admin.FetchOffsets(ctx, cluster.Topic(role.Name))
		if err != nil {
			return 0, fmt.Errorf("fetching the offsets of %s: %w", role.Name, err)
		}
		ends.Each(func(o kadm.ListedOffset) {
			at := int64(0)
			if c, ok := committed.Lookup(o.Topic, o.Partition); ok {
				at = max(0, c.At)
			}
			lag += max(0, o.Offset-at)
		})
	}
	return lag, nil
}

// sum256 is an unsigned integer modulo 2²⁵⁶, least significant word first.
type sum256 [4]uint64

func hashPair(key, value []byte) sum256 {
	h := sha256.New()
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(key)))
	h.Write(length[:])
	h.Write(key)
	h.Write(value)
	var digest [sha256.Size]byte
	h.Sum(digest[:0])
	var s sum256
	for i := range s {
		s[i] = binary.BigEndian.Uint64(digest[8*(3-i):])
	}
	return s
}

func (s *sum256) add(o sum256) {
	var carry uint64
	for i := range s {
		s[i], carry = bits.Add64(s[i], o[i], carry)
	}
}

func (s *sum256) subtract(o sum256) {
	var borrow uint64
	for i := range s {
		s[i], borrow = bits.Sub64(s[i], o[i], borrow)
	}
}

func (s *sum256) bytes() []byte {
	var b []byte
	for i := 3; i >= 0; i-- {
		b = binary.BigEndian.AppendUint64(b, s[i])
	}
	return b
}
