package stream

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"sluice/internal/admission"
)

// piece are records of one input partition, in their order.
type piece struct {
	topic   string // short name
	records []*kgo.Record
}

// transact processes fetched records in one transaction.
func (s *session) transact(ctx context.Context, fetches kgo.Fetches) error {
	if s.o.Journal != nil {
		s.o.Journal.Enter()
		defer s.o.Journal.Leave()
	}
	began := time.Now()
	if err := s.kafka.Begin(); err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	oldest, ok := s.deal(fetches)
	if !ok {
		return s.abort(ctx) // fetched before a rebalance
	}
	if err := s.process(ctx); err != nil {
		return errors.Join(err, s.abort(ctx))
	}
	if err := s.journaled(ctx); err != nil {
		return errors.Join(fmt.Errorf("noting a transaction: %w", err), s.abort(ctx))
	}
	token := s.token()
	committed, err := s.end(ctx, token)
	if err != nil {
		s.remember(token)
		return fmt.Errorf("ending a transaction: %w", err)
	}
	if err := s.forgotten(); err != nil {
		return err
	}
	if !committed {
		return s.refused(token)
	}
	s.feed.committed(s.outputs()...)
	s.finish(true)
	s.metrics.committed.Inc()
	s.metrics.freshness.Observe(time.Since(oldest).Seconds())
	s.metrics.transaction.Observe(time.Since(began).Seconds())
	return nil
}

// errNotCommitted ends a session: if the answer to a commit is lost, the client cannot tell whether it was an abort, and its place in the input may be wrong.
var errNotCommitted = errors.New("a transaction was not committed")

// refused goes on after a transaction that was not committed, if a rebalance explains it: then all tasks are opened anew, from the group's offsets.
func (s *session) refused(token string) error {
	s.metrics.aborted.Inc()
	if s.revoked() {
		s.finish(false)
		return nil
	}
	s.remember(token)
	return errNotCommitted
}

// revoked tells whether the group has taken partitions since they were opened.
func (s *session) revoked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.changes, func(c change) bool { return !c.assigned })
}

// outputs are what the tasks have produced in the open transaction.
func (s *session) outputs() [][]kgo.Record {
	all := make([][]kgo.Record, len(s.working))
	for i, t := range s.working {
		all[i] = t.outputs
	}
	return all
}

func (s *session) abort(ctx context.Context) error {
	_, err := s.kafka.End(context.WithoutCancel(ctx), kgo.TryAbort)
	s.finish(false)
	return err
}

// finish ends the transaction for the tasks that had records in it.
func (s *session) finish(committed bool) {
	s.processed = 0
	for _, t := range s.working {
		if committed {
			s.metrics.engines[t.engine].records.Add(float64(t.processed))
			s.processed += t.processed
		}
		if committed && t.produced > t.next {
			t.next, t.unsaved = t.produced, true
		}
		t.finish(committed)
		clear(t.fetched) // or it would keep the fetched batches alive
		t.fetched, t.processed, t.produced = t.fetched[:0], 0, 0
		t.keys = t.keys[:0]
		if !committed {
			t.keys = nil // perhaps still read
		}
		clear(t.outputs) // they hold what was emitted
		t.outputs = t.outputs[:0]
	}
	s.working = s.working[:0]
}

type topicPartition struct {
	topic     string
	partition int32
}

// deal gives every task its records, in the order of the polls, and returns the oldest record time. It fails for records of a partition that is not assigned.
func (s *session) deal(fetches kgo.Fetches) (oldest time.Time, ok bool) {
	behind := make(map[topicPartition]int64)
	oldest, ok = time.Now(), true
	fetches.EachPartition(func(part kgo.FetchTopicPartition) {
		if !ok || len(part.Records) == 0 {
			return
		}
		in := s.inputs[part.Topic]
		task := s.tasks[place{in.engine, part.Partition}]
		if task == nil {
			ok = false
			return
		}
		last := part.Records[len(part.Records)-1]
		behind[topicPartition{part.Topic, part.Partition}] = part.HighWatermark - last.Offset - 1 // a second poll's follows the first one's
		if first := part.Records[0].Timestamp; first.Before(oldest) {
			oldest = first
		}
		if len(task.fetched) == 0 {
			s.working = append(s.working, task)
		}
		task.fetched = append(task.fetched, piece{in.short, part.Records})
	})
	s.noteLag(behind)
	return oldest, ok
}

