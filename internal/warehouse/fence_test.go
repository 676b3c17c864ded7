package warehouse

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

// TestFence: what a member read in one generation of the group it cannot commit in the next one, although its client has joined again.
func TestFence(t *testing.T) {
	cluster := brokertest.Cluster(t)
	source := &Source{Topic: topics.History}
	join := func(node string) *session {
		w := New(cluster, []*Source{source}, nil, Options{Node: node})
		w.Hasten(6*time.Second, time.Second)
		s := &session{Writer: w, sources: map[string]*Source{cluster.Topic(topics.History): source}}
		var err error
		if s.kafka, err = w.client(s); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.kafka.CloseAllowingRebalance)
		return s
	}
	// assigned polls until every session has an assignment with so many partitions.
	assigned := func(partitions int, sessions ...*session) (all []*assignment) {
		for len(all) < len(sessions) && t.Context().Err() == nil {
			all = all[:0]
			for _, s := range sessions {
				poll, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				s.kafka.PollRecords(poll, 1)
				cancel()
				s.kafka.AllowRebalance()
				if a := s.assignment(); a != nil && len(a.parts) == partitions {
					all = append(all, a)
				}
			}
		}
		return all
	}
	s := join("a")
	old := assigned(stream.Partitions, s)[0]
	at := topicPartition{cluster.Topic(topics.History), 0}
	if err := s.commit(old, map[topicPartition]commitAt{at: {0, "next=7"}}); err != nil {
		t.Fatal(err)
	}
	other := join("b")
	assigned(stream.Partitions/2, s, other)
	if old.ctx.Err() == nil {
		t.Error("the old assignment was not dropped")
	}
	zombie := *old
	zombie.ctx = t.Context() // it has not noticed
	if err := s.commit(&zombie, map[topicPartition]commitAt{at: {9, ""}}); !errors.Is(err, errFenced) {
		t.Errorf("a commit of the generation before: %v", err)
	}
	committed, err := kadm.NewClient(s.kafka).FetchOffsets(t.Context(), cluster.Topic(Group))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := committed.Lookup(at.topic, at.partition); got.At != 0 || got.Metadata != "next=7" {
		t.Errorf("offset %d with metadata %q, expected 0 with next=7", got.At, got.Metadata)
	}
	for _, a := range assigned(stream.Partitions/2, s, other) { // the client has joined anew, as after every refusal
		if p := a.parts[at]; p != nil && (p.stored != 0 || len(p.promised) != 1 || p.promised[0] != 7) {
			t.Errorf("the partition came with offset %d and promises %v", p.stored, p.promised)
		}
	}
}
