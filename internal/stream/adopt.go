package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// adopt gives a role of several engines, where its group has committed nothing yet, what each engine had committed in a group of its own: engines worked alone
// before they shared a role. Reading their inputs from the start instead would count everything twice.
func (s *session) adopt(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	if len(s.role.Engines) == 1 {
		return offsets, nil
	}
	fresh := make(map[int][]topicPartition) // by engine
	for topic, partitions := range offsets {
		for p, at := range partitions {
			if at.EpochOffset().Offset < 0 { // the start, where nothing is committed
				engine := s.inputs[topic].engine
				fresh[engine] = append(fresh[engine], topicPartition{topic, p})
			}
		}
	}
	if len(fresh) == 0 {
		return offsets, nil
	}
	client, err := s.cluster.Client() // the session's own may not have been handed over yet
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for engine, partitions := range fresh {
		if err := s.adoptFrom(ctx, kadm.NewClient(client), s.cluster.Topic(s.role.Engines[engine].Name), partitions, offsets); err != nil {
			return nil, err
		}
	}
	return offsets, nil
}

func (s *session) adoptFrom(ctx context.Context, admin *kadm.Client, group string, partitions []topicPartition, offsets map[string]map[int32]kgo.Offset) error {
	committed, err := admin.FetchOffsets(ctx, group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("fetching the offsets of the group %s: %w", group, err)
	}
	adopted := 0
	for _, at := range partitions {
		if c, ok := committed.Lookup(at.topic, at.partition); ok && c.At >= 0 {
			offsets[at.topic][at.partition] = kgo.NewOffset().At(c.At).WithEpoch(c.LeaderEpoch)
			adopted++
		}
	}
	if adopted == 0 {
		return nil
	}
	members, err := instances(ctx, admin, group)
	if err != nil {
		return err
	}
	if len(members) > 0 {
		return fmt.Errorf("the group %s has members: processes of an earlier version still run, stop them first", group)
	}
	s.o.Logger.Info("went on from the offsets of an engine that worked alone", "role", s.role.Name, "group", group, "partitions", adopted)
	return nil
}
