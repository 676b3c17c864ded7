package risk

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/broker/brokertest"
	"sluice/internal/httpx"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
	"sluice/risk/riskpb"
)

// intake stands in for the collector and the filter: an event goes to sluice.risk at once.
type intake struct {
	cluster stream.Cluster
	client  *kgo.Client

	mu        sync.Mutex // guards what follows
	fail      error      // what Collect answers, after or instead of the write
	lose      bool       // with fail: nothing is written
	collected []string   // decisions as they were handed over
	hold      chan struct{}
}

func (i *intake) Prepare(body []byte, role httpx.Role) (*Pending, *httpx.Problem) {
	var in struct {
		ID    string  `json:"id"`
		Type  string  `json:"type"`
		Value float64 `json:"value"`
		Card  string  `json:"card"`
	}
	if json.Unmarshal(body, &in) != nil || role != httpx.RoleServer {
		return nil, httpx.NewProblem(http.StatusUnprocessableEntity, "invalid", "A JSON object expected.")
	}
	event := sha256.Sum256([]byte(in.ID))
	ev := payment(string(event[:16]))
	ev.Type, _ = vocab.ParseType(in.Type)
	ev.Value, ev.Instrument = int64(in.Value*1e6), []byte(in.Card)
	if in.Type == "" {
		ev = nil
	}
	hash := sha256.Sum256(body)
	return &Pending{Event: ev, BodyHash: hash[:], Collect: func(ctx context.Context, decision []byte) error { return i.collect(ctx, ev, decision) }}, nil
}

func (i *intake) collect(ctx context.Context, ev *purposepb.RiskEvent, decision []byte) error {
	if i.hold != nil {
		<-i.hold
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.collected = append(i.collected, string(decision))
	if i.lose {
		return i.fail
	}
	return errors.Join(i.produce(ctx, ev, decision), i.fail)
}

func (i *intake) produce(ctx context.Context, ev *purposepb.RiskEvent, decision []byte) error {
	value, err := (&purposepb.RiskRecord{Event: ev, Decision: decision}).MarshalVT()
	if err != nil {
		return err
	}
	rec := &kgo.Record{Topic: i.cluster.Topic(topics.Risk), Partition: i.cluster.PartitionOf(ev.Subject), Key: ev.Subject, Value: value}
	return i.client.ProduceSync(ctx, rec).FirstErr()
}

func (i *intake) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.collected)
}

// deployment is a broker with its topics.
func deployment(t *testing.T) stream.Cluster {
	t.Helper()
	return brokertest.Cluster(t)
}

// node is a process that decides: API, store, and where it has one, the decider.
type node struct {
	intake   *intake
	store    *Store
	registry *prometheus.Registry
	server   *httptest.Server
	stop     func()
}

