package features

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"sluice/features/entity"
	"sluice/features/featurestest"
	"sluice/features/history"
	"sluice/features/profile"
	"sluice/features/record"
	"sluice/features/spec"
	"sluice/features/trending"
	"sluice/internal/broker/brokertest"
	"sluice/internal/itemid"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// TestEnginesAndViewsRun sends one event of each purpose through the running engines and waits until every view shows it; views that start later show the same,
// from the changelog and from the engines' checkpoints.
func TestEnginesAndViewsRun(t *testing.T) {
	cluster := brokertest.Cluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := featurestest.Config(t, "people: 5 ", "people: 1 ", "tick: 1m", "tick: 1s")
	reg := prometheus.NewRegistry()
	group, running := errgroup.WithContext(ctx)
	role := Role(c, reg)
	var stores []*stream.Store
	for _, engine := range role.Engines {
		store, err := stream.OpenStore(filepath.Join(t.TempDir(), engine.Name), stream.StoreOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		stores = append(stores, store)
	}
	working, stop := context.WithCancel(running)
	defer stop()
	stopped := make(chan error, 1)
	go func() {
		stopped <- stream.NewRunner(cluster, role, stream.RunnerOptions{Node: "0", Stores: stores}).Run(working)
	}()
	now := time.Now().UnixMicro()
	sendAll(t, cluster, now)
	none := make([]*stream.Store, len(stores))
	first := runViews(running, group, cluster, c, reg, none)
	first.expect(ctx, t, now)
	second := runViews(running, group, cluster, c, nil, none)
	second.expect(ctx, t, now)
	stop()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	third := runViews(running, group, cluster, c, nil, stores)
	third.expect(ctx, t, now)
	cancel()
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

func sendAll(t *testing.T, cluster stream.Cluster, now int64) {
	t.Helper()
	items := featurestest.Items("lamp")
	subject := featurestest.ID('u', 1)
	personal := &purposepb.PersonalEvent{Subject: subject, Event: featurestest.ID('e', 1), Type: vocab.Type_VIEW_ITEM, Time: now, Items: items, Floor: []byte("f")}
	seen := &purposepb.TrendingEvent{
		Contributor: featurestest.ID('t', 1), Event: featurestest.ID('e', 1), Window: now / (7 * featurestest.Day), Type: vocab.Type_VIEW_ITEM, Time: now, Items: items, Established: true,
	}
	footprint := &purposepb.HistoryEvent{Subject: subject, Event: []byte("sealed"), Type: vocab.Type_VIEW_ITEM, Time: now, Items: items, Floor: []byte("f")}
	payment := &purposepb.RiskEvent{Subject: subject, Event: featurestest.ID('e', 1), Type: vocab.Type_PAYMENT, Time: now}
	client, err := cluster.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for topic, rec := range map[string]struct {
		key   []byte
		value featurestest.Message
	}{
		topics.Personalize: {personal.Subject, &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Event{Event: personal}}},
		topics.History:     {footprint.Subject, &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Event{Event: footprint}}},
		topics.Trending:    {seen.Contributor, &purposepb.TrendingRecord{Of: &purposepb.TrendingRecord_Event{Event: seen}}},
		topics.Entities:    {append([]byte{byte(spec.Account)}, subject...), &purposepb.EntityDelta{Event: payment}},
	} {
		value, err := rec.value.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		result := client.ProduceSync(t.Context(), &kgo.Record{Topic: cluster.Topic(topic), Partition: 3, Key: rec.key, Value: value})
		if err := result.FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

type allViews struct {
	personal *profile.View
	history  *history.View
	trending *trending.View
	entities *entity.View
}

// runViews runs the views with the checkpoints that they start from, in the order of the role's engines.
func runViews(ctx context.Context, group *errgroup.Group, cluster stream.Cluster, c *spec.Config, reg prometheus.Registerer, checkpoints []*stream.Store) allViews {
	o := func(engine int) record.ViewOptions {
		return record.ViewOptions{Registerer: reg, Checkpoint: checkpoints[engine]}
	}
	v := allViews{
		profile.NewView(cluster, c, itemid.NewTable(), o(0)), history.NewView(cluster, c, o(1)), trending.NewView(cluster, c, itemid.NewTable(), nil, o(2)), entity.NewView(cluster, c, o(3)),
	}
	for _, run := range []func(context.Context) error{v.personal.Run, v.history.Run, v.trending.Run, v.entities.Run} {
		group.Go(func() error { return run(ctx) })
	}
	return v
}

// expect waits until every view shows the event.
func (v allViews) expect(ctx context.Context, t *testing.T, now int64) {
	t.Helper()
	for name, caughtUp := range map[string]<-chan struct{}{
		"personal": v.personal.CaughtUp(), "history": v.history.CaughtUp(), "trending": v.trending.CaughtUp(), "entity": v.entities.CaughtUp(),
	} {
		select {
		case <-caughtUp:
		case <-ctx.Done():
			t.Fatalf("%s has not caught up", name)
		}
	}
	who := featurestest.Identity(1, "f")
	another := &purposepb.RiskEvent{Subject: who.Subject[:], Event: featurestest.ID('e', 2), EventHash: 2, Type: vocab.Type_PAYMENT, Time: now + 1}
	for name, shows := range map[string]func() bool{
		"profile": func() bool {
			p := v.personal.Profile(who)
			return p != nil && p.Interactions[0].ItemID == "lamp"
		},
		"footprints": func() bool {
			f, _ := v.history.Footprints(who)
			return len(f) > 0 && f[0].ItemIDs[0] == "lamp"
		},
		"values": func() bool { return positive(v.entities.Values(another), "payments_per_account_1h") },
		"lists":  func() bool { return len(v.trending.Lists().Trending) > 0 }, // the next tick is within a second
	} {
		for !shows() {
			select {
			case <-ctx.Done():
				t.Fatalf("%s: the event is not shown", name)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

func positive(v entity.Values, name string) bool {
	for i := range v.Names {
		if v.Names[i] == name {
			return v.Numbers[i] > 0 && !v.Missing[i]
		}
	}
	return false
}
