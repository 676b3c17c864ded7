package features

import (
	"bytes"
	"context"
	"sync"
	"time"

	"sluice/features/statepb"
	"sluice/internal/stream"
	"sluice/privacyfilter/consent"
)

// History follows the history engine's changelog: each person's footprints. It is safe for concurrent use.
//
// It keeps the records as they come and decodes one when it is asked for: people look at their footprints far less often than they leave some,
// and a record without pointers costs the garbage collector nothing.
type History struct {
	follower *stream.Follower
	metrics  *viewMetrics

	mu     sync.RWMutex // guards people; the records are immutable
	people map[[16]byte][]byte
}

// NewHistory makes the view; Run starts it.
func NewHistory(cluster stream.Cluster, _ *Config, o ViewOptions) *History {
	o.fill()
	v := &History{metrics: newViewMetrics(o.Registerer, "history"), people: make(map[[16]byte][]byte)}
	v.follower = stream.NewFollower(cluster, "state.history", stream.FollowerOptions{Apply: v.apply, Logger: o.Logger})
	return v
}

// Run follows the changelog until ctx ends.
func (v *History) Run(ctx context.Context) error { return v.follower.Run(ctx) }

// CaughtUp is closed once everything that the changelog held at the start has been applied.
func (v *History) CaughtUp() <-chan struct{} { return v.follower.CaughtUp() }

// Footprints are the person's footprints under the identity's floor, oldest first; nil if there are none.
func (v *History) Footprints(id consent.Identity) *statepb.Footprints {
	v.mu.RLock()
	record, ok := v.people[id.Subject]
	v.mu.RUnlock()
	if !ok {
		return nil
	}
	f := new(statepb.Footprints)
	if err := f.UnmarshalVT(record); err != nil {
		v.metrics.broken.Inc()
		return nil
	}
	if len(f.Entries) == 0 || !bytes.Equal(f.Floor, id.Floor) {
		return nil
	}
	return f
}

func (v *History) apply(recs []stream.Record) {
	began := time.Now()
	for i := range recs {
		if rec := &recs[i]; len(rec.Key) == 1+16 && rec.Key[0] == recordTable {
			v.record([16]byte(rec.Key[1:]), rec.Value)
		}
	}
	v.metrics.applied(began, map[string]int{"people": len(v.people)})
}

func (v *History) record(subject [16]byte, value []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if value == nil {
		delete(v.people, subject)
		return
	}
	v.people[subject] = bytes.Clone(value)
}
