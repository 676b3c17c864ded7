package warehouse

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// session is one life as a member of the group. One goroutine polls and builds blocks, at most one other stores them meanwhile.
type session struct {
	*Writer
	sources map[string]*Source // by full topic
	kafka   *kgo.Client
	flushes sync.WaitGroup

	recordBytes int // of an average record, as last read; only the polling goroutine touches it

	mu      sync.Mutex
	coming  *assignment // assigned, its offsets are being fetched
	current *assignment // nil while the group rebalances
}

// assignment is what one generation of the group gave to this member. It dies with the generation, and all that was read under it.
type assignment struct {
	member     string
	generation int32
	parts      map[topicPartition]*part
	flight     *flush // under way, nil = none
	spares     spares
	purging    time.Duration // how long the last flush with purges took

	ctx  context.Context // ends when the partitions are revoked or lost
	drop context.CancelFunc
}

func (w *Writer) session(ctx context.Context, sources map[string]*Source) (err error) {
	s := &session{Writer: w, sources: sources}
	if s.kafka, err = w.client(s); err != nil {
		return err
	}
	defer s.flushes.Wait()
	defer s.revoked(ctx, nil, nil)
	defer s.kafka.CloseAllowingRebalance()
	for {
		a, err := s.step(ctx)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			s.finish(ctx, a)
			return nil
		}
	}
}

// assigned begins an assignment. Only this callback can be relied on: the one of a revocation may be skipped.
func (s *session) assigned(_ context.Context, client *kgo.Client, partitions map[string][]int32) {
	a := s.assign()
	a.member, a.generation = client.GroupMetadata()
	a.ctx, a.drop = context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropAll()
	if len(partitions) == 0 {
		s.current = a // no offsets will be fetched
		return
	}
	s.coming = a
}

// assign makes an assignment without partitions.
func (w *Writer) assign() *assignment {
	return &assignment{parts: make(map[topicPartition]*part), spares: spares{most: w.o.MaxBytes / sparesShare}}
}

// part is one partition of it.
func (a *assignment) part(w *Writer, source *Source, partition int32, committed int64, promised []int64) *part {
	p := newPart(source, partition, w.o.MaxRows, committed, promised, w.store)
	p.spares = &a.spares
	return p
}

// fetched completes an assignment with the group's offsets and what they promise, before the first record is read.
func (s *session) fetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.coming
	if a == nil {
		return nil
	}
	for _, group := range resp.Groups {
		for _, t := range group.Topics {
			source := s.sources[t.Topic]
			if source == nil {
				continue
			}
			for _, p := range t.Partitions {
				err := kerr.ErrorForCode(p.ErrorCode)
				var promised []int64
				if err == nil {
					promised, err = parsePromise(p.Offset, p.Metadata)
				}
				if err != nil {
					return fmt.Errorf("reading the group's offset of %s/%d: %w", t.Topic, p.Partition, err)
				}
				a.parts[topicPartition{t.Topic, p.Partition}] = a.part(s.Writer, source, p.Partition, p.Offset, promised)
			}
		}
	}
	s.coming, s.current = nil, a
	return nil
}

// adjust makes the client read on where the store's rows end, if the group's offset lies before.
func (s *session) adjust(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	a := s.assignment()
	if a == nil {
		return offsets, nil
	}
	for topic, partitions := range offsets {
		for partition := range partitions {
			if p := a.parts[topicPartition{topic, partition}]; p != nil && p.start >= 0 {
				partitions[partition] = kgo.NewOffset().At(p.start)
			}
		}
	}
	return offsets, nil
}

func (s *session) revoked(context.Context, *kgo.Client, map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropAll()
}

// dropAll ends the assignment: its flush gives up waiting, its buffers are let go.
func (s *session) dropAll() {
	for _, a := range []*assignment{s.coming, s.current} {
		if a != nil {
			a.drop()
		}
	}
	s.coming, s.current = nil, nil
}

func (s *session) assignment() *assignment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// step reads some records, and begins or ends a flush. It returns the assignment under which it worked, nil if there is none.
func (s *session) step(ctx context.Context) (*assignment, error) {
	defer s.kafka.AllowRebalance()
	if a := s.assignment(); a != nil && a.flight != nil && s.full(a) {
		a.flight.hurry.Store(true)
		s.kafka.AllowRebalance()
		a.await(ctx, idlePoll)
		return a, s.settle(a)
	}
	fetches := s.poll(ctx)
	a := s.assignment() // it cannot change until rebalances are allowed again
	if err := s.fetchErrors(fetches); err != nil {
		return a, err
	}
	if a == nil {
		s.setStatus(Status{})
		return nil, nil
	}
	if err := s.take(a, fetches); err != nil {
		return a, err
	}
	s.kafka.AllowRebalance()
	return a, s.settle(a)
}

