// Package topics names every topic, with its partitions and configuration, and creates and checks them.
package topics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/internal/stream"
)

// Short names of the topics; the cluster's prefix goes before them.
const (
	Inbound     = "inbound"      // JSON events from foreign producers, through the gate
	Events      = "events"       // the one order: a subject's events and control records
	Consent     = "consent"      // compacted view of the ledger, and the fast path of restrictions
	Ledger      = "ledger"       // control records, append-only, kept
	History     = "history"      // purpose-typed events: footprints
	Personalize = "personalize"  // purpose-typed events: recommendations
	Trending    = "trending"     // purpose-typed events: aggregate lists
	Risk        = "risk"         // purpose-typed events: fraud control
	Entities    = "entities"     // risk events by entity
	Items       = "items"        // the catalogue, compacted
	Decisions   = "decisions"    // risk decisions
	DeadLetters = "dead-letters" // inputs that could not be accepted, sealed
	Nodes       = "nodes"        // heartbeats of nodes, compacted
	Deployment  = "deployment"   // what all nodes must agree on: the fingerprint of the root key, compacted
)

// State is the changelog topic of an engine.
func State(engine string) string { return "state." + engine }

// Engines that keep state, in the order of the stream.
var Engines = []string{"filter", "personal", "history", "trending", "entity", "decider"}

// Topic is one topic as it should be.
type Topic struct {
	Name       string // short
	Partitions int32
	Config     map[string]string
	Doc        string
}

const (
	day = 24 * time.Hour
	// deleteRetention is how long tombstones stay: a store or a follower that was away for half of it starts from nothing.
	deleteRetention = day
	// compactionLag bounds how long a tombstone may wait to be compacted. Kafka's default is unbounded.
	compactionLag = 6 * time.Hour
)

// All lists every topic, with so many partitions for what is keyed. Replicas is what min.insync.replicas is made from: 2 of 3.
func All(partitions int32, replicas int) []Topic {
	kept := func(d time.Duration) map[string]string {
		return map[string]string{"cleanup.policy": "delete", "retention.ms": millis(d)}
	}
	compacted := func() map[string]string {
		return map[string]string{"cleanup.policy": "compact", "max.compaction.lag.ms": millis(compactionLag), "delete.retention.ms": millis(deleteRetention)}
	}
	forever := map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}
	all := []Topic{
		{Inbound, partitions, kept(7 * day), "JSON events from foreign producers"},
		{Events, partitions, kept(7 * day), "events and control records in one order by subject; bodies sealed"},
		{Consent, partitions, compacted(), "a row per subject, and restrictions on their way"},
		{Ledger, partitions, forever, "every control record: who chose what, when"},
		{History, partitions, kept(7 * day), "HistoryEvent"},
		{Personalize, partitions, kept(7 * day), "PersonalEvent"},
		{Trending, partitions, kept(7 * day), "TrendingEvent"},
		{Risk, partitions, kept(7 * day), "RiskEvent"},
		{Entities, partitions, kept(7 * day), "RiskEvent by entity"},
		{Items, partitions, compacted(), "catalogue items"},
		{Decisions, partitions, kept(180 * day), "risk decisions"},
		{DeadLetters, partitions, kept(30 * day), "inputs that could not be accepted"},
		{Nodes, 1, compacted(), "heartbeats"},
		{Deployment, 1, compacted(), "the fingerprint of the root key"},
	}
	for _, engine := range Engines {
		all = append(all, Topic{State(engine), partitions, compacted(), "changelog of the engine " + engine})
	}
	if replicas > 1 {
		for i := range all {
			all[i].Config["min.insync.replicas"] = strconv.Itoa(replicas/2 + 1)
		}
	}
	return all
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Create makes the topics that are missing, with the replication factor. It returns when every broker knows them: a broker that has not heard of a topic yet
// tells its clients that the topic does not exist.
func Create(ctx context.Context, cluster stream.Cluster, replicas int) error {
	client, err := cluster.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	all := All(cluster.PartitionCount(), replicas)
	for _, t := range all {
		config := make(map[string]*string, len(t.Config))
		for k, v := range t.Config {
			config[k] = &v
		}
		_, err := admin.CreateTopic(ctx, t.Partitions, int16(replicas), config, cluster.Topic(t.Name))
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("creating topic %s: %w", cluster.Topic(t.Name), err)
		}
	}
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = cluster.Topic(t.Name)
	}
	return known(ctx, client, names)
}

