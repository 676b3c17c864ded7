package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// goldenTable compares lines with a golden file, which -update rewrites.
func goldenTable(t *testing.T, name string, lines []string) {
	t.Helper()
	got := strings.Join(lines, "\n") + "\n"
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (run with -update to accept): %s", path, diff)
	}
}

// TestBadRequests is the golden table of bad input to the API: one line each, with the status and the whole answer.
func TestBadRequests(t *testing.T) {
	d := startDemo(t, t.TempDir(), "--shop", "none", "--shoppers", "0")
	d.accept("v")
	event := func(members string) string {
		return `{"id":"e1","type":"view_item","time":"2026-11-24T08:00:00Z","anonymous_id":"v","channel":"web","items":[{"item_id":"i1"}]` + members + `}`
	}
	const events, recommendations = "/v1/events", "/v1/recommendations"
	var lines []string
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
	}{
		{"broken JSON", "POST", events, `{"id":"e1",`, nil},
		{"broken line of NDJSON", "POST", events, "{\"id\":\n" + event(`,"id2":1`), []string{"Content-Type", "application/x-ndjson"}},
		{"unknown field", "POST", events, event(`,"colour":"red"`), nil},
		{"unknown type", "POST", events, `{"id":"e2","type":"stare","time":"2026-11-24T08:00:00Z","anonymous_id":"v","channel":"web"}`, nil},
		{"unknown channel", "POST", events, `{"id":"e2","type":"page_view","time":"2026-11-24T08:00:00Z","anonymous_id":"v","channel":"fax"}`, nil},
		{"missing field", "POST", events, `{"id":"e3","type":"view_item","time":"2026-11-24T08:00:00Z","anonymous_id":"v","channel":"web"}`, nil},
		{"nobody", "POST", events, `{"id":"e3","type":"page_view","time":"2026-11-24T08:00:00Z","channel":"web"}`, nil},
		{"wrong type", "POST", events, `{"id":"e4","type":"page_view","time":1,"anonymous_id":"v","channel":"web"}`, nil},
		{"wrong type, deep", "POST", events, event(`,"order":{"order_id":7}`), nil},
		{"no date", "POST", events, `{"id":"e4","type":"page_view","time":"yesterday","anonymous_id":"v","channel":"web"}`, nil},
		{"10 MB body", "POST", events, "[" + strings.Repeat(" ", 10<<20) + "]", nil},
		{"event of 40 KB", "POST", events, event(`,"search_term":"` + strings.Repeat("x", 40<<10) + `"`), nil},
		{"content type", "POST", events, "<event/>", []string{"Content-Type", "application/xml"}},
		{"broken gzip", "POST", events, "not gzip", []string{"Content-Encoding", "gzip"}},
		{"no key", "POST", events, event(""), []string{"Authorization", ""}},
		{"unknown key", "POST", events, event(""), []string{"Authorization", "Bearer nonsense"}},
		{"operator's key", "POST", events, event(""), []string{"Authorization", "Bearer demo_operator"}},
		{"payment with a write key", "POST", events, `{"id":"e5","type":"payment","time":"2026-11-24T08:00:00Z","anonymous_id":"v","channel":"web","order":{"order_id":"o","value":"1","currency":"EUR"}}`, []string{"Authorization", "Bearer demo_write"}},
		{"unknown surface", "POST", recommendations, `{"surface":"cellar","anonymous_id":"v"}`, nil},
		{"limit", "POST", recommendations, `{"surface":"home","anonymous_id":"v","limit":1000}`, nil},
		{"bucket", "POST", recommendations, `{"surface":"home","context":{"bucket":16}}`, nil},
		{"cursor", "POST", recommendations, `{"surface":"home","cursor":"nonsense"}`, nil},
		{"unknown purpose", "PUT", "/v1/visitors/v/consent/astrology", `{"decision":"allow"}`, nil},
		{"legal purpose", "PUT", "/v1/visitors/v/consent/risk", `{"decision":"deny"}`, nil},
		{"unknown decision", "PUT", "/v1/visitors/v/consent/personalize", `{"decision":"maybe"}`, nil},
		{"unknown policy", "PUT", "/v1/visitors/v/policy", `{"version":"1789","accepted":true}`, nil},
		{"foreign footprint", "DELETE", "/v1/visitors/v/history/AAAA", "", nil},
		{"decision on a page view", "POST", "/v1/decisions", `{"id":"e6","type":"page_view","time":"2026-11-24T08:00:00Z","anonymous_id":"v","channel":"server"}`, nil},
		{"decision without a value", "POST", "/v1/decisions", `{"id":"e7","type":"payment","time":"2026-11-24T08:00:00Z","user_id":"u","channel":"server","order":{"order_id":"o"}}`, nil},
		{"unknown path", "DELETE", "/v1/items/none/none", "", nil},
		{"unknown method", "PATCH", events, event(""), nil},
		{"unknown path in a browser", "GET", "/v1/nothing", "", []string{"Accept", "text/html"}},
		{"unknown run", "GET", "/v1/replays/xyz", "", nil},
		{"unknown dead letter", "GET", "/v1/dead-letters/00000000000000000000000000000000", "", nil},
	} {
		status, body := d.call(c.method, c.path, c.body, c.headers...)
		lines = append(lines, fmt.Sprintf("%s | %s %s | %d | %s", c.name, c.method, c.path, status, strings.TrimSpace(string(body))))
		if status == http.StatusInternalServerError {
			t.Errorf("%s: internal error", c.name)
		}
	}
	goldenTable(t, "bad_requests.golden", lines)
	if logs := d.logs.String(); regexp.MustCompile(`level=(WARN|ERROR)`).MatchString(logs) {
		t.Errorf("bad requests are not worth a log line: %s", logs)
	}
}

