// Package stream is the runtime that the filter and every feature engine run on: partition tasks with typed state in memory,
// one transaction per process and role, changelogs, checkpoints in Pebble, and followers that build views from changelogs.
package stream

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Partitions is the number of partitions of every keyed topic. It is fixed: a key's partition must never change.
const Partitions = 16

// Cluster says where Kafka is and what the topics are called.
type Cluster struct {
	Brokers []string  // host:port
	Prefix  string    // of every topic, group and transactional id; "sluice." by default
	Options []kgo.Opt // TLS, SASL, hooks; added to every client
}

// Topic is the full name of the topic called name ("events" → "sluice.events").
func (c Cluster) Topic(name string) string { return c.Prefix + name }

// Record is one record as a processor or a follower sees it. Key and Value must not be kept unless copied by decoding.
type Record struct {
	Partition int32
	Offset    int64
	Key       []byte
	Value     []byte // nil is a tombstone
	Time      time.Time
}

// Processor folds the records of one partition into its task's tables and emits records. It never reads the wall clock.
type Processor interface {
	// Process handles one record. An error stops the task's process: it is for broken invariants and I/O, never for bad input.
	Process(rec *Record) error
}

// Codec writes and reads a table's values. Encode appends to buf.
type Codec[V any] interface {
	Encode(buf []byte, v *V) ([]byte, error)
	Decode(data []byte) (*V, error)
	Clone(v *V) *V
}
