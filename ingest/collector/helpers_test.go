package collector

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/internal/broker/brokertest"
	"sluice/internal/config"
	"sluice/internal/httpx"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

const (
	writeKey    = "write-key"
	serverKey   = "server-key"
	operatorKey = "operator-key"
)

// gate denies people whose id begins with "no", narrows for those that begin with "some", and does not know those that begin with "lapsed".
type gate struct{}

var errLapsed = errors.New("lapsed")

func (gate) Admit(events []*ingest.Event, denied []bool) (err error) {
	for i, ev := range events {
		one, fault := judge(ev)
		denied[i], err = one, errors.Join(err, fault)
	}
	return err
}

func judge(ev *ingest.Event) (denied bool, err error) {
	subject := ingest.Subject(ev)[2:]
	switch {
	case strings.HasPrefix(subject, "lapsed"):
		return false, errLapsed
	case strings.HasPrefix(subject, "some"):
		if ev.Consent == nil {
			ev.Consent = new(eventpb.Consent)
		}
		ev.Consent.Denied = append(ev.Consent.Denied, "personalize")
	}
	return strings.HasPrefix(subject, "no"), nil
}

// settled stands in for the filter's account.
type settled struct{ accepted, duplicate, denied, rejected int64 }

func (s *settled) Settled(uint64) (accepted, duplicate, denied, rejected int64) {
	return s.accepted, s.duplicate, s.denied, s.rejected
}

// server is a collector behind HTTP on a broker of its own.
type server struct {
	*httptest.Server

	c          *Collector
	api        *httpx.API
	cluster    stream.Cluster
	stopBroker func()
	keys       *seal.Keyring
	runs       *settled
	metrics    *prometheus.Registry
}

// now is when everything is received.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func defaults(t testing.TB) *Config {
	t.Helper()
	file, err := config.Parse("collector.yaml", Defaults)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(func(name string) config.Section { s, _ := file.Section(name); return s })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs a collector. change may alter the options.
func start(t testing.TB, change func(o *Options)) *server {
	t.Helper()
	cluster, stop := brokertest.Stoppable(t)
	s := &server{
		cluster: cluster, stopBroker: stop, keys: seal.NewKeyring([32]byte{1}), runs: new(settled), metrics: prometheus.NewRegistry(),
	}
	log, err := ingest.OpenLog(s.cluster, s.keys, ingest.LogOptions{Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	o := Options{
		Config: defaults(t), Log: log, Gate: gate{}, Cluster: s.cluster, Runs: s.runs, Registerer: s.metrics, Now: func() time.Time { return now },
	}
	if change != nil {
		change(&o)
	}
	if s.c, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.c.Close)
	s.api = httpx.NewAPI("test", httpx.NewKeys(map[string]httpx.Role{writeKey: httpx.RoleWrite, serverKey: httpx.RoleServer, operatorKey: httpx.RoleOperator}))
	s.c.Register(s.api)
	front := &httpx.Front{Timeout: o.Config.Timeout}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { front.Serve(w, r, s.api.Mux.ServeHTTP) }))
	t.Cleanup(s.Close)
	return s
}

// ask is one request.
type ask struct {
	method, path, key, kind string
	headers                 map[string]string
	body                    string
}

