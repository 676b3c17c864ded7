package stream_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/internal/stream"
)

// coordinator ends transactions as a broker does that fails meanwhile.
type coordinator struct {
	t       *testing.T
	brokers *kfake.Cluster
	client  *kgo.Client
	ending  *kmsg.EndTxnRequest          // what the runner asked for
	offsets *kmsg.TxnOffsetCommitRequest // the last that it sent
}

// newCoordinator does the end of the nth transaction that is to be committed by itself: it calls act, and answers with its error. An error that is not one of
// Kafka's closes the connection instead, every time that the runner asks until it takes over its transactional id.
func newCoordinator(t *testing.T, nth int, act func(*coordinator) error) stream.Cluster {
	t.Helper()
	brokers, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(brokers.Close)
	cluster := stream.Cluster{Brokers: brokers.ListenAddrs(), Partitions: stream.Partitions}
	c := &coordinator{t: t, brokers: brokers, client: producer(t, cluster)}
	brokers.ControlKey(int16(kmsg.TxnOffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		brokers.KeepControl()
		c.offsets = req.(*kmsg.TxnOffsetCommitRequest)
		return nil, nil, false
	})
	commits, gone := 0, false
	brokers.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		brokers.KeepControl()
		end := req.(*kmsg.EndTxnRequest)
		if c.ending != nil && !gone { // from act
			return nil, nil, false
		}
		if !gone {
			if !end.Commit {
				return nil, nil, false
			}
			if commits++; commits != nth {
				return nil, nil, false
			}
			c.ending = end
			brokers.SleepControl(func() { err = act(c) })
		}
		answer := end.ResponseKind().(*kmsg.EndTxnResponse)
		answer.ProducerID, answer.ProducerEpoch = -1, -1
		if ke, ok := err.(*kerr.Error); ok { //nolint:errorlint // act returns it as it is
			answer.ErrorCode = ke.Code
			return answer, nil, true
		}
		gone = true
		return nil, err, true
	})
	brokers.ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
		brokers.KeepControl()
		gone = false
		return nil, nil, false
	})
	return cluster
}

// end ends the transaction on all partitions.
func (c *coordinator) end(commit bool) {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = c.ending.TransactionalID, c.ending.ProducerID, c.ending.ProducerEpoch, commit
	answer, err := req.RequestWith(c.t.Context(), c.client)
	if err != nil || answer.ErrorCode != 0 {
		c.t.Error("ending the runner's transaction:", err, kerr.ErrorForCode(answer.ErrorCode))
	}
}

// commitOutputs commits on the partitions of a topic alone.
func (c *coordinator) commitOutputs(topic string) {
	written := make(kadm.TopicsSet)
	for p := range int32(stream.Partitions) {
		written.Add(topic, p)
	}
	_, err := kadm.NewClient(c.client).WriteTxnMarkers(c.t.Context(), kadm.TxnMarkers{
		ProducerID: c.ending.ProducerID, ProducerEpoch: c.ending.ProducerEpoch, Commit: true, Topics: written,
	})
	if err != nil {
		c.t.Error(err)
	}
}

// commitOffsets commits on the partition of the group's offsets alone.
func (c *coordinator) commitOffsets() { c.commitOffsetsAs(nil) }

// commitOffsetsAs commits the same offsets, with other metadata if some is given.
func (c *coordinator) commitOffsetsAs(metadata *string) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = c.offsets.Group, c.offsets.MemberID, c.offsets.Generation, c.offsets.InstanceID
	for _, t := range c.offsets.Topics {
		topic := kmsg.NewOffsetCommitRequestTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			partition := kmsg.NewOffsetCommitRequestTopicPartition()
			partition.Partition, partition.Offset, partition.LeaderEpoch, partition.Metadata = p.Partition, p.Offset, p.LeaderEpoch, cmp.Or(metadata, p.Metadata)
			topic.Partitions = append(topic.Partitions, partition)
		}
		req.Topics = append(req.Topics, topic)
	}
	answer, err := req.RequestWith(c.t.Context(), c.client)
	if err != nil {
		c.t.Error("committing the runner's offsets:", err)
		return
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				c.t.Error("committing the runner's offsets:", kerr.ErrorForCode(p.ErrorCode))
			}
		}
	}
}

// fence takes the transactional id over, as another member does that thinks this one dead.
func (c *coordinator) fence() {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = &c.ending.TransactionalID, 10_000, -1, -1
	if _, err := req.RequestWith(c.t.Context(), c.client); err != nil {
		c.t.Error(err)
	}
}

