package risk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/singleflight"

	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/risk/riskpb"
)

// StoreOptions say how much a store remembers.
type StoreOptions struct {
	Keep       int                   // decisions that can be found, the newest; 500,000 if 0
	MaxAge     time.Duration         // before the newest decision, after which one is not found any more; 7 days if 0
	Fresh      int                   // decisions that are held in memory, whether or not the log shows them yet; the oldest is forgotten; 20,000 if 0
	Registerer prometheus.Registerer // nil = no metrics
	Logger     *slog.Logger          // nil = none
}

const (
	defaultKeep   = 500_000
	defaultMaxAge = 7 * 24 * time.Hour
	defaultFresh  = 20_000
	maxInFlight   = 4096             // decisions being made at once
	maxFetches    = 8                // fetches from the topic at once; others wait
	fetchTimeout  = 10 * time.Second // for one fetch
)

// ErrNotFound is returned for a decision that is not (or no longer) kept.
var ErrNotFound = errors.New("no such decision")

// Store finds decisions: those that this node has just made in memory, all others where an index says that they stand on sluice.decisions.
// It is safe for concurrent use.
type Store struct {
	cluster  stream.Cluster
	follower *stream.Follower
	index    *index
	newest   newest
	fetching singleflight.Group
	fetches  chan struct{} // a token each
	fresh    int

	mu       sync.Mutex // guards what follows
	recent   map[ID]*kept
	queue    []ID // of recent, oldest first
	inFlight map[ID]struct{}
}

// kept is a decision in memory, encoded.
type kept struct {
	data  []byte
	saved bool // the log has it. If not, its write may have failed or not: it must be written again before it is answered
}

// NewStore makes a store. Run must be running for decisions of before the start, and of other nodes, to be found.
func NewStore(cluster stream.Cluster, o StoreOptions) *Store {
	if o.Keep == 0 {
		o.Keep = defaultKeep
	}
	if o.MaxAge == 0 {
		o.MaxAge = defaultMaxAge
	}
	if o.Fresh == 0 {
		o.Fresh = defaultFresh
	}
	s := &Store{
		cluster: cluster, index: newIndex(o.Keep, o.MaxAge), fetches: make(chan struct{}, maxFetches), fresh: o.Fresh,
		recent: make(map[ID]*kept), inFlight: make(map[ID]struct{}),
	}
	s.follower = stream.NewFollower(cluster, topics.Decisions, stream.FollowerOptions{Apply: s.apply, Logger: o.Logger})
	if o.Registerer != nil {
		o.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sluice_risk_decisions_indexed", Help: "Decisions that can be found by id.",
		}, func() float64 { return float64(s.index.size()) }))
	}
	return s
}

// Run follows the topic until ctx ends.
func (s *Store) Run(ctx context.Context) error { return s.follower.Run(ctx) }

// CaughtUp is closed once the decisions of before the start can be found.
func (s *Store) CaughtUp() <-chan struct{} { return s.follower.CaughtUp() }

// apply takes records of the topic. What the log holds replaces what this node remembers: two nodes may have decided, the first one logged wins.
func (s *Store) apply(recs []stream.Record) {
	for i := range recs {
		rec := &recs[i]
		if len(rec.Key) == 0 || len(rec.Value) == 0 {
			continue
		}
		id := idOf(rec.Key)
		if s.index.add(id, rec) {
			s.newest.add(outcomeOf(rec.Value), aged{id, rec.Time.UnixMicro()})
			s.logged(id, rec.Value)
		}
	}
	s.index.prune()
}

func (s *Store) logged(id ID, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.recent[id]
	if k == nil {
		return
	}
	k.saved = true
	if !bytes.Equal(k.data, data) {
		k.data = bytes.Clone(data)
	}
}

// Find is the decision with the id. Errors: ErrNotFound, or that the broker cannot be reached.
func (s *Store) Find(ctx context.Context, id ID) (*riskpb.Decision, error) {
	data, ok := s.remembered(id)
	if !ok {
		at, indexed := s.index.find(id)
		if !indexed {
			return nil, ErrNotFound
		}
		var err error
		if data, err = s.fetch(ctx, id, at); err != nil {
			return nil, err
		}
	}
	d := new(riskpb.Decision)
	if err := d.UnmarshalVT(data); err != nil {
		return nil, fmt.Errorf("decoding a decision: %w", err)
	}
	return d, nil
}

// remembered is a decision in memory that the log is known to have.
func (s *Store) remembered(id ID) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.recent[id]; k != nil && k.saved {
		return k.data, true
	}
	return nil, false
}

// fetch reads a decision from its place, once for all who ask at the same time, and remembers it.
func (s *Store) fetch(ctx context.Context, id ID, at place) ([]byte, error) {
	done := s.fetching.DoChan(string(id[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		select {
		case s.fetches <- struct{}{}:
			defer func() { <-s.fetches }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		data, err := s.read(ctx, id, at)
		switch {
		case err == nil:
			s.remember(id, data, true)
		case errors.Is(err, ErrNotFound):
			s.index.forget(id)
		}
		return data, err
	})
	select {
	case result := <-done:
		data, _ := result.Val.([]byte)
		return data, result.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Store) read(ctx context.Context, id ID, at place) ([]byte, error) {
	topic := s.cluster.Topic(topics.Decisions)
	client, err := s.cluster.Client(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {at.partition: kgo.NewOffset().At(at.offset)}}), kgo.FetchMaxWait(time.Second),
	)
	if err != nil {
		return nil, fmt.Errorf("fetching a decision: %w", err)
	}
	defer client.Close()
	for {
		fetches := client.PollRecords(ctx, 1)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("fetching a decision: %w", err)
		}
		for _, r := range fetches.Records() {
			if r.Offset != at.offset || idOf(r.Key) != id {
				return nil, ErrNotFound // its place has expired
			}
			return r.Value, nil
		}
	}
}

// remember keeps a decision in memory. The oldest one makes room.
func (s *Store) remember(id ID, data []byte, saved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.recent[id]; k != nil {
		if !k.saved {
			k.data, k.saved = data, saved
		}
		return
	}
	s.recent[id] = &kept{data: data, saved: saved}
	s.queue = append(s.queue, id)
	if len(s.queue) > s.fresh {
		delete(s.recent, s.queue[0])
		s.queue = s.queue[1:]
	}
}

// unsaved is a decision whose write failed in doubt: the log may or may not have it. Nil if there is none.
func (s *Store) unsaved(id ID) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.recent[id]; k != nil && !k.saved {
		return k.data
	}
	return nil
}

// claimed is what came of a claim.
type claimed uint8

const (
	claimGranted claimed = iota // the caller decides, and releases
	claimBusy                   // another request does
	claimKnown                  // there is a decision by now
	claimFull                   // too many are being made
)

// claim asks to decide an event alone.
func (s *Store) claim(id ID) claimed {
	_, indexed := s.index.find(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.recent[id]; indexed || k != nil && k.saved {
		return claimKnown
	}
	if _, busy := s.inFlight[id]; busy {
		return claimBusy
	}
	if len(s.inFlight) >= maxInFlight {
		return claimFull
	}
	s.inFlight[id] = struct{}{}
	return claimGranted
}

func (s *Store) release(id ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.inFlight, id)
}
