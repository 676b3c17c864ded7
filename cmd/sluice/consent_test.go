package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ranking is an answer of the ranking API. Items stay as they came: the promise is about bytes.
type ranking struct {
	Personalized bool            `json:"personalized"`
	Because      string          `json:"not_personalized_because"`
	Items        json.RawMessage `json:"items"`
	Config       string          `json:"config_version"`
}

// rank asks for a page; who is nobody, or a visitor.
func (d *demo) rank(who string) (r ranking) {
	d.t.Helper()
	body := map[string]any{"surface": "home", "limit": 20, "context": map[string]any{"bucket": 3}}
	if who != "" {
		body["anonymous_id"] = who
	}
	d.ask(http.MethodPost, "/v1/recommendations", body, &r)
	return r
}

// set makes a settings write and returns its revision.
func (d *demo) set(method, path string, body any) string {
	d.t.Helper()
	var written struct{ Revision string }
	d.ask(method, path, body, &written)
	if written.Revision == "" {
		d.t.Fatalf("%s %s: no revision", method, path)
	}
	return written.Revision
}

func (d *demo) accept(who string) string {
	d.t.Helper()
	return d.set(http.MethodPut, "/v1/visitors/"+who+"/policy", map[string]any{"version": d.policy(), "accepted": true, "jurisdiction": "CN"})
}

func (d *demo) policy() string {
	d.t.Helper()
	var policy struct{ Version string }
	d.ask(http.MethodGet, "/v1/policy", nil, &policy)
	return policy.Version
}

// view is one item view. captured is the client's clock at capture, skew how far that clock is off.
func view(id, who, item, revision string, captured time.Time, skew time.Duration) map[string]any {
	return map[string]any{
		"id": id, "type": "view_item", "anonymous_id": who, "channel": "web", "items": []any{map[string]any{"item_id": item}},
		"time": captured.Add(skew).UTC().Format(time.RFC3339Nano), "sent_at": time.Now().Add(skew).UTC().Format(time.RFC3339Nano),
		"consent": map[string]any{"revision": revision},
	}
}

// post sends events and returns what became of them.
func (d *demo) post(events ...any) (accepted, denied, duplicate int) {
	d.t.Helper()
	var answer struct{ Accepted, Denied, Duplicate, Rejected int }
	d.ask(http.MethodPost, "/v1/events", events, &answer)
	if answer.Rejected > 0 {
		d.t.Fatalf("%d events rejected", answer.Rejected)
	}
	return answer.Accepted, answer.Denied, answer.Duplicate
}

// crowdOf lets n people accept everything and look at the same few items, so that lists and neighbours have something to say.
func (d *demo) crowdOf(n int) {
	d.t.Helper()
	var imports strings.Builder
	var events []any
	for i := range n {
		who := fmt.Sprintf("crowd-%d", i)
		fmt.Fprintf(&imports, `{"subject":"a:%s","policy_version":%q,"jurisdiction":"CN","grants":["personalize"]}`+"\n", who, d.policy())
		for k := range 6 {
			item := fmt.Sprintf("item-%d", (i+k*k)%12)
			events = append(events, view(fmt.Sprintf("c-%d-%d", i, k), who, item, "", time.Now().Add(time.Duration(k-20)*time.Minute), 0))
		}
	}
	d.ask(http.MethodPost, "/v1/imports", imports.String(), nil, "Content-Type", "application/x-ndjson")
	if accepted, _, _ := d.post(events...); accepted != len(events) {
		d.t.Fatalf("%d of %d events of the crowd accepted", accepted, len(events))
	}
	d.settled()
}

// hammer lets four clients send events and ask for rankings as one visitor until the returned function is called.
// It counts the personal answers to requests that began and ended within one odd epoch: while the switch was off.
func (d *demo) hammer(who string, epoch *atomic.Int64) (stop func() (requests, personal int64)) {
	ctx, cancel := context.WithCancel(d.t.Context())
	var wg sync.WaitGroup
	var requests, personal, number atomic.Int64
	client := &demo{t: d.t, url: d.url}
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				began := epoch.Load()
				if client.rank(who).Personalized && began%2 == 1 && epoch.Load() == began {
					personal.Add(1)
				}
				n := number.Add(1)
				client.post(view(fmt.Sprintf("h-%s-%d", who, n), who, fmt.Sprintf("item-%d", n%12), "", time.Now(), 0))
				requests.Add(2)
			}
		})
	}
	return func() (int64, int64) {
		cancel()
		wg.Wait()
		return requests.Load(), personal.Load()
	}
}