func startNode(t *testing.T, cluster stream.Cluster, withDecider bool) *node {
	t.Helper()
	client, err := cluster.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	n := &node{intake: &intake{cluster: cluster, client: client}, store: NewStore(cluster, StoreOptions{}), registry: prometheus.NewRegistry()}
	d := New(Options{Config: load(t, ""), Entities: newEntities(map[string]float64{"accounts_per_device_1d": 1}), AppealKey: [32]byte{1}, Registerer: n.registry})
	clock := eventTime
	var mu sync.Mutex
	now := func() time.Time { // a second passes with every look
		mu.Lock()
		defer mu.Unlock()
		clock = clock.Add(time.Second)
		return clock
	}
	api := httpx.NewAPI("test", httpx.NewKeys(map[string]httpx.Role{"w": httpx.RoleWrite, "s": httpx.RoleServer, "o": httpx.RoleOperator}))
	Register(api, APIOptions{Decider: d, Store: n.store, Intake: n.intake, Now: now})
	n.server = httptest.NewServer(api.Mux)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	run := func(part func(context.Context) error) {
		running.Go(func() {
			if err := part(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	run(n.store.Run)
	if withDecider {
		state, err := stream.OpenStore(filepath.Join(t.TempDir(), "state"), stream.StoreOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { state.Close() })
		run(stream.NewRunner(cluster, DeciderEngine(d).Alone(), stream.RunnerOptions{Node: "0", Stores: []*stream.Store{state}}).Run)
	}
	n.stop = sync.OnceFunc(func() {
		n.server.Close()
		cancel()
		running.Wait()
		client.Close()
	})
	t.Cleanup(n.stop)
	select {
	case <-n.store.CaughtUp():
	case <-time.After(20 * time.Second):
		t.Fatal("the store did not catch up")
	}
	return n
}

// call makes a request and returns status, body and headers.
func (n *node) call(t testing.TB, method, path, key, body string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, n.server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	answer, err := n.server.Client().Do(req)
	if err != nil {
		t.Error(err)
		return 0, "", nil
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return answer.StatusCode, string(data), answer.Header
}

func (n *node) decide(t testing.TB, body string) (int, string) {
	t.Helper()
	status, answer, _ := n.call(t, http.MethodPost, "/v1/decisions", "s", body)
	return status, answer
}

// indexed waits until the log shows that many decisions.
func (n *node) indexed(t *testing.T, count int) {
	t.Helper()
	// The number is what counts, not an offset that a follower could be waited for.
	for deadline := time.Now().Add(20 * time.Second); n.store.index.size() < count; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d decisions are on the log", n.store.index.size(), count)
		}
	}
}

// codeOf is status, code and pointer of a problem.
func problemCode(t *testing.T, status int, body string) string {
	t.Helper()
	var p httpx.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatal(err, body)
	}
	out := []string{strconv.Itoa(status), p.Code}
	for _, e := range p.Errors {
		out = append(out, e.Pointer, e.Code)
	}
	return strings.Join(out, " ")
}

const (
	first  = `{"id":"e1","type":"payment","value":2.5,"card":"c"}`
	second = `{"id":"e1","type":"payment","value":3,"card":"c"}`
)

func TestDecisionsAreStoredWithTheirEvents(t *testing.T) {
	cluster := deployment(t)
	n := startNode(t, cluster, true)
	for i := range 5 { // the rule wants five before this one
		if status, body := n.decide(t, fmt.Sprintf(`{"id":"before-%d","type":"payment","value":2.5,"card":"c"}`, i)); status != http.StatusOK {
			t.Fatal(status, body)
		}
	}
	status, answer := n.decide(t, first)
	var got map[string]any
	if err := json.Unmarshal([]byte(answer), &got); err != nil || status != http.StatusOK {
		t.Fatal(status, err, answer)
	}
	id, _ := got["decision_id"].(string)
	token, _ := got["appeal_token"].(string)
	opened, err := OpenAppeal([32]byte{1}, token)
	if err != nil || opened.String() != id {
		t.Errorf("the token opens %v, %v; the decision is %s", opened, err, id)
	}
	want := map[string]any{
		"decision_id": id, "outcome": "challenge", "score": 300.0, "rules": []any{"card_testing_burst"}, "model_version": "none",
		"reasons":        []any{map[string]any{"code": "instrument_velocity", "text": "Unusually many payments with this card.", "value": 5.0}},
		"policy_version": load(t, "").PolicyVersion(), "features_digest": got["features_digest"], "appeal_token": token, "expires_at": got["expires_at"],
		"warnings": []any{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, wait := range []int{0, 6} { // from memory; and when the log has it
		n.indexed(t, wait)
		if status, again := n.decide(t, first); status != http.StatusOK || again != answer {
			t.Errorf("the same event gets another answer: %d %s", status, again)
		}
		if got := problemOf(t, n, second); got != "422 id_reused /id id_reused" {
			t.Error(got)
		}
	}
	n.stop()

	restarted := startNode(t, cluster, false) // remembers nothing
	for range 2 {
		if status, again := restarted.decide(t, first); status != http.StatusOK || again != answer {
			t.Errorf("after the restart the same event gets another answer: %d %s", status, again)
		}
	}
	if got := problemOf(t, restarted, second); got != "422 id_reused /id id_reused" {
		t.Error(got)
	}
	if restarted.intake.count() != 0 {
		t.Error("a known event was collected again")
	}
	showDecision(t, restarted, id)
	listDecisions(t, restarted, id)
}

// listDecisions: the newest come first, of one outcome or of all, for the analyst and the shop alone.
func listDecisions(t *testing.T, n *node, challenged string) {
	t.Helper()
	list := func(key, query string) (status int, ids []string) {
		t.Helper()
		status, body, _ := n.call(t, http.MethodGet, "/v1/decisions"+query, key, "")
		var got struct{ Items []Listed }
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err, body)
		}
		for _, d := range got.Items {
			ids = append(ids, d.DecisionID)
		}
		return status, ids
	}
	if status, ids := list("o", "?outcome=challenge"); status != http.StatusOK || !slices.Equal(ids, []string{challenged}) {
		t.Errorf("challenges: %d %v", status, ids)
	}
	if status, ids := list("s", ""); status != http.StatusOK || len(ids) != 6 || !slices.Contains(ids, challenged) {
		t.Errorf("all: %d %v", status, ids)
	}
	if status, ids := list("s", "?limit=2"); status != http.StatusOK || len(ids) != 2 {
		t.Errorf("two: %d %v", status, ids)
	}
	for query, want := range map[string]int{"?outcome=maybe": http.StatusUnprocessableEntity, "?limit=0": http.StatusUnprocessableEntity} {
		if status, _ := list("o", query); status != want {
			t.Errorf("%s: %d", query, status)
		}
	}
	if status, _ := list("w", ""); status == http.StatusOK {
		t.Error("a page's key lists decisions")
	}
}

// TestNewestDecisions: whatever the order in which they come, the newest of each outcome remain.
func TestNewestDecisions(t *testing.T) {
	var n newest
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test
	for _, i := range random.Perm(3 * keptNewest) {
		data, err := (&riskpb.Decision{DecisionId: "d", Score: 7, Rules: []string{"r"}, Outcome: riskpb.Decision_REVIEW}).MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		n.add(outcomeOf(data), aged{idOf(fmt.Appendf(nil, "%d", i)), int64(i)})
	}
	n.add(outcomeOf(nil), aged{time: 1})
	n.add(outcomeOf([]byte{0xff, 0xff}), aged{time: 2})
	found := n.list(riskpb.Decision_REVIEW)
	if len(found) != keptNewest || found[0].time != 3*keptNewest-1 || found[keptNewest-1].time != 2*keptNewest {
		t.Errorf("%d decisions from %d to %d", len(found), found[0].time, found[len(found)-1].time)
	}
}

func problemOf(t *testing.T, n *node, body string) string {
	t.Helper()
	status, answer := n.decide(t, body)
	return problemCode(t, status, answer)
}

func showDecision(t *testing.T, n *node, id string) {
	t.Helper()
	for _, key := range []string{"s", "o"} {
		status, body, _ := n.call(t, http.MethodGet, "/v1/decisions/"+id, key, "")
		var d Detail
		if err := json.Unmarshal([]byte(body), &d); err != nil || status != http.StatusOK {
			t.Fatal(status, err, body)
		}
		if d.DecisionID != id || d.Source != "api" || d.EventType != "payment" || d.Outcome != "challenge" || !d.Time.Equal(eventTime) || !d.Reasons[0].TellUser {
			t.Errorf("%+v", d)
		}
		for _, want := range []UsedValue{{"payments_per_instrument_1h", 5.0}, {"order.value", 2.5}, {"account.age_days", nil}, {"accounts_per_device_1d", 1.0}} {
			if !slices.Contains(d.Values, want) {
				t.Errorf("%+v is not among the values", want)
			}
		}
		undecided := slices.ContainsFunc(d.Undecided, func(u Undecided) bool {
			return u.Rule == "new_account_large_payment" && len(u.Missing) > 0
		})
		if undecided { // order.value >= 500 is false, so the missing age does not matter
			t.Errorf("%+v", d.Undecided)
		}
	}
}

func TestRefusals(t *testing.T) {
	n := startNode(t, deployment(t), false)
	for _, c := range []struct{ name, method, path, key, body, want string }{
		{"no key", "POST", "/v1/decisions", "", first, "401 missing_key"},
		{"write key", "POST", "/v1/decisions", "w", first, "403 wrong_key"},
		{"operator key", "POST", "/v1/decisions", "o", first, "403 wrong_key"},
		{"not valid", "POST", "/v1/decisions", "s", "{", "422 invalid"},
		{"no type for risk", "POST", "/v1/decisions", "s", `{"id":"e"}`, "422 not_for_risk"},
		{"not decided on", "POST", "/v1/decisions", "s", `{"id":"e","type":"refund"}`, "422 invalid /type type_not_decided"},
		{"too large", "POST", "/v1/decisions", "s", strings.Repeat("x", maxBody+1), "413 too_large"},
		{"show with a write key", "GET", "/v1/decisions/" + strings.Repeat("0", 32), "w", "", "403 wrong_key"},
		{"unknown", "GET", "/v1/decisions/" + strings.Repeat("0", 32), "s", "", "404 not_found"},
		{"not an id", "GET", "/v1/decisions/x", "o", "", "404 not_found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body, _ := n.call(t, c.method, c.path, c.key, c.body)
			if diff := cmp.Diff(c.want, problemCode(t, status, body)); diff != "" {
				t.Error(diff)
			}
		})
	}
	for header, value := range map[string]string{"Content-Type": "text/csv", "Content-Encoding": "gzip"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.server.URL+"/v1/decisions", strings.NewReader(first))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer s")
		req.Header.Set(header, value)
		answer, err := n.server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusUnsupportedMediaType {
			t.Errorf("%s: %s", header, answer.Status)
		}
	}
	if n.intake.count() != 0 {
		t.Error("a refused event was collected")
	}
	if status, document, _ := n.call(t, http.MethodGet, "/openapi.json", "", ""); status != http.StatusOK || !strings.Contains(document, `"operationId":"decide"`) {
		t.Error("the API's document does not describe the operation", status)
	}
}

