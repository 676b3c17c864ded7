// Package stream is the runtime of the filter and of every feature engine. It has partition tasks with typed state in memory, one transaction for each process
// and role, changelogs, checkpoints in Pebble, and followers that build views from changelogs.
package stream

import (
	"encoding/binary"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/admission"
)

// Partitions is the number of partitions of every keyed topic of a cluster that names no other, and the most that one may have.
const Partitions = 16

// Cluster says where Kafka is and what the topics are called.
type Cluster struct {
	Brokers []string  // host:port
	Prefix  string    // of every topic, group and transactional id; "sluice." by default
	Options []kgo.Opt // TLS, SASL, hooks; added to every client
	// Partitions of every keyed topic; 0 is the constant of that name. The number is fixed: a key's partition must never change.
	Partitions int32
	// Feed hands what this process writes to its followers; nil = they fetch it.
	Feed *Feed
	// Lane is the way of tasks and views, which leave a processor to requests; nil = they do not.
	Lane *admission.Lane
}

// PartitionCount is the number of partitions of every keyed topic.
func (c Cluster) PartitionCount() int32 {
	if c.Partitions == 0 {
		return Partitions
	}
	return c.Partitions
}

// PartitionOf is the partition of a key on the cluster.
func (c Cluster) PartitionOf(pseudonym []byte) int32 {
	return PartitionOf(pseudonym, c.PartitionCount())
}

// Topic is the full name of the topic called name ("events" → "sluice.events").
func (c Cluster) Topic(name string) string { return c.Prefix + name }

// Client opens a client with the cluster's own options before opts.
func (c Cluster) Client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(c.with(opts)...)
}

func (c Cluster) with(opts []kgo.Opt) []kgo.Opt {
	all := append([]kgo.Opt{kgo.SeedBrokers(c.Brokers...)}, c.Options...)
	return append(all, opts...)
}

// PartitionOf is the partition of a key among n: the first four bytes of its pseudonym, which is uniform already, modulo n.
// A key of fewer than four bytes is in partition 0.
func PartitionOf(pseudonym []byte, n int32) int32 {
	if len(pseudonym) < 4 {
		return 0
	}
	return int32(binary.BigEndian.Uint32(pseudonym) % uint32(n))
}

// Record is one record as a processor or a follower sees it. Key and Value must not be kept unless copied by decoding.
type Record struct {
	Topic     string // short name, as the engine or follower was given it
	Partition int32
	Offset    int64
	Index     int    // in the pack at Offset; 0 for what stands alone
	KeyID     uint32 // that Value is sealed with; 0 = plain
	Key       []byte
	Value     []byte // nil is a tombstone
	Time      time.Time
	Headers   []kgo.RecordHeader
}

// RecordOf is the client's record, of the topic with the short name.
func RecordOf(r *kgo.Record, topic string) Record {
	return Record{Topic: topic, Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value, Time: r.Timestamp, Headers: r.Headers}
}

// Processor folds the records of one partition into its task's tables and emits records. It never reads the wall clock.
type Processor interface {
	// Process handles one record. An error stops the task's process: it is for broken invariants and I/O, never for bad input.
	Process(rec *Record) error
}

// Engine is a kind of processor: what it reads, and how one is made for a partition.
type Engine struct {
	Name   string   // also of its changelog topic, "state.<Name>"
	Inputs []string // short topic names, co-partitioned
	// Open declares the task's tables, which come restored, and returns its processor.
	Open func(t *Task) (Processor, error)
}

// Changelog is the short name of the engine's changelog topic.
func (e Engine) Changelog() string { return "state." + e.Name }

// Alone is the role of an engine that shares nothing.
func (e Engine) Alone() Role { return Role{Name: e.Name, Engines: []Engine{e}} }

// Role is what a runner does: one engine, or several engines that share a consumer group and each transaction. A transaction costs a marker in every partition
// that it wrote, on every replica, so a few large ones are cheaper than many small ones. No two engines of a role read the same topic.
type Role struct {
	Name    string // also of its group and, with the node's, its transactional id
	Engines []Engine
}
