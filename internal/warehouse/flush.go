package warehouse

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/internal/pace"
)

// flush is blocks on their way into the store.
type flush struct {
	blocks []*Block // those that are not empty; of one partition in their order
	froms  map[topicPartition][]*building
	rests  map[topicPartition][]int64 // bounds that are promised after the blocks, and must stay promised
	held                              // what it holds
	began  time.Time
	oldest time.Time     // when its first record was read
	purge  time.Time     // when its oldest purge was read; zero = it has none
	hurry  atomic.Bool   // it must work at full speed from now on
	err    error         // once done is closed
	done   chan struct{} // closed at the end
}

// note adds a partition's oldest row and purge to the flush. The flush is about to take the partition's blocks.
func (f *flush) note(p *part) {
	if b := p.oldest(); b != nil && (f.oldest.IsZero() || b.since.Before(f.oldest)) {
		f.oldest = b.since
	}
	if !p.purge.IsZero() && (f.purge.IsZero() || p.purge.Before(f.purge)) {
		f.purge = p.purge
	}
}

// late tells whether something in the flush has waited for too long.
func (f *flush) late(bound time.Duration) bool {
	return time.Since(f.oldest) >= bound || !f.purge.IsZero() && time.Since(f.began) >= purgeLate
}

// flush stores blocks for as long as it takes, or until the assignment ends. Nothing after them is stored before.
func (s *session) flush(a *assignment, f *flush) error {
	defer s.setWaiting(false)
	if err := s.keepLetters(a, f); err != nil {
		return err
	}
	if len(f.blocks) > 0 {
		for _, blocks := range f.froms {
			for _, b := range blocks {
				b.out.keep()
				b.Purges = b.out.Purges
			}
		}
		if err := s.insist(a.ctx, "storing", func() error { return s.append(a, f) }); err != nil {
			return err
		}
	}
	return s.insist(a.ctx, "committing", func() error { return s.commit(a, f.ends()) })
}

// append promises the blocks and stores them. The promise is made again before each attempt: it fails once others have the partitions.
func (s *session) append(a *assignment, f *flush) error {
	if err := s.commit(a, f.promises()); err != nil {
		return err
	}
	err := s.store.Append(pace.With(a.ctx, pace.New(f.hurry.Load).Behind(s.cluster.Lane)), f.blocks)
	s.setWaiting(err != nil)
	return err
}

// keepLetters writes the dead letters of the blocks, which must not be committed before.
func (s *session) keepLetters(a *assignment, f *flush) error {
	for _, blocks := range f.froms {
		for _, b := range blocks {
			for len(b.letters) > 0 {
				l := b.letters[0]
				err := s.insist(a.ctx, "keeping a record that cannot be decoded", func() error {
					return s.o.Letters.Put(a.ctx, b.Source.Topic, b.Partition, l.offset, l.key, l.value, l.err)
				})
				if err != nil {
					return err
				}
				b.letters = b.letters[1:]
				s.metrics.letters.Inc()
			}
		}
	}
	return nil
}

// commitAt is what a commit says about a partition.
type commitAt struct {
	offset   int64
	metadata string
}

// promises are the bounds of the blocks that are about to be stored.
func (f *flush) promises() map[topicPartition]commitAt {
	at := make(map[topicPartition]commitAt, len(f.froms))
	for tp, blocks := range f.froms {
		for _, b := range blocks {
			if !b.empty() {
				at[tp] = commitAt{blocks[0].First, promise(append(boundsOf(blocks), f.rests[tp]...))}
				break
			}
		}
	}
	return at
}

func boundsOf(blocks []*building) []int64 {
	bounds := make([]int64, len(blocks))
	for i, b := range blocks {
		bounds[i] = b.Next
	}
	return bounds
}

// ends are the offsets after the blocks, and what stays promised after them.
func (f *flush) ends() map[topicPartition]commitAt {
	at := make(map[topicPartition]commitAt, len(f.froms))
	for tp, blocks := range f.froms {
		at[tp] = commitAt{blocks[len(blocks)-1].Next, promise(f.rests[tp])}
	}
	return at
}

// errFenced is that the group has gone on without this member.
var errFenced = errors.New("the group has given the partitions to others")

// commit makes offsets and their metadata durable, as the member and in the generation that the records were read in. After too long a pause the group refuses
// it, however soon the client has joined again.
func (s *session) commit(a *assignment, at map[topicPartition]commitAt) error {
	if len(at) == 0 {
		return nil
	}
	offsets := make(map[string]map[int32]kgo.EpochOffset)
	for tp, c := range at {
		if offsets[tp.topic] == nil {
			offsets[tp.topic] = make(map[int32]kgo.EpochOffset)
		}
		offsets[tp.topic][tp.partition] = kgo.EpochOffset{Epoch: -1, Offset: c.offset}
	}
	ctx := kgo.PreCommitFnContext(a.ctx, func(req *kmsg.OffsetCommitRequest) error {
		req.MemberID, req.Generation = a.member, a.generation
		for i := range req.Topics {
			t := &req.Topics[i]
			for j := range t.Partitions {
				metadata := at[topicPartition{t.Topic, t.Partitions[j].Partition}].metadata
				t.Partitions[j].Metadata = &metadata
			}
		}
		return nil
	})
	var failed error
	s.kafka.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		failed = commitError(resp, err)
	})
	return failed
}

func commitError(resp *kmsg.OffsetCommitResponse, err error) error {
	if err != nil {
		return fmt.Errorf("committing offsets: %w", err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			switch err := kerr.ErrorForCode(p.ErrorCode); {
			case err == nil:
			case errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.FencedInstanceID):
				return fmt.Errorf("committing offsets: %w: %w", errFenced, err)
			default:
				return fmt.Errorf("committing the offset of %s/%d: %w", t.Topic, p.Partition, err)
			}
		}
	}
	return nil
}

// insist does what must be done before anything else can be, for as long as it takes. The error is ctx's or errFenced.
func (s *session) insist(ctx context.Context, what string, do func() error) error {
	var logged time.Time
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		err := do()
		if err == nil || errors.Is(err, errFenced) {
			return err
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		s.metrics.storeErrors.Inc()
		if time.Since(logged) >= time.Minute {
			logged = time.Now()
			s.o.Logger.Warn("the warehouse waits: "+what, "error", err)
		}
		if !pause(ctx, wait) {
			return errors.Join(ctx.Err(), err)
		}
	}
}
