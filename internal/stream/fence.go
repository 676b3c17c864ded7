package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const fenceTimeout = 5 * time.Second // then the brokers end what is left by themselves

// fenceDead ends the transactions of members that the group has given up. This member may take over their partitions. The brokers would end them late: after
// their timeout, which they check every ten seconds. Until then everybody who reads committed records stands still, this restore included.
//
// A member's transactional id is its name in the group. Whoever is not in the group cannot commit any more, dead, stopped or cut off, so that taking over its id
// (as kafka-transactions and the Java client's fenceProducers do: InitProducerId, KIP-98) loses nothing; it starts a new session if it is alive.
// It returns the ids that it took over.
func (s *session) fenceDead(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	group := s.cluster.Topic(s.role.Name)
	client := s.kafka.Client()
	admin := kadm.NewClient(client)
	open, err := admin.ListTransactions(ctx, nil, []string{"Ongoing"})
	if err != nil {
		return nil, fmt.Errorf("listing open transactions: %w", err)
	}
	var others []string
	for _, id := range open.TransactionalIDs() {
		if strings.HasPrefix(id, group+"-") && id != s.member() {
			others = append(others, id)
		}
	}
	if len(others) == 0 {
		return nil, nil
	}
	members, err := instances(ctx, admin, group)
	if err != nil {
		return nil, err
	}
	if !members[s.member()] {
		return nil, nil // the group's word is not about this session
	}
	var fenced []string
	for _, id := range others {
		if members[id] {
			continue
		}
		if err := takeOver(ctx, client, id); err != nil {
			return fenced, fmt.Errorf("taking over the transactional id %s: %w", id, err)
		}
		fenced = append(fenced, id)
	}
	return fenced, nil
}

// instances are the names of a group's members.
func instances(ctx context.Context, admin *kadm.Client, group string) (map[string]bool, error) {
	groups, err := admin.DescribeGroups(ctx, group)
	if err != nil {
		return nil, fmt.Errorf("describing the group %s: %w", group, err)
	}
	described := groups[group]
	if described.Err != nil {
		return nil, fmt.Errorf("describing the group %s: %w", group, described.Err)
	}
	names := make(map[string]bool)
	for _, m := range described.Members {
		if m.InstanceID != nil {
			names[*m.InstanceID] = true
		}
	}
	return names, nil
}

// takeOver makes the coordinator abort the id's open transaction. It mostly answers that this is under way.
func takeOver(ctx context.Context, client *kgo.Client, id string) error {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID = &id
	req.TransactionTimeoutMillis = int32(transactionTimeout.Milliseconds())
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil && !errors.Is(err, kerr.ConcurrentTransactions) {
		return err
	}
	return nil
}
