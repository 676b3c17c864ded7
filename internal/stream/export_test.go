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

// Window is how many entries of a backlog may wait.
type Window struct{ w window }

// NewWindow makes a window.
func NewWindow(limit int64, target time.Duration) *Window {
	return &Window{newWindow(limit, target)}
}

// Look is one look at the log, which holds one entry a record. It returns how many may wait then.
func (w *Window) Look(at time.Time, end, settled int64, refused bool) int64 {
	w.w.move(w.w.age(at, end, settled), end-settled, refused)
	return w.w.entries()
}

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
