package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const doubtTimeout = time.Minute // to look at what became of a transaction, and to complete it

// doubt is a transaction that was to be committed, and that no broker has confirmed.
//
// Brokers promise to commit a transaction everywhere or nowhere. If they keep the promise, a session that reads on from the group's offsets is right. Apache
// Kafka 4.1.0 breaks it: a coordinator logs a commit, is killed before a replica has the record, and is back within its broker session (9 s). It still takes
// itself for the coordinator and writes COMMIT to those partitions that it reaches the leaders of. The coordinator elected after it knows of no decision and aborts on
// the others. If the group's offsets were committed and outputs were not, their input is passed by; the other way round it is processed twice. So the next
// session looks at every part, and commits the rest of what was committed in part.
type doubt struct {
	tokens  map[string]bool // of the transactions that carried it; metadata of the offsets that they commit
	inputs  map[topicPartition]*stretch
	outputs []*output
}

// stretch is what was read of an input partition.
type stretch struct {
	first int64
	next  kgo.EpochOffset
	state stretchState
}

type stretchState int

const (
	unmoved stretchState = iota // the group's offset is where it was
	moved                       // the transaction has moved it
	passed                      // another one has
)

// output is a record that was produced.
type output struct {
	record kgo.Record
	at     []int64 // offset in each transaction that carried it
	there  bool    // a reader of committed records has it
}

// token names the next transaction.
func (s *session) token() string {
	s.begun++
	return fmt.Sprintf("%s/%d", s.name, s.begun)
}

// end asks for the commit of the open transaction. The token goes with the offsets.
func (s *session) end(ctx context.Context, token string) (bool, error) {
	ctx = kgo.PreTxnCommitFnContext(context.WithoutCancel(ctx), func(req *kmsg.TxnOffsetCommitRequest) error {
		for _, topic := range req.Topics {
			for i := range topic.Partitions {
				topic.Partitions[i].Metadata = &token
			}
		}
		return nil
	})
	return s.kafka.End(ctx, kgo.TryCommit)
}

// remember keeps what the transaction read and wrote, since no broker said that it was committed. The embedded broker completes its transactions by itself.
func (s *session) remember(token string) {
	if s.o.Journal != nil {
		return
	}
	d := &doubt{tokens: map[string]bool{token: true}, inputs: make(map[topicPartition]*stretch)}
	for _, t := range s.working {
		for _, part := range t.fetched {
			d.read(s.cluster.Topic(part.topic), part.records)
		}
		for i := range t.outputs {
			r := &t.outputs[i]
			d.outputs = append(d.outputs, &output{record: again(r), at: []int64{r.Offset}})
		}
	}
	if len(d.outputs) > 0 { // else it is of one partition, that of the group's offsets
		s.doubt = d
	}
}

func (d *doubt) read(topic string, records []*kgo.Record) {
	first, last := records[0], records[len(records)-1]
	at := topicPartition{topic, first.Partition}
	if d.inputs[at] == nil {
		d.inputs[at] = &stretch{first: first.Offset}
	}
	d.inputs[at].next = kgo.EpochOffset{Epoch: last.LeaderEpoch, Offset: last.Offset + 1}
}

// again is the record as it was given to the client. Its bytes may belong to a table.
func again(r *kgo.Record) kgo.Record {
	return kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Headers: r.Headers, Timestamp: r.Timestamp}
}

// settle looks at what has become of the transaction in doubt, before anything is read or restored, and completes what was committed in part.
func (s *session) settle(ctx context.Context) error {
	d := s.doubt
	if d == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, doubtTimeout)
	defer cancel()
	if err := s.awaitAssignment(ctx); err != nil {
		return err
	}
	if err := d.look(ctx, s.cluster, s.cluster.Topic(s.role.Name)); err != nil {
		return fmt.Errorf("looking at a transaction in doubt: %w", err)
	}
	if d.whole() {
		s.doubt = nil
		return nil
	}
	if d.passedBy() || !s.owns(d) {
		s.o.Logger.Error("the brokers committed a transaction in part, and another member has gone on: outputs are missing or doubled", "role", s.role.Name)
		s.metrics.torn.Inc()
		s.doubt = nil
		return nil
	}
	if err := s.complete(ctx, d); err != nil {
		return fmt.Errorf("completing a transaction that was committed in part: %w", err)
	}
	s.o.Logger.Warn("completed a transaction that the brokers had committed in part", "role", s.role.Name)
	s.metrics.completed.Inc()
	s.doubt = nil
	return nil
}

// awaitAssignment returns once the group has given this session its partitions.
func (s *session) awaitAssignment(ctx context.Context) error {
	for !s.assigned() {
		select {
		case <-s.noted:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the group's partitions: %w", ctx.Err())
		}
	}
	return nil
}

// owns tells whether the transaction's input is this session's now. If it is, nobody else works on it, and what another member began cannot be committed.
func (s *session) owns(d *doubt) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	assigned := make(map[place]bool)
	for _, c := range s.changes {
		assigned[c.place] = c.assigned
	}
	for at := range d.inputs {
		if !assigned[place{s.inputs[at.topic].engine, at.partition}] {
			return false
		}
	}
	return true
}