// poll reads some records. It ends early when a flush does: the next one may be due.
func (s *session) poll(ctx context.Context) kgo.Fetches {
	ctx, cancel := context.WithTimeout(ctx, idlePoll)
	defer cancel()
	if a := s.assignment(); a != nil && a.flight != nil {
		go func(done <-chan struct{}) {
			select {
			case <-done:
				cancel()
			case <-ctx.Done():
			}
		}(a.flight.done)
	}
	return s.kafka.PollRecords(ctx, min(pollRecords, 1+pollBytes/max(1, s.recordBytes)))
}

// fetchErrors logs what the client mends by itself, and returns what it does not.
func (s *session) fetchErrors(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled) {
			continue
		}
		if e.Topic == "" {
			return fmt.Errorf("reading for the warehouse: %w", e.Err)
		}
		s.o.Logger.Warn("could not read for the warehouse; it will be tried again", "topic", e.Topic, "partition", e.Partition, "error", e.Err)
	}
	return nil
}

// take puts the records into their partitions' blocks.
func (s *session) take(a *assignment, fetches kgo.Fetches) (err error) {
	now := time.Now()
	records, size := 0, 0
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		p := a.parts[topicPartition{f.Topic, f.Partition}]
		if p == nil || err != nil || len(f.Records) == 0 {
			return
		}
		p.high = f.HighWatermark
		s.notePassed(p, f.Records)
		for _, r := range f.Records {
			records, size = records+1, size+len(r.Key)+len(r.Value)
			s.cluster.Lane.Enter()
			broken := p.add(r, p.source.Topic, now)
			s.cluster.Lane.Leave()
			if broken == nil {
				continue
			}
			if s.o.Letters == nil {
				err = &recordError{fmt.Errorf("decoding %s/%d at %d: %w", p.source.Topic, r.Partition, r.Offset, broken)}
				return
			}
		}
		p.measure()
	})
	if records > 0 {
		s.recordBytes = size / records
	}
	return err
}

// notePassed says once that records are passed by since their offsets lie before what is stored: no log goes back as long as it is the same.
func (s *session) notePassed(p *part, records []*kgo.Record) {
	if first := records[0].Offset; first < p.next && !p.passed {
		p.passed = true
		s.o.Logger.Warn("the warehouse passes records by, since it has their partition up to a later offset: a log that was started anew needs another kafka.generation",
			"topic", p.source.Topic, "partition", p.partition, "offset", first, "stored", p.stored)
	}
}

// settle ends a flush that is done, and begins the next one if it is time.
func (s *session) settle(a *assignment) error {
	if a.flight != nil {
		select {
		case <-a.flight.done:
			if err := s.land(a); err != nil {
				return err
			}
		default:
		}
	}
	if a.flight == nil {
		s.begin(a, s.due(a))
	}
	if a.flight != nil && s.pressed(a) {
		a.flight.hurry.Store(true)
	}
	s.report(a)
	return nil
}

// begin stores what is there in another goroutine, of each partition up to its next purge. If not all are to be stored, it takes the urgent partitions alone:
// the other blocks grow, and the store gets fewer of them.
func (s *session) begin(a *assignment, all bool) {
	f := a.gather(s.store, all, a.purgeDelay(s.o.Flush))
	if len(f.froms) == 0 {
		return
	}
	a.flight = f
	s.flushes.Go(func() {
		f.err = s.flush(a, f)
		close(f.done)
	})
}

// gather takes the blocks of a flush. Purges have waited for others for the delay before they make it.
func (a *assignment) gather(store Store, all bool, delay time.Duration) *flush {
	f := &flush{
		done: make(chan struct{}), began: time.Now(), froms: make(map[topicPartition][]*building), rests: make(map[topicPartition][]int64),
	}
	for at, p := range a.parts {
		if !all && !p.urgent(store, delay) {
			continue
		}
		f.note(p)
		taken := p.take()
		if len(taken) == 0 {
			continue
		}
		f.froms[at], f.rests[at] = taken, p.rest()
		for _, b := range taken {
			f.add(b.held)
			if !b.empty() {
				f.blocks = append(f.blocks, &b.Block)
			}
		}
	}
	return f
}

