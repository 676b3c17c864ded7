package settings

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/internal/canonical"
	"sluice/internal/httpx"
	"sluice/internal/seal"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
	"sluice/privacyfilter/purposepb"
)

const u1 = "/v1/users/u1"

var person1 = consent.Person{UserID: "u1"}

func (w *world) allows(p consent.Person, purpose string) bool {
	w.t.Helper()
	a, err := w.view.Lookup(p)
	if err != nil {
		w.t.Fatal(err)
	}
	return a.Effective(purpose).Allow
}

// TestEverySwitchActsAtOnce proves REQ-017, REQ-055, REQ-134: what a write has acknowledged, the next lookup obeys. Off needs no filter; on waits for its row.
func TestEverySwitchActsAtOnce(t *testing.T) {
	w := newWorld(t)
	if got := w.consent(u1); got.Policy.Accepted || got.Revision != "" || got.Purposes["personalize"].Effective != "deny" || got.Purposes["risk"].Effective != "allow" {
		t.Errorf("a stranger: %+v", got)
	}
	w.accept(u1)
	if !w.allows(person1, privacyfilter.Personalize) || w.allows(person1, "marketing.sms") {
		t.Error("after acceptance the jurisdiction's defaults must hold")
	}
	w.stopFilter()
	off := w.put(u1+"/consent/personalize", `{"decision":"deny"}`)
	if w.allows(person1, privacyfilter.Personalize) || !w.allows(person1, privacyfilter.History) {
		t.Error("off is acknowledged and not obeyed, or turns off more than it says")
	}
	got := w.consent(u1)
	want := PurposeConsent{Effective: "deny", Choice: new("deny"), Because: "choice"}
	if diff := cmp.Diff(want, got.Purposes["personalize"]); diff != "" || got.Revision != off {
		t.Errorf("%s at %s, want %s", diff, got.Revision, off)
	}
	w.startFilter()
	on := w.put(u1+"/consent/personalize", `{"decision":"allow"}`)
	if !w.allows(person1, privacyfilter.Personalize) || w.place(u1, on).Compare(w.place(u1, off)) <= 0 {
		t.Errorf("on at %s after off at %s is not obeyed", on, off)
	}
	if got := w.consent(u1).Purposes["personalize"]; got.Effective != "allow" || got.Since == nil || time.Since(*got.Since) > time.Minute {
		t.Errorf("%+v", got)
	}
	w.put(u1+"/consent/marketing.sms", `{"decision":"allow"}`)
	if !w.allows(person1, "marketing.sms") || w.allows(person1, "marketing.push") {
		t.Error("REQ-008: consent for one purpose counts for another")
	}
	w.put(u1+"/policy", `{"accepted":false}`)
	if w.allows(person1, privacyfilter.History) || !w.allows(person1, privacyfilter.Risk) {
		t.Error("a withdrawn policy")
	}
	if w.consent(u1).Policy.Accepted {
		t.Error("the policy is still shown as accepted")
	}
}

// TestJurisdictionIsRecorded: moving to a place that asks for a choice turns off what was on by default, when the acceptance is acknowledged.
func TestJurisdictionIsRecorded(t *testing.T) {
	w := newWorld(t)
	w.accept(u1)
	w.put(u1+"/policy", `{"version":"2026-09","accepted":true,"jurisdiction":"EU"}`)
	if got := w.consent(u1); got.Jurisdiction != "EU" || got.Purposes["personalize"].Effective != "deny" || got.Purposes["personalize"].Because != "default" {
		t.Errorf("%+v", got)
	}
	if w.allows(person1, privacyfilter.Personalize) {
		t.Error("the old default still holds")
	}
}

// TestRepeatingChangesNothing: neither the decision nor the floor moves, and the answer is a success.
func TestRepeatingChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.accept(u1)
	before := w.consent(u1)
	w.accept(u1)
	w.put(u1+"/consent/personalize", `{"decision":"allow"}`)
	w.put(u1+"/consent/personalize", `{"decision":"allow"}`)
	after := w.consent(u1)
	for name, p := range before.Purposes {
		if name != "personalize" && !cmp.Equal(p, after.Purposes[name]) {
			t.Errorf("%s: %s", name, cmp.Diff(p, after.Purposes[name]))
		}
	}
	if !cmp.Equal(before.Purposes["personalize"].Since, after.Purposes["personalize"].Since) {
		t.Error("a click that changes no decision moved the floor")
	}
}

// TestGPC: the answer is what holds for such a request; nobody's records change.
func TestGPC(t *testing.T) {
	w := newWorld(t)
	w.accept(u1)
	if got := w.consent(u1, "Sec-GPC", "1").Purposes["personalize"]; got.Effective != "deny" || got.Because != "gpc" || got.Since != nil {
		t.Errorf("%+v", got)
	}
	if got := w.consent(u1).Purposes["personalize"]; got.Effective != "allow" {
		t.Errorf("%+v", got)
	}
}

