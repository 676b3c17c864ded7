package stream

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// feedSilence is how long a partition that the feed brought nothing for stays without being fetched: what other processes write shows only then.
const feedSilence = time.Second

// feeding is where a follower's records come from: its client fetches them, or it takes them from the feed. A partition that the feed continues is not fetched.
// It is fetched again when the feed has gone on without it, or has been silent for a while, or when somebody waits for what the feed does not have: a marker,
// or another process's records.
//
//	fetched ──the feed continues it──▶ fed ──missed, silence, or somebody waits──▶ fetched, from where the feed has led
type feeding struct {
	client *kgo.Client
	topic  string      // full name
	reader *feedReader // nil: all is fetched

	fedTo [Partitions]int64     // what is fetched below it is known already: it was on its way when the feed brought it
	since [Partitions]time.Time // a fed partition's last records from the feed; zero = fetched
}

// longAgo makes a partition be fetched at once.
var longAgo = time.Unix(0, 0)

func newFeeding(client *kgo.Client, cluster Cluster, topic string, unfed bool) *feeding {
	d := &feeding{client: client, topic: topic}
	if cluster.Feed != nil && !unfed {
		d.reader = cluster.Feed.reader(topic)
	}
	return d
}

func (d *feeding) close() {
	if d.reader != nil {
		d.reader.close()
	}
}

// poll sends what the client fetches until ctx ends.
func (d *feeding) poll(ctx context.Context, to chan<- kgo.Fetches) {
	for ctx.Err() == nil {
		fetches := d.client.PollRecords(ctx, 20_000)
		select {
		case to <- fetches:
		case <-ctx.Done():
		}
	}
}

// wake tells of new records at the feed.
func (d *feeding) wake() <-chan struct{} {
	if d.reader == nil {
		return nil
	}
	return d.reader.wake
}

// known tells whether the feed has already brought a fetched record.
func (d *feeding) known(r *kgo.Record) bool { return r.Offset < d.fedTo[r.Partition] }

// take is what the feed has for partitions that are applied up to the offsets. These are not fetched from now on.
func (d *feeding) take(applied []int64) (taken [Partitions][]segment, some bool) {
	if d.reader == nil {
		return taken, false
	}
	var pause []int32
	for i, next := range applied {
		p := int32(i)
		var missed bool
		taken[p], missed = d.reader.take(p, next)
		if missed && !d.since[p].IsZero() {
			d.since[p] = longAgo
		}
		if len(taken[p]) == 0 {
			continue
		}
		some = true
		if d.since[p].IsZero() {
			pause = append(pause, p)
		}
		d.since[p] = time.Now()
		d.fedTo[p] = taken[p][len(taken[p])-1].last + 1
	}
	if len(pause) > 0 {
		d.client.PauseFetchPartitions(map[string][]int32{d.topic: pause})
	}
	return taken, some
}

// resume fetches those fed partitions again that the feed is silent about, or of which more is wanted than is applied. It returns when to look again; zero if
// nothing is fed.
func (d *feeding) resume(applied []int64, wanted func(p int32) int64) (next time.Time) {
	offsets := make(map[int32]kgo.EpochOffset)
	var partitions []int32
	for i := range applied {
		p := int32(i)
		until := d.since[p].Add(feedSilence)
		switch {
		case d.since[p].IsZero():
		case wanted(p) > applied[p] || time.Now().After(until):
			d.since[p] = time.Time{}
			partitions = append(partitions, p)
			offsets[p] = kgo.EpochOffset{Epoch: -1, Offset: applied[p]}
		case next.IsZero() || until.Before(next):
			next = until
		}
	}
	if len(partitions) > 0 {
		// In this order, so that the fetch that the new offsets begin has the partitions.
		d.client.ResumeFetchPartitions(map[string][]int32{d.topic: partitions})
		d.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{d.topic: offsets})
	}
	return next
}