// purgeDelay is how long purges wait for others now, at most as long as rows do.
func (a *assignment) purgeDelay(most time.Duration) time.Duration {
	return max(purgeDelay, min((purgeShare-1)*a.purging, most))
}

// land takes the result of a flush that is done.
func (s *session) land(a *assignment) error {
	f := a.flight
	a.flight = nil
	if f.err != nil {
		if a.ctx.Err() != nil {
			return nil // another assignment has come or is coming
		}
		return f.err
	}
	took := time.Since(f.began)
	if !f.purge.IsZero() {
		a.purging = took
	}
	s.metrics.stored(f, took) // before the blocks' columns are emptied for the next ones
	select {
	case s.stored <- struct{}{}:
	default:
	}
	for at, blocks := range f.froms {
		p := a.parts[at]
		p.stored = blocks[len(blocks)-1].Next
		for _, b := range blocks {
			a.spares.put(b)
		}
	}
	return nil
}

const (
	early       = 8 // a flush begins an eighth of Flush before its oldest row is as old as that: it works at a pace meanwhile, and not any more after
	flushAt     = 2 // a flush begins when half of the bound is in use: most of the other half is read while it is stored
	pressedAt   = 4 // it works at a pace until all but a quarter of the bound is taken
	readAhead   = 8 // reading stops an eighth before the bound, since a fetch that has begun is read to its end
	sparesShare = 4 // of the bound may be columns that wait for the next blocks
)

// due tells whether it is time for a flush of all partitions: a row has waited long enough, or there is too much. Columns that are mostly empty may take
// the bound, too, and only a flush lets them go.
func (s *session) due(a *assignment) bool {
	for _, p := range a.parts {
		b := p.oldest()
		if b == nil {
			continue
		}
		if time.Since(b.since) >= s.o.Flush-s.o.Flush/early || len(p.complete) >= maxBlocks {
			return true
		}
	}
	return a.held().used >= s.o.MaxBytes/flushAt || s.full(a)
}

// pressed tells whether the flush under way must not work at a pace any more.
func (s *session) pressed(a *assignment) bool {
	return a.flight.late(s.o.Flush) || a.held().bytes-a.spares.bytes >= s.o.MaxBytes-s.o.MaxBytes/pressedAt
}

// full tells whether reading must wait for the store. Before it does, what is spare is let go.
func (s *session) full(a *assignment) bool {
	limit := s.o.MaxBytes - s.o.MaxBytes/readAhead
	if a.held().bytes < limit {
		return false
	}
	a.spares.drop()
	return a.held().bytes >= limit
}

// finish stores what was read, when Run ends.
func (s *session) finish(ctx context.Context, a *assignment) {
	if a == nil {
		return
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.stopGrace)
	defer cancel()
	for a.ctx.Err() == nil {
		if a.flight == nil {
			s.begin(a, true)
		}
		if a.flight == nil {
			return
		}
		a.flight.hurry.Store(true)
		a.await(grace, s.stopGrace)
		select {
		case <-a.flight.done:
		case <-a.ctx.Done():
			return
		default:
			s.o.Logger.Warn("the store did not answer before the end; what was read last will be read again", "rows", a.held().rows)
			return
		}
		if err := s.land(a); err != nil {
			s.o.Logger.Warn("the last flush failed; what was read last will be read again", "rows", a.held().rows, "error", err)
			return
		}
	}
}

// await waits for the flush under way, for the end of the assignment or of ctx, at most for d.
func (a *assignment) await(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-a.flight.done:
	case <-a.ctx.Done():
	case <-ctx.Done():
	case <-timer.C:
	}
}

// held counts what is in memory.
func (a *assignment) held() (h held) {
	if a.flight != nil {
		h = a.flight.held
	}
	for _, p := range a.parts {
		h.add(p.held)
	}
	h.bytes += a.spares.bytes
	return h
}

func (s *session) report(a *assignment) {
	h := a.held()
	status := Status{Joined: true, Rows: h.rows, Bytes: h.bytes}
	var oldest time.Time
	note := func(b *building) {
		if b != nil && (oldest.IsZero() || b.since.Before(oldest)) {
			oldest = b.since
		}
	}
	for _, p := range a.parts {
		status.Lag += p.lag()
		note(p.oldest())
	}
	if a.flight != nil {
		for _, blocks := range a.flight.froms {
			note(blocks[0])
		}
	}
	s.setStatus(status)
	age := 0.0
	if !oldest.IsZero() {
		age = time.Since(oldest).Seconds()
	}
	s.metrics.oldest.Set(age)
}
