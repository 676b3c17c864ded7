package collector

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/ingest"
	"sluice/internal/httpx"
)

func TestInbound(t *testing.T) {
	s := start(t, nil)
	in := s.c.Inbound()
	received := now.Add(time.Hour)
	ev, fault := in.Decode([]byte(of("e1", "login", `,"jurisdiction":"EU"`)), received)
	if fault != nil {
		t.Fatal(fault)
	}
	if broken, fault := in.Decode([]byte(`{"user_id":"u","id":1}`), received); fault == nil || fault.Code != "invalid_type" || fault.Pointer != "/id" || broken.UserId != "u" {
		t.Errorf("%v, %v", broken, fault)
	}
	if denied, err := in.Admit(ev); denied || err != nil {
		t.Errorf("%v, %v", denied, err)
	}
	if _, err := in.Admit(&ingest.Event{UserId: "lapsed"}); !errors.Is(err, errLapsed) {
		t.Error(err)
	}
	if err := in.Append(t.Context(), []*ingest.Event{ev}, received); err != nil {
		t.Fatal(err)
	}
	e := s.logged(t, 1)[0]
	if at := received.UnixMicro(); e.ReceivedAt != at || e.event.SentAt != at || !e.TrustedClock {
		t.Errorf("received %d, sent %d, trusted clock %v", e.ReceivedAt, e.event.SentAt, e.TrustedClock)
	}
	if got := s.post(t, ask{body: of("e1", "login", ``)}); got != "202 duplicate=1" {
		t.Error(got)
	}
}

func TestDecisions(t *testing.T) {
	s := start(t, nil)
	payment := func(members string) []byte {
		return []byte(of("p1", "payment", `,"order":{"order_id":"o","value":1,"currency":"EUR"}`+members))
	}
	problems := []struct {
		name, body string
		role       httpx.Role
		want       string
	}{
		{"broken", `{`, httpx.RoleServer, "400 broken_json"},
		{"invalid", of("p", "payment", ``), httpx.RoleServer, "422 invalid /order/order_id"},
		{"large", of("p", "login", `,"device":{"user_agent":"`+strings.Repeat("x", ingest.MaxEvent)+`"}`), httpx.RoleServer, "413 too_large"},
		{"write key", string(payment(`,"anonymous_id":"v"`)), httpx.RoleWrite, "403 wrong_key /type"},
		{"denied", strings.Replace(of("p", "page_view", ``), `"u"`, `"no1"`, 1), httpx.RoleServer, "403 denied"},
	}
	for _, c := range problems {
		ev, problem := s.c.Prepare([]byte(c.body), c.role, now)
		if problem == nil || ev != nil {
			t.Errorf("%s: %v, %v", c.name, ev, problem)
			continue
		}
		pointer := ""
		if len(problem.Errors) > 0 {
			pointer = problem.Errors[0].Pointer
		}
		status := map[int]string{400: "400 ", 403: "403 ", 413: "413 ", 422: "422 "}[problem.Status]
		if got := strings.TrimSpace(status + problem.Code + " " + pointer); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	p, problem := s.c.Prepare(payment(`,"device":{"id":"d"}`), httpx.RoleServer, now)
	if problem != nil {
		t.Fatal(problem)
	}
	if err := s.c.Collect(t.Context(), p.Event, now, true, []byte("decision")); err != nil {
		t.Fatal(err)
	}
	unknown, problem := s.c.Prepare([]byte(strings.Replace(string(payment(``)), `"u"`, `"lapsed"`, 1)), httpx.RoleServer, now)
	if problem != nil || !unknown.Event.GetConsent().GetGpc() {
		t.Errorf("without knowing consent: %v, %v", unknown, problem)
	}
	e := s.logged(t, 1)[0]
	key := s.keys.LogKey("u:u")
	decision, err := s.keys.Unseal(e.KeyId, e.Decision, key[:])
	if err != nil || string(decision) != "decision" || e.event.SentAt != now.UnixMicro() || !e.TrustedClock || e.event.Device.Id != "d" {
		t.Errorf("decision %q, %v; sent at %d, trusted clock %v", decision, err, e.event.SentAt, e.TrustedClock)
	}
	counts := map[string]float64{"accepted decision": 1, "denied decision": 1, "rejected decision": 4}
	if diff := cmp.Diff(counts, s.counted(t, "sluice_ingest_events_total")); diff != "" {
		t.Error(diff)
	}
	if got := s.post(t, ask{body: string(payment(``))}); got != "202 duplicate=1" {
		t.Error(got)
	}
}

// TestWarningsOfRejectedDecisions are not counted: the event was not taken.
func TestWarningsOfRejectedDecisions(t *testing.T) {
	s := start(t, nil)
	body := `{"id":"d","type":"login","time":"1970-01-02T00:00:00Z","user_id":"u","network":{"ip":"nobody"}}`
	if _, problem := s.c.Prepare([]byte(body), httpx.RoleServer, now); problem == nil || problem.Status != http.StatusUnprocessableEntity {
		t.Fatalf("%v", problem)
	}
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "sluice_ingest_warnings_total" {
			t.Errorf("%v", f)
		}
	}
}
