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

// Projection turns a changelog record into what a digest compares, any number of pairs: no offsets, revisions, received times, keys or caches.
type Projection func(table byte, key, value []byte, yield func(Pair))

// Pair is what a digest compares.
type Pair struct {
	Store      string
	Key, Value []byte

	// At is when the pair expires, in time of the engine's own; 0 = never. What lies before the horizon of its partition is not compared: its engine may have
	// removed it, or not yet.
	At int64
}

// Horizon is the store of pairs whose At is the horizon of their partition.
const Horizon = ""

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

// part is what one changelog record adds to a store until at.
type part struct {
	to   *total
	at   int64
	keys int64
	sum  sum256
}

// recordParts is what the newest record of a key adds.
type recordParts struct {
	partition int32
	parts     []part
}

// digestEngine keeps, for each changelog key, what its newest record adds, and adds up what has not expired in the end.
func digestEngine(ctx context.Context, cluster Cluster, engine Engine, project Projection, totals map[string]*total) error {
	newest := make(map[string]recordParts)
	horizons := make(map[int32]int64)
	apply := func(recs []Record) {
		for i := range recs {
			if len(recs[i].Key) == 0 {
				continue
			}
			delete(newest, string(recs[i].Key))
			if recs[i].Value == nil {
				continue
			}
			var parts []part
			project(recs[i].Key[0], recs[i].Key[1:], recs[i].Value, func(p Pair) {
				if p.Store == Horizon {
					horizons[recs[i].Partition] = p.At
					return
				}
				parts = addPart(parts, totals, &p)
			})
			if len(parts) > 0 {
				newest[string(recs[i].Key)] = recordParts{recs[i].Partition, slices.Clip(parts)}
			}
		}
	}
	if err := ReadAll(ctx, cluster, engine.Changelog(), apply); err != nil {
		return err
	}
	for _, r := range newest {
		horizon, ok := horizons[r.partition]
		for _, p := range r.parts {
			if !ok || p.at == 0 || p.at >= horizon {
				p.to.keys += p.keys
				p.to.sum.add(p.sum)
			}
		}
	}
	return nil
}

// addPart adds a pair to the parts of a record.
func addPart(parts []part, totals map[string]*total, p *Pair) []part {
	t := totals[p.Store]
	if t == nil {
		t = new(total)
		totals[p.Store] = t
	}
	sum := hashPair(p.Key, p.Value)
	if n := len(parts); n > 0 && parts[n-1].to == t && parts[n-1].at == p.At {
		parts[n-1].keys++
		parts[n-1].sum.add(sum)
		return parts
	}
	return append(parts, part{to: t, at: p.At, keys: 1, sum: sum})
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

func (s *sum256) bytes() []byte {
	var b []byte
	for i := 3; i >= 0; i-- {
		b = binary.BigEndian.AppendUint64(b, s[i])
	}
	return b
}
