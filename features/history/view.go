// Package history keeps each person's footprints, which the person can see and delete.
package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/features/record"
	"sluice/features/spec"
	"sluice/internal/stream"
	"sluice/privacyfilter/consent"
)

// View follows the history engine's changelog: each person's footprints. It is safe for concurrent use.
//
// It keeps the records on disk as they come, and decodes them when they are asked for: people look at their footprints far less often than they leave some.
type View struct {
	follower *stream.Follower
	metrics  *record.ViewMetrics
	people   *record.Copy
}

// NewView makes the view; Run starts it.
func NewView(cluster stream.Cluster, _ *spec.Config, o record.ViewOptions) *View {
	o.Fill()
	v := &View{metrics: record.NewViewMetrics(o.Registerer, "history"), people: record.NewCopy(lists, o.Spill("history"))}
	options := o.Follower(v.apply, record.ChunkTable, record.ClockTable, record.Table)
	options.Ahead = true // it may wait for a full disk, and whoever is in the lane holds others up
	v.follower = stream.NewFollower(cluster, "state.history", options)
	return v
}

// Run follows the changelog until ctx ends.
func (v *View) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return v.people.Run(ctx) })
	group.Go(func() error { return v.follower.Run(ctx) })
	return group.Wait()
}

// CaughtUp is closed once everything that the changelog held at the start has been applied.
func (v *View) CaughtUp() <-chan struct{} { return v.follower.CaughtUp() }

var errFootprint = errors.New("a footprint that cannot be read")

// Footprints are the person's footprints under the identity's floor, oldest first; nil if there are none. It fails rather than leave one out.
func (v *View) Footprints(id consent.Identity) ([]Footprint, error) {
	out, _, err := v.Page(id, nil, math.MaxInt)
	slices.Reverse(out)
	return out, err
}

// Page reads at most limit of the person's footprints, newest first, from before the given one on (by time and event; nil = from the newest). more tells
// whether there are older ones still. It fails rather than leave one out.
func (v *View) Page(id consent.Identity, before *record.Entry, limit int) (page []Footprint, more bool, err error) {
	var p record.Person
	known, err := v.people.ReadNewest(&p, id.Subject, before, min(limit, math.MaxInt-1)+1)
	if err != nil {
		if errors.Is(err, record.ErrEntries) {
			v.metrics.Broken.Inc()
		}
		return nil, false, fmt.Errorf("reading footprints: %w", err)
	}
	if !known || len(p.Lists[0]) == 0 || !bytes.Equal(p.Floor, id.Floor) {
		return nil, false, nil
	}
	entries := p.Lists[0]
	first := max(0, len(entries)-limit)
	page = make([]Footprint, 0, len(entries)-first)
	for i := len(entries) - 1; i >= first; i-- {
		f, ok := footprintOf(&entries[i])
		if !ok {
			v.metrics.Broken.Inc()
			return nil, false, errFootprint
		}
		page = append(page, f)
	}
	return page, first > 0, nil
}

func (v *View) apply(recs []stream.Record) {
	began := time.Now()
	for i := range recs {
		v.people.Apply(&recs[i])
	}
	v.metrics.Applied(began, map[string]int{"people": v.people.Len()})
}