// TestToggleStorm proves REQ-134 under load: no lookup that begins after a deny was acknowledged allows, until an allow has been asked for.
func TestToggleStorm(t *testing.T) {
	w := newWorld(t)
	w.accept(u1)
	var phase atomic.Int64 // odd while an acknowledged deny holds
	var stop atomic.Bool
	var lookups, wrong atomic.Int64
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			for !stop.Load() {
				before := phase.Load()
				a, err := w.view.Lookup(person1)
				if errors.Is(err, consent.ErrLeaseLapsed) {
					continue // a slow machine may refuse, never allow
				}
				allow := err == nil && a.Effective(privacyfilter.Personalize).Allow
				if allow && before%2 == 1 && phase.Load() == before {
					wrong.Add(1)
				}
				lookups.Add(1)
			}
		})
	}
	for range 25 {
		w.put(u1+"/consent/personalize", `{"decision":"deny"}`)
		phase.Add(1)
		if w.allows(person1, privacyfilter.Personalize) {
			t.Error("allowed after an acknowledged deny")
		}
		phase.Add(1)
		w.put(u1+"/consent/personalize", `{"decision":"allow"}`)
		if !w.allows(person1, privacyfilter.Personalize) {
			t.Error("denied after an acknowledged allow")
		}
	}
	stop.Store(true)
	group.Wait()
	if wrong.Load() > 0 {
		t.Errorf("%d of %d lookups allowed after an acknowledged deny", wrong.Load(), lookups.Load())
	}
}

// TestBlocks proves REQ-052 and REQ-053 for the settings: a block is obeyed when it is acknowledged, and taken back.
func TestBlocks(t *testing.T) {
	w := newWorld(t)
	const visitor = "/v1/visitors/a1"
	w.put(visitor+"/blocks/item/"+url.PathEscape("i/1 ü"), "")
	w.put(visitor+"/blocks/category/Lamps", "")
	w.put(visitor+"/blocks/category/Beds", "")
	last := w.put(visitor+"/blocks/category/Beds", "") // once more
	got := decode[BlockList](w, w.call(http.MethodGet, visitor+"/blocks", ""))
	if diff := cmp.Diff(BlockList{Items: []string{"i/1 ü"}, Categories: []string{"Beds", "Lamps"}, Revision: last}, got); diff != "" {
		t.Error(diff)
	}
	a, err := w.view.Lookup(consent.Person{UserID: "someone", AnonymousID: "a1"})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Blocks().Categories) != 2 || len(a.Blocks().Items) != 1 {
		t.Errorf("the device's blocks do not hold beside an account: %v", a.Blocks())
	}
	w.write(http.MethodDelete, visitor+"/blocks/category/Beds", "")
	got = decode[BlockList](w, w.call(http.MethodGet, visitor+"/blocks", ""))
	if diff := cmp.Diff([]string{"Lamps"}, got.Categories); diff != "" {
		t.Error(diff)
	}
	empty := w.call(http.MethodGet, u1+"/blocks", "")
	if got := strings.TrimSpace(string(empty.body)); got != `{"items":[],"categories":[],"revision":""}` {
		t.Errorf("no blocks: %s", got)
	}
}

// TestHistory proves REQ-049 for the list: pages, newest first, without what was deleted just now, though the features still hold it.
func TestHistory(t *testing.T) {
	w := newWorld(t)
	w.accept(u1)
	a, err := w.view.Lookup(person1)
	if err != nil {
		t.Fatal(err)
	}
	identity := a.Identities(privacyfilter.History)[0]
	const n = 7
	var want []string
	for i := range n {
		event := w.footprint("u:u1", fmt.Sprintf("e%d", i))
		w.history.put(identity, Footprint{Event: event, Type: "view_item", Time: int64(1e15) + int64(i/2), ItemIDs: []string{"i1"}}) // pairs of equal times
	}
	for _, f := range w.history.prints[identity.Subject] {
		want = append(want, base64.RawURLEncoding.EncodeToString(f.Event))
	}
	pages := func() (ids []string) {
		t.Helper()
		for cursor := ""; ; {
			page := decode[HistoryPage](w, w.call(http.MethodGet, u1+"/history?limit=2&cursor="+cursor, ""))
			for _, item := range page.Items {
				ids = append(ids, item.EventID)
			}
			if page.NextCursor == nil {
				return ids
			}
			cursor = *page.NextCursor
		}
	}
	if diff := cmp.Diff(want, pages()); diff != "" {
		t.Error(diff)
	}
	w.history.fail(errors.New("input/output error"))
	unreadable := w.call(http.MethodGet, u1+"/history", "")
	if p := w.problem(unreadable); p.Status != http.StatusServiceUnavailable || p.Code != "history_unavailable" || unreadable.header.Get("Retry-After") == "" {
		t.Errorf("a history that cannot be read: %+v", p)
	}
	w.history.fail(nil)
	w.stopFilter()
	w.write(http.MethodDelete, u1+"/history/"+want[2], "")
	w.write(http.MethodDelete, u1+"/history/"+want[3], "")
	if diff := cmp.Diff(slices.Concat(want[:2], want[4:]), pages()); diff != "" {
		t.Error(diff)
	}
	w.write(http.MethodDelete, u1+"/history", "")
	if left := pages(); len(left) != 0 {
		t.Errorf("%d footprints after the deletion of all", len(left))
	}
	after, err := w.view.Lookup(person1)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(after.Identities(privacyfilter.Personalize)[0].Floor, a.Identities(privacyfilter.Personalize)[0].Floor) {
		t.Error("profiles made from the deleted history can still be read")
	}
	w.startFilter()
	row := w.put(u1+"/consent/marketing.sms", `{"decision":"deny"}`)
	if err := w.view.Visible(t.Context(), "u:u1", w.place(u1, row)); err != nil {
		t.Fatal(err)
	}
	settled, err := w.view.Lookup(person1)
	if err != nil {
		t.Fatal(err)
	}
	for _, purpose := range []string{privacyfilter.History, privacyfilter.Personalize} {
		if !slices.Equal(settled.Identities(purpose)[0].Floor, after.Identities(purpose)[0].Floor) {
			t.Errorf("%s: the floor at the deletion is not the one that the filter wrote", purpose)
		}
	}
}

