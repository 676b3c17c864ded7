package consent

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Ends of a partition, as isolation levels of the protocol.
const (
	highWatermark int8 = 0
	lastStable    int8 = 1
)

// ends asks where each partition of a topic ends, in one request. An admin client would ask for the topic's partitions first, and under load each request waits
// behind everybody else's.
func ends(ctx context.Context, client *kgo.Client, topic string, partitions int, isolation int8) ([]int64, error) {
	asked := kmsg.NewListOffsetsRequestTopic()
	asked.Topic = topic
	for p := range partitions {
		partition := kmsg.NewListOffsetsRequestTopicPartition()
		partition.Partition, partition.Timestamp = int32(p), -1 // the end
		asked.Partitions = append(asked.Partitions, partition)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel, req.Topics = isolation, append(req.Topics, asked)
	answer, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	at := make([]int64, partitions)
	answered := 0
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("partition %d: %w", p.Partition, err)
			}
			at[p.Partition] = p.Offset
			answered++
		}
	}
	if answered != partitions {
		return nil, fmt.Errorf("there must be %d partitions, and %d are listed", partitions, answered)
	}
	return at, nil
}