// TestOffIsObeyed is the whole promise on the API: off is off in the next response and shows what a stranger sees; on again uses nothing of before;
// what was captured while off and comes late is denied, whatever its clock says. REQ-names are in the unit tests of the rules.
func TestOffIsObeyed(t *testing.T) {
	d := startEmpty(t, t.TempDir())
	d.crowdOf(30)
	const who = "visitor"
	revision := d.accept(who)
	d.post(view("first", who, "item-1", revision, time.Now(), 0))
	eventually(t, "a personal answer", func() bool { return d.rank(who).Personalized })

	var epoch atomic.Int64
	stop := d.hammer(who, &epoch)
	defer stop()
	for round := range 10 {
		d.set(http.MethodPut, "/v1/visitors/"+who+"/consent/personalize", map[string]string{"decision": "deny"})
		epoch.Add(1)
		d.sameAsAStranger(who, "opted_out")
		epoch.Add(1)
		d.set(http.MethodPut, "/v1/visitors/"+who+"/consent/personalize", map[string]string{"decision": "allow"})
		eventually(t, fmt.Sprintf("a personal answer in round %d", round), func() bool { return d.rank(who).Personalized })
	}
	requests, personal := stop()
	if requests < 40 || personal > 0 {
		t.Errorf("%d requests of the hammer, %d personal answers after the acknowledgement", requests, personal)
	}
	t.Logf("%d requests beside 20 toggles", requests)
}

// sameAsAStranger compares the visitor's page with a stranger's. Lists tick on meanwhile, so a comparison counts only between two equal strangers' pages.
func (d *demo) sameAsAStranger(who, because string) {
	d.t.Helper()
	eventually(d.t, "two equal strangers' pages", func() bool {
		before, own, after := d.rank(""), d.rank(who), d.rank("")
		if own.Personalized || own.Because != because {
			d.t.Fatalf("personalized %t, because %q", own.Personalized, own.Because)
		}
		if string(before.Items) != string(after.Items) {
			return false
		}
		if string(own.Items) != string(before.Items) || own.Config != before.Config {
			d.t.Fatalf("the visitor's items\n%s\nare not the stranger's\n%s", own.Items, before.Items)
		}
		return true
	})
}

// placeOf is the place in a revision, in the plain form that nobody may name.
func placeOf(t *testing.T, revision string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(revision)
	if err != nil || len(b) != 24 {
		t.Fatalf("%s: %v", revision, err)
	}
	return fmt.Sprintf("%d-%d-%d", binary.BigEndian.Uint32(b), binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint64(b[6:]))
}

// moved is a revision at another one's place.
func moved(t *testing.T, revision, to string) string {
	t.Helper()
	b, err1 := base64.RawURLEncoding.DecodeString(revision)
	place, err2 := base64.RawURLEncoding.DecodeString(to)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	copy(b, place[:14])
	return base64.RawURLEncoding.EncodeToString(b)
}

// TestNothingOfBeforeIsUsed: after off and on again the profile is empty, and an event captured while off does not enter it, however late and wrong its clock.
func TestNothingOfBeforeIsUsed(t *testing.T) {
	d := startEmpty(t, t.TempDir())
	d.crowdOf(30)
	const who = "visitor"
	personalize := "/v1/visitors/" + who + "/consent/personalize"
	first := d.accept(who)
	d.post(view("before", who, "item-1", first, time.Now(), 0))
	eventually(t, "a personal answer", func() bool { return d.rank(who).Personalized })

	whileOff := d.set(http.MethodPut, personalize, map[string]string{"decision": "deny"})
	captured := time.Now()
	on := d.set(http.MethodPut, personalize, map[string]string{"decision": "allow"})
	others := d.accept("somebody-else")
	if r := d.rank(who); r.Personalized || r.Because != "no_history" {
		t.Fatalf("after off and on: personalized %t, because %q", r.Personalized, r.Because)
	}
	for i, late := range []map[string]any{
		view("late-1", who, "item-2", whileOff, captured, 0),
		view("late-2", who, "item-2", first, captured, 3*time.Hour),
		view("late-3", who, "item-2", "", captured, -48*time.Hour),
		view("late-4", who, "item-2", placeOf(t, on), captured, 0), // made up: at the floor
		view("late-5", who, "item-2", others, captured, 0),
		view("late-6", who, "item-2", moved(t, whileOff, on), captured, 0),
		{"id": "undated", "type": "view_item", "anonymous_id": who, "channel": "web", "items": []any{map[string]any{"item_id": "item-2"}}, "time": captured.UTC().Format(time.RFC3339Nano)},
	} {
		if accepted, denied, _ := d.post(late); accepted+denied != 1 {
			t.Fatalf("event %d: accepted %d, denied %d", i, accepted, denied)
		}
	}
	d.settled()
	if r := d.rank(who); r.Personalized {
		t.Error("an event captured while off was used")
	}
	now := d.set(http.MethodPut, personalize, map[string]string{"decision": "allow"}) // a repeated click moves nothing
	d.post(view("after", who, "item-3", now, time.Now(), 0))
	eventually(t, "a personal answer", func() bool { return d.rank(who).Personalized })
}