func TestHistoryOfOthersCannotBeRead(t *testing.T) {
	w := newWorld(t)
	w.accept(u1)
	w.accept("/v1/users/u2")
	a, err := w.view.Lookup(person1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		w.history.put(a.Identities(privacyfilter.History)[0], Footprint{Event: w.footprint("u:u1", strconv.Itoa(i)), Type: "search", Time: int64(i), SearchTerm: "lamp"})
	}
	page := decode[HistoryPage](w, w.call(http.MethodGet, u1+"/history?limit=1", ""))
	if page.NextCursor == nil {
		t.Fatal("a second page expected")
	}
	foreign := w.call(http.MethodGet, "/v1/users/u2/history?cursor="+*page.NextCursor, "")
	if p := w.problem(foreign); p.Status != http.StatusUnprocessableEntity || p.Code != "invalid_cursor" {
		t.Errorf("another person's cursor: %+v", p)
	}
	foreign = w.call(http.MethodDelete, "/v1/users/u2/history/"+page.Items[0].EventID, "")
	if p := w.problem(foreign); p.Status != http.StatusNotFound || p.Code != "unknown_event" {
		t.Errorf("another person's event: %+v", p)
	}
	if got := string(w.call(http.MethodGet, "/v1/users/u2/history", "").body); strings.TrimSpace(got) != `{"items":[],"next_cursor":null}` {
		t.Errorf("an empty history: %s", got)
	}
}

// TestNotYetEffective: what is recorded and not obeyed in time says so, with its revision, and takes effect.
func TestNotYetEffective(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Deadline = time.Second })
	w.accept(u1)
	w.put(u1+"/consent/personalize", `{"decision":"deny"}`)
	w.stopFilter()
	late := w.call(http.MethodPut, u1+"/consent/personalize", `{"decision":"allow"}`)
	p := w.problem(late)
	if p.Status != http.StatusServiceUnavailable || p.Code != "not_yet_effective" || late.header.Get("Retry-After") == "" || !strings.Contains(string(late.body), `"revision":"AAAAAQ`) {
		t.Errorf("answered %s", late.body)
	}
	if w.allows(person1, privacyfilter.Personalize) {
		t.Error("a permission took effect before the filter's row")
	}
	w.startFilter()
	deadline := time.Now().Add(20 * time.Second)
	for !w.allows(person1, privacyfilter.Personalize) {
		if time.Now().After(deadline) {
			t.Fatal("the recorded choice never took effect")
		}
		time.Sleep(5 * time.Millisecond) // the view tells nobody when a look-up changes
	}
}

// TestNobodyWaitsForThePermission: a wish that a stopped process finds in its socket may have been taken back through another one meanwhile. One that
// restricts is written all the same.
func TestNobodyWaitsForThePermission(t *testing.T) {
	w := newWorld(t)
	w.accept(u1)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	put := func(decision string) int {
		req := httptest.NewRequestWithContext(gone, http.MethodPut, u1+"/consent/personalize", strings.NewReader(`{"decision":"`+decision+`"}`))
		req.Header.Set("Authorization", "Bearer "+serverKey)
		req.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		w.handler.ServeHTTP(answer, req)
		return answer.Code
	}
	before := w.consent(u1).Revision
	if status := put("allow"); status != http.StatusServiceUnavailable {
		t.Errorf("allow: %d", status)
	}
	if now := w.consent(u1).Revision; now != before {
		t.Errorf("the permission was recorded at %s", now)
	}
	if status := put("deny"); status != http.StatusOK {
		t.Errorf("deny: %d", status)
	}
}

// heldLog keeps the next write back until it is released: a connection that stands still.
type heldLog struct {
	Log
	next chan standstill
}

type standstill struct{ reached, released chan struct{} }

func (l *heldLog) AppendControl(ctx context.Context, controls []*eventpb.Control, received int64) ([]ingest.Position, error) {
	select {
	case s := <-l.next:
		close(s.reached)
		<-s.released
	default:
	}
	return l.Log.AppendControl(ctx, controls, received)
}

