package consent

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"sluice/internal/stream"
	"sluice/internal/topics"
)

const (
	leaseLength = time.Second            // a node without a newer lease refuses after this
	fetchWait   = 250 * time.Millisecond // of the broker, on sluice.consent: a fetch that is lost must not cost the lease
	leaseEvery  = 200 * time.Millisecond // between the beginnings of two renewals
	// heartbeatLife is how long a heartbeat speaks for its node. A node that could not write one for so long refuses, and the others do not wait for it.
	heartbeatLife = 3 * time.Second
	// drift is what a waiting node adds, since two machines' clocks do not run at quite the same rate.
	drift = 50 * time.Millisecond
)

// lease is what a node may serve on. All times are readings of its own boot clock.
type lease struct {
	mu    sync.Mutex // held by writers
	state atomic.Pointer[leaseState]
}

type leaseState struct {
	from  time.Duration // everything that was acknowledged before this time is applied; 0 = no lease yet
	beat  time.Duration // when the newest heartbeat that is durable was sent
	since time.Duration // when the present unbroken row of heartbeats was known to be durable: until then others did not know of this node
	ended bool          // the node is leaving
}

func (l *lease) load() leaseState {
	if s := l.state.Load(); s != nil {
		return *s
	}
	return leaseState{}
}

// holds tells whether the node may serve. A lease counts only if it was taken after the others could know of the node: see Acknowledge.
func (l *lease) holds(now time.Duration) bool { return l.held(l.state.Load(), now) }

// held tells whether a state that was the lease's a moment ago still lets the node serve.
func (l *lease) held(s *leaseState, now time.Duration) bool {
	return s != nil && !l.load().ended && s.from > s.since && now-s.from < leaseLength && now-s.beat < heartbeatLife
}

// lapsed is for how long there has been no lease, 0 while there is one.
func (l *lease) lapsed(now time.Duration) time.Duration {
	if l.holds(now) {
		return 0
	}
	s := l.load()
	return max(time.Nanosecond, now-min(s.from+leaseLength, s.beat+heartbeatLife))
}

func (l *lease) update(change func(s *leaseState)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.load()
	change(&s)
	l.state.Store(&s)
}

// renewed sets the lease to the time at which the offsets that are applied by now were asked for.
func (l *lease) renewed(from time.Duration) {
	l.update(func(s *leaseState) { s.from = max(s.from, from) })
}

// beaten notes a heartbeat that was sent at one time and known to be durable at another.
func (l *lease) beaten(sent, durable time.Duration) {
	l.update(func(s *leaseState) {
		if s.since == 0 || durable-s.beat >= heartbeatLife {
			s.since = durable
		}
		s.beat = sent
	})
}

func (l *lease) end() { l.update(func(s *leaseState) { s.ended = true }) }

// keepLease begins a renewal every leaseEvery until ctx ends, even while earlier ones are not done. If it waited for each, two renewals that take more than
// half of leaseLength would let the lease lapse between them.
func (v *View) keepLease(ctx context.Context, client *kgo.Client) error {
	const most = int(leaseLength / leaseEvery)
	renewed := make(chan error, most)
	var renewing sync.WaitGroup
	defer renewing.Wait()
	ticker := time.NewTicker(leaseEvery)
	defer ticker.Stop()
	under := 0
	begin := func() {
		if under < most {
			under++
			renewing.Go(func() { renewed <- v.renew(ctx, client) })
		}
	}
	begin()
	for failing, open := false, false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			begin()
		case err := <-renewed:
			under--
			if err != nil && !failing && ctx.Err() == nil {
				v.logger.Warn("could not renew the lease on consent", "error", err)
			}
			failing = err != nil
			if !open && v.Leased() {
				open = true
				close(v.caughtUp)
			}
		}
	}
}

// renew takes the time, asks how far sluice.consent reaches, and waits until the view has applied that much.
//
// Restrictions must be applied up to the high watermark, rows up to the last stable offset: a permission may be late, but a row that has overtaken a
// restriction may stand alone on the log, its restriction compacted away. Compaction goes no further than the last stable offset, and on the embedded broker runs only while no transaction is open.
func (v *View) renew(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, leaseLength)
	defer cancel()
	from := v.boot()
	topic := v.cluster.Topic(topics.Consent)
	var high, stable []int64
	asking, asked := errgroup.WithContext(ctx) // both at once: on slow brokers the two ways there and back are most of the lease
	asking.Go(func() (err error) {
		high, err = ends(asked, client, topic, int(v.cluster.PartitionCount()), highWatermark)
		return err
	})
	asking.Go(func() (err error) {
		stable, err = ends(asked, client, topic, int(v.cluster.PartitionCount()), lastStable)
		return err
	})
	if err := asking.Wait(); err != nil {
		return fmt.Errorf("listing the ends of %s: %w", topic, err)
	}
	if err := reached(ctx, v.restrictions, high); err != nil {
		return fmt.Errorf("applying the restrictions of %s: %w", topic, err)
	}
	if err := reached(ctx, v.rows, stable); err != nil {
		return fmt.Errorf("applying the rows of %s: %w", topic, err)
	}
	v.lease.renewed(from)
	return nil
}

// reached waits until the follower has applied all partitions up to the offsets.
func reached(ctx context.Context, f *stream.Follower, next []int64) error {
	for p, offset := range next {
		if err := f.Wait(ctx, int32(p), offset); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	return nil
}
