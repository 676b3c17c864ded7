package stream

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Look is one look at the log, as Run makes them.
func (b *Backlog) Look(ctx context.Context) error {
	client, err := b.cluster.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	return b.look(ctx, kadm.NewClient(client))
}

// Throughput is what a backlog learns of its looks.
type Throughput struct{ t throughput }

// Look notes what a look finds, and returns the rate.
func (t *Throughput) Look(at time.Time, settled int64, many bool) float64 {
	t.t.look(at, settled, many)
	return t.t.perSecond
}

// Bound is how many entries may wait.
var Bound = bound

// Checkpoint writes what a partition's checkpoint holds: the newest of each key, and its position.
func (s *Store) Checkpoint(partition int32, records []Record, next int64, at time.Time) error {
	b := s.forPartition(partition).newBatch()
	for _, r := range records {
		if err := b.set(r.Key[0], r.Key[1:], r.Value); err != nil {
			return err
		}
	}
	if err := b.setPosition(position{Next: next, Time: at}); err != nil {
		return err
	}
	return b.commit()
}

// NewSmallFeed is a feed that keeps so many bytes.
func NewSmallFeed(limit int) *Feed {
	f := NewFeed()
	f.limit = limit
	return f
}