// TestALatePermissionYields proves REQ-134 for a permission that reaches the log after it was repeated and taken back: what was acknowledged last holds, and
// whoever still waits is told.
func TestALatePermissionYields(t *testing.T) {
	const block = u1 + "/blocks/item/i1"
	for _, test := range []struct {
		name             string
		permit, restrict [3]string // method, path, body
		holds            func(w *world) bool
	}{
		{
			"choice",
			[3]string{http.MethodPut, u1 + "/consent/personalize", `{"decision":"allow"}`},
			[3]string{http.MethodPut, u1 + "/consent/personalize", `{"decision":"deny"}`},
			func(w *world) bool { return w.allows(person1, privacyfilter.Personalize) },
		},
		{
			"policy",
			[3]string{http.MethodPut, u1 + "/policy", `{"version":"2026-09","accepted":true}`},
			[3]string{http.MethodPut, u1 + "/policy", `{"accepted":false}`},
			func(w *world) bool { return w.allows(person1, privacyfilter.History) },
		},
		{"block", [3]string{http.MethodDelete, block, ""}, [3]string{http.MethodPut, block, ""}, func(w *world) bool {
			a, err := w.view.Lookup(person1)
			if err != nil {
				w.t.Fatal(err)
			}
			return len(a.Blocks().Items) == 0
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := &heldLog{next: make(chan standstill, 1)}
			w := newWorld(t, func(o *Options) { log.Log, o.Log = o.Log, log })
			w.accept(u1)
			call := func(r [3]string) reply { return w.call(r[0], r[1], r[2]) }
			call(test.restrict)
			held, answered := standstill{make(chan struct{}), make(chan struct{})}, make(chan reply, 1)
			log.next <- held
			go func() { answered <- call(test.permit) }()
			<-held.reached
			for _, r := range [][3]string{test.permit, test.restrict} {
				if got := call(r); got.status != http.StatusOK {
					t.Fatalf("%v: answered %s", r, got.body)
				}
			}
			close(held.released)
			late := <-answered
			if p := w.problem(late); p.Status != http.StatusConflict || p.Code != "overtaken" || !strings.Contains(string(late.body), `"revision":"AAAAAQ`) {
				t.Errorf("answered %s", late.body)
			}
			if test.holds(w) {
				t.Error("a permission holds after a restriction was acknowledged that came later")
			}
			if got := call(test.permit); got.status != http.StatusOK || !test.holds(w) {
				t.Errorf("asked for once more: %s", got.body)
			}
		})
	}
}

// TestPagesThatWereLeftOpen: with the revision that its page was made from, a permission yields to everything newer; one of another person's is refused.
func TestPagesThatWereLeftOpen(t *testing.T) {
	w := newWorld(t)
	w.accept(u1)
	page := w.consent(u1).Revision
	w.put(u1+"/consent/personalize", `{"decision":"deny"}`)
	allow := func(told string) reply {
		return w.call(http.MethodPut, u1+"/consent/personalize", `{"decision":"allow"}`, "Sluice-Revision", told)
	}
	if got := allow(page); w.problem(got).Code != "overtaken" || w.allows(person1, privacyfilter.Personalize) {
		t.Errorf("an old page: %s", got.body)
	}
	w.accept("/v1/users/u2")
	other := privacyfilter.NewRevisions(seal.NewKeyring([32]byte{4}))
	for name, told := range map[string]string{
		"another person's": w.consent("/v1/users/u2").Revision, "a plain place": w.place(u1, page).String(), "a word": "newest",
		"altered": page[:15] + string(page[15]^1) + page[16:], "of another deployment": other.Text(w.place(u1, page), "u:u1"),
	} {
		if got := allow(told); got.status != http.StatusUnprocessableEntity || w.problem(got).Code != "invalid_revision" {
			t.Errorf("%s, %s: %s", name, told, got.body)
		}
	}
	later := w.place(u1, page)
	later.Offset = 999_999
	for _, told := range []string{"", w.revisions.Text(later, "u:u1"), w.put(u1+"/consent/personalize", `{"decision":"deny"}`)} {
		if got := allow(told); got.status != http.StatusOK || !w.allows(person1, privacyfilter.Personalize) {
			t.Errorf("%s: %s", told, got.body)
		}
	}
}

// TestWithoutTheLog: nobody who is named is served, and no write claims to be recorded.
func TestWithoutTheLog(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Deadline = time.Second })
	w.accept(u1)
	w.stopFilter()
	w.stopBroker()
	deadline := time.Now().Add(10 * time.Second)
	for {
		_, err := w.view.Lookup(person1)
		if errors.Is(err, consent.ErrLeaseLapsed) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the lease does not lapse")
		}
		time.Sleep(5 * time.Millisecond) // the view tells nobody when a look-up changes
	}
	for _, r := range []reply{
		w.call(http.MethodGet, u1+"/consent", ""),
		w.call(http.MethodPut, u1+"/consent/personalize", `{"decision":"deny"}`),
		w.call(http.MethodGet, u1+"/history", ""),
	} {
		if p := w.problem(r); p.Status != http.StatusServiceUnavailable || p.Code != "consent_unknown" {
			t.Errorf("%+v", p)
		}
	}
}