// look finds out which parts of the transaction are committed. It is decided: taking over the transactional id has waited for that.
func (d *doubt) look(ctx context.Context, cluster Cluster, group string) error {
	client, err := cluster.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	offsets, err := admin.FetchOffsets(kadm.RequireStable(ctx), group)
	if err != nil {
		return err
	}
	for at, in := range d.inputs {
		o, known := offsets.Lookup(at.topic, at.partition)
		switch {
		case o.Err != nil:
			return fmt.Errorf("the group's offset of %s/%d: %w", at.topic, at.partition, o.Err)
		case known && o.At == in.next.Offset && d.tokens[o.Metadata]:
			in.state = moved
		case known && o.At > in.first:
			in.state = passed
		default:
			in.state = unmoved
		}
	}
	return d.lookAtOutputs(ctx, cluster, admin)
}

// places are where outputs were written, by offset.
type places map[topicPartition]map[int64]*output

// places takes every output for one that nobody can read, until it is read.
func (d *doubt) places() places {
	all := make(places)
	for _, out := range d.outputs {
		out.there = false
		tp := topicPartition{out.record.Topic, out.record.Partition}
		if all[tp] == nil {
			all[tp] = make(map[int64]*output)
		}
		for _, at := range out.at {
			all[tp][at] = out
		}
	}
	return all
}

// span says from where to where a partition must be read. The transaction's marker stands behind its records, so that the end comes.
func (p places) span(ctx context.Context, admin *kadm.Client) (from map[string]map[int32]kgo.Offset, last map[topicPartition]int64, err error) {
	var topics []string
	for tp := range p {
		topics = append(topics, tp.topic)
	}
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, nil, err
	}
	from, last = make(map[string]map[int32]kgo.Offset), make(map[topicPartition]int64)
	for tp, outs := range p {
		end, _ := ends.Lookup(tp.topic, tp.partition)
		if end.Err != nil {
			return nil, nil, fmt.Errorf("the end of %s/%d: %w", tp.topic, tp.partition, end.Err)
		}
		offsets := slices.Sorted(maps.Keys(outs))
		if end.Offset <= offsets[0] {
			continue // the brokers have lost it
		}
		last[tp] = min(offsets[len(offsets)-1], end.Offset-1)
		if from[tp.topic] == nil {
			from[tp.topic] = make(map[int32]kgo.Offset)
		}
		from[tp.topic][tp.partition] = kgo.NewOffset().At(offsets[0])
	}
	return from, last, nil
}

// lookAtOutputs reads, as readers of committed records do, where the outputs were written.
func (d *doubt) lookAtOutputs(ctx context.Context, cluster Cluster, admin *kadm.Client) error {
	written := d.places()
	from, last, err := written.span(ctx, admin)
	if err != nil || len(last) == 0 {
		return err
	}
	client, err := cluster.Client(kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	for len(last) > 0 {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fetchError(fetches); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			tp := topicPartition{r.Topic, r.Partition}
			if out := written[tp][r.Offset]; out != nil && !r.Attrs.IsControl() {
				out.there = true
			}
			if end, open := last[tp]; open && r.Offset >= end {
				delete(last, tp)
			}
		})
	}
	return nil
}

// whole tells whether all parts of the transaction are committed, or none.
func (d *doubt) whole() bool {
	none, all := true, true
	for _, in := range d.inputs {
		none, all = none && in.state != moved, all && in.state != unmoved
	}
	for _, out := range d.outputs {
		none, all = none && !out.there, all && out.there
	}
	return none || all
}

// passedBy tells whether others have gone on from where the transaction began, or from its end.
func (d *doubt) passedBy() bool {
	for _, in := range d.inputs {
		if in.state == passed {
			return true
		}
	}
	return false
}

// complete commits the rest of the transaction: the outputs that no reader has, once more, and the offsets that have not moved. An end in doubt of this one
// is looked at by the next session in the same way.
func (s *session) complete(ctx context.Context, d *doubt) error {
	if err := s.kafka.Begin(); err != nil {
		return err
	}
	s.kafka.Client().SetOffsets(d.rest())
	var sent promise
	records := make([]kgo.Record, len(d.outputs))
	for i, out := range d.outputs {
		if !out.there {
			records[i] = out.record
			s.kafka.Produce(ctx, &records[i], sent.keep)
		}
	}
	if err := errors.Join(s.kafka.Client().Flush(ctx), sent.err()); err != nil {
		return err
	}
	for i, out := range d.outputs {
		if !out.there {
			out.at = append(out.at, records[i].Offset)
		}
	}
	token := s.token()
	d.tokens[token] = true
	done, err := s.end(ctx, token)
	if err == nil && !done {
		err = errNotCommitted
	}
	return err
}

// rest are the offsets that the transaction has not moved.
func (d *doubt) rest() map[string]map[int32]kgo.EpochOffset {
	offsets := make(map[string]map[int32]kgo.EpochOffset)
	for at, in := range d.inputs {
		if in.state != unmoved {
			continue
		}
		if offsets[at.topic] == nil {
			offsets[at.topic] = make(map[int32]kgo.EpochOffset)
		}
		offsets[at.topic][at.partition] = in.next
	}
	return offsets
}
