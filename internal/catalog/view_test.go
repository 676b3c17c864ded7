package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"golang.org/x/text/unicode/norm"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/catalog"
	"sluice/internal/itemid"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func path(names ...string) []*catalog.CategoryPath {
	return []*catalog.CategoryPath{{Names: names}}
}

// shop is a catalogue topic with a view that follows it.
type shop struct {
	t       *testing.T
	cluster stream.Cluster
	client  *kgo.Client
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{t: t, cluster: brokertest.Cluster(t)}
	var err error
	if s.client, err = s.cluster.Client(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	return s
}

func (s *shop) put(items ...*catalog.Item) {
	s.t.Helper()
	for _, item := range items {
		value, err := item.MarshalVT()
		if err != nil {
			s.t.Fatal(err)
		}
		s.record(item.ItemId, value)
	}
}

func (s *shop) record(id string, value []byte) {
	s.t.Helper()
	if err := s.client.ProduceSync(s.t.Context(), &kgo.Record{Topic: s.cluster.Topic(topics.Items), Key: []byte(id), Value: value}).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) view(o catalog.Options) *catalog.View {
	s.t.Helper()
	v := catalog.NewView(s.cluster, o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- v.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
	select {
	case <-v.CaughtUp():
	case <-time.After(20 * time.Second):
		s.t.Fatal("the view did not catch up")
	}
	return v
}

// until waits for a condition on the view.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s", what)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func idsOfEntries(entries []*catalog.Entry) []string {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ItemId
	}
	return ids
}

func idsOf(items []*catalog.Item) []string {
	ids := make([]string, len(items))
	for i, item := range items {
		ids[i] = item.ItemId
	}
	return ids
}

func TestViewFollowsTheTopic(t *testing.T) {
	s := newShop(t)
	s.put(
		&catalog.Item{ItemId: "old", Title: "Table lamp", AvailableFrom: 10, Categories: path("Home", "Lamps")},
		&catalog.Item{ItemId: "b", Title: "Floor lamp", AvailableFrom: 20, Categories: path("Home", "Lamps")},
		&catalog.Item{ItemId: "a", Title: "Apron", AvailableFrom: 20, Categories: path("Kitchen")},
		&catalog.Item{ItemId: "gone", Title: "Vase"},
	)
	s.record("gone", nil)
	registry := prometheus.NewRegistry()
	v := s.view(catalog.Options{Registerer: registry})
	ids, version := v.All()
	if diff := cmp.Diff([]string{"a", "b", "old"}, ids); diff != "" {
		t.Error(diff)
	}
	if v.Item("gone") != nil || v.Item("never") != nil || v.Item("b").Title != "Floor lamp" {
		t.Error("items are not what the topic says")
	}
	if diff := cmp.Diff([]string{"Home", "Kitchen"}, v.Categories()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"b"}, idsOf(v.InCategory("Lamps", 1))); diff != "" {
		t.Error(diff)
	}

	before := v.Snapshot()
	s.put(&catalog.Item{ItemId: "b", Title: "Floor lamp", AvailableFrom: 20, Availability: catalog.OutOfStock, Categories: path("Home", "Lamps")})
	until(t, "the change", func() bool { return v.Item("b").Availability == catalog.OutOfStock })
	if before.Item("b").Availability != "" || v.Snapshot().Version() == version {
		t.Error("a snapshot changed, or a version did not")
	}
	s.put(before.Item("b"))
	until(t, "the change back", func() bool { return v.Item("b").Availability == "" })
	if v.Snapshot().Version() != version {
		t.Error("equal catalogues have different versions")
	}

	s.record("x", []byte{0xff})
	s.put(&catalog.Item{ItemId: "x", Title: "Bread bin"})
	until(t, "what follows a faulty record", func() bool { return v.Item("x") != nil })
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		got[f.GetName()] = f.GetMetric()[0].GetCounter().GetValue() + f.GetMetric()[0].GetGauge().GetValue()
	}
	if diff := cmp.Diff(map[string]float64{"sluice_catalog_faulty_total": 1, "sluice_catalog_items": 4, "sluice_catalog_posted": 1}, got); diff != "" {
		t.Error(diff)
	}
}