// TestFaults is the table of what is refused. Nothing is recorded by any of them.
func TestFaults(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Placeholders = canonical.NewPlaceholders([]string{"null", "[object Object]"}) })
	long := strings.Repeat("x", 257)
	for _, test := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		code                     string
	}{
		{"unknown purpose", "PUT", u1 + "/consent/insurance", `{"decision":"deny"}`, nil, 404, "unknown_purpose"},
		{"a basic purpose", "PUT", u1 + "/consent/history", `{"decision":"deny"}`, nil, 422, "not_switchable"},
		{"a legal purpose", "PUT", u1 + "/consent/risk", `{"decision":"deny"}`, nil, 422, "not_switchable"},
		{"unknown decision", "PUT", u1 + "/consent/personalize", `{"decision":"maybe"}`, nil, 422, "invalid"},
		{"no decision", "PUT", u1 + "/consent/personalize", `{}`, nil, 422, "invalid"},
		{"an unknown member", "PUT", u1 + "/consent/personalize", `{"decision":"deny","x":1}`, nil, 422, "invalid"},
		{"no JSON", "PUT", u1 + "/consent/personalize", `{"decision":`, nil, 400, "bad_request"},
		{"a large body", "PUT", u1 + "/consent/personalize", `{"decision":"deny","x":"` + strings.Repeat("x", 8<<10) + `"}`, nil, 413, "too_large"},
		{"unknown version", "PUT", u1 + "/policy", `{"version":"1999","accepted":true}`, nil, 422, "unknown_policy_version"},
		{"no version", "PUT", u1 + "/policy", `{"accepted":true}`, nil, 422, "unknown_policy_version"},
		{"an older version", "PUT", u1 + "/policy", `{"version":"2025-01","accepted":true}`, nil, 422, "unknown_policy_version"},
		{"withdrawing an unknown version", "PUT", u1 + "/policy", `{"version":"1999","accepted":false}`, nil, 422, "unknown_policy_version"},
		{"unknown jurisdiction", "PUT", u1 + "/policy", `{"version":"2026-09","accepted":true,"jurisdiction":"XX"}`, nil, 422, "unknown_jurisdiction"},
		{"unknown kind of block", "PUT", u1 + "/blocks/brand/x", "", nil, 404, "unknown_kind"},
		{"a long block", "PUT", u1 + "/blocks/item/" + long, "", nil, 422, "invalid_id"},
		{"a block that is not UTF-8", "PUT", u1 + "/blocks/item/%ff", "", nil, 422, "invalid_id"},
		{"an event id that is none", "DELETE", u1 + "/history/!!!", "", nil, 404, "unknown_event"},
		{"an event id that was not made here", "DELETE", u1 + "/history/" + base64.RawURLEncoding.EncodeToString(make([]byte, 24)), "", nil, 404, "unknown_event"},
		{"a cursor that is none", "GET", u1 + "/history?cursor=x", "", nil, 422, "invalid_cursor"},
		{"a cursor of plain text", "GET", u1 + "/history?cursor=" + base64.RawURLEncoding.EncodeToString(make([]byte, 24)), "", nil, 422, "invalid_cursor"},
		{"limit 0", "GET", u1 + "/history?limit=0", "", nil, 422, "invalid"},
		{"limit 201", "GET", u1 + "/history?limit=201", "", nil, 422, "invalid"},
		{"a long id", "GET", "/v1/users/" + long + "/consent", "", nil, 422, "invalid_id"},
		{"a visitor of a word for none", "PUT", "/v1/visitors/null/policy", `{"version":"2026-09","accepted":true}`, nil, 422, "placeholder"},
		{"an account of an object", "GET", "/v1/users/%5Bobject%20Object%5D/history", "", nil, 422, "placeholder"},
		{"no key", "GET", u1 + "/consent", "", []string{"Authorization", ""}, 401, "missing_key"},
		{"an operator's key", "GET", u1 + "/consent", "", []string{"Authorization", "Bearer " + operatorKey}, 403, "wrong_key"},
		{"a write key without a token", "PUT", u1 + "/consent/personalize", `{"decision":"deny"}`, []string{"Authorization", "Bearer " + writeKey}, 403, "user_token_required"},
		{"a write key with another's token", "PUT", u1 + "/consent/personalize", `{"decision":"deny"}`, []string{"Authorization", "Bearer " + writeKey, "User-Token", "u2"}, 403, "user_token_required"},
		{"imports with a write key", "POST", "/v1/imports", `{}`, []string{"Authorization", "Bearer " + writeKey}, 403, "wrong_key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := w.call(test.method, test.path, test.body, test.headers...)
			if p := w.problem(r); r.status != test.status || p.Code != test.code {
				t.Errorf("%d %s, want %d %s: %s", r.status, p.Code, test.status, test.code, r.body)
			}
		})
	}
	if got := w.consent(u1).Revision; got != "" {
		t.Errorf("something was recorded at %s", got)
	}
}

