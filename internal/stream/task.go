package stream

import (
	"fmt"
	"slices"
)

// Task is one input partition with its state: the unit that moves between processes. One goroutine owns it.
type Task struct {
	Partition int32

	partitions int32 // of every keyed topic

	tables  []table
	emitted []Emitted
	packs   []openPack
	packed  []*Packer // emitted, or full
	spare   []*Packer // of former transactions
	ends    []func(committed bool)
	store   *partitionStore // nil: in memory only
	err     error           // first I/O error; nothing is committed after it
}

// Emitted is a record that a task sends in its transaction.
type Emitted struct {
	Topic     string // short name
	Partition int32
	Key       []byte
	Value     []byte // nil is a tombstone
}

// NewTask makes a task that keeps its state in memory alone, on a cluster of Partitions. Tests drive processors with it.
func NewTask(partition int32) *Task { return Cluster{}.NewTask(partition) }

// NewTask makes a task on the cluster that keeps its state in memory alone.
func (c Cluster) NewTask(partition int32) *Task {
	return &Task{Partition: partition, partitions: c.PartitionCount()}
}

// PartitionOf is the partition of a key, for what the task emits elsewhere.
func (t *Task) PartitionOf(pseudonym []byte) int32 { return PartitionOf(pseudonym, t.partitions) }

// Emit sends a record in the transaction of the record that is being processed. It keeps key and value.
func (t *Task) Emit(topic string, partition int32, key, value []byte) {
	t.emitted = append(t.emitted, Emitted{Topic: topic, Partition: partition, Key: key, Value: value})
}

// AtEnd has end called at the end of every transaction.
func (t *Task) AtEnd(end func(committed bool)) { t.ends = append(t.ends, end) }

// Err is the first I/O error of the task's tables.
func (t *Task) Err() error { return t.err }

// Take returns what was emitted since the last call, the entries of packs one by one, and commits the tables, as a transaction of one step.
func (t *Task) Take() []Emitted {
	t.closePacks()
	out := unpacked(t.emitted)
	if err := t.flush(func(byte, []byte, []byte) {}); err != nil {
		t.fail(err)
		return nil
	}
	t.finish(true)
	return out
}

// Changes commits the tables and returns the changelog records that this makes. Tests feed views with it.
func (t *Task) Changes() []Record {
	var out []Record
	err := t.flush(func(id byte, key, value []byte) {
		out = append(out, Record{Partition: t.Partition, Key: append([]byte{id}, key...), Value: slices.Clone(value)})
	})
	if err != nil {
		t.fail(err)
		return nil
	}
	t.finish(true)
	return out
}

func (t *Task) fail(err error) {
	if t.err == nil {
		t.err = fmt.Errorf("task %d: %w", t.Partition, err)
	}
}

// flush encodes what changed in the open transaction: one call per changed key. Nil values are deletions; keys and values hold until finish.
func (t *Task) flush(yield func(id byte, key, value []byte)) error {
	for _, tb := range t.tables {
		if err := tb.flush(yield); err != nil {
			return err
		}
	}
	return t.err
}

// finish ends the transaction: what changed is now committed, or as it was before.
func (t *Task) finish(commit bool) {
	t.emitted = t.emitted[:0]
	t.dropPacks(commit)
	for _, tb := range t.tables {
		if commit {
			tb.commit()
		} else {
			tb.abort()
		}
	}
	for _, end := range t.ends {
		end(commit)
	}
}

// table is what a task asks of a Table of any type.
type table interface {
	tableID() byte
	tableName() string
	state() *entries
	flush(yield func(id byte, key, value []byte)) error
	commit()
	abort()
	evict() (evicted int)
}
