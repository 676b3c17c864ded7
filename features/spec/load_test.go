package spec_test

import (
	"strings"
	"testing"
	"time"

	"sluice/features/featurestest"
	"sluice/features/spec"

	"github.com/google/go-cmp/cmp"
)

func TestBuiltInConfiguration(t *testing.T) {
	c := featurestest.Config(t)
	names := strings.Join(c.RiskNames(), " ")
	for _, name := range []string{"payments_per_counterparty_7d", "payments_per_instrument_1h", "accounts_per_device_30d", "login_failures_per_ip_1h"} {
		if !strings.Contains(" "+names+" ", " "+name+" ") {
			t.Errorf("%s is missing", name)
		}
	}
	if window, kept := c.TrendingWindow(); window != 7*24*time.Hour || kept != 4 {
		t.Errorf("trending window %v, kept %d", window, kept)
	}
	if c.Trending.MinAge != 24*time.Hour {
		t.Errorf("people count when they are %v old", c.Trending.MinAge)
	}
	if c := featurestest.Config(t, "min_age: 1d", "min_age: 0s"); c.Trending.MinAge != 0 {
		t.Errorf("everybody counts when they are %v old", c.Trending.MinAge)
	}
}

// TestBadConfiguration changes one thing of the built-in configuration, or puts a feature in the place of all.
func TestBadConfiguration(t *testing.T) {
	feature := func(replace ...string) string {
		text := `features:
  - name: a
    doc: Counts.
    purpose: risk
    events: [payment]
    key: user_id
    aggregate: count
    windows: [1h, 1d]
`
		return strings.NewReplacer(replace...).Replace(text)
	}
	builtIn := func(old, new string) string {
		text := string(spec.Defaults)
		if !strings.Contains(text, old) {
			t.Fatalf("features.yaml does not hold %q", old)
		}
		_, text, _ = strings.Cut(strings.Replace(text, old, new, 1), "\nprofiles:")
		return "profiles:" + text
	}
	const shapes = "must be count, {sum: F}, {mean: F}, {stddev: F}, {max: F} or {distinct: F, exact_up_to: 25}"
	cases := []struct{ name, yaml, want string }{
		{"clock", "clock: sundial\n", "test.yaml:1:8: clock: must be wall or event"},
		{"unknown key", feature("doc:", "docs:"), "test.yaml:3:5: features[0].docs: unknown key; did you mean doc?"},
		{"name", feature("name: a", "name: A b"), "test.yaml:2:11: features[0].name: must be lower-case letters, digits and _"},
		{"no doc", feature("    doc: Counts.\n", ""), "test.yaml:2:5: features[0].doc: must be a sentence that says what the feature counts"},
		{"purpose", feature("risk", "fun"), "test.yaml:4:14: features[0].purpose: must be a purpose of the register"},
		{"event", feature("[payment]", "[pay]"), "test.yaml:5:14: features[0].events[0]: must be an event type, such as view_item"},
		{"no event", feature("[payment]", "[]"), "test.yaml:5:13: features[0].events: must be at least one event type"},
		{"event of others", feature("[payment]", "[payment, follow]"), "test.yaml:5:23: features[0].events[1]: the purpose risk does not take follow"},
		{"no such field", feature("user_id", "user"), "test.yaml:6:10: features[0].key: user is no field of an event"},
		{
			"field that the purpose does not hold", feature("risk", "personalize", "payment", "view_item", "user_id", "device.mac"),
			"test.yaml:6:10: features[0].key: device.mac: events of the purpose personalize do not hold this field",
		},
		{
			"summed field that the purpose does not hold", feature("risk", "personalize", "payment", "view_item", "count", "{sum: order.value}"),
			"test.yaml:7:16: features[0].aggregate: order.value: events of the purpose personalize do not hold this field",
		},
		{
			"other purpose", feature("risk", "personalize", "payment", "view_item"),
			"test.yaml:4:14: features[0].purpose: must be risk: aggregates are kept for risk alone; what personalize may compute are the profiles and item_structures",
		},
		{
			"key that names no entity", feature("user_id", "order.currency"),
			"test.yaml:6:10: features[0].key: must be a field that names an entity: counterparty.id, device.id, network.ip, order.payment_instrument, user_id",
		},
		{"aggregate", feature("count", "median"), "test.yaml:7:16: features[0].aggregate: " + shapes},
		{"two operations", feature("count", "{sum: order.value, max: order.value}"), "test.yaml:7:16: features[0].aggregate: " + shapes},
		{"bound of a sum", feature("count", "{sum: order.value, exact_up_to: 3}"), "test.yaml:7:16: features[0].aggregate: " + shapes},
		{"sum of an id", feature("count", "{sum: device.id}"), "test.yaml:7:16: features[0].aggregate: must be of a number of an event: order.value"},
		{
			"distinct numbers", feature("count", "{distinct: order.value}"),
			"test.yaml:7:16: features[0].aggregate: distinct must be of a field that names an entity: counterparty.id, device.id, network.ip, order.payment_instrument, user_id",
		},
		{
			"distinct keys", feature("count", "{distinct: user_id}"),
			"test.yaml:7:16: features[0].aggregate: distinct must be of another field than the key: an entity has one user_id",
		},
		{
			"bound", feature("count", "{distinct: device.id, exact_up_to: 1000}"),
			"test.yaml:7:51: features[0].aggregate.exact_up_to: must be between 1 and 256",
		},
		{"no windows", feature("[1h, 1d]", "[]"), "test.yaml:8:14: features[0].windows: must be 1 to 8 windows"},
		{"window", feature("1h,", "soon,"), "test.yaml:8:15: features[0].windows[0]: must be a duration such as 30m, 6h or 7d"},
		{"long window", feature("1d]", "400d]"), "test.yaml:8:19: features[0].windows[1]: must be between 1m and 180d"},
		{"order of windows", feature("[1h, 1d]", "[1d, 1h]"), "test.yaml:8:19: features[0].windows[1]: windows must be in ascending order"},
		{
			"twice", feature() + strings.TrimPrefix(feature(), "features:\n"),
			"test.yaml:9:11: features[1].name: must be a name of its own; another feature has a window a_1h",
		},
		{"keep", builtIn("keep: 50", "keep: 0"), "test.yaml:4:11: profiles.personalize.keep: must be between 1 and 2000"},
		{
			"retention", builtIn("keep: 50", "keep: 50\n    retention: 900d"),
			"test.yaml:5:16: profiles.personalize.retention: must be between 1h and 365d",
		},
		{"profile event", builtIn("events: [view_item, select_item, search", "events: [login"), "test.yaml:3:14: profiles.personalize.events[0]: the purpose personalize does not take login"},
		{"kept where nobody sees it", builtIn("[view_item, select_item, search, add_to_cart, add_to_wishlist, follow", "[view_item, search, add_to_cart, add_to_wishlist, follow"), "profiles.history.events: must have select_item too, as profiles.personalize keeps it: people can delete only what their history shows"},
		{"weight of what is not kept", builtIn("purchase: 3", "share: 3"), "item_structures.co_visitation.weights.share: must be an event type that profiles.personalize keeps"},
		{"weight", builtIn("purchase: 3", "purchase: 300"), "item_structures.co_visitation.weights.purchase: must be between 0.01 and 16"},
		{"positions", builtIn("positions: 5", "positions: 50"), "item_structures.co_visitation.positions: must be between 1 and 20"},
		{"sample", builtIn("sample: 500", "sample: 0"), "item_structures.co_visitation.sample: must be between 1 and 10000"},
		{"gap", builtIn("gap: 30m", "gap: 30d"), "item_structures.session_neighbours.gap: must be between 1s and 1d"},
		{"people", builtIn("people: 5 ", "people: 0 "), "item_structures.trending.people: must be between 1 and 1000"},
		{"windows kept", builtIn("kept: 4", "kept: 1"), "item_structures.trending.kept: must be between 2 and 60"},
		{"window beyond retention", builtIn("window: 7d", "window: 30d"), "item_structures.trending.window: must be between 1m and 180h"},
		{"age", builtIn("min_age: 1d", "min_age: soon"), "item_structures.trending.min_age: must be a duration such as 30m, 6h or 7d"},
		{"great age", builtIn("min_age: 1d", "min_age: 31d"), "item_structures.trending.min_age: must be between 1s and 30d"},
		{"tick", builtIn("tick: 1m", "tick: 30d"), "item_structures.trending.tick: must be between 1s and 7d"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := spec.Load(featurestest.Sections(t, string(spec.Defaults), c.yaml), featurestest.Register(t))
			if err == nil {
				t.Fatalf("loaded; expected %s", c.want)
			}
			got, _, _ := strings.Cut(err.Error(), "\n")  // what follows from it comes after
			if !strings.HasPrefix(c.want, "test.yaml") { // line and column are those of other cases
				_, got, _ = strings.Cut(got, ": ")
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestFieldThatTheRegisterDoesNotCollect narrows the register: what it does not collect, no feature may read.
func TestFieldThatTheRegisterDoesNotCollect(t *testing.T) {
	narrowed := featurestest.NarrowRegister(t, "device.id")
	_, err := spec.Load(featurestest.Sections(t, string(spec.Defaults)), narrowed)
	want := "device.id: the register does not collect this field for risk"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want … %s", err, want)
	}
}