// TestAGoneRecordIsDecidedAnew has an index entry whose record is not on the topic (any more).
func TestAGoneRecordIsDecidedAnew(t *testing.T) {
	n := startNode(t, deployment(t), false)
	pending, _ := n.intake.Prepare([]byte(first), httpx.RoleServer)
	id := idOf(pending.Event.Event)
	other := &kgo.Record{Topic: n.store.cluster.Topic(topics.Decisions), Partition: 2, Key: []byte("other"), Value: []byte{}}
	if err := n.intake.client.ProduceSync(t.Context(), other).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := n.store.follower.Wait(t.Context(), 2, 1); err != nil { // the index has one writer: from here on the topic brings nothing
		t.Fatal(err)
	}
	n.store.index.add(id, &stream.Record{Partition: 2, Time: eventTime})
	if status, body, _ := n.call(t, http.MethodGet, "/v1/decisions/"+id.String(), "o", ""); problemCode(t, status, body) != "404 not_found" {
		t.Error(status, body)
	}
	if status, body := n.decide(t, first); status != http.StatusOK {
		t.Error(status, body)
	}
}

func TestConcurrentRequestsDecideOnce(t *testing.T) {
	n := startNode(t, deployment(t), true)
	n.intake.hold = make(chan struct{})
	type result struct {
		status int
		body   string
		header http.Header
	}
	results := make(chan result, 32)
	for range 32 {
		go func() {
			status, body, header := n.call(t, http.MethodPost, "/v1/decisions", "s", first)
			results <- result{status, body, header}
		}()
	}
	decided := make(map[string]int)
	for i := range 32 {
		if i == 16 { // half of them come while it is in flight
			close(n.intake.hold)
		}
		r := <-results
		switch {
		case r.status == http.StatusOK:
			decided[r.body]++
		case r.status != http.StatusConflict || r.header.Get("Retry-After") != "1" || problemCode(t, r.status, r.body) != "409 in_flight":
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if len(decided) != 1 || n.intake.count() != 1 {
		t.Errorf("%d answers, %d events collected", len(decided), n.intake.count())
	}
	if got := counted(t, n.registry)["decisions_total allow api payment"]; got != 1 {
		t.Errorf("%v decisions counted", got)
	}
}

// TestAWriteInDoubt fails Collect, once before and once after the record was written: the decision that is answered in the end is the one that the log has.
func TestAWriteInDoubt(t *testing.T) {
	for _, lost := range []bool{true, false} {
		t.Run(fmt.Sprint("lost ", lost), func(t *testing.T) {
			n := startNode(t, deployment(t), false)
			n.intake.fail, n.intake.lose = errors.New("timed out"), lost
			if got := problemOf(t, n, first); got != "503 log_unavailable" {
				t.Error(got)
			}
			if got := problemOf(t, n, second); got != "422 id_reused /id id_reused" {
				t.Error(got)
			}
			n.intake.fail, n.intake.lose = nil, false
			status, answer := n.decide(t, first)
			if status != http.StatusOK || n.intake.count() != 2 || n.intake.collected[0] != n.intake.collected[1] {
				t.Errorf("%d %s: the decision was not written again as it was", status, answer)
			}
			if status, again := n.decide(t, first); status != http.StatusOK || again != answer {
				t.Error(status, again)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		n := startNode(t, deployment(t), false)
		n.intake.fail, n.intake.lose = httpx.NewProblem(http.StatusTooManyRequests, "busy", "Later."), true
		if got := problemOf(t, n, first); got != "429 busy" {
			t.Error(got)
		}
		n.intake.fail, n.intake.lose = nil, false
		if status, answer := n.decide(t, second); status != http.StatusOK {
			t.Error("an id that was refused cannot be used", status, answer)
		}
	})
}

// TestTheFirstLoggedWins sends one event to two nodes: once the log is read, both answer what it has.
func TestTheFirstLoggedWins(t *testing.T) {
	cluster := deployment(t)
	a, b := startNode(t, cluster, false), startNode(t, cluster, false)
	a.decide(t, `{"id":"e0","type":"payment","value":2.5,"card":"c"}`) // so that they know different things
	b.intake.lose = true                                               // what the filter would drop as a duplicate
	_, fromA := a.decide(t, first)
	_, fromB := b.decide(t, first)
	if fromA == fromB {
		t.Fatal("both nodes answer the same; the test shows nothing")
	}
	c := startNode(t, cluster, true) // its decider copies both decisions of a
	for _, n := range []*node{a, b, c} {
		n.indexed(t, 2)
		if status, again := n.decide(t, first); status != http.StatusOK || again != fromA {
			t.Errorf("%d %s", status, again)
		}
	}
}

// TestEventsOfTheLogAreAnsweredAsDecided sends an event past the API first.
func TestEventsOfTheLogAreAnsweredAsDecided(t *testing.T) {
	n := startNode(t, deployment(t), true)
	pending, _ := n.intake.Prepare([]byte(first), httpx.RoleServer)
	if err := n.intake.produce(t.Context(), pending.Event, nil); err != nil {
		t.Fatal(err)
	}
	n.indexed(t, 1)
	status, answer := n.decide(t, first)
	id := idOf(pending.Event.Event).String()
	if status != http.StatusOK || !strings.Contains(answer, id) || n.intake.count() != 0 {
		t.Error(status, answer)
	}
	if _, body, _ := n.call(t, http.MethodGet, "/v1/decisions/"+id, "o", ""); !strings.Contains(body, `"source":"log"`) {
		t.Error(body)
	}
}

func TestRecentDecisionsAreBounded(t *testing.T) {
	s := NewStore(stream.Cluster{}, StoreOptions{Fresh: 10})
	for i := range 100 {
		s.remember(idOf([]byte{byte(i)}), []byte{byte(i)}, true)
		s.remember(idOf([]byte{byte(i)}), []byte{byte(i)}, true)
	}
	if len(s.recent) != 10 || len(s.queue) != 10 {
		t.Errorf("%d and %d decisions are remembered", len(s.recent), len(s.queue))
	}
	if _, ok := s.remembered(idOf([]byte{99})); !ok {
		t.Error("the newest was forgotten")
	}
	for i := range maxInFlight {
		if got := s.claim(idOf(fmt.Appendf(nil, "%d", i))); got != claimGranted {
			t.Fatal(i, got)
		}
	}
	if got := s.claim(idOf([]byte("more"))); got != claimFull {
		t.Error(got)
	}
}