// TestRevisionsOfOthers: a revision shows what was known for its own subject alone: not the visitor's for the account that signs in on the device, not one of before for
// what was captured before a deletion. A restart changes nothing of that.
func TestRevisionsOfOthers(t *testing.T) {
	dir := t.TempDir()
	d := startDemo(t, dir, "--shop", "none", "--shoppers", "0")
	d.crowdOf(30)
	post := func(event map[string]any) (warning string) {
		var answer struct {
			Accepted int
			Warnings []struct{ Code string }
		}
		d.ask(http.MethodPost, "/v1/events", event, &answer)
		if answer.Accepted != 1 || len(answer.Warnings) > 1 {
			t.Fatalf("%v: %+v", event, answer)
		}
		for _, w := range answer.Warnings {
			warning = w.Code
		}
		return warning
	}
	personal := func(who string) bool {
		d.settled()
		var r ranking
		d.ask(http.MethodPost, "/v1/recommendations", map[string]any{"surface": "home", who: "one"}, &r)
		return r.Personalized
	}
	const account, device = "/v1/users/one", "/v1/visitors/one" // of the same id
	policy := map[string]any{"version": d.policy(), "accepted": true, "jurisdiction": "CN"}
	d.set(http.MethodPut, account+"/policy", policy)
	d.set(http.MethodPut, account+"/consent/personalize", map[string]string{"decision": "deny"})
	whileOff := time.Now()
	own := d.set(http.MethodPut, account+"/consent/personalize", map[string]string{"decision": "allow"})
	visitors := d.set(http.MethodPut, device+"/policy", policy) // newer than all of the account's

	signedIn := func(id, revision string, captured time.Time) map[string]any {
		event := view(id, "one", "item-2", revision, captured, 0)
		event["user_id"] = "one"
		return event
	}
	if got := post(signedIn("merged", visitors, whileOff)); got != "revision_not_verified" || personal("user_id") {
		t.Errorf("the visitor's revision on the account's event: %q, personal %v", got, personal("user_id"))
	}
	if got := post(view("split", "one", "item-2", own, whileOff, 0)); got != "revision_not_verified" || personal("anonymous_id") {
		t.Errorf("the account's revision on the visitor's event: %q, personal %v", got, personal("anonymous_id"))
	}
	if got := post(signedIn("own", own, whileOff)); got != "" {
		t.Errorf("the account's own: %q", got)
	}
	eventually(t, "a personal answer to the account", func() bool { return personal("user_id") })
	deleted := d.set(http.MethodDelete, account+"/history", nil)
	if got := post(signedIn("before", own, whileOff)); got != "" || personal("user_id") {
		t.Errorf("of before a deletion: %q, personal %v", got, personal("user_id"))
	}
	if code := d.stop(); code != exitDone {
		t.Fatalf("exit %d", code)
	}
	d = startDemo(t, dir, "--shop", "none", "--shoppers", "0")
	if got := post(signedIn("before the restart", own, whileOff)); got != "" || personal("user_id") {
		t.Errorf("of before a deletion, after a restart: %q, personal %v", got, personal("user_id"))
	}
	if got := post(signedIn("after", deleted, whileOff)); got != "" {
		t.Errorf("of after the deletion, after a restart: %q", got)
	}
	eventually(t, "a personal answer with the revision of the deletion", func() bool { return personal("user_id") })
}

// TestDeletedFootprintIsGone: from the history, from the features, and from what the features of many people are made of.
func TestDeletedFootprintIsGone(t *testing.T) {
	d := startEmpty(t, t.TempDir())
	d.crowdOf(30)
	const who = "visitor"
	revision := d.accept(who)
	d.post(view("kept", who, "item-1", revision, time.Now(), 0))
	before := d.stores()
	d.post(view("deleted", who, "rare-item", revision, time.Now(), 0))
	if d.stores()["profiles"] == before["profiles"] {
		t.Fatal("the event changed no profile")
	}
	var history struct {
		Items []struct {
			EventID string   `json:"event_id"`
			ItemIDs []string `json:"item_ids"`
		}
	}
	path := "/v1/visitors/" + who + "/history"
	d.ask(http.MethodGet, path, nil, &history)
	if len(history.Items) != 2 || history.Items[0].ItemIDs[0] != "rare-item" {
		t.Fatalf("history: %+v", history)
	}
	d.set(http.MethodDelete, path+"/"+history.Items[0].EventID, nil)
	d.ask(http.MethodGet, path, nil, &history)
	if len(history.Items) != 1 || history.Items[0].ItemIDs[0] != "item-1" {
		t.Errorf("history after the deletion: %+v", history)
	}
	after := d.stores()
	for _, store := range []string{"profiles", "footprints", "contributions"} {
		if after[store] != before[store] {
			t.Errorf("store %s: %s, before the footprint %s", store, after[store], before[store])
		}
	}
	if status, body := d.call(http.MethodGet, "/v1/items/item-1/similar?limit=100", nil); status == http.StatusOK && strings.Contains(string(body), "rare-item") {
		t.Error("the deleted footprint is still in the neighbours of an item")
	}
	if _, _, duplicate := d.post(view("deleted", who, "rare-item", revision, time.Now(), 0)); duplicate != 1 {
		t.Error("a deleted footprint can be sent again")
	}
}