// TestWhetherAnythingWasEverPosted: nothing was, or everything was deleted, which the topic tells for ever, on every node: also when compaction has removed the last
// tombstone, and the broker has started anew.
func TestWhetherAnythingWasEverPosted(t *testing.T) {
	dir := t.TempDir()
	var running *broker.Broker
	start := func() *shop {
		if running != nil {
			running.Close()
		}
		var err error
		if running, err = broker.Start(broker.Options{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		s := &shop{t: t, cluster: running.Cluster("sluice.")}
		if err := topics.Create(t.Context(), s.cluster, 1); err != nil {
			t.Fatal(err)
		}
		if s.client, err = s.cluster.Client(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	posted := func(s *shop) bool {
		t.Helper()
		written, err := stream.Written(t.Context(), s.cluster, topics.Items)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		v := catalog.NewView(s.cluster, catalog.Options{})
		ended := make(chan error, 1)
		go func() { ended <- v.Run(ctx) }()
		<-v.CaughtUp()
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if v.Snapshot().Len() != 0 || v.Snapshot().Posted() != written {
			t.Fatalf("%d items; posted %t, written %t", v.Snapshot().Len(), v.Snapshot().Posted(), written)
		}
		return written
	}
	s := start()
	if posted(s) {
		t.Error("something was posted")
	}
	s.put(&catalog.Item{ItemId: "a"}, &catalog.Item{ItemId: "b"})
	for range 3 { // a topic keeps its last batch
		for _, id := range []string{"a", "b"} {
			old := &kgo.Record{Topic: s.cluster.Topic(topics.Items), Key: []byte(id), Timestamp: time.Now().Add(-100 * 24 * time.Hour)}
			if err := s.client.ProduceSync(t.Context(), old).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !posted(s) {
		t.Error("everything was deleted, and nothing posted")
	}
	running.Compact()
	s.client.Close()
	s = start()
	defer running.Close()
	defer s.client.Close()
	if !posted(s) {
		t.Error("after a compaction and a restart, nothing was posted")
	}
}

// TestWait: once it returns, snapshots show what the topic holds.
func TestWait(t *testing.T) {
	s := newShop(t)
	v := s.view(catalog.Options{})
	if v.Snapshot().Posted() {
		t.Error("something was posted")
	}
	none := v.Snapshot().Version()
	for n := range 20 {
		rec := &kgo.Record{Topic: s.cluster.Topic(topics.Items), Key: []byte("a")}
		if n%2 == 0 {
			rec.Value, _ = (&catalog.Item{ItemId: "a", Title: "One"}).MarshalVT() // which cannot fail
		}
		if err := s.client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := v.Wait(t.Context(), rec.Partition, rec.Offset+1); err != nil {
			t.Fatal(err)
		}
		if shown := v.Shown()[rec.Partition]; shown <= rec.Offset {
			t.Fatalf("shown up to %d, which is not behind %d", shown, rec.Offset)
		}
		if got := v.Item("a") != nil; got != (n%2 == 0) || !v.Snapshot().Posted() || v.Snapshot().Version() == none {
			t.Fatalf("step %d: there %t, posted %t", n, got, v.Snapshot().Posted())
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := v.Wait(ctx, 0, 1<<40); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for what does not come: %v", err)
	}
}

func TestTheVersionDoesNotDependOnTheWay(t *testing.T) {
	s := newShop(t)
	items := []*catalog.Item{{ItemId: "a", Title: "One"}, {ItemId: "b", Title: "Two"}, {ItemId: "c", Title: "Three"}}
	s.put(items[2], items[0], &catalog.Item{ItemId: "b", Title: "Other"}, items[1])
	direct, err := catalog.NewSnapshot(itemid.NewTable(), items...)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.view(catalog.Options{}).Snapshot().Version(); got != direct.Version() {
		t.Error("the version depends on how the catalogue became what it is")
	}
}

func snapshot(t testing.TB, items ...*catalog.Item) *catalog.Snapshot {
	t.Helper()
	s, err := catalog.NewSnapshot(itemid.NewTable(), items...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSearchKnowsEveryForm: accents, widths and signs are found however they were typed, in the catalogue and in the query.
func TestSearchKnowsEveryForm(t *testing.T) {
	s := snapshot(
		t,
		&catalog.Item{ItemId: "nfd", Title: norm.NFD.String("Café Zürich lamp"), AvailableFrom: 6},
		&catalog.Item{ItemId: "nfc", Title: norm.NFC.String("Café Zürich mug"), AvailableFrom: 5},
		&catalog.Item{ItemId: "fw", Title: "ＬＥＤ lamp", AvailableFrom: 4},
		&catalog.Item{ItemId: "ko", Title: "캘린더", AvailableFrom: 3},
		&catalog.Item{ItemId: "hi1", Title: "काली साड़ी", AvailableFrom: 2},
		&catalog.Item{ItemId: "hi2", Title: "कोल सड़ा", AvailableFrom: 1},
	)
	for query, want := range map[string][]string{
		"café": {"nfd", "nfc"}, "cafe": {"nfd", "nfc"}, "CAFÉ": {"nfd", "nfc"}, "zurich": {"nfd", "nfc"}, "Zürich": {"nfd", "nfc"},
		"LED": {"fw"}, "led": {"fw"}, "ｌｅｄ": {"fw"}, "캘린더": {"ko"}, "काली": {"hi1"}, "साड़ी": {"hi1"}, "कोल": {"hi2"},
	} {
		for _, form := range []norm.Form{norm.NFC, norm.NFD} {
			if diff := cmp.Diff(want, idsOfEntries(s.Search(form.String(query), 9))); diff != "" {
				t.Errorf("%s: %s", query, diff)
			}
		}
	}
}

func TestSearch(t *testing.T) {
	s := snapshot(
		t,
		&catalog.Item{ItemId: "1", Title: "Red T-Light holder", AvailableFrom: 3, Categories: path("Lighting")},
		&catalog.Item{ItemId: "2", Title: "Children's apron, RED", AvailableFrom: 2, Categories: path("Kitchen", "Aprons & Linen")},
		&catalog.Item{ItemId: "3", Title: "Blue apron", AvailableFrom: 1, Brand: "Redwood", Categories: path("Kitchen")},
		&catalog.Item{ItemId: "4", Title: "台灯 lamp", AvailableFrom: 0},
	)
	for _, c := range []struct {
		query string
		limit int
		want  []string
	}{
		{"red", 9, []string{"1", "2", "3"}},           // exact and as a beginning: the catalogue's order
		{"red apron", 9, []string{"2", "1", "3"}},     // two words before one
		{"RED  apr", 9, []string{"2", "1", "3"}},      // the last word may be unfinished
		{"re apron", 9, []string{"2", "3"}},           // only the last one
		{"childrens", 9, []string{"2"}},               // an apostrophe does not split
		{"linen", 9, []string{"2"}},                   // words of categories
		{"台", 9, []string{"4"}},                       // a script without spaces
		{"t light holder lighting", 1, []string{"1"}}, // the limit
		{"red red red red apron", 1, []string{"2"}},   // a repeated word counts once
		{"…", 9, []string{}}, {"red", 0, []string{}},  // nothing asked
		{"", 9, []string{}}, {"unknown", 9, []string{}},
	} {
		if diff := cmp.Diff(c.want, idsOfEntries(s.Search(c.query, c.limit))); diff != "" {
			t.Errorf("%q: %s", c.query, diff)
		}
	}
}

func TestOrderHoldsOnlyWhatHasBegun(t *testing.T) {
	s := snapshot(
		t, &catalog.Item{ItemId: "a", AvailableFrom: 30}, &catalog.Item{ItemId: "b", AvailableFrom: 20}, &catalog.Item{ItemId: "c"},
		&catalog.Item{ItemId: "d", AvailableFrom: 20, Availability: catalog.Discontinued},
	)
	for now, want := range map[int64][]string{-1: {}, 0: {"c"}, 20: {"b", "d", "c"}, 29: {"b", "d", "c"}, 30: {"a", "b", "d", "c"}} {
		if diff := cmp.Diff(want, idsOfEntries(s.Order(now))); diff != "" {
			t.Errorf("at %d: %s", now, diff)
		}
	}
}

func TestAvailability(t *testing.T) {
	for _, c := range []struct {
		item *catalog.Item
		want bool
	}{
		{&catalog.Item{}, true},
		{&catalog.Item{Availability: catalog.InStock, AvailableFrom: 100}, true},
		{&catalog.Item{Availability: catalog.Preorder}, true},
		{&catalog.Item{AvailableFrom: 101}, false},
		{&catalog.Item{Availability: catalog.OutOfStock}, false},
		{&catalog.Item{Availability: catalog.Discontinued}, false},
	} {
		if got := c.item.AvailableAt(100); got != c.want {
			t.Errorf("%v: %t", c.item, got)
		}
	}
}

func TestCategoriesOfAnItem(t *testing.T) {
	item := &catalog.Item{Categories: []*catalog.CategoryPath{{Names: []string{"Home", "Lamps"}}, {Names: []string{"Home", "Gifts", "Lamps"}}, {}, {Names: []string{"New"}}}}
	if diff := cmp.Diff([]string{"Home", "Lamps", "Gifts", "New"}, item.CategoryNames()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Lamps", "New"}, item.NarrowestCategories()); diff != "" {
		t.Error(diff)
	}
	if !item.InCategory("Gifts") || item.InCategory("gifts") {
		t.Error("InCategory is wrong")
	}
	s := snapshot(t, &catalog.Item{ItemId: "x", Categories: item.Categories}, &catalog.Item{ItemId: "w", Categories: path("New", "Home")})
	var got []string
	for _, number := range s.Category(s.CategoryNumber("Home")) {
		got = append(got, s.At(number).ItemId)
	}
	if !slices.Equal(got, []string{"w", "x"}) || s.CategorySize(s.CategoryNumber("Home")) != 2 || s.CategoryNumber("none") != itemid.None {
		t.Errorf("items of a category are %v", got)
	}
}

// TestEntries keep what ranking asks of an item, under the item's number.
func TestEntries(t *testing.T) {
	ids := itemid.NewTable()
	number := ids.Acquire("x")
	items := []*catalog.Item{
		{ItemId: "x", Brand: "b", Categories: []*catalog.CategoryPath{{Names: []string{"Home", "Lamps"}}, {Names: []string{"Home", "Gifts", "Lamps"}}, {}, {Names: []string{"New"}}}},
		{ItemId: "y", Seller: "s", Categories: path("Home", "Gifts")},
		{ItemId: "z"},
	}
	s, err := catalog.NewSnapshot(ids, items...)
	if err != nil {
		t.Fatal(err)
	}
	x, y, z := s.Find("x"), s.Find("y"), s.Find("z")
	if x.Number != number || s.At(number) != x || s.At(1<<20) != nil || s.Find("none") != nil {
		t.Error("items are not found by number")
	}
	var names []string
	for _, category := range x.Flat {
		names = append(names, s.CategoryName(category))
	}
	if diff := cmp.Diff(items[0].CategoryNames(), names); diff != "" {
		t.Error(diff)
	}
	if !x.In(s.CategoryNumber("Gifts")) || y.In(s.CategoryNumber("Lamps")) || z.In(s.CategoryNumber("Home")) {
		t.Error("In is wrong")
	}
	hash := catalog.Hash
	for i, want := range []catalog.Traits{{{hash("Lamps"), hash("New")}, {hash("b")}, {}}, {{hash("Gifts")}, {}, {hash("s")}}, {{}, {}, {}}} {
		if diff := cmp.Diff(want, []*catalog.Entry{x, y, z}[i].Traits(), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}
	if got := x.Alike(y.Shape); got != 2.0/3 || y.Alike(x.Shape) != got || x.Alike(z.Shape) != 0 || z.Alike(z.Shape) != 0 || x.Alike(x.Shape) != 1 {
		t.Errorf("x is like y by %v", got)
	}
}

// TestCommonCategories says nothing of the items that it is common to, so constraints leave it out.
func TestCommonCategories(t *testing.T) {
	s := snapshot(
		t, &catalog.Item{ItemId: "a", Categories: path("Shop", "Lamps", "Desk")}, &catalog.Item{ItemId: "b", Categories: path("Shop", "Lamps", "Floor")},
		&catalog.Item{ItemId: "c", Categories: path("Shop", "Mugs")},
	)
	for name, want := range map[string][]string{"": {"Shop"}, "Lamps": {"Lamps", "Shop"}, "Mugs": {"Mugs", "Shop"}} {
		hashes := make([]uint32, len(want))
		for i := range want {
			hashes[i] = catalog.Hash(want[i])
		}
		for range 2 {
			if got := s.Common(s.CategoryNumber(name)); len(got) != len(hashes) || slices.ContainsFunc(hashes, func(h uint32) bool { return !slices.Contains(got, h) }) {
				t.Errorf("%q: %v, want %v", name, got, hashes)
			}
		}
	}
	if got := snapshot(t).Common(itemid.None); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func BenchmarkSearch(b *testing.B) {
	items := make([]*catalog.Item, 5000)
	for i := range items {
		items[i] = &catalog.Item{ItemId: fmt.Sprint("i", i), Title: fmt.Sprintf("Item %d of shade %d with pattern %d", i, i%50, i%7), Categories: path("Shelf", strconv.Itoa(i%30))}
	}
	s := snapshot(b, items...)
	s.Search("warm up", 1)
	b.ReportAllocs()
	for b.Loop() {
		if len(s.Search("shade 17 pat", 20)) != 20 {
			b.Fatal("too few")
		}
	}
}

func BenchmarkNewSnapshot(b *testing.B) {
	items := make([]*catalog.Item, 5000)
	for i := range items {
		items[i] = &catalog.Item{ItemId: fmt.Sprint("i", i), Title: fmt.Sprint("Item ", i)}
	}
	b.ReportAllocs()
	for b.Loop() {
		snapshot(b, items...)
	}
}
