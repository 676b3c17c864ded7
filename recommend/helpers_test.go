package recommend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/items"
	"sluice/features/record"
	"sluice/features/scored"
	"sluice/features/trending"
	"sluice/internal/catalog"
	"sluice/internal/config"
	"sluice/internal/httpx"
	"sluice/internal/itemid"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
)

// access stands in for a consent.Access.
type access struct {
	known      bool
	decision   privacyfilter.Decision
	identities []consent.Identity
	hidden     map[uint64]struct{}
	blocks     *consent.Blocks
}

func (a *access) Known() bool                             { return a.known }
func (a *access) Effective(string) privacyfilter.Decision { return a.decision }
func (a *access) Identities(string) []consent.Identity    { return a.identities }
func (a *access) HiddenEvents() map[uint64]struct{}       { return a.hidden }
func (a *access) Blocks() *consent.Blocks                 { return a.blocks }

// consents stands in for a consent.View: people by account, else by device.
type consents struct {
	people map[string]*access
	lapsed bool
	holds  []bool // answers of Holds, one after the other; then true
	asked  atomic.Int32
}

func (c *consents) Lookup(p consent.Person) (Access, error) {
	id := p.UserID
	if id == "" {
		id = p.AnonymousID
	}
	if id == "" {
		return &access{blocks: new(consent.Blocks), decision: privacyfilter.Decision{Because: privacyfilter.BecausePolicyNotAccepted}}, nil
	}
	if c.lapsed {
		return nil, consent.ErrLeaseLapsed
	}
	a, ok := c.people[id]
	if !ok {
		a = &access{known: true, blocks: new(consent.Blocks), decision: privacyfilter.Decision{Because: privacyfilter.BecausePolicyNotAccepted}}
	}
	if p.GPC && a.decision.Allow {
		denied := *a
		denied.decision, denied.identities = privacyfilter.Decision{Because: privacyfilter.BecauseGPC}, nil
		return &denied, nil
	}
	return a, nil
}

func (c *consents) Holds(Access) bool {
	c.asked.Add(1)
	if len(c.holds) == 0 {
		return true
	}
	holds := c.holds[0]
	c.holds = c.holds[1:]
	return holds
}

// personal stands in for a profile.View.
type personal struct {
	ids        *itemid.Table
	profiles   map[[16]byte][]record.Interaction
	together   map[string][]scored.Item
	neighbours []scored.Item
	strangers  map[string]bool // items that no reason may name a pair with
	session    []string        // the last one asked about
	pause      func()          // runs in Neighbours
}

func (p *personal) Interactions(out []items.Interaction, id consent.Identity) []items.Interaction {
	for _, t := range p.profiles[id.Subject] {
		out = append(out, items.Interaction{Event: t.Event, Session: t.Session, Time: t.Time, Item: p.ids.Acquire(t.ItemID), Type: uint8(t.Type)})
	}
	return out
}

func (p *personal) Together(out []items.Scored, item uint32, _ int64, _ time.Duration, limit int) []items.Scored {
	return p.append(out, p.together[p.ids.ID(item)], limit)
}

func (p *personal) Neighbours(out []items.Scored, present []uint32, _ []items.Subject, _ int64, o items.KNN) []items.Scored {
	p.session = nil
	for _, item := range present {
		p.session = append(p.session, p.ids.ID(item))
	}
	if p.pause != nil {
		p.pause()
	}
	return p.append(out, p.neighbours, o.Limit)
}

func (p *personal) Linked(a, b uint32, _ []items.Subject) bool {
	return !p.strangers[p.ids.ID(a)] && !p.strangers[p.ids.ID(b)]
}

func (p *personal) append(out []items.Scored, list []scored.Item, limit int) []items.Scored {
	for _, s := range list[:min(len(list), limit)] {
		out = append(out, items.Scored{Item: p.ids.Acquire(s.ItemID), Cause: p.ids.Acquire(s.Cause), Score: s.Score})
	}
	return out
}

func (p *personal) Now() int64 { return start.UnixMicro() }

type tops struct{ lists *trending.Lists }

func (t tops) Lists() *trending.Lists { return t.lists }

type shop struct{ snapshot *catalog.Snapshot }

func (s *shop) Snapshot() *catalog.Snapshot { return s.snapshot }

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// world is a ranking API over fakes.
type world struct {
	t         testing.TB
	consents  *consents
	personal  *personal
	shop      *shop
	lists     *trending.Lists
	now       time.Time
	registry  *prometheus.Registry
	userToken func(*http.Request) (string, error)
	config    *Config
	mux       *http.ServeMux
	api       *httpx.API
}

const (
	writeKey  = "w"
	serverKey = "s"
)

func newWorld(t testing.TB, surfaces string) *world {
	t.Helper()
	w := &world{
		t: t, consents: &consents{people: make(map[string]*access)}, shop: &shop{}, now: start, registry: prometheus.NewRegistry(),
		personal: newPersonal(), lists: &trending.Lists{Tick: 1},
	}
	w.stock(demoItems()...)
	var err error
	if w.config, err = load(t, surfaces); err != nil {
		t.Fatal(err)
	}
	return w
}

func newPersonal() *personal {
	return &personal{ids: itemid.NewTable(), profiles: make(map[[16]byte][]record.Interaction), together: make(map[string][]scored.Item)}
}

