package collector

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/httpx"
)

// TestRevisions: a revision that the settings gave of the event's very subject is its place on the log; any other counts as none, and a warning says so. It is
// so for whoever posts, over HTTP, in a replay, for a decision and through Kafka.
func TestRevisions(t *testing.T) {
	place := func(text, kind, id string) (string, bool) {
		at, ok := strings.CutPrefix(text, "proof of "+kind+id+" at ")
		if !ok {
			return "", false
		}
		return at, true
	}
	s := start(t, func(o *Options) { o.Place, o.Config.TrustClientIdentity = place, true })
	const warned = " [0 %s revision_not_verified /consent/revision]"
	cases := []struct {
		members, revision, want string
		genuine                 bool
	}{
		{`"anonymous_id":"v"`, "proof of a:v at 1-0-7", "1-0-7", true},
		{`"user_id":"u","anonymous_id":"v"`, "proof of u:u at 1-0-8", "1-0-8", true},
		{`"user_id":"u","anonymous_id":"v"`, "proof of a:v at 1-0-7", "", false}, // the visitor's, after signing in
		{`"anonymous_id":"v"`, "proof of a:w at 1-0-7", "", false},
		{`"anonymous_id":"v"`, "1-0-99999", "", false},
		{`"anonymous_id":"v"`, "", "", true},
		{`"anonymous_id":"e\u0301"`, "proof of a:\u00e9 at 1-0-9", "1-0-9", true}, // of the canonical id
	}
	body := func(id, kind, members, revision string) string {
		return `{"id":"` + id + `","type":"` + kind + `","time":"2026-03-01T10:00:00Z",` + members + `,"consent":{"revision":"` + revision + `"}}`
	}
	want := map[string]string{"r": ""}
	for i, c := range cases {
		id := "e" + string(rune('a'+i))
		answer := "202 accepted=1"
		if !c.genuine {
			answer += strings.Replace(warned, "%s", id, 1)
		}
		key := []string{writeKey, ""}[i%2]
		if got := s.post(t, ask{key: key, body: body(id, "page_view", c.members, c.revision)}); got != answer {
			t.Errorf("%s %s: %s", c.members, c.revision, got)
		}
		want[id] = c.want
	}
	if got := s.post(t, ask{path: "/v1/replays/00000000000000aa/events", body: `{"row":1,"event":` + body("r", "page_view", `"user_id":"u"`, "1-0-99999") + `}`}); got != "202 accepted=1" {
		t.Error(got)
	}
	ev, fault := s.c.Inbound().Decode([]byte(body("k", "login", `"user_id":"u"`, "1-0-99999")), now)
	if fault != nil || ev.Consent.Revision != "" {
		t.Errorf("through Kafka: %v, %v", ev, fault)
	}
	p, problem := s.c.Prepare([]byte(body("d", "login", `"user_id":"u"`, "1-0-99999")), httpx.RoleServer, now)
	if problem != nil || p.Event.Consent.Revision != "" || len(p.Warnings) != 1 {
		t.Errorf("for a decision: %+v, %v", p, problem)
	}
	got := make(map[string]string)
	for _, e := range s.logged(t, len(want)) {
		got[e.event.Id] = e.event.Consent.GetRevision()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the log: %s", diff)
	}
	counts := map[string]float64{"revision_not_verified http": 3, "revision_not_verified replay": 1, "revision_not_verified inbound": 1, "revision_not_verified decision": 1}
	if diff := cmp.Diff(counts, s.counted(t, "sluice_ingest_warnings_total")); diff != "" {
		t.Error(diff)
	}
	none := start(t, nil)
	if got := none.post(t, ask{body: body("e", "page_view", `"user_id":"u"`, "proof of u:u at 1-0-8")}); got != "202 accepted=1 [0 e revision_not_verified /consent/revision]" {
		t.Errorf("where no revision counts: %s", got)
	}
}
