package stream_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
)

// counterOf is counterEngine with another name and input.
func counterOf(name, input string) stream.Engine {
	engine := counterEngine()
	engine.Name, engine.Inputs = name, []string{input}
	return engine
}

// pair is a role of two counters, with its topics.
func pair(t *testing.T, cluster stream.Cluster) stream.Role {
	t.Helper()
	createTopics(t, cluster)
	client := producer(t, cluster)
	answers, err := kadm.NewClient(client).CreateTopics(t.Context(), stream.Partitions, 1, nil, cluster.Topic("in2"), cluster.Topic("state.second"))
	if err := errors.Join(err, answers.Error()); err != nil {
		t.Fatal(err)
	}
	return stream.Role{Name: "both", Engines: []stream.Engine{counterOf("counter", "in"), counterOf("second", "in2")}}
}

// work runs a role until stop is called or the test ends.
func work(t *testing.T, cluster stream.Cluster, role stream.Role, o stream.RunnerOptions) (stop func()) {
	t.Helper()
	for range role.Engines {
		store, err := stream.OpenStore(t.TempDir(), stream.StoreOptions{})
		if err != nil {
			t.Fatal(err)
		}
		o.Stores = append(o.Stores, store)
	}
	ctx, cancel := context.WithCancel(t.Context())
	runner := stream.NewRunner(cluster, role, o)
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		err := <-ended
		for _, store := range o.Stores {
			err = errors.Join(err, store.Close())
		}
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// send produces one record to every partition of a topic, of a key of its own.
func send(t *testing.T, cluster stream.Cluster, topic string) {
	t.Helper()
	var recs []*kgo.Record
	for p := range int32(stream.Partitions) {
		recs = append(recs, &kgo.Record{Topic: cluster.Topic(topic), Partition: p, Key: fmt.Appendf(nil, "%s-%d", topic, p)})
	}
	if err := producer(t, cluster).ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// TestEnginesOfARoleShareATransaction: what they emit and what they keep is written under one transactional id, and both inputs' offsets are one group's.
func TestEnginesOfARoleShareATransaction(t *testing.T) {
	cluster, _ := brokertest.Empty(t)
	role := pair(t, cluster)
	stop := work(t, cluster, role, stream.RunnerOptions{Node: "0"})
	send(t, cluster, "in")
	send(t, cluster, "in2")
	producers := make(map[int64]bool)
	for _, topic := range []string{"out", "state.counter", "state.second"} {
		left := stream.Partitions
		if topic == "out" {
			left *= 2
		}
		consume(t, cluster, topic, func(r *kgo.Record) bool {
			producers[r.ProducerID] = true
			left--
			return left > 0
		})
	}
	if len(producers) != 1 {
		t.Errorf("%d producers wrote", len(producers))
	}
	stop()
	lag, err := stream.Lag(t.Context(), cluster, []stream.Role{role})
	if err != nil || lag != 0 {
		t.Errorf("lag %d (%v)", lag, err)
	}
	if lag, err = stream.Lag(t.Context(), cluster, []stream.Role{role.Engines[1].Alone()}); err == nil && lag == 0 { // the embedded broker knows no such group
		t.Error("an engine has committed in a group of its own")
	}
}

// TestARoleGoesOnWhereItsEnginesWere: engines that had a group each count nothing twice when they share one, and the role waits until their last process has gone.
func TestARoleGoesOnWhereItsEnginesWere(t *testing.T) {
	cluster, _ := brokertest.Empty(t)
	role := pair(t, cluster)
	expect := func(want uint64) {
		t.Helper()
		left := int(want) * stream.Partitions * len(role.Engines)
		consume(t, cluster, "out", func(r *kgo.Record) bool {
			if got := binary.BigEndian.Uint64(r.Value); got > want {
				t.Errorf("%s was counted %d times, want %d", r.Key, got, want)
			}
			left--
			return left > 0
		})
	}
	var stops []func()
	for _, engine := range role.Engines {
		stops = append(stops, work(t, cluster, engine.Alone(), stream.RunnerOptions{Node: "0"}))
	}
	send(t, cluster, "in")
	send(t, cluster, "in2")
	expect(1)
	refusals := make(refusals, 100)
	work(t, cluster, role, stream.RunnerOptions{Node: "1", Logger: slog.New(refusals)})
	if text := <-refusals; !strings.Contains(text, "processes of an earlier version still run") {
		t.Errorf("beside the engines the role says: %s", text)
	}
	for _, stop := range stops {
		stop()
	}
	leave(t, cluster, role)
	send(t, cluster, "in")
	send(t, cluster, "in2")
	expect(2)
}

// refusals are the errors of a runner's log.
type refusals chan string

func (refusals) Enabled(context.Context, slog.Level) bool { return true }
func (r refusals) WithAttrs([]slog.Attr) slog.Handler     { return r }
func (r refusals) WithGroup(string) slog.Handler          { return r }

// Handle implements slog.Handler.
func (r refusals) Handle(_ context.Context, rec slog.Record) error {
	rec.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			r <- err.Error()
		}
		return true
	})
	return nil
}

// leave takes stopped static members out of their groups, which would otherwise keep their places for the session timeout.
func leave(t *testing.T, cluster stream.Cluster, role stream.Role) {
	t.Helper()
	admin := kadm.NewClient(producer(t, cluster))
	for _, engine := range role.Engines {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		group := cluster.Topic(engine.Name)
		left, err := admin.LeaveGroup(ctx, kadm.LeaveGroup(group).Reason("the test").InstanceIDs(group+"-0"))
		if err := errors.Join(err, left.Error()); err != nil {
			t.Fatal(err)
		}
	}
}