// goOn does what another member does that was given the partitions: the same once more.
func (c *coordinator) goOn(topics ...string) {
	c.fence()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.brokers.ListenAddrs()...), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.KeepControlRecords())
	if err != nil {
		c.t.Error(err)
		return
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(c.t.Context(), topics...)
	if err != nil {
		c.t.Error(err)
		return
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	for left > 0 {
		fetches := client.PollFetches(c.t.Context())
		if err := fetches.Err0(); err != nil {
			c.t.Error(err)
			return
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			if r.ProducerID == c.ending.ProducerID && r.ProducerEpoch == c.ending.ProducerEpoch && !r.Attrs.IsControl() {
				c.client.Produce(c.t.Context(), &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value}, nil)
			}
		})
	}
	if err := c.client.Flush(c.t.Context()); err != nil {
		c.t.Error(err)
	}
	other := "another member's"
	c.commitOffsetsAs(&other)
}

// TestNoOffsetPassesUncommittedOutputs: however the end of a transaction goes wrong, every record is counted and answered once, and the state agrees.
func TestNoOffsetPassesUncommittedOutputs(t *testing.T) {
	lost := errors.New("the connection is lost")
	const out, changelog = "out", "state.counter"
	half := func(parts ...func(*coordinator)) func(*coordinator) error {
		return func(c *coordinator) error {
			for _, part := range parts {
				part(c)
			}
			c.end(false)
			return kerr.InvalidTxnState // as Kafka 4.1 answers who would commit what it has aborted
		}
	}
	outputs := func(topic string) func(*coordinator) { return func(c *coordinator) { c.commitOutputs(topic) } }
	for name, act := range map[string]func(*coordinator) error{
		"committed, the answers are lost":   func(c *coordinator) error { c.end(true); return lost },
		"open, the answers are lost":        func(*coordinator) error { return lost },
		"aborted, the answers are lost":     func(c *coordinator) error { c.end(false); return lost },
		"committed, said to be unknown":     func(c *coordinator) error { c.end(true); return kerr.UnknownServerError },
		"open, said to be unknown":          func(*coordinator) error { return kerr.UnknownServerError },
		"open, said to be abortable":        func(*coordinator) error { return kerr.TransactionAbortable },
		"aborted by the coordinator":        half(),
		"aborted by the coordinator, older": func(c *coordinator) error { c.end(false); return kerr.ProducerFenced },
		"fenced":                            func(c *coordinator) error { c.fence(); return kerr.InvalidProducerEpoch },
		"fenced by one who goes on": func(c *coordinator) error {
			c.goOn(out, changelog)
			return kerr.InvalidProducerEpoch
		},
		"offsets committed, outputs not":   half((*coordinator).commitOffsets),
		"outputs committed, offsets not":   half(outputs(out), outputs(changelog)),
		"outputs committed, changelog not": half(outputs(out)),
		"changelog committed, outputs not": half(outputs(changelog)),
		"offsets and outputs committed":    half((*coordinator).commitOffsets, outputs(out)),
		"everything committed, said not":   half((*coordinator).commitOffsets, outputs(out), outputs(changelog)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := newCoordinator(t, 2, act)
			createTopics(t, cluster)
			role := counterOf("counter", "in").Alone()
			stop := work(t, cluster, role)
			client := producer(t, cluster)
			want := make(map[string]uint64)
			const keys, rounds = 20, 5
			for round := range rounds {
				var recs []*kgo.Record
				for k := range keys {
					key := fmt.Sprintf("%04d", k)
					want[key]++
					recs = append(recs, &kgo.Record{Topic: cluster.Topic("in"), Partition: int32(k % 7), Key: []byte(key)})
				}
				if err := client.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
					t.Fatal(err)
				}
				if diff := gocmp.Diff(want, readOutputs(t, cluster, keys*(round+1))); diff != "" {
					t.Fatalf("outputs after round %d (-want +got):\n%s", round, diff)
				}
			}
			stop()
			if diff := gocmp.Diff(want, stateOf(t, cluster, role.Engines[0])); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
			if lag, err := stream.Lag(t.Context(), cluster, []stream.Role{role}); err != nil || lag != 0 {
				t.Errorf("lag %d (%v)", lag, err)
			}
		})
	}
}

// stateOf reads an engine's changelog as a restoring process would.
func stateOf(t *testing.T, cluster stream.Cluster, engine stream.Engine) map[string]uint64 {
	t.Helper()
	counts := make(map[string]uint64)
	err := stream.ReadAll(context.WithoutCancel(t.Context()), cluster, engine.Changelog(), func(recs []stream.Record) {
		for _, r := range recs {
			counts[string(r.Key[1:])] = binary.BigEndian.Uint64(r.Value)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return counts
}
