package topics_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"

	"sluice/internal/broker/brokertest"
	"sluice/internal/topics"
)

func TestCreateLeavesNoDrift(t *testing.T) {
	cluster := brokertest.Cluster(t)
	if err := topics.Create(t.Context(), cluster, 1); err != nil { // once more: what is there is left alone
		t.Fatal(err)
	}
	drift, err := topics.Check(t.Context(), cluster, 1)
	if err != nil || len(drift) > 0 {
		t.Fatal(drift, err)
	}
}

// TestCheckSaysWhatDiffers changes topics behind the back of the program.
func TestCheckSaysWhatDiffers(t *testing.T) {
	cluster, _ := brokertest.Empty(t)
	client, err := cluster.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(t.Context(), 3, 1, nil, cluster.Topic(topics.Events)); err != nil {
		t.Fatal(err)
	}
	if err := topics.Create(t.Context(), cluster, 1); err != nil {
		t.Fatal(err)
	}
	alter := func(topic, key, value string) {
		t.Helper()
		answers, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, cluster.Topic(topic))
		if err != nil || answers[0].Err != nil {
			t.Fatal(err, answers)
		}
	}
	alter(topics.Consent, "max.compaction.lag.ms", "9223372036854775807")
	alter(topics.Decisions, "retention.ms", "3600000")
	if _, err := admin.DeleteTopics(t.Context(), cluster.Topic(topics.Items)); err != nil {
		t.Fatal(err)
	}
	drift, err := topics.Check(t.Context(), cluster, 1)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range drift {
		got = append(got, d.String())
	}
	want := []string{
		"events: partitions is 3, should be 16",
		"items: topic is missing, should be present",
		"consent: max.compaction.lag.ms is 9223372036854775807, should be 21600000",
		"decisions: retention.ms is 3600000, should be 15552000000",
	}
	for i := range want {
		want[i] = cluster.Prefix + want[i]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// On a cluster where each topic should be kept three times, one that is kept once has drifted, and its min.insync.replicas, too.
	drift, err = topics.Check(t.Context(), cluster, 3)
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(map[string]int)
	for _, d := range drift {
		kinds[d.What+" "+d.Should]++
	}
	if present := len(topics.All(cluster.PartitionCount(), 1)) - 1; kinds["replicas 3"] != present || kinds["min.insync.replicas 2"] != present {
		t.Error(kinds)
	}
}
