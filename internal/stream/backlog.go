package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// BacklogOptions bound a backlog.
type BacklogOptions struct {
	Limit     int64          // entries that may wait, at most; from there on Take refuses
	Lag       time.Duration  // how long an entry should wait at most: how many may wait follows how old the oldest is; 0 = Limit alone
	Every     time.Duration  // between two looks at the log while something waits; 100 ms if 0
	PerRecord func() float64 // entries that a record of the input holds, as far as this process knows; nil = 1
	Logger    *slog.Logger   // nil = silent
}

const backlogEvery = 100 * time.Millisecond

// Backlog is how many entries of a topic's records wait to be settled. An entry is settled when the role that reads it has committed it, and the roles behind
// have committed what that role made of it. Backlog learns this from committed offsets and the ends of topics, so that it holds for every process of the
// deployment. It adds what this process has written since it last looked. It is safe for concurrent use.
//
// The roles behind the first one read other topics. Their records are another unit: one may hold many events. So the backlog remembers, for
// each look, what the first role had committed and where those topics ended. Whoever has read up to these ends has settled that much.
type Backlog struct {
	cluster Cluster
	first   Role // of one engine with one input
	behind  []Role
	o       BacklogOptions

	mu       sync.Mutex // guards the fields below
	waiting  int64      // at the last look
	added    int64      // since then
	reserved int64      // may be added
	window   window     // of all three
	refused  bool       // somebody was, since then, and many waited
	looked   chan struct{}

	// By the goroutine that runs:
	looks []look // the oldest first, none older than the newest that everybody has settled
}

// look is one look at the log.
type look struct {
	committed int64     // records of the first role's input
	ends      [][]int64 // per topic that the others read and partition, listed afterwards
}

// NewBacklog makes a backlog; Run keeps it.
func NewBacklog(cluster Cluster, first Role, behind []Role, o BacklogOptions) *Backlog {
	if o.Every == 0 {
		o.Every = backlogEvery
	}
	if o.PerRecord == nil {
		o.PerRecord = func() float64 { return 1 }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Backlog{cluster: cluster, first: first, behind: behind, o: o, window: newWindow(o.Limit, o.Lag), looked: make(chan struct{})}
}

// Take counts n entries that are about to be written. It refuses, and counts nothing, while as many wait as may.
func (b *Backlog) Take(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open() {
		return false
	}
	b.added += int64(n)
	return true
}

// Open tells whether there is room for something.
func (b *Backlog) Open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open()
}

// open is Open for those who hold the lock.
func (b *Backlog) open() bool {
	may := b.window.entries()
	open := b.waiting+b.added+b.reserved < may
	b.refused = b.refused || !open && 2*(b.waiting+b.added) >= may // room that is only kept tells nothing of how long entries wait
	return open
}

// Reserve keeps room for about n entries that are still to be decoded, until Fill or Release. It refuses as Take does.
func (b *Backlog) Reserve(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open() {
		return false
	}
	b.reserved += int64(n)
	return true
}

// ReserveLater is Reserve for those who can wait. Its error is ctx's.
func (b *Backlog) ReserveLater(ctx context.Context, n int) error {
	return b.later(ctx, func() bool { return b.Reserve(n) })
}

// Fill counts n entries that are about to be written, in room that was kept for an estimate of them. It refuses, and counts nothing, if there are more than
// that and no room is left. It gives the kept room back in any case.
func (b *Backlog) Fill(kept, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reserved -= int64(kept)
	if n > kept && !b.open() {
		b.tell()
		return false
	}
	b.added += int64(n)
	return true
}

// Release gives back the room that was kept for n entries.
func (b *Backlog) Release(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reserved -= int64(n)
	b.tell()
}

// tell wakes those who wait for room. The lock is held.
func (b *Backlog) tell() {
	close(b.looked)
	b.looked = make(chan struct{})
}

// Waiting is how many entries wait, as far as this process knows.
func (b *Backlog) Waiting() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting + b.added
}

// Bound is how many entries may wait now, by the limit and by how long they have waited.
func (b *Backlog) Bound() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.window.entries()
}

// Reserved is how many entries have room that was kept for them.
func (b *Backlog) Reserved() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reserved
}

// TakeLater is Take for those who can wait. Its error is ctx's.
func (b *Backlog) TakeLater(ctx context.Context, n int) error {
	return b.later(ctx, func() bool { return b.Take(n) })
}

// later tries after each look, and whenever room is given back, until it works.
func (b *Backlog) later(ctx context.Context, try func() bool) error {
	for {
		b.mu.Lock()
		looked := b.looked
		b.mu.Unlock()
		if try() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-looked:
		}
	}
}

