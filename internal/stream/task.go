package stream

import "fmt"

// Task is one input partition with its state: the unit that moves between processes. One goroutine owns it.
type Task struct {
	Partition int32

	tables  []table
	emitted []Emitted
	buffers []Buffer
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

// Buffer gathers what a processor emits, so that many of a transaction's events share one record.
type Buffer interface {
	// Flush emits what was gathered. It is called once per task and transaction, after the last record and before the outputs are produced.
	Flush() error
	// Discard forgets what was gathered: the transaction was aborted.
	Discard()
}

// NewTask makes a task that keeps its state in memory alone. Tests drive processors with it.
func NewTask(partition int32) *Task { return &Task{Partition: partition} }

// Emit sends a record in the transaction of the record that is being processed. It keeps key and value.
func (t *Task) Emit(topic string, partition int32, key, value []byte) {
	t.emitted = append(t.emitted, Emitted{Topic: topic, Partition: partition, Key: key, Value: value})
}

// Attach has b flushed with every transaction of the task. An engine's Open calls it.
func (t *Task) Attach(b Buffer) { t.buffers = append(t.buffers, b) }

// Err is the first I/O error of the task's tables.
func (t *Task) Err() error { return t.err }

// Take returns what was emitted since the last call and commits the tables, as a transaction of one step.
func (t *Task) Take() []Emitted {
	if err := t.flushBuffers(); err != nil {
		t.fail(err)
		return nil
	}
	out := t.emitted
	t.emitted = nil
	if err := t.flush(func(byte, []byte, []byte) {}); err != nil {
		t.fail(err)
		return nil
	}
	t.finish(true)
	return out
}

// Changes commits the tables and returns the changelog records that this makes. Tests feed views with it.
func (t *Task) Changes() []Record {
	if err := t.flushBuffers(); err != nil {
		t.fail(err)
		return nil
	}
	var out []Record
	err := t.flush(func(id byte, key, value []byte) {
		out = append(out, Record{Partition: t.Partition, Key: append([]byte{id}, key...), Value: value})
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

// flushBuffers has the task's buffers emit what they hold. It comes before flush, since it may still change tables.
func (t *Task) flushBuffers() error {
	for _, b := range t.buffers {
		if err := b.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// flush encodes what changed in the open transaction: one call per changed key. Nil values are deletions.
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
	if !commit {
		for _, b := range t.buffers {
			b.Discard()
		}
	}
	for _, tb := range t.tables {
		if commit {
			tb.commit()
		} else if err := tb.abort(); err != nil {
			t.fail(err)
		}
	}
}

// table is what a task asks of a Table of any type.
type table interface {
	tableID() byte
	tableName() string
	size() int
	flush(yield func(id byte, key, value []byte)) error
	commit()
	abort() error
	checkpoint(set func(key, value []byte) error) error
	evict(limit int)
}