// TestKeys: a write key may act for a visitor, and for an account beside its user's token.
func TestKeys(t *testing.T) {
	w := newWorld(t)
	write := []string{"Authorization", "Bearer " + writeKey}
	for _, r := range []reply{
		w.call(http.MethodGet, "/v1/policy", "", write...),
		w.call(http.MethodPut, "/v1/visitors/a1/policy", `{"version":"2026-09","accepted":true}`, write...),
		w.call(http.MethodGet, "/v1/visitors/a1/consent", "", write...),
		w.call(http.MethodGet, u1+"/consent", "", append(write, "User-Token", "u1")...),
	} {
		if r.status != http.StatusOK {
			t.Errorf("%d: %s", r.status, r.body)
		}
	}
	if !w.allows(consent.Person{AnonymousID: "a1"}, privacyfilter.Personalize) {
		t.Error("the visitor's acceptance, in the deployment's jurisdiction")
	}
	if got := w.call(http.MethodGet, u1+"/consent", "").header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
}

// TestJurisdictionOfPages: what a page says with its public key narrows the jurisdiction that stands, and never replaces it. A server key is believed.
func TestJurisdictionOfPages(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Jurisdictions = map[string]string{"https://eu.example": "EU"} })
	for i, c := range []struct {
		name         string
		server       string // recorded with a server key before
		origin, told string
		accepted     bool
		status       int
		want         string // that stands in the end
	}{
		{"none told", "", "", "", true, 200, "CN"},
		{"the deployment's", "", "", "CN", true, 200, "CN"},
		{"narrower than the deployment's", "", "", "EU", true, 200, "EU"},
		{"wider than the recorded one", "EU", "", "CN", true, 403, "EU"},
		{"wider than the recorded one, withdrawing", "EU", "", "CN", false, 403, "EU"},
		{"the recorded one", "EU", "", "EU", true, 200, "EU"},
		{"none told, another recorded", "EU", "", "", true, 200, "EU"},
		{"none told, withdrawing", "EU", "", "", false, 200, "EU"},
		{"the page's", "", "https://eu.example", "", true, 200, "EU"},
		{"wider than the page's", "", "https://eu.example", "CN", true, 403, "EU"},
		{"wider than the page's, which the recorded one is", "CN", "https://eu.example", "CN", true, 403, "CN"},
		{"the page's narrows the recorded one", "CN", "https://eu.example", "", true, 200, "EU"},
		{"of another page", "", "https://other.example", "", true, 200, "CN"},
	} {
		who := "/v1/visitors/j" + strconv.Itoa(i)
		body := func(place string, accepted bool) string {
			return fmt.Sprintf(`{"version":"2026-09","accepted":%v,"jurisdiction":%q}`, accepted, place)
		}
		if c.server != "" {
			w.put(who+"/policy", body(c.server, true))
		}
		page := []string{"Authorization", "Bearer " + writeKey, "Origin", c.origin}
		got := w.call(http.MethodPut, who+"/policy", body(c.told, c.accepted), page...)
		if got.status != c.status || c.status == 403 && w.problem(got).Code != "server_key_expected" {
			t.Errorf("%s: answered %s", c.name, got.body)
		}
		now := w.consent(who, page...)
		if now.Jurisdiction != c.want {
			t.Errorf("%s: %s stands, want %s", c.name, now.Jurisdiction, c.want)
		}
		if allows := now.Purposes[privacyfilter.Personalize].Effective == "allow"; allows != (c.want == "CN" && now.Policy.Accepted) {
			t.Errorf("%s: personalization: %v", c.name, allows)
		}
	}
	for _, place := range []string{"CN", "EU", "CN"} { // back and forth with a server key
		w.put(u1+"/policy", `{"version":"2026-09","accepted":true,"jurisdiction":"`+place+`"}`)
		if got := w.consent(u1).Jurisdiction; got != place {
			t.Errorf("with a server key: %s, want %s", got, place)
		}
	}
	if got := w.call(http.MethodPut, u1+"/policy", `{"version":"2026-09","accepted":true,"jurisdiction":"XX"}`, "Authorization", "Bearer "+writeKey, "User-Token", "u1"); w.problem(got).Code != "unknown_jurisdiction" {
		t.Errorf("an unknown one: %s", got.body)
	}
}

// TestPolicyText proves REQ-001 for the notice: it is made from the register, and every entry cites a clause.
func TestPolicyText(t *testing.T) {
	w := newWorld(t)
	got := decode[PolicyText](w, w.call(http.MethodGet, "/v1/policy", ""))
	if got.Version != w.register.PolicyVersion() || len(got.Purposes) != len(w.register.Purposes()) {
		t.Fatalf("%+v", got)
	}
	for _, p := range got.Purposes {
		if p.Name == "" || p.Doc == "" || p.Tier == "" || p.Clause == "" {
			t.Errorf("%+v", p)
		}
	}
}