// Run looks at the log until ctx ends, while something waits.
func (b *Backlog) Run(ctx context.Context) error {
	client, err := b.cluster.Client()
	if err != nil {
		return fmt.Errorf("watching the backlog: %w", err)
	}
	defer client.Close()
	admin, failing := kadm.NewClient(client), false
	for first := true; ; first = false {
		if first || b.Waiting() > 0 {
			err := b.look(ctx, admin)
			if err != nil && !failing && ctx.Err() == nil {
				b.o.Logger.Warn("could not read how much waits to be settled", "error", err)
			}
			failing = err != nil
		}
		if !pause(ctx, b.o.Every) {
			return nil
		}
	}
}

// look asks the log how much waits. Where it fails, what is known stays, and what is written counts on top of it.
func (b *Backlog) look(ctx context.Context, admin *kadm.Client) error {
	b.mu.Lock()
	before := b.added
	b.mu.Unlock()
	end, now, reached, err := b.ask(ctx, admin)
	if err != nil {
		return err
	}
	settled := b.settled(now, reached)
	waiting := int64(float64(max(0, end-settled)) * b.o.PerRecord())
	b.mu.Lock()
	defer b.mu.Unlock()
	b.window.move(b.window.age(time.Now(), end, settled), waiting, b.refused)
	b.waiting, b.refused = waiting, false
	b.added -= before // what was written meanwhile is counted twice until the next look
	b.tell()
	return nil
}

// ask returns the end of the input, a look, and per topic of the look how far its reader has committed it.
func (b *Backlog) ask(ctx context.Context, admin *kadm.Client) (end int64, now look, reached [][]int64, err error) {
	input := b.cluster.Topic(b.first.Engines[0].Inputs[0])
	committed, err := b.committed(ctx, admin, b.first)
	if err != nil {
		return 0, now, nil, err
	}
	for _, at := range offsetsOf(committed, input) {
		now.committed += at
	}
	topics := []string{input}
	for _, role := range b.behind {
		committed, err := b.committed(ctx, admin, role)
		if err != nil {
			return 0, now, nil, err
		}
		for _, engine := range role.Engines {
			for _, in := range engine.Inputs {
				topics = append(topics, b.cluster.Topic(in))
				reached = append(reached, offsetsOf(committed, b.cluster.Topic(in)))
			}
		}
	}
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, now, nil, fmt.Errorf("listing the ends of what the roles read: %w", err)
	}
	for i, topic := range topics {
		at := make([]int64, Partitions)
		for p := range at {
			at[p] = ends[topic][int32(p)].Offset
		}
		if i > 0 {
			now.ends = append(now.ends, at)
			continue
		}
		for _, offset := range at {
			end += offset
		}
	}
	return end, now, reached, nil
}

// committed are the offsets of a role's group; none where it has never run.
func (b *Backlog) committed(ctx context.Context, admin *kadm.Client, role Role) (kadm.OffsetResponses, error) {
	offsets, err := admin.FetchOffsets(ctx, b.cluster.Topic(role.Name))
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // the embedded broker says so, Kafka has no offsets
		return nil, fmt.Errorf("fetching the offsets of %s: %w", role.Name, err)
	}
	return offsets, nil
}

// offsetsOf are a topic's committed offsets by partition, 0 where nothing was committed yet.
func offsetsOf(committed kadm.OffsetResponses, topic string) []int64 {
	at := make([]int64, Partitions)
	for p := range at {
		if c, ok := committed.Lookup(topic, int32(p)); ok {
			at[p] = max(0, c.At)
		}
	}
	return at
}

// settled is how many records of the input everybody has settled. It takes the newest look such that all other roles have reached its ends, and returns what
// the first role had committed at that look. Before there is one, each record that they have still to read counts as one of the input, which may be too few.
func (b *Backlog) settled(now look, reached [][]int64) int64 {
	if n := len(b.looks); n == 0 || b.looks[n-1].committed < now.committed {
		b.looks = append(b.looks, now)
	}
	for i := range slices.Backward(b.looks) {
		if missing(b.looks[i].ends, reached) == 0 {
			b.looks = slices.Delete(b.looks, 0, i)
			return b.looks[0].committed
		}
	}
	return b.looks[0].committed - missing(b.looks[0].ends, reached)
}

// missing counts the records up to the ends that are not reached.
func missing(ends, reached [][]int64) (n int64) {
	for i := range ends {
		for p := range ends[i] {
			n += max(0, ends[i][p]-reached[i][p])
		}
	}
	return n
}