// noteLag tells how far the partitions that have given records are behind.
func (s *session) noteLag(behind map[topicPartition]int64) {
	var all int64
	lag := make(map[int]int64)
	for at, n := range behind {
		lag[s.inputs[at.topic].engine] += n
		all += n
	}
	s.setStatus(Status{Joined: true, Tasks: len(s.tasks), Lag: all})
	for engine, n := range lag {
		s.metrics.engines[engine].lag.Set(float64(n))
	}
}

// process makes every task process its records and produce the results, side by side, and waits until the brokers have everything. The records of an output
// partition come from one task, so they have that task's order. Only topics that several tasks write (entities) have no order among tasks.
func (s *session) process(ctx context.Context) error {
	var sent promise
	var tasks errgroup.Group
	tasks.SetLimit(runtime.GOMAXPROCS(0))
	for _, t := range s.working {
		tasks.Go(func() error {
			if err := t.process(s.cluster.Lane); err != nil {
				return err
			}
			return s.produce(ctx, t, &sent)
		})
	}
	if err := tasks.Wait(); err != nil {
		return err
	}
	if err := s.kafka.Client().Flush(ctx); err != nil {
		return fmt.Errorf("flushing: %w", err)
	}
	if err := sent.err(); err != nil {
		return fmt.Errorf("producing: %w", err)
	}
	for _, t := range s.working {
		for i := range t.outputs[t.changes:] {
			t.produced = max(t.produced, t.outputs[t.changes+i].Offset+1)
		}
	}
	return nil
}

// process gives the task its records, one after the other.
func (t *liveTask) process(lane *admission.Lane) error {
	for _, part := range t.fetched {
		for _, r := range part.records {
			if r.Attrs.IsControl() {
				continue
			}
			if err := t.processRecord(lane, RecordOf(r, part.topic)); err != nil {
				return err
			}
		}
	}
	t.closePacks()
	return nil
}

// processRecord is one slice of the lane's work: a record, or a pack of them.
func (t *liveTask) processRecord(lane *admission.Lane, rec Record) error {
	lane.Enter()
	defer lane.Leave()
	for entry := range rec.Entries() {
		if err := t.processEntry(entry); err != nil {
			return &processError{fmt.Errorf("processing %s/%d at %d, entry %d: %w", rec.Topic, rec.Partition, rec.Offset, entry.Index, err)}
		}
	}
	return nil
}

func (t *liveTask) processEntry(entry *Record) error {
	if entry.KeyID != 0 {
		return fmt.Errorf("sealed with key %d: the entry must be plain", entry.KeyID)
	}
	t.processed++
	if err := t.processor.Process(entry); err != nil {
		return err
	}
	return t.Err()
}

// produce sends what the task emitted, and then one changelog record per changed key.
func (s *session) produce(ctx context.Context, t *liveTask, sent *promise) error {
	for _, e := range t.emitted {
		t.outputs = append(t.outputs, kgo.Record{Topic: t.full(s.cluster, e.Topic), Partition: e.Partition, Key: e.Key, Value: e.Value})
	}
	t.changes = len(t.outputs)
	err := t.flush(func(id byte, key, value []byte) {
		from := len(t.keys)
		t.keys = append(append(t.keys, id), key...)
		t.outputs = append(t.outputs, kgo.Record{Topic: t.changelog, Partition: t.Partition, Key: t.keys[from:len(t.keys):len(t.keys)], Value: value})
	})
	if err != nil {
		return &processError{err}
	}
	for i := range t.outputs {
		s.kafka.Produce(ctx, &t.outputs[i], sent.keep)
	}
	return nil
}

// full is the topic's full name, which is made once.
func (t *liveTask) full(cluster Cluster, topic string) string {
	name, ok := t.topics[topic]
	if !ok {
		name = cluster.Topic(topic)
		t.topics[topic] = name
	}
	return name
}

// promise keeps the first error of what was produced.
type promise struct {
	mu    sync.Mutex // guards first
	first error
}

func (p *promise) keep(_ *kgo.Record, err error) {
	if err == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first == nil {
		p.first = err
	}
}

func (p *promise) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first
}