// TestImports: what held before is recorded in bulk, is obeyed when it is answered, and yields to people's own records.
func TestImports(t *testing.T) {
	w := newWorld(t)
	w.accept("/v1/users/own")
	w.put("/v1/users/own/consent/marketing.sms", `{"decision":"deny"}`)
	var body strings.Builder
	const n = 2000
	for i := range n {
		fmt.Fprintf(&body, `{"subject":"u:p%d","policy_version":"2026-09","jurisdiction":"CN","grants":["marketing.sms"]}`+"\n", i)
	}
	body.WriteString("\n" + `{"subject":"u:own","policy_version":"2026-09","jurisdiction":"CN","grants":["marketing.sms"]}` + "\n")
	body.WriteString(`{"subject":"a:visitor","policy_version":"2026-09","jurisdiction":"EU","grants":[]}`)
	answered := decode[map[string]int](w, w.call(http.MethodPost, "/v1/imports", body.String(), "Content-Type", "application/x-ndjson"))
	if diff := cmp.Diff(map[string]int{"accepted": n + 2, "ignored": 1}, answered); diff != "" {
		t.Error(diff)
	}
	for i := range n {
		if p := (consent.Person{UserID: fmt.Sprintf("p%d", i)}); !w.allows(p, "marketing.sms") || !w.allows(p, privacyfilter.Personalize) {
			t.Fatalf("person %d", i)
		}
	}
	if w.allows(consent.Person{UserID: "own"}, "marketing.sms") {
		t.Error("an import overrode a person's own choice")
	}
	if w.allows(consent.Person{AnonymousID: "visitor"}, privacyfilter.Personalize) {
		t.Error("the imported jurisdiction is not obeyed")
	}
	imported := w.consent("/v1/users/p1").Purposes
	if got := imported["marketing.sms"]; got.Since == nil || !got.Since.Equal(time.Unix(0, 0)) || got.Effective != "allow" {
		t.Errorf("an imported permission holds from 1970 on: %+v", got)
	}
	if got := imported["marketing.push"]; got.Since != nil {
		t.Errorf("what is denied knows no beginning: %+v", got)
	}
	again := decode[map[string]int](w, w.call(http.MethodPost, "/v1/imports", `{"subject":"u:p1","policy_version":"2026-09","jurisdiction":"CN","grants":["marketing.sms"]}`))
	if again["accepted"] != 1 || again["ignored"] != 0 {
		t.Errorf("the same import once more: %v", again)
	}
	if none := decode[map[string]int](w, w.call(http.MethodPost, "/v1/imports", "\n")); none["accepted"] != 0 {
		t.Errorf("no lines: %v", none)
	}
}

func TestImportFaults(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Placeholders = canonical.NewPlaceholders([]string{"null"}) })
	const good = `{"subject":"u:1","policy_version":"2026-09","jurisdiction":"CN","grants":[]}` + "\n"
	for _, test := range []struct {
		name, body string
		status     int
		want       []httpx.FieldError // without details
	}{
		{"broken", good + "{\n", 422, []httpx.FieldError{{Index: new(1), Code: "broken_json"}}},
		{"two values", good + good[:len(good)-1] + good, 422, []httpx.FieldError{{Index: new(1), Code: "broken_json"}}},
		{"unknown member", `{"subject":"u:1","x":1}`, 422, []httpx.FieldError{{Index: new(0), Code: "broken_json"}}},
		{"not UTF-8", "{\"subject\":\"u:\xff\"}", 422, []httpx.FieldError{{Index: new(0), Code: "broken_json"}}},
		{"subject", strings.Replace(good, "u:1", "1", 1) + "\n" + strings.Replace(good, "u:1", "a:", 1), 422, []httpx.FieldError{
			{Index: new(0), Code: "invalid_subject", Pointer: "/subject"}, {Index: new(2), Code: "invalid_subject", Pointer: "/subject"},
		}},
		{"placeholder", strings.Replace(good, "u:1", "u:null", 1) + strings.Replace(good, "u:1", "a: NULL", 1), 422, []httpx.FieldError{
			{Index: new(0), Code: "placeholder", Pointer: "/subject"}, {Index: new(1), Code: "placeholder", Pointer: "/subject"},
		}},
		{"version", strings.Replace(good, "2026-09", "2025-01", 1), 422, []httpx.FieldError{{Index: new(0), Code: "unknown_policy_version", Pointer: "/policy_version"}}},
		{"jurisdiction", strings.Replace(good, "CN", "", 1), 422, []httpx.FieldError{{Index: new(0), Code: "unknown_jurisdiction", Pointer: "/jurisdiction"}}},
		{"purpose", strings.Replace(good, "[]", `["personalize","insurance"]`, 1), 422, []httpx.FieldError{{Index: new(0), Code: "unknown_purpose", Pointer: "/grants/1"}}},
		{"basic purpose", strings.Replace(good, "[]", `["history"]`, 1), 422, []httpx.FieldError{{Index: new(0), Code: "not_switchable", Pointer: "/grants/0"}}},
		{"too many lines", strings.Repeat(good, maxImports+1), 413, nil},
		{"too many bytes", strings.Repeat(" ", maxImportBody+1), 413, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := w.problem(w.call(http.MethodPost, "/v1/imports", test.body))
			for i := range p.Errors {
				if p.Errors[i].Detail == "" {
					t.Error("a fault without what was expected")
				}
				p.Errors[i].Detail = ""
			}
			if diff := cmp.Diff(test.want, p.Errors); diff != "" || p.Status != test.status {
				t.Errorf("%d: %s", p.Status, diff)
			}
		})
	}
	if w.allows(consent.Person{UserID: "1"}, privacyfilter.History) {
		t.Error("a line of a refused request was recorded")
	}
}