func (w *world) stock(items ...*catalog.Item) {
	w.t.Helper()
	var err error
	if w.shop.snapshot, err = catalog.NewSnapshot(w.personal.ids, items...); err != nil {
		w.t.Fatal(err)
	}
}

// serve registers the API once all is set.
func (w *world) serve() http.Handler {
	if w.mux != nil {
		return w.mux
	}
	w.api = httpx.NewAPI("test", httpx.NewKeys(map[string]httpx.Role{writeKey: httpx.RoleWrite, serverKey: httpx.RoleServer, "o": httpx.RoleOperator}))
	Register(w.api, w.options())
	w.mux = w.api.Mux
	return w.mux
}

func (w *world) options() Options {
	o := Options{
		Config: w.config, Consents: w.consents, Personal: w.personal, Trending: tops{w.lists}, Catalogue: w.shop, IDs: w.personal.ids, CursorKey: [32]byte{1},
		Session: func(id string) uint64 { return uint64(len(id)) }, UserToken: w.userToken, Now: func() time.Time { return w.now },
	}
	if w.registry != nil {
		o.Registerer = w.registry
	}
	return o
}

func load(t testing.TB, text string) (*Config, error) {
	t.Helper()
	file, err := config.Parse("surfaces.yaml", []byte(text))
	if err != nil {
		return nil, err
	}
	return Load(func(name string) config.Section {
		section, _ := file.Section(name)
		return section
	})
}

// reply is what the API answered.
type reply struct {
	status int
	header http.Header
	raw    []byte
	Recommendations
	Problem httpx.Problem
	items   json.RawMessage // as they were sent
}

func (w *world) request(method, path, key, body string, header ...string) *reply {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	recorder := httptest.NewRecorder()
	w.serve().ServeHTTP(recorder, r)
	raw, err := io.ReadAll(recorder.Result().Body)
	if err != nil {
		w.t.Fatal(err)
	}
	answer := &reply{status: recorder.Code, header: recorder.Header(), raw: raw}
	if recorder.Code != http.StatusOK {
		if err := json.Unmarshal(raw, &answer.Problem); err != nil {
			w.t.Fatalf("%d %s: %v", recorder.Code, raw, err)
		}
		return answer
	}
	var members struct {
		Items json.RawMessage `json:"items"`
	}
	if json.Unmarshal(raw, &answer.Recommendations) != nil || json.Unmarshal(raw, &members) != nil {
		w.t.Fatalf("no list: %s", raw)
	}
	answer.items = members.Items
	return answer
}

func (w *world) recommend(body string, header ...string) *reply {
	w.t.Helper()
	return w.request(http.MethodPost, "/v1/recommendations", serverKey, body, header...)
}

func (r *reply) because() string {
	if r.NotPersonalizedBecause == nil {
		return ""
	}
	return *r.NotPersonalizedBecause
}

func (r *reply) ids() []string {
	ids := make([]string, len(r.Items))
	for i := range r.Items {
		ids[i] = r.Items[i].ItemID
	}
	return ids
}

func (r *reply) reasons() map[string]string {
	all := make(map[string]string)
	for _, item := range r.Items {
		var b bytes.Buffer
		for _, reason := range item.Reasons {
			fmt.Fprintf(&b, "%s(%s) ", reason.Code, reason.ItemID)
		}
		all[item.ItemID] = strings.TrimSpace(b.String())
	}
	return all
}

func set(ids ...string) map[string]struct{} {
	s := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		s[id] = struct{}{}
	}
	return s
}

// allow adds a person who allows personalization and has done something with the items.
func (w *world) allow(name string, interactions ...record.Interaction) *access {
	a := &access{
		known: true, decision: privacyfilter.Decision{Allow: true, Because: privacyfilter.BecauseChoice}, blocks: new(consent.Blocks),
		identities: []consent.Identity{{Subject: subject(name), Floor: []byte("floor of " + name)}},
	}
	w.consents.people[name] = a
	w.personal.profiles[subject(name)] = interactions
	return a
}

func subject(name string) (s [16]byte) {
	copy(s[:], name)
	return s
}

func interaction(n uint64, kind vocab.Type, item string) record.Interaction {
	return record.Interaction{Event: n, Type: kind, Time: start.UnixMicro() + int64(n), ItemID: item, Session: 7}
}

func listed(ids ...string) []scored.Item {
	list := make([]scored.Item, len(ids))
	for i, id := range ids {
		list[i] = scored.Item{ItemID: id, Score: float64(len(ids) - i), Cause: ""}
	}
	return list
}

func causedBy(cause string, list []scored.Item) []scored.Item {
	list = slices.Clone(list)
	for i := range list {
		list[i].Cause = cause
	}
	return list
}

// demoItems are 60 items i00–i59 in 6 broad and 18 narrow categories, of 4 brands and 5 sellers, i00 the newest.
func demoItems() []*catalog.Item {
	items := make([]*catalog.Item, 60)
	for i := range items {
		broad := fmt.Sprintf("C%d", i%6)
		items[i] = &catalog.Item{
			ItemId: fmt.Sprintf("i%02d", i), Title: fmt.Sprintf("Thing %d", i), AvailableFrom: int64(1000 - i), Brand: fmt.Sprintf("B%d", i%4), Seller: fmt.Sprintf("S%d", i%5),
			Categories: []*catalog.CategoryPath{{Names: []string{broad, fmt.Sprintf("%s/%d", broad, i%3)}}},
		}
	}
	return items
}
