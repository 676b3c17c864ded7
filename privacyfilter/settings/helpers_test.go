package settings

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/ingest"
	"sluice/internal/broker/brokertest"
	"sluice/internal/config"
	"sluice/internal/httpx"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
	"sluice/privacyfilter/filter"
	"sluice/privacyfilter/pseudonym"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	serverKey   = "server-key"
	writeKey    = "write-key"
	operatorKey = "operator-key"
)

// world is a deployment of one node: broker, filter, view and settings.
type world struct {
	t           testing.TB
	revisions   *privacyfilter.Revisions
	url         string
	handler     http.Handler
	register    *privacyfilter.Register
	keys        *pseudonym.Keys
	view        *consent.View
	history     *shelf
	stopFilter  func()
	startFilter func()
	stopBroker  func()
}

// newWorld starts everything, the filter too unless it is told not to.
func newWorld(t testing.TB, change ...func(*Options)) *world {
	t.Helper()
	cluster, stop := brokertest.Stoppable(t)
	w := &world{t: t, register: loadRegister(t), stopBroker: stop}
	ring := seal.NewKeyring([32]byte{3})
	w.keys, w.revisions = pseudonym.New(ring), privacyfilter.NewRevisions(ring)
	w.view = consent.NewView(cluster, w.register, ring, w.keys, consent.Options{Node: "n1"})
	background(t, w.view.Run)
	w.filter(cluster, ring)
	log, err := ingest.OpenLog(cluster, ring, ingest.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	w.history = &shelf{prints: make(map[[16]byte][]Footprint)}
	o := Options{Log: log, View: w.view, Policy: w.register, Ring: ring, Keys: w.keys, History: w.history, Generation: 1, UserToken: tokenHeader}
	for _, c := range change {
		c(&o)
	}
	api := httpx.NewAPI("test", httpx.NewKeys(map[string]httpx.Role{serverKey: httpx.RoleServer, writeKey: httpx.RoleWrite, operatorKey: httpx.RoleOperator}))
	Register(api, o)
	w.handler = api.Mux
	server := httptest.NewServer(w.handler)
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	w.url = server.URL
	select {
	case <-w.view.CaughtUp():
	case <-time.After(20 * time.Second):
		t.Fatal("the view did not catch up")
	}
	return w
}

// tokenHeader stands for the storefront's signed token.
func tokenHeader(r *http.Request) (string, error) {
	id := r.Header.Get("User-Token")
	if id == "" {
		return "", errors.New("there must be one")
	}
	return id, nil
}

// filter prepares the start of the real filter, and starts it.
func (w *world) filter(cluster stream.Cluster, ring *seal.Keyring) {
	w.t.Helper()
	dir := w.t.TempDir()
	w.startFilter = func() {
		store, err := stream.OpenStore(dir, stream.StoreOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		engine := filter.Engine(filter.Options{
			Register: w.register, Ring: ring, Keys: w.keys, Generation: 1, TrendingWindow: 7 * 24 * time.Hour, TrendingKept: 5,
		})
		stop := background(w.t, stream.NewRunner(cluster, engine.Alone(), stream.RunnerOptions{Node: "n1", Stores: []*stream.Store{store}}).Run)
		w.stopFilter = sync.OnceFunc(func() {
			stop()
			if err := store.Close(); err != nil {
				w.t.Error(err)
			}
		})
	}
	w.startFilter()
	w.t.Cleanup(func() { w.stopFilter() })
}

// background runs something until the test ends, or until the function is called.
func background(t testing.TB, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func loadRegister(t testing.TB) *privacyfilter.Register {
	t.Helper()
	text := strings.Replace(string(privacyfilter.Defaults), "older: [] ", `older: [{version: "2025-01", major_for: []}] `, 1)
	file, err := config.Parse("register.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	register, err := privacyfilter.Load(func(name string) config.Section {
		s, _ := file.Section(name)
		return s
	})
	if err != nil {
		t.Fatal(err)
	}
	return register
}

// shelf is a history in memory.
type shelf struct {
	mu     sync.Mutex // guards what follows
	err    error      // of every read
	prints map[[16]byte][]Footprint
}

func (h *shelf) put(id consent.Identity, f ...Footprint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := slices.Concat(h.prints[id.Subject], f)
	slices.SortFunc(list, func(a, b Footprint) int { return cmp.Or(cmp.Compare(b.Time, a.Time), bytes.Compare(b.Event, a.Event)) })
	h.prints[id.Subject] = list
}

// fail makes every read fail; nil: none.
func (h *shelf) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

// Footprints implements History.
func (h *shelf) Footprints(id consent.Identity, limit int, before Position) (found []Footprint, more bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return nil, false, h.err
	}
	for _, f := range h.prints[id.Subject] {
		if !before.IsZero() && cmp.Or(cmp.Compare(f.Time, before.Time), bytes.Compare(f.Event, before.Event)) >= 0 {
			continue
		}
		if len(found) == limit {
			return found, true, nil
		}
		found = append(found, f)
	}
	return found, false, nil
}

// reply is an answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// call sends a request with the server key, unless the headers name another.
func (w *world) call(method, path, body string, headers ...string) reply {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+serverKey)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply{answer.StatusCode, answer.Header, data}
}

// decode reads an answer that must be a success.
func decode[T any](w *world, r reply) T {
	w.t.Helper()
	var into T
	if r.status != http.StatusOK {
		w.t.Fatalf("answered %d: %s", r.status, r.body)
	}
	if err := json.Unmarshal(r.body, &into); err != nil {
		w.t.Fatalf("%v in %s", err, r.body)
	}
	return into
}

// put makes a write that must be obeyed and returns its revision.
func (w *world) put(path, body string) string {
	return w.write(http.MethodPut, path, body)
}

func (w *world) write(method, path, body string) string {
	w.t.Helper()
	written := decode[Written](w, w.call(method, path, body))
	w.place(path, written.Revision)
	if written.EffectiveAt.IsZero() || time.Since(written.EffectiveAt) > time.Minute {
		w.t.Errorf("effective at %s", written.EffectiveAt)
	}
	return written.Revision
}

// place is where the record of a revision of the path's subject stands.
func (w *world) place(path, revision string) privacyfilter.Revision {
	w.t.Helper()
	parts := strings.Split(path, "/") // "", v1, users, id, …
	id, err := url.PathUnescape(parts[3])
	if err != nil {
		w.t.Fatal(err)
	}
	at, ok := w.revisions.Read(revision, map[string]string{"users": "u:", "visitors": "a:"}[parts[2]], id)
	if !ok || at.Generation != 1 {
		w.t.Fatalf("%s: revision %q stands at %s", path, revision, at)
	}
	return at
}

func (w *world) accept(path string) {
	w.t.Helper()
	w.put(path+"/policy", `{"version":"2026-09","accepted":true,"jurisdiction":"CN"}`)
}

func (w *world) consent(path string, headers ...string) Consent {
	w.t.Helper()
	return decode[Consent](w, w.call(http.MethodGet, path+"/consent", "", headers...))
}

// problem is what an error answer says.
func (w *world) problem(r reply) httpx.Problem {
	w.t.Helper()
	var p httpx.Problem
	if err := json.Unmarshal(r.body, &p); err != nil {
		w.t.Fatalf("%v in %s", err, r.body)
	}
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		w.t.Errorf("content type %q of a problem", got)
	}
	return p
}

// footprint is the id that the history gives of an event.
func (w *world) footprint(subject, id string) []byte {
	event := w.keys.Event(privacyfilter.History, subject, vocab.Type_VIEW_ITEM, id)
	return event[:]
}