// TestTooManyChangesOfOnePerson: restrictions that the filter does not confirm are bounded.
func TestTooManyChangesOfOnePerson(t *testing.T) {
	w := newWorld(t)
	w.stopFilter()
	for i := range maxPending {
		revision := privacyfilter.Revision{Generation: 1, Partition: 0, Offset: int64(i)}
		if err := w.view.Restrict(t.Context(), "u:u1", revision, &purposepb.Restriction{BlockItem: strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
	}
	r := w.call(http.MethodPut, u1+"/consent/personalize", `{"decision":"deny"}`)
	if p := w.problem(r); p.Status != http.StatusTooManyRequests || p.Code != "too_many_changes" || r.header.Get("Retry-After") == "" {
		t.Errorf("%s", r.body)
	}
}

// ear hears what is appended.
type ear struct {
	Log
	mu    sync.Mutex // guards heard
	heard []*eventpb.Control
}

func (e *ear) AppendControl(ctx context.Context, controls []*eventpb.Control, received int64) ([]ingest.Position, error) {
	e.mu.Lock()
	e.heard = append(e.heard, controls...)
	e.mu.Unlock()
	return e.Log.AppendControl(ctx, controls, received)
}

// TestEveryControlIsRecorded proves REQ-056: the change, where it was made, the policy version, and what was known of the person stand on the log.
func TestEveryControlIsRecorded(t *testing.T) {
	var e ear
	w := newWorld(t, func(o *Options) { e.Log, o.Log = o.Log, &e })
	event := w.footprint("u:u1", "e1")
	newest := ""
	for _, step := range []struct {
		method, path, body, surface string
		permits                     bool
		want                        *eventpb.Control
	}{
		{"PUT", "/policy", `{"version":"2026-09","accepted":true,"jurisdiction":"CN"}`, "storefront", true, &eventpb.Control{
			Surface: "storefront", Act: &eventpb.Control_Policy_{Policy: &eventpb.Control_Policy{Version: "2026-09", Accepted: true, Jurisdiction: "CN"}},
		}},
		{"PUT", "/consent/personalize", `{"decision":"deny"}`, "settings", false, &eventpb.Control{
			Surface: "settings", Act: &eventpb.Control_Choice_{Choice: &eventpb.Control_Choice{Purpose: "personalize"}},
		}},
		{"PUT", "/consent/personalize", `{"decision":"allow"}`, "a made-up place", true, &eventpb.Control{
			Surface: "api", Act: &eventpb.Control_Choice_{Choice: &eventpb.Control_Choice{Purpose: "personalize", Allow: true}},
		}},
		{"PUT", "/blocks/item/i1", "", "settings", false, &eventpb.Control{
			Surface: "settings", Act: &eventpb.Control_Block_{Block: &eventpb.Control_Block{Kind: eventpb.Control_Block_ITEM, Id: "i1"}},
		}},
		{"DELETE", "/blocks/category/Lamps", "", "settings", true, &eventpb.Control{
			Surface: "settings", Act: &eventpb.Control_Block_{Block: &eventpb.Control_Block{Kind: eventpb.Control_Block_CATEGORY, Id: "Lamps", Remove: true}},
		}},
		{"DELETE", "/history/" + base64.RawURLEncoding.EncodeToString(event), "", "settings", false, &eventpb.Control{
			Surface: "settings", Act: &eventpb.Control_DeleteHistory_{DeleteHistory: &eventpb.Control_DeleteHistory{Event: event}},
		}},
		{"DELETE", "/history", "", "", false, &eventpb.Control{Surface: "api", Act: &eventpb.Control_DeleteHistory_{DeleteHistory: &eventpb.Control_DeleteHistory{}}}},
		{"PUT", "/policy", `{"accepted":false}`, "settings", false, &eventpb.Control{Surface: "settings", Act: &eventpb.Control_Policy_{Policy: &eventpb.Control_Policy{}}}},
	} {
		e.heard = nil
		written := decode[Written](w, w.call(step.method, u1+step.path, step.body, "Sluice-Surface", step.surface))
		step.want.Subject = "u:u1"
		if len(e.heard) == 1 {
			switch known := e.heard[0].Known; {
			case (known != nil) != step.permits:
				t.Errorf("%s %s: tells what was known: %v", step.method, step.path, known != nil)
			case step.permits && step.path != "/blocks/category/Lamps" && *known != newest: // of other restrictions the filter's row may come later
				t.Errorf("%s %s: known %s, want %s", step.method, step.path, *known, newest)
			}
			e.heard[0].Known = nil
		}
		newest = w.place(u1, written.Revision).String()
		if len(e.heard) != 1 || !proto.Equal(step.want, e.heard[0]) {
			t.Errorf("%s %s: recorded %v, want %v", step.method, step.path, e.heard, step.want)
		}
	}
}
