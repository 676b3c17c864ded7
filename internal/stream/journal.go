package stream

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Journal remembers a transaction from just before its end is asked for until it has ended. Apache Kafka needs none: its coordinator logs the decision and
// completes it. The embedded broker ends a transaction partition by partition. If it dies in between, the next start completes the transaction from the
// journal.
type Journal interface {
	// Enter is called before a transaction opens. It may wait: the embedded broker compacts only while no transaction is open.
	Enter()
	// Leave is called when it is over, whatever became of it.
	Leave()
	// Begin is called when all of the transaction is written, right before its end. An error aborts the transaction.
	Begin(t Transaction) error
	// End is called when the transaction has ended, either way.
	End() error
}

// Transaction is what a transaction wrote and what it will commit.
type Transaction struct {
	Group      string  // consumer group of the offsets
	ProducerID int64   // of the transactional id
	Outputs    []Span  // what was written
	Offsets    []Place // input offsets, to be committed with it
	Certain    bool    // it must be completed even if none of it is committed yet: it repairs another one
}

// Span is what a transaction wrote to one partition: the offsets of its first and last record.
type Span struct {
	Topic       string // full name
	Partition   int32
	First, Last int64
}

// Place is a position in an input partition.
type Place struct {
	Topic     string // full name
	Partition int32
	Epoch     int32 // leader epoch, -1 = not known
	Offset    int64 // the next record to be read
}

// journaled notes the transaction at hand in the journal, where there is one.
func (s *session) journaled(ctx context.Context) error {
	if s.o.Journal == nil {
		return nil
	}
	id, _, err := s.kafka.Client().ProducerID(ctx)
	if err != nil {
		return err
	}
	t := Transaction{Group: s.cluster.Topic(s.role.Name), ProducerID: id, Outputs: Spans(s.outputs()...)}
	for topic, partitions := range s.kafka.Client().UncommittedOffsets() {
		for p, at := range partitions {
			t.Offsets = append(t.Offsets, Place{Topic: topic, Partition: p, Epoch: at.Epoch, Offset: at.Offset})
		}
	}
	return s.o.Journal.Begin(t)
}

// forgotten tells the journal that the transaction has ended.
func (s *session) forgotten() error {
	if s.o.Journal == nil {
		return nil
	}
	return s.o.Journal.End()
}

// Spans are where produced records are: one span a partition.
func Spans(produced ...[]kgo.Record) []Span {
	at := make(map[topicPartition]int)
	var all []Span
	for _, records := range produced {
		for i := range records {
			r := &records[i]
			n, seen := at[topicPartition{r.Topic, r.Partition}]
			if !seen {
				at[topicPartition{r.Topic, r.Partition}] = len(all)
				all = append(all, Span{Topic: r.Topic, Partition: r.Partition, First: r.Offset, Last: r.Offset})
				continue
			}
			all[n].First, all[n].Last = min(all[n].First, r.Offset), max(all[n].Last, r.Offset)
		}
	}
	return all
}
