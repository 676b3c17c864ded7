// Package history keeps each person's footprints, which the person can see and delete.
package history

import (
	"bytes"
	"context"
	"sync"
	"time"

	"sluice/features/record"
	"sluice/features/spec"
	"sluice/features/statepb"
	"sluice/internal/stream"
	"sluice/privacyfilter/consent"
)

// View follows the history engine's changelog: each person's footprints. It is safe for concurrent use.
//
// It keeps the records as they come and decodes one when it is asked for: people look at their footprints far less often than they leave some,
// and a record without pointers costs the garbage collector nothing.
type View struct {
	follower *stream.Follower
	metrics  *record.ViewMetrics

	mu     sync.RWMutex // guards people; the records are immutable
	people map[[16]byte][]byte
}

// NewView makes the view; Run starts it.
func NewView(cluster stream.Cluster, _ *spec.Config, o record.ViewOptions) *View {
	o.Fill()
	v := &View{metrics: record.NewViewMetrics(o.Registerer, "history"), people: make(map[[16]byte][]byte)}
	v.follower = stream.NewFollower(cluster, "state.history", stream.FollowerOptions{Apply: v.apply, Logger: o.Logger})
	return v
}

// Run follows the changelog until ctx ends.
func (v *View) Run(ctx context.Context) error { return v.follower.Run(ctx) }

// CaughtUp is closed once everything that the changelog held at the start has been applied.
func (v *View) CaughtUp() <-chan struct{} { return v.follower.CaughtUp() }

// Footprints are the person's footprints under the identity's floor, oldest first; nil if there are none.
func (v *View) Footprints(id consent.Identity) *statepb.Footprints {
	v.mu.RLock()
	record, ok := v.people[id.Subject]
	v.mu.RUnlock()
	if !ok {
		return nil
	}
	f := new(statepb.Footprints)
	if err := f.UnmarshalVT(record); err != nil {
		v.metrics.Broken.Inc()
		return nil
	}
	if len(f.Entries) == 0 || !bytes.Equal(f.Floor, id.Floor) {
		return nil
	}
	return f
}

func (v *View) apply(recs []stream.Record) {
	began := time.Now()
	for i := range recs {
		if rec := &recs[i]; len(rec.Key) == 1+16 && rec.Key[0] == record.Table {
			v.record([16]byte(rec.Key[1:]), rec.Value)
		}
	}
	v.metrics.Applied(began, map[string]int{"people": len(v.people)})
}

func (v *View) record(subject [16]byte, value []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if value == nil {
		delete(v.people, subject)
		return
	}
	v.people[subject] = bytes.Clone(value)
}
