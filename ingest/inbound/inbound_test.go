package inbound_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/ingest/deadletter"
	"sluice/ingest/eventpb"
	"sluice/ingest/inbound"
	"sluice/internal/broker/brokertest"
	"sluice/internal/topics"
	"sluice/internal/vocab"
)

var errLapsed = errors.New("lapsed")

// intake stands in for the collector: an event is "user id", and broken if it says so. It fails as often as it is told.
type intake struct {
	mu       sync.Mutex
	lapses   int
	failures int
	got      []string
	letters  []string
	grown    chan struct{} // a token whenever got or letters grew
}

func (i *intake) Decode(data []byte, _ time.Time) (*eventpb.Event, *inbound.Fault) {
	user, id, _ := strings.Cut(string(data), " ")
	ev := &eventpb.Event{UserId: user, Id: id, Type: vocab.Type_VIEW_ITEM}
	if len(data) == 0 {
		return nil, &inbound.Fault{Code: "broken_json", Detail: "must be an object"}
	}
	if bytes.Contains(data, []byte("broken")) {
		return ev, &inbound.Fault{Code: "missing_field", Pointer: "/time", Detail: "a time expected"}
	}
	return ev, nil
}

func (i *intake) Admit(ev *eventpb.Event) (bool, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.lapses > 0 {
		i.lapses--
		return false, errLapsed
	}
	return ev.UserId == "off", nil
}

func (i *intake) Append(_ context.Context, events []*eventpb.Event, received time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failures > 0 {
		i.failures--
		return errors.New("not enough replicas")
	}
	for _, ev := range events {
		i.got = append(i.got, fmt.Sprint(ev.UserId, " ", ev.Id, " ", received.Unix()))
	}
	i.signal()
	return nil
}

func (i *intake) Put(_ context.Context, letters ...deadletter.Letter) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, l := range letters {
		i.letters = append(i.letters, fmt.Sprintf("%s %s %s %s@%d %q", l.Stage, l.Code, l.Pointer, l.Source, l.Position, l.Payload))
	}
	i.signal()
	return nil
}

func (i *intake) signal() {
	select {
	case i.grown <- struct{}{}:
	default:
	}
}

// wait waits for n events and letters together.
func (i *intake) wait(t *testing.T, n int) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		i.mu.Lock()
		have := len(i.got) + len(i.letters)
		i.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-i.grown:
		case <-timeout:
			t.Fatalf("%d of %d records were settled", have, n)
		}
	}
}

func TestForeignEventsReachTheLog(t *testing.T) {
	cluster := brokertest.Cluster(t)
	client, err := cluster.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	produce := func(values ...string) {
		for _, v := range values {
			r := &kgo.Record{Topic: cluster.Topic(topics.Inbound), Partition: 3, Value: []byte(v)}
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	i := &intake{lapses: 2, failures: 2, grown: make(chan struct{}, 1)}
	registry := prometheus.NewRegistry()
	run := func(registerer prometheus.Registerer) (stop func()) {
		reader := inbound.New(inbound.Options{
			Cluster: cluster, Intake: i, Letters: i, Registerer: registerer, Now: func() time.Time { return time.Unix(1000, 0) },
			Gate: deadletter.Probe(i.Admit),
		})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- reader.Run(ctx) }()
		return func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	produce("u1 e1", "off e2", "off broken", "u1 broken", "", "u2 e3")
	stop := run(registry)
	i.wait(t, 4)
	produce("u1 e4")
	i.wait(t, 5)
	// The second batch has been polled, so the first one's offsets are committed; the second one's may not be.
	stop()
	produce("u3 e5")
	stop = run(nil)
	defer stop()
	for { // until what was produced last is there
		i.mu.Lock()
		last := len(i.got) > 0 && i.got[len(i.got)-1] == "u3 e5 1000"
		n := len(i.got) + len(i.letters)
		i.mu.Unlock()
		if last {
			break
		}
		i.wait(t, n+1)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	seen := make(map[string]bool)
	var got []string
	for _, e := range i.got { // at least once
		if !seen[e] {
			seen[e], got = true, append(got, e)
		}
	}
	if diff := cmp.Diff([]string{"u1 e1 1000", "u2 e3 1000", "u1 e4 1000", "u3 e5 1000"}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{`inbound missing_field /time inbound/3@3 "u1 broken"`, `inbound broken_json  inbound/3@4 ""`}, i.letters); diff != "" {
		t.Error(diff)
	}
	counted := make(map[string]float64)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families[0].GetMetric() {
		counted[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
	}
	if diff := cmp.Diff(map[string]float64{"accepted": 3, "denied": 2, "rejected": 2}, counted); diff != "" {
		t.Error(diff)
	}
}