// knownTime bounds how long brokers may take to hear of new topics.
const knownTime = time.Minute

// known returns when every broker names a leader for every partition of the topics.
func known(ctx context.Context, client *kgo.Client, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, knownTime)
	defer cancel()
	brokers, err := kadm.NewClient(client).ListBrokers(ctx)
	if err != nil {
		return fmt.Errorf("listing brokers: %w", err)
	}
	for _, broker := range brokers.NodeIDs() {
		for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
			missing, err := unknownTo(ctx, client.Broker(int(broker)), names)
			if err == nil && missing == "" {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("broker %d does not know topic %s: %w", broker, missing, errors.Join(ctx.Err(), err))
			case <-time.After(wait):
			}
		}
	}
	return nil
}

// unknownTo is the first topic with a partition of which the broker cannot name the leader; empty if there is none.
func unknownTo(ctx context.Context, broker *kgo.Broker, names []string) (string, error) {
	ask := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(name)
		ask.Topics = append(ask.Topics, topic)
	}
	answer, err := ask.RequestWith(ctx, broker)
	if err != nil {
		return "", err
	}
	for _, topic := range answer.Topics {
		led := topic.ErrorCode == 0 && !slices.ContainsFunc(topic.Partitions, func(p kmsg.MetadataResponseTopicPartition) bool { return p.Leader < 0 })
		if !led && topic.Topic != nil {
			return *topic.Topic, nil
		}
	}
	return "", nil
}

// Drift is one difference between a topic as it is and as it should be.
type Drift struct{ Topic, What, Is, Should string }

func (d Drift) String() string {
	return fmt.Sprintf("%s: %s is %s, should be %s", d.Topic, d.What, d.Is, d.Should)
}

// Check compares the cluster's topics with what they should be.
func Check(ctx context.Context, cluster stream.Cluster, replicas int) ([]Drift, error) {
	client, err := cluster.Client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	details, err := admin.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing topics: %w", err)
	}
	var drift []Drift
	var present []string
	for _, t := range All(cluster.PartitionCount(), replicas) {
		name := cluster.Topic(t.Name)
		detail, ok := details[name]
		if !ok || detail.Err != nil {
			drift = append(drift, Drift{name, "topic", "missing", "present"})
			continue
		}
		present = append(present, name)
		if n := len(detail.Partitions); n != int(t.Partitions) {
			drift = append(drift, Drift{name, "partitions", strconv.Itoa(n), strconv.Itoa(int(t.Partitions))})
		}
		if n := fewestReplicas(detail); n < replicas { // more are there while they are moved
			drift = append(drift, Drift{name, whatReplicas, strconv.Itoa(n), strconv.Itoa(replicas)})
		}
	}
	configs, err := admin.DescribeTopicConfigs(ctx, present...)
	if err != nil {
		return nil, fmt.Errorf("describing topics: %w", err)
	}
	return append(drift, configDrift(cluster, configs, replicas)...), nil
}

const whatReplicas = "replicas"

// Harmless tells whether a process may work all the same: fewer replicas are less safe, but nothing is wrong with them.
func (d Drift) Harmless() bool { return d.What == whatReplicas }

// fewestReplicas is how often the partition is kept that is kept least.
func fewestReplicas(topic kadm.TopicDetail) int {
	fewest := math.MaxInt
	for _, p := range topic.Partitions {
		fewest = min(fewest, len(p.Replicas))
	}
	return fewest
}

func configDrift(cluster stream.Cluster, configs kadm.ResourceConfigs, replicas int) []Drift {
	var drift []Drift
	for _, t := range All(cluster.PartitionCount(), replicas) {
		is, err := configs.On(cluster.Topic(t.Name), nil)
		if err != nil {
			continue // reported as missing
		}
		values := make(map[string]string)
		for _, c := range is.Configs {
			values[c.Key] = c.MaybeValue()
		}
		keys := make([]string, 0, len(t.Config))
		for k := range t.Config {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			if values[k] != t.Config[k] {
				drift = append(drift, Drift{cluster.Topic(t.Name), k, orNone(values[k]), t.Config[k]})
			}
		}
	}
	return drift
}

func orNone(s string) string {
	if s == "" {
		return "not set"
	}
	return s
}