// TestBadFiles is the golden table of bad configuration, maps and surroundings: one line each, with the exit code and what is printed.
func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := startDemo(t, t.TempDir(), "--shop", "none", "--shoppers", "0")
	earlier := filepath.Join(dir, "earlier")
	if err := os.MkdirAll(filepath.Join(earlier, "broker"), 0o700); err != nil {
		t.Fatal(err)
	}
	analysed := filepath.Join(dir, "analysed")
	if err := os.MkdirAll(filepath.Join(analysed, "warehouse"), 0o700); err != nil {
		t.Fatal(err)
	}
	events := file("events.csv", "time,user_id,type,item_id\n1,u,view,i\n")
	demo := func(config string) []string {
		return []string{"demo", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data"), "--shop", "none", "--config", config}
	}
	served := 0
	serve := func(server string) []string {
		served++
		return []string{"serve", "--check", "--config", file("serve-"+strconv.Itoa(served)+".yaml", server+"kafka:\n  brokers: [127.0.0.1:1]\nkeys: {server: [demo_server]}\n")}
	}
	rule := func(more string) string {
		return "rules:\n  - id: r\n    doc: A rule.\n    events: [payment]\n    " + more + "\n    outcome: review\n    score: 1\n    reason: {code: c, text: T., tell_user: false}\n    mode: live\n    owner: o\n    expires: 2030-01-01\n"
	}
	const good = "    tests: [{given: {order.value: 2}, hits: true}]\n"
	var lines []string
	for _, c := range []struct {
		name string
		args []string
	}{
		{"bad YAML", demo(file("yaml.yaml", "rules: [\n"))},
		{"unknown section", demo(file("section.yaml", "colours: {}\n"))},
		{"unknown purpose in the register", demo(file("purpose.yaml", "fields:\n  device.mac: {category: user.device.device_id, clause: \"2(9)\", collected_for: [astrology]}\n"))},
		{"missing clause", demo(file("clause.yaml", "fields:\n  device.mac: {category: user.device.device_id, clause: null, collected_for: [risk]}\n"))},
		{"a feature reads a field that its purpose does not hold", demo(file("feature.yaml", "features:\n  - {name: macs, doc: Macs., purpose: personalize, events: [view_item], key: device.mac, aggregate: count, windows: [1h]}\n"))},
		{"unknown retriever", demo(file("retriever.yaml", "surfaces:\n  home:\n    page_size: 20\n    personal: [{retriever: oracle, candidates: 10}]\n    non_personal: [{retriever: trending, candidates: 10}]\n"))},
		{"a personal retriever for strangers", demo(file("stranger.yaml", "surfaces:\n  home:\n    page_size: 20\n    personal: [{retriever: session_knn, candidates: 10}]\n    non_personal: [{retriever: session_knn, candidates: 10}]\n"))},
		{"bad rule", demo(file("rule.yaml", rule("when: order.value >")+good))},
		{"rule with an unknown feature", demo(file("name.yaml", rule("when: payments_per_moon_1h > 3")+good))},
		{"rule whose test fails", demo(file("test.yaml", rule("when: order.value > 5")+good))},
		{"wrong map", []string{"replay", "--events", events, "--map", file("map.yaml", "set: {jurisdiction: CN}\nfields: {time: time, user: user_id, type: type}\n")}},
		{"column that is not there", []string{"replay", "--events", events, "--map", file("column.yaml", "set: {jurisdiction: CN, type: page_view}\nfields: {time: when, user_id: user_id}\n")}},
		{"no such file", []string{"replay", "--events", filepath.Join(dir, "none.csv"), "--map", "testdata/retail.yaml"}},
		{"no map", []string{"replay", "--events", events}},
		{"unknown purpose to grant", []string{"replay", "--events", events, "--map", "testdata/retail.yaml", "--grant", "nope", "--to", busy.url}},
		{"legal purpose to grant", []string{"replay", "--events", events, "--map", "testdata/retail.yaml", "--grant", "risk", "--to", busy.url}},
		{"port out of range", []string{"demo", "--listen", "127.0.0.1:99999", "--data", filepath.Join(dir, "data")}},
		{"no port", []string{"demo", "--listen", "127.0.0.1", "--data", filepath.Join(dir, "data")}},
		{"port out of range in a file", serve("server: {data: /tmp, root_key: /none, listen: 127.0.0.1:99999}\n")},
		{"shoppers below 0", []string{"demo", "--shoppers", "-1"}},
		{"shoppers below 0, one word", []string{"demo", "--shoppers=-1"}},
		{"shoppers not a number", []string{"demo", "--shoppers", "many"}},
		{"port in use", []string{"demo", "--listen", taken.Addr().String(), "--data", filepath.Join(dir, "data")}},
		{"unwritable data directory", []string{"demo", "--listen", "127.0.0.1:0", "--data", "/proc/sluice"}},
		{"locked data directory", []string{"demo", "--listen", "127.0.0.1:0", "--data", busy.dir}},
		{"data directory of another format", []string{"demo", "--listen", "127.0.0.1:0", "--data", earlier}},
		{"data directory of another format without state", []string{"demo", "--listen", "127.0.0.1:0", "--data", analysed}},
		{"reset of a directory of something else", []string{"demo", "--listen", "127.0.0.1:0", "--data", dir, "--reset"}},
		{"a key from an example", demo(file("example.yaml", "keys: {server: [replace-this-server-key]}\n"))},
		{"a hash that is cut off", demo(file("hash.yaml", "keys: {server: [\"sha256:0123456789abcdef\"]}\n"))},
		{"a key that expires before it begins", demo(file("times.yaml", "keys: {server: [0123456789abcdef], not_before: {0123456789abcdef: 2027-01-01}, expires: {0123456789abcdef: 2026-01-01}}\n"))},
		{"a time that is none", demo(file("time.yaml", "keys: {server: [0123456789abcdef], expires: {0123456789abcdef: soon, fedcba9876543210: 2027-01-01}}\n"))},
		{"a key that is empty", demo(file("empty.yaml", "keys: {server: [demo_server], operator: [\"\"]}\n"))},
		{"a key that no header can carry", demo(file("space.yaml", "keys: {server: [\"s \"]}\n"))},
		{"demo keys on a public address", []string{"demo", "--listen", "0.0.0.0:0", "--data", filepath.Join(dir, "data")}},
		{"no brokers", []string{"serve", "--config", file("serve.yaml", "server: {data: /tmp}\n")}},
		{"no root key", serve("server: {data: /tmp}\n")},
		{"root key that is not there", serve("server: {data: /tmp, root_key: " + filepath.Join(dir, "none.key") + "}\n")},
		{"root key of a wrong length", serve("server: {data: /tmp, root_key: " + file("short.key", "short") + "}\n")},
		{"root key that would be overwritten", []string{"keys", "create", filepath.Join(dir, "short.key")}},
		{"root key in no directory", []string{"keys", "create", filepath.Join(dir, "none", "root.key")}},
		{"pages without the API", []string{"serve", "--config", file("web.yaml", "server: {data: /tmp, root_key: /none}\nkafka:\n  brokers: [127.0.0.1:1]\n"), "--roles", "web,collector"}},
		{"checked file", []string{"config", "check", file("check.yaml", "kafka: {replicas: 0}\n")}},
		{"checked file that is not there", []string{"config", "check", filepath.Join(dir, "none.yaml")}},
		{"prefix of another state", []string{"state", "digest", "--data", dir, "--config", filepath.Join(dir, "check.yaml")}},
		{"unknown store", demo(file("store.yaml", "warehouse: {store: shelf}\n"))},
		{"ClickHouse without an address", demo(file("addresses.yaml", "warehouse: {store: clickhouse}\n"))},
		{"ClickHouse that does not answer", []string{"migrate", "--config", file("silent.yaml", "warehouse: {store: clickhouse, clickhouse: {addresses: [\"127.0.0.1:1\"]}}\n")}},
		{"a migration without ClickHouse", []string{"migrate", "--config", file("files.yaml", "warehouse: {store: parquet}\n")}},
		{"ClickHouse rows of no table", []string{"replay", "--events", "clickhouse://127.0.0.1:1/sluice", "--set", "jurisdiction=CN"}},
		{"unknown table of the warehouse", []string{"replay", "--events", events, "--map", "warehouse:gossip", "--set", "jurisdiction=CN"}},
		{"a colon without quotes", demo(file("colon.yaml", "kafka: {brokers: [127.0.0.1:1]}\n"))},
		{"unknown flag", []string{"demo", "--shops", "none"}},
		{"unknown command", []string{"dream"}},
	} {
		_, stderr, code := sluice(t, c.args...)
		message := strings.TrimSpace(stderr)
		if at := strings.LastIndex(message, "\nsluice: "); at > 0 {
			message = message[at+1:] // the usage stands before it
		}
		message = strings.NewReplacer(dir, "DIR", busy.dir, "BUSY", taken.Addr().String(), "ADDRESS", "process "+strconv.Itoa(busy.cmd.Process.Pid), "process PID").Replace(message)
		message = regexp.MustCompile(`format must be \d+`).ReplaceAllString(message, "format must be N")
		lines = append(lines, fmt.Sprintf("%s | exit %d | %s", c.name, code, regexp.MustCompile(`\s*\n\s*`).ReplaceAllString(message, " ⏎ ")))
	}
	goldenTable(t, "bad_files.golden", lines)
}
