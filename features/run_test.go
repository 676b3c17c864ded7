package features

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/privacyfilter/consent"
	"sluice/privacyfilter/purposepb"
)

// TestEnginesAndViewsRun sends one event of each purpose through the running engines and waits until every view shows it; views that start later show the same.
func TestEnginesAndViewsRun(t *testing.T) {
	cluster := brokertest.Cluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := testConfig(t, "people: 5 ", "people: 1 ", "tick: 1m", "tick: 1s")
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
	group.Go(func() error {
		return stream.NewRunner(cluster, role, stream.RunnerOptions{Node: "0", Stores: stores}).Run(running)
	})
	now := time.Now().UnixMicro()
	sendAll(t, cluster, now)
	first := runViews(running, group, cluster, c, ViewOptions{Registerer: reg})
	first.expect(ctx, t, now)
	second := runViews(running, group, cluster, c, ViewOptions{})
	second.expect(ctx, t, now)
	cancel()
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

func sendAll(t *testing.T, cluster stream.Cluster, now int64) {
	t.Helper()
	personal := personalEvent(1, 1, vocab.Type_VIEW_ITEM, now, "lamp")
	trending := trendingEvent(1, 1, now, "lamp")
	footprint := &purposepb.HistoryEvent{Subject: id('u', 1), Event: []byte("sealed"), Type: vocab.Type_VIEW_ITEM, Time: now, Items: itemsOf("lamp"), Floor: []byte("f")}
	payment := riskEvent(1, vocab.Type_PAYMENT, now, 1, 0, 0, 0)
	entity, _ := keyOf(payment, account)
	client, err := cluster.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for topic, rec := range map[string]struct {
		key   []byte
		value marshaler
	}{
		topics.Personalize: {personal.Subject, &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Event{Event: personal}}},
		topics.History:     {footprint.Subject, &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Event{Event: footprint}}},
		topics.Trending:    {trending.Contributor, &purposepb.TrendingRecord{Of: &purposepb.TrendingRecord_Event{Event: trending}}},
		topics.Entities:    {entity[:], &purposepb.EntityDelta{Event: payment}},
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
	personal *Personal
	history  *History
	trending *Trending
	entities *Entities
}

func runViews(ctx context.Context, group *errgroup.Group, cluster stream.Cluster, c *Config, o ViewOptions) allViews {
	v := allViews{NewPersonal(cluster, c, o), NewHistory(cluster, c, o), NewTrending(cluster, c, o), NewEntities(cluster, c, o)}
	for _, run := range []func(context.Context) error{v.personal.Run, v.history.Run, v.trending.Run, v.entities.Run} {
		group.Go(func() error { return run(ctx) })
	}
	return v
}

// expect waits until every view shows the event.
func (v allViews) expect(ctx context.Context, t *testing.T, now int64) {
	t.Helper()
	for name, follower := range map[string]*stream.Follower{
		"personal": v.personal.follower, "history": v.history.follower, "trending": v.trending.follower, "entity": v.entities.follower,
	} {
		select {
		case <-follower.CaughtUp():
		case <-ctx.Done():
			t.Fatalf("%s has not caught up", name)
		}
		if err := follower.Wait(ctx, 3, 1); err != nil {
			t.Fatalf("waiting for %s: %v", name, err)
		}
	}
	who := consent.Identity{Subject: [16]byte(id('u', 1)), Floor: []byte("f")}
	if p := v.personal.Profile(who); p == nil || p.Touches[0].ItemID != "lamp" {
		t.Errorf("profile: %+v", p)
	}
	if f := v.history.Footprints(who); f == nil || f.Entries[0].ItemIds[0] != "lamp" {
		t.Errorf("footprints: %v", f)
	}
	if got := v.entities.Values(riskEvent(2, vocab.Type_PAYMENT, now+1, 1, 0, 0, 0)); !positive(got, "payments_per_account_1h") {
		t.Errorf("values: %+v", got)
	}
	for len(v.trending.Lists().Trending) == 0 { // the next tick is within a second
		select {
		case <-ctx.Done():
			t.Fatal("no list was made")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func positive(v Values, name string) bool {
	for i := range v.Names {
		if v.Names[i] == name {
			return v.Numbers[i] > 0 && !v.Missing[i]
		}
	}
	return false
}

// TestReadersBesideTheWriter reads views while they change, for the race detector, and checks what readers may rely on.
func TestReadersBesideTheWriter(t *testing.T) {
	c := testConfig(t, "keep: 50", "keep: 8", "people: 3 ", "people: 1 ", "people: 3 ", "people: 1 ")
	personal, entities := newView(t, c, nil), newEntities(c, nil)
	profiles, days := newHarness(t, PersonalEngine(c, nil), personal.apply), newHarness(t, EntityEngine(c, nil), entities.apply)
	done := make(chan struct{})
	var readers errgroup.Group
	for r := range 2 {
		readers.Go(func() error {
			for n := 0; ; n++ {
				select {
				case <-done:
					return nil
				default:
				}
				if p := personal.Profile(identity(n%20, "f")); p != nil {
					personal.SessionNeighbours(p.Touches, day0+dayMicros, KNN{})
					personal.CoVisited(p.Touches[0].ItemID, day0+dayMicros, time.Hour, 10)
				}
				ev := riskEvent(1_000_000*(r+1)+n, vocab.Type_PAYMENT, day0+int64(n), n%20, 1, 1, 1)
				entities.Overlay(ev)
				if v := entities.Values(ev); !positive(v, "payments_per_account_1h") && n > 40 {
					return errors.New("an event in the overlay does not count")
				}
			}
		})
	}
	for n := range 400 {
		profiles.personal(personalEvent(n%20, n, vocab.Type_VIEW_ITEM, day0+int64(n)*1e6, fmt.Sprintf("i%d", n*n%37)))
		profiles.commit()
		days.deltas(riskEvent(n, vocab.Type_PAYMENT, day0+int64(n), n%20, 1, 1, 1))
		days.commit()
	}
	close(done)
	if err := readers.Wait(); err != nil {
		t.Error(err)
	}
}
