package app

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"sluice/internal/httpx"
)

// TestDeploymentKeepsWhatIsLeftOut: what a file's section of the deployment leaves out stays as it is built in.
func TestDeploymentKeepsWhatIsLeftOut(t *testing.T) {
	builtin := func() deployment {
		return deployment{
			Server: serverConfig{Listen: "127.0.0.1:8080", Linger: "3s", State: 256, Waiting: 512, Memory: 1280, Connections: 10000, TrustedProxies: []string{}},
			Kafka:  kafkaConfig{Brokers: []string{}, Prefix: "sluice.", Replicas: 1, Generation: 1},
			Warehouse: warehouseConfig{
				Store: "parquet", Flush: "10s", ClickHouse: clickhouseConfig{Addresses: []string{}, Protocol: "native", Database: "sluice", User: "default"},
			},
			Keys: keysConfig{Write: []string{}, Server: []string{}, Operator: []string{}, Origins: map[string][]string{}, NotBefore: map[string]string{}, Expires: map[string]string{}, Jurisdictions: map[string]string{}},
			Log:  logConfig{Level: "info", Format: "text"},
		}
	}
	for _, c := range []struct {
		name, yaml string
		want       func(d *deployment)
	}{
		{"nothing", "", func(*deployment) {}},
		{"empty sections", "kafka: {}\nserver: {}\n", func(*deployment) {}},
		{"brokers", "kafka:\n  brokers: [k:9092]\n", func(d *deployment) { d.Kafka.Brokers = []string{"k:9092"} }},
		{"deep", "kafka: {tls: {ca: ca.pem}, sasl: {user: u}}\n", func(d *deployment) { d.Kafka.TLS.CA, d.Kafka.SASL.User = "ca.pem", "u" }},
		{"no prefix on purpose", "kafka: {prefix: \"\"}\n", func(d *deployment) { d.Kafka.Prefix = "" }},
		{"data", "server: {data: /d}\n", func(d *deployment) { d.Server.Data = "/d" }},
		{"no linger", "server: {linger: 0s}\n", func(d *deployment) { d.Server.Linger = "0s" }},
		{"one role's keys", "keys: {server: [0123456789abcdef]}\n", func(d *deployment) { d.Keys.Server = []string{"0123456789abcdef"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := loadText(t, c.yaml)
			if err != nil {
				t.Fatal(err)
			}
			got, err := loadDeployment(config)
			if err != nil {
				t.Fatal(err)
			}
			want := builtin()
			c.want(&want)
			if diff := cmp.Diff(&want, got, cmpopts.IgnoreUnexported(serverConfig{}, warehouseConfig{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// loadText loads a user's file.
func loadText(t *testing.T, text string) (*Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, file := range map[string]struct {
		data []byte
		mode os.FileMode
	}{"f.yaml": {[]byte(text), 0o600}, "open.key": {[]byte("0123456789abcdef0123456789ABCDEF"), 0o644}, "zero.key": {make([]byte, 32), 0o600}} {
		if err := os.WriteFile(name, file.data, file.mode); err != nil {
			t.Fatal(err)
		}
	}
	return Load("f.yaml")
}

const ownFeature = `features:
  - name: refunds_per_account
    doc: Refunds of this account before this event.
    purpose: risk
    events: [refund]
    key: user_id
    aggregate: count
    windows: [7d, 30d]
`

func ownRule(when, expires string) string {
	return `rules:
  - id: own_rule
    doc: A rule of one's own.
    events: [payment]
    when: ` + when + `
    outcome: review
    score: 100
    reason: {code: own, text: This is looked at., tell_user: true}
    mode: shadow
    owner: us
    expires: ` + expires + `
    tests: [{given: {}, hits: false}]
`
}

// TestFilesMergeByName: what a file names is added, changed or removed, and everything else stays as it is built in.
func TestFilesMergeByName(t *testing.T) {
	for _, c := range []struct {
		name, yaml        string
		changes, warnings []string
	}{
		{"one surface", "surfaces: {home: {page_size: 10}}", []string{"surfaces.home changed: page_size"}, nil},
		{"a surface as the guide has it", "\uFEFFsurfaces:\n  deals:\n    page_size: 10\n    non_personal: [{retriever: trending, candidates: 100}]\n", []string{"surfaces.deals added"}, nil},
		{"no surface for carts", "surfaces: {cart: null}", []string{"surfaces.cart removed"}, nil},
		{"a feature and a rule that reads it", ownFeature + ownRule("refunds_per_account_7d >= 3", "2030-01-01"), []string{"features.refunds_per_account added", "rules.own_rule added"}, nil},
		{
			"rules that do nothing", ownRule("order.value > 5 and order.value < 3", "2024-01-01"),
			[]string{"rules.own_rule added"},
			[]string{
				"f.yaml:5:11: rules.own_rule.when: the rule can never hit: no value of order.value meets what is asked of it",
				"f.yaml:11:14: rules.own_rule.expires: the rule has expired and judges no event any more; its owner must look at it again",
			},
		},
		{"a rule in shadow", "rules: [{id: instrument_shared, mode: shadow}, {shipped_abroad: null}]", []string{"rules.instrument_shared changed: mode", "rules.shipped_abroad removed"}, nil},
		{"a narrower register", "fields: {device.mac: {collected_for: []}}\npolicy: {version: \"2027-01\", jurisdiction: EU}", []string{"fields.device.mac changed: collected_for", "policy.jurisdiction changed", "policy.version changed"}, nil},
		{
			"kept longer", "retention: {security: {period: 400d}}",
			[]string{"retention.security changed: period"},
			[]string{"f.yaml:1:32: retention.security.period: this is longer than the 180 days that are built in; the policy must say so"},
		},
		{
			"a purpose kept longer", "purposes: {history: {retention: choices}, trending: {retention: aggregates}}",
			[]string{"purposes.history changed: retention"},
			[]string{"f.yaml:1:33: purposes.history.retention: this is longer than the 365 days that are built in; the policy must say so"},
		},
		{
			"a class of one's own that keeps longer", "purposes: {history: {retention: ours}}\nretention: {ours: {period: 400d, criterion: law, clause: \"5(I)\"}}",
			[]string{"purposes.history changed: retention", "retention.ours added"},
			[]string{"f.yaml:1:33: purposes.history.retention: this is longer than the 365 days that are built in; the policy must say so"},
		},
		{"a jurisdiction with a basis", "purposes: {personalize: {legal_basis: {US: notice}, default: {US: allow}}}", []string{"purposes.personalize changed: default, legal_basis"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := loadText(t, c.yaml)
			if err != nil {
				t.Fatal(err)
			}
			if err := config.Check(); err != nil {
				t.Fatal(err)
			}
			var changes, warnings []string
			for _, change := range config.Changes() {
				changes = append(changes, change.String())
			}
			if diff := cmp.Diff(c.changes, changes, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
				t.Error(diff)
			}
			found, err := config.Warnings(time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC))
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range found {
				warnings = append(warnings, w.Error())
			}
			if diff := cmp.Diff(c.warnings, warnings); diff != "" {
				t.Error(diff)
			}
			r, err := loadRooms(config)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.recommend.Surfaces()) < 6 {
				t.Errorf("surfaces: %v", r.recommend.Surfaces())
			}
		})
	}
}

// TestFaultsAreToldAtOnce: every fault of a file with a line of that file, also where what is wrong is built in.
func TestFaultsAreToldAtOnce(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		want       []string
	}{
		{
			"in every room",
			"server: {places: -1, waiting: 0}\ncolours: {}\nsurfaces:\n  home: {page_size: 0, pages: 3}\n  deals: {page_size: 3}\nclock: sundial\nrules: [{id: own, mode: dead}]\n",
			[]string{
				"f.yaml:1:18: server.places: must be between 0 and 1024",
				"f.yaml:1:31: server.waiting: must be between 1 and 100000",
				"f.yaml:2:10: colours: unknown section; it must be one of server, kafka, warehouse, log, keys, collector, quotas, policy, purposes, fields, retention, clock, features, profiles, item_structures, surfaces, decisions, rules",
				"f.yaml:4:21: surfaces.home.page_size: must be between 1 and 100",
				"f.yaml:4:24: surfaces.home.pages: unknown key; it must be one of diversify, non_personal, page_size, personal, require, seen",
				"f.yaml:5:10: surfaces.deals.non_personal: must name at least one retriever: it is what everyone gets who does not allow, or has, a personal list",
				"f.yaml:6:8: clock: must be wall or event",
				"f.yaml:7:9: rules.own.doc: must be a sentence that says what the rule finds",
				"f.yaml:7:9: rules.own.events: must be at least one of sign_up, login, payment",
				"f.yaml:7:9: rules.own.outcome: must be allow, challenge, review or block",
				"f.yaml:7:9: rules.own.reason.code: must be a code of a to z, 0 to 9 and _",
				"f.yaml:7:9: rules.own.reason.text: must be a sentence that explains the decision",
				"f.yaml:7:9: rules.own.owner: must name the team that answers for the rule",
				"f.yaml:7:9: rules.own.tests: must be at least one test: {given: {order.value: 2.5}, hits: false}",
				"f.yaml:7:9: rules.own.expires: must be the last day that the rule runs, such as 2027-06-30",
				"f.yaml:7:9: rules.own.when: must be a condition",
				"f.yaml:7:25: rules.own.mode: must be shadow or live",
			},
		},
		{
			"weak keys", "keys: {write: [\"\", aaaaaaaaaaaaaaaa], server: [\"\", short], operator: [demo_operator], origins: {other: [https://a.example], \"\": [a]}}",
			[]string{
				"f.yaml:1:16: keys.write[0]: must have at least 16 characters, 8 different ones among them; `sluice keys generate` makes a key",
				"f.yaml:1:20: keys.write[1]: must have at least 16 characters, 8 different ones among them; `sluice keys generate` makes a key",
				"f.yaml:1:48: keys.server[0]: must have at least 16 characters, 8 different ones among them; `sluice keys generate` makes a key",
				"f.yaml:1:48: keys.server[0]: must stand once: a key has one role",
				"f.yaml:1:52: keys.server[1]: must have at least 16 characters, 8 different ones among them; `sluice keys generate` makes a key",
				"f.yaml:1:96: keys.origins: each " + httpx.OriginText,
				"f.yaml:1:96: keys.origins: must have keys that stand under write",
			},
		},
		{
			"keys of wrong types, none of which is told",
			"keys: {s3cret_of_ours: write, operator: {s3cret: a}, origins: {s3cret_of_pages: {https: a}, s3cret_of_others: 7}}",
			[]string{
				"f.yaml:1:8: keys: unknown key; it must be one of expires, jurisdictions, not_before, operator, origins, server, write",
				"f.yaml:1:41: keys.operator: must be a list, not a mapping",
				"f.yaml:1:81: keys.origins: must be a list, not a mapping",
				"f.yaml:1:111: keys.origins: must be a list, not a number",
			},
		},
		{"a key that stands twice", "keys:\n  origins:\n    s3cret: [https://a.example]\n    s3cret: []\n", []string{"f.yaml:4:5: a key must stand once in its mapping; this one stands at 3:5 already"}},
		{
			"a root key that others can read", "server: {root_key: open.key}", []string{"f.yaml:1:20: server.root_key: reading the root key: open.key must be readable by its owner alone: chmod 600 open.key"},
		},
		{"a root key of zeroes", "server: {root_key: zero.key}", []string{"f.yaml:1:20: server.root_key: reading the root key: zero.key must hold random bytes"}},
		{"half a certificate", "server: {tls: {cert: a.pem}}", []string{"f.yaml:1:15: server.tls: must name both cert and key, or neither"}},
		{
			"jurisdictions of no page, and of no register", "keys: {jurisdictions: {\"https://eu.example\": XX, shop.example: EU}}",
			[]string{
				"f.yaml:1:46: keys.jurisdictions: must be a jurisdiction that the register knows: CN, EU",
				"f.yaml:1:64: keys.jurisdictions: " + httpx.OriginText,
			},
		},
		{"no origins", "collector: {cors: {origins: [shop.example]}}", []string{"f.yaml:1:30: collector.cors.origins[0]: " + httpx.OriginText}},
		{
			"a feature that built-in rules read is gone", "features: [{sign_ups_per_ip: null}]",
			[]string{"f.yaml:1:11: features: rules.sign_ups_from_address.when, which is built in, rests on this section and does not load with it: at character 1: unknown name sign_ups_per_ip_1h; `sluice config print rules` lists the names"},
		},
		{
			"a rule that a built-in test fails", "rules: [{id: sign_ups_from_address, when: sign_ups_per_ip_1h >= 50}]",
			[]string{"f.yaml:1:9: rules.sign_ups_from_address.tests[0]: the test of sign_ups_from_address fails: it must hit, but the condition is false (what stands there is built in)"},
		},
		{
			"a wider register", "fields: {device.mac: {collected_for: [risk, personalize]}, device.model: {collected_for: [risk]}}\npurposes:\n  personalize: {default: {EU: allow, US: allow}}\n  trending: {events: [view_item, search]}\n  marketing.sms: {default: {CN: allow}}\n",
			[]string{
				"f.yaml:1:45: fields.'device.mac'.collected_for[1]: the event type of the purpose personalize cannot hold this field: the type is the upper bound, the register may only narrow it",
				"f.yaml:5:33: purposes.'marketing.sms'.default.CN: must be deny: a purpose of tier additional needs the person's own consent",
			},
		},
		{
			"a register that only widens what is built in", "purposes:\n  personalize: {default: {EU: allow, US: allow}}\n  trending: {events: [view_item, search]}\n",
			[]string{
				"f.yaml:2:31: purposes.personalize.default.EU: must be deny, as built in: the register may only narrow it",
				"f.yaml:2:42: purposes.personalize.default.US: must be deny, or rest on a legal_basis for US",
				"f.yaml:3:22: purposes.trending.events: must not have search: the register may only narrow what is built in",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := loadText(t, c.yaml)
			if err == nil {
				err = config.Check()
			}
			if err == nil {
				t.Fatal("it loads")
			}
			if diff := cmp.Diff(c.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRootKeyOfAnotherUser: a root key that whoever checks the configuration may not read is passed over with a warning.
func TestRootKeyOfAnotherUser(t *testing.T) {
	config, err := loadText(t, "server: {root_key: other.key}")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("other.key", make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod("other.key", 0); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // to the end: root, who may read everything, is somebody else in this thread from here on
		if _, err := unix.SetfsuidRetUid(65534); err != nil {
			t.Error(err)
			return
		}
		if err := config.Check(); err != nil {
			t.Error(err)
		}
		found, err := config.Warnings(time.Now())
		if err != nil || len(found) != 1 || found[0].Error() != "f.yaml:1:20: server.root_key: this user may not read the file, so the key in it was not checked" {
			t.Errorf("%v, %v", found, err)
		}
	}()
	<-done
}

// TestServeNamesTheUsersFile: what serve must be told is asked of the user's file, whether it has the section or not.
func TestServeNamesTheUsersFile(t *testing.T) {
	for yaml, want := range map[string]string{
		"server: {data: /tmp}":                "f.yaml: kafka.brokers: must name at least one host:port",
		"kafka: {}":                           "f.yaml:1:8: kafka.brokers: must name at least one host:port",
		"kafka: {brokers: [\"127.0.0.1:1\"]}": "f.yaml: server.data: must name a directory",
	} {
		config, err := loadText(t, yaml)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(config, nil, Options{}); err == nil || err.Error() != want {
			t.Errorf("%s: %v", yaml, err)
		}
	}
}
