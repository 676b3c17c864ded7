// Package history keeps each person's footprints, which the person can see and delete.
package history

import (
	"bytes"
	"context"
	"time"

	"sluice/features/record"
	"sluice/features/spec"
	"sluice/internal/stream"
	"sluice/privacyfilter/consent"
)

// View follows the history engine's changelog: each person's footprints. It is safe for concurrent use.
//
// It keeps the records as they come and decodes them when they are asked for: people look at their footprints far less often than they leave some,
// and a record without pointers costs the garbage collector nothing.
type View struct {
	follower *stream.Follower
	metrics  *record.ViewMetrics
	people   *record.Copy
}

// NewView makes the view; Run starts it.
func NewView(cluster stream.Cluster, _ *spec.Config, o record.ViewOptions) *View {
	o.Fill()
	v := &View{metrics: record.NewViewMetrics(o.Registerer, "history"), people: record.NewCopy(lists)}
	v.follower = stream.NewFollower(cluster, "state.history", o.Follower(v.apply, record.ChunkTable, record.ClockTable, record.Table))
	return v
}

// Run follows the changelog until ctx ends.
func (v *View) Run(ctx context.Context) error { return v.follower.Run(ctx) }

// CaughtUp is closed once everything that the changelog held at the start has been applied.
func (v *View) CaughtUp() <-chan struct{} { return v.follower.CaughtUp() }

// Footprints are the person's footprints under the identity's floor, oldest first; nil if there are none.
func (v *View) Footprints(id consent.Identity) []Footprint {
	var p record.Person
	known, err := v.people.Read(&p, id.Subject)
	if err != nil {
		v.metrics.Broken.Inc()
		return nil
	}
	if !known || len(p.Lists[0]) == 0 || !bytes.Equal(p.Floor, id.Floor) {
		return nil
	}
	out := make([]Footprint, 0, len(p.Lists[0]))
	for i := range p.Lists[0] {
		f, ok := footprintOf(&p.Lists[0][i])
		if !ok {
			v.metrics.Broken.Inc()
			continue
		}
		out = append(out, f)
	}
	return out
}

func (v *View) apply(recs []stream.Record) {
	began := time.Now()
	for i := range recs {
		v.people.Apply(&recs[i])
	}
	v.metrics.Applied(began, map[string]int{"people": v.people.Len()})
}