// do sends a request, by default POST /v1/events of JSON with the server key.
func (s *server) do(t testing.TB, a ask) (*http.Response, string) {
	t.Helper()
	if a.method == "" {
		a.method = http.MethodPost
	}
	if a.path == "" {
		a.path = "/v1/events"
	}
	req, err := http.NewRequestWithContext(t.Context(), a.method, s.URL+a.path, strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if a.kind == "" {
		a.kind = typeJSON
	}
	if a.kind != "none" {
		req.Header.Set("Content-Type", a.kind)
	}
	switch a.key {
	case "":
		req.Header.Set("Authorization", "Bearer "+serverKey)
	case "none":
	default:
		req.Header.Set("Authorization", "Bearer "+a.key)
	}
	for k, v := range a.headers {
		req.Header.Set(k, v)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

// told is an answer in short: status, the counts that are not zero, errors and warnings.
func told(t testing.TB, answer *http.Response, body string) string {
	t.Helper()
	var a struct {
		Code                                  string
		Accepted, Duplicate, Denied, Rejected int
		Errors, Warnings                      []struct {
			Index         *int
			Row           *int
			ID            string
			Pointer, Code string
		}
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	var b strings.Builder
	fmt.Fprint(&b, answer.StatusCode)
	if a.Code != "" {
		b.WriteString(" " + a.Code)
	}
	for _, n := range []struct {
		name  string
		count int
	}{{"accepted", a.Accepted}, {"duplicate", a.Duplicate}, {"denied", a.Denied}, {"rejected", a.Rejected}} {
		if n.count > 0 {
			fmt.Fprintf(&b, " %s=%d", n.name, n.count)
		}
	}
	for _, e := range append(a.Errors, a.Warnings...) {
		b.WriteString(" [")
		if e.Index != nil {
			fmt.Fprint(&b, *e.Index, " ")
		}
		if e.Row != nil {
			fmt.Fprint(&b, "row ", *e.Row, " ")
		}
		if e.ID != "" {
			b.WriteString(e.ID + " ")
		}
		b.WriteString(strings.TrimSpace(e.Code+" "+e.Pointer) + "]")
	}
	return b.String()
}

// post sends a body and tells the answer in short.
func (s *server) post(t testing.TB, a ask) string {
	t.Helper()
	answer, body := s.do(t, a)
	return told(t, answer, body)
}

// stored is one record of the log, opened.
type stored struct {
	*eventpb.LogRecord
	event *ingest.Event
}

// logged reads the first n events of the log.
func (s *server) logged(t testing.TB, n int) []stored {
	t.Helper()
	var all []stored
	for _, r := range s.records(t, topics.Events, n) {
		rec := new(eventpb.LogRecord)
		if err := rec.UnmarshalVT(r.Value); err != nil {
			t.Fatal(err)
		}
		body, err := ingest.OpenBody(s.keys, r.Key, rec, nil)
		if err != nil {
			t.Fatal(err)
		}
		ev := new(ingest.Event)
		if err := ev.UnmarshalVT(body); err != nil {
			t.Fatal(err)
		}
		all = append(all, stored{rec, ev})
	}
	return all
}

// records reads a topic from its beginning until it has n records, with the entries of packs for records, and fails if it has more.
func (s *server) records(t testing.TB, topic string, n int) []stream.Record {
	t.Helper()
	client, err := s.cluster.Client(kgo.ConsumeTopics(s.cluster.Topic(topic)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var all []stream.Record
	for len(all) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d records: %v", len(all), n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			rec := stream.RecordOf(r, topic)
			for entry := range rec.Entries() {
				all = append(all, *entry)
			}
		})
	}
	if len(all) > n {
		t.Fatalf("%d records, want %d", len(all), n)
	}
	return all
}

// one makes an event of a visitor.
func one(id, visitor string) string {
	return `{"id":"` + id + `","type":"view_item","time":"2026-03-01T10:00:00Z","anonymous_id":"` + visitor + `","items":[{"item_id":"i"}]}`
}

// of makes an event of a user with other members.
func of(id, kind, members string) string {
	return `{"id":"` + id + `","type":"` + kind + `","time":"2026-03-01T10:00:00Z","user_id":"u"` + members + `}`
}

// counted are the values of a counter that are not zero, by their labels.
func (s *server) counted(t testing.TB, name string) map[string]float64 {
	t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if v := m.GetCounter().GetValue(); v != 0 {
				values[strings.Join(labels, " ")] = v
			}
		}
	}
	return values
}

// brokenLog fails while it is told to, and otherwise writes; hold stops it before it writes.
type brokenLog struct {
	Log

	mu     sync.Mutex
	broken bool
	hold   chan struct{}
	held   chan struct{} // a token an append that is held
}

func (l *brokenLog) Append(ctx context.Context, events []ingest.Accepted) error {
	l.mu.Lock()
	broken, hold := l.broken, l.hold
	l.mu.Unlock()
	if hold != nil {
		l.held <- struct{}{}
		<-hold
	}
	if broken {
		return errors.New("not enough replicas")
	}
	return l.Log.Append(ctx, events)
}

func (l *brokenLog) set(broken bool, hold chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken, l.hold = broken, hold
}

func keyPair(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}
