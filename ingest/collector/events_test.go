package collector

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"sluice/ingest"
)

func zip(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zst(t testing.TB, s string) string {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(w.EncodeAll([]byte(s), nil))
}

func encoded(as string) map[string]string { return map[string]string{"Content-Encoding": as} }

func TestShapesOfBodies(t *testing.T) {
	s := start(t, nil)
	pretty := "{\n  \"id\": \"%s\",\n  \"type\": \"page_view\",\n  \"time\": \"2026-03-01T10:00:00Z\",\n  \"device\":\n  {\"os\": \"x\"},\n  \"anonymous_id\": \"a\"\n}\n"
	cases := []struct {
		name string
		ask  ask
		want string
	}{
		{"object", ask{body: one("a1", "v")}, "202 accepted=1"},
		{"object over lines", ask{body: fmt.Sprintf(pretty, "a2")}, "202 accepted=1"},
		{"no content type", ask{body: one("a3", "v"), kind: "none"}, "202 accepted=1"},
		{"array", ask{body: " [" + one("b1", "v") + ",\n" + one("b2", "v") + "] "}, "202 accepted=2"},
		{"empty array", ask{body: "[]"}, "202"},
		{"lines", ask{body: one("c1", "v") + "\n\r\n" + one("c2", "v") + "\r\n", kind: typeNDJSON}, "202 accepted=2"},
		{"lines as text", ask{body: one("d1", "v") + "\n" + one("d2", "v"), kind: "text/plain;charset=UTF-8"}, "202 accepted=2"},
		{"lines as JSON, the first one broken", ask{body: `{"id":` + "\n" + one("e2", "v")}, "202 accepted=1 rejected=1 [0 broken_json]"},
		{"envelope", ask{body: `{"sent_at":"2026-03-01T12:00:30Z","events":[` + one("f1", "v") + `,` + one("f2", "v") + `],"x":1}`}, "202 accepted=2 [unknown_field /x]"},
		{"envelope over lines", ask{body: "{\"events\":[\n" + one("g1", "v") + ",\n" + one("g2", "v") + "\n]}"}, "202 accepted=2"},
		{"event with a field called events", ask{body: strings.Replace(one("h1", "v"), "{", `{"events":[],`, 1)}, "202 accepted=1 [0 h1 unknown_field /events]"},
		{"gzip", ask{body: zip(t, one("i1", "v")), headers: encoded("gzip")}, "202 accepted=1"},
		{"zstd", ask{body: zst(t, one("i2", "v")), headers: encoded("zstd")}, "202 accepted=1"},
		{"gzip again", ask{body: zip(t, one("i3", "v")), headers: encoded("GZIP")}, "202 accepted=1"},
		{"denied", ask{body: "[" + one("j1", "no1") + "," + one("j2", "some1") + "]"}, "202 accepted=1 denied=1"},
		{"only denied", ask{body: one("j3", "no1")}, "202 denied=1"},
		{"mixed", ask{body: "[" + one("k1", "v") + `,{"id":"k2"},` + one("k1", "v") + "," + one("k1", "w") + ",7]"}, "202 accepted=2 duplicate=1 rejected=2 [1 k2 missing_field /time] [4 invalid_type]"},
	}
	accepted := 0
	for _, c := range cases {
		got := s.post(t, c.ask)
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		var n int
		if _, err := fmt.Sscanf(c.want, "202 accepted=%d", &n); err == nil {
			accepted += n
		}
	}
	s.logged(t, accepted)
}

func TestBadRequests(t *testing.T) {
	s := start(t, nil)
	spaces := strings.Repeat(" ", maxBody)
	cases := []struct {
		name string
		ask  ask
		want string
	}{
		{"nothing", ask{}, "400 empty_body"},
		{"space", ask{body: " \n"}, "400 empty_body"},
		{"word", ask{body: "x"}, "400 broken_json"},
		{"number", ask{body: "7"}, "400 broken_json"},
		{"open object", ask{body: `{"id":"e"`}, "400 broken_json"},
		{"open array", ask{body: "[" + one("e", "v")}, "400 broken_json"},
		{"array and more", ask{body: "[" + one("e", "v") + "]x"}, "400 broken_json"},
		{"array with a broken event", ask{body: `[{"id":tru}]`}, "400 broken_json"},
		{"open envelope", ask{body: `{"events":[` + one("e", "v") + `]`}, "400 broken_json"},
		{"envelope's time", ask{body: `{"sent_at":"today","events":[` + one("e", "v") + `]}`}, "400 invalid_envelope [invalid_value /sent_at]"},
		{"broken line", ask{body: `{"id":`, kind: typeNDJSON}, "422 rejected rejected=1 [0 broken_json]"},
		{"invalid event", ask{body: of("e", "view_item", `,"items":[{"index":1}]`)}, "422 rejected rejected=1 [0 e missing_field /items/0/item_id]"},
		{"long id", ask{body: one(strings.Repeat("x", 257), "v")}, "422 rejected rejected=1 [0 too_long /id]"},
		{"large event", ask{body: of("e", "page_view", `,"device":{"user_agent":"`+strings.Repeat("x", ingest.MaxEvent)+`"}`)}, "422 rejected rejected=1 [0 e too_large]"},
		{"not gzip", ask{body: one("e", "v"), headers: encoded("gzip")}, "400 unreadable_body"},
		{"cut gzip", ask{body: zip(t, one("e", "v"))[:40], headers: encoded("gzip")}, "400 unreadable_body"},
		{"not zstd", ask{body: one("e", "v"), headers: encoded("zstd")}, "400 unreadable_body"},
		{"brotli", ask{body: one("e", "v"), headers: encoded("br")}, "415 unsupported_encoding"},
		{"two encodings", ask{body: one("e", "v"), headers: encoded("gzip, gzip")}, "415 unsupported_encoding"},
		{"form", ask{body: one("e", "v"), kind: "application/x-www-form-urlencoded"}, "415 unsupported_media_type"},
		{"charset", ask{body: one("e", "v"), kind: "application/json; charset=latin1"}, "415 unsupported_media_type"},
		{"large body", ask{body: spaces + one("e", "v")}, "413 too_large"},
		{"large when it is decompressed", ask{body: zip(t, spaces+one("e", "v")), headers: encoded("gzip")}, "413 too_large"},
		{"large in zstd", ask{body: zst(t, spaces+one("e", "v")), headers: encoded("zstd")}, "413 too_large"},
		{"many lines", ask{body: strings.Repeat("{}\n", maxEvents+1), kind: typeNDJSON}, "413 too_many"},
		{"many in an array", ask{body: "[" + strings.Repeat("0,", maxEvents) + "0]"}, "413 too_many"},
		{"consent not known", ask{body: "[" + one("e", "v") + "," + one("e", "lapsed") + "]"}, "503 consent_unknown"},
	}
	for _, c := range cases {
		answer, body := s.do(t, c.ask)
		if got := told(t, answer, body); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if kind := answer.Header.Get("Content-Type"); kind != "application/problem+json" {
			t.Errorf("%s: answered as %s", c.name, kind)
		}
		if (answer.Header.Get("Retry-After") != "") != (answer.StatusCode == http.StatusServiceUnavailable) {
			t.Errorf("%s: Retry-After %q", c.name, answer.Header.Get("Retry-After"))
		}
	}
	if left := s.c.budget.left.Load(); left != s.c.o.Config.InFlight {
		t.Errorf("%d bytes of the budget are left of %d", left, s.c.o.Config.InFlight)
	}
	// Nothing of all that was stored: what comes now is the log's first record.
	if got := s.post(t, ask{body: one("e", "v")}); got != "202 accepted=1" {
		t.Fatal(got)
	}
	s.logged(t, 1)
}

func TestTheAnswerIsExact(t *testing.T) {
	s := start(t, nil)
	_, body := s.do(t, ask{body: "[" + one("e1", "v") + "," + one("e1", "v") + `,{"id":"e9","type":"view_item","time":"2026-03-01T10:00:00Z","user_id":"u","items":[{}],"x":0}]`})
	want := `{"accepted":1,"duplicate":1,"denied":0,"rejected":1,"errors":[{"index":2,"id":"e9","pointer":"/items/0/item_id","code":"missing_field",` +
		`"detail":"must be an identifier of 1 to 256 bytes"}],"warnings":[]}` + "\n"
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
	_, body = s.do(t, ask{body: `{"id":"e9"}`})
	want = `{"type":"about:blank","title":"Unprocessable Entity","status":422,"code":"rejected","detail":"No event was accepted.","accepted":0,"duplicate":0,"denied":0,"rejected":1,` +
		`"errors":[{"index":0,"id":"e9","pointer":"/time","code":"missing_field","detail":"must be an RFC 3339 time from 1970 on"}],"warnings":[]}` + "\n"
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
	counts := map[string]float64{"accepted http": 1, "duplicate http": 1, "rejected http": 2}
	if diff := cmp.Diff(counts, s.counted(t, "sluice_ingest_events_total")); diff != "" {
		t.Error(diff)
	}
}

func TestWarningsOfARequestAreBounded(t *testing.T) {
	s := start(t, nil)
	var lines strings.Builder
	for i := range 150 {
		lines.WriteString(strings.Replace(one(fmt.Sprint("e", i), "v"), "{", `{"x":1,`, 1) + "\n")
	}
	_, body := s.do(t, ask{body: lines.String(), kind: typeNDJSON})
	if n := strings.Count(body, "unknown_field"); n != 100 || !strings.Contains(body, `"warnings_omitted":50`) {
		t.Errorf("%d warnings: %s", n, body)
	}
}

func TestKeys(t *testing.T) {
	s := start(t, nil)
	user := func(id string) string { return of(id, "page_view", ``) }
	cases := []struct {
		name string
		ask  ask
		want string
	}{
		{"none", ask{key: "none", body: one("a", "v")}, "401 missing_key"},
		{"unknown", ask{key: "x", body: one("a", "v")}, "401 invalid_key"},
		{"operator", ask{key: operatorKey, body: one("a", "v")}, "403 wrong_key"},
		{"write", ask{key: writeKey, body: one("b1", "v")}, "202 accepted=1"},
		{"write by query", ask{key: "none", path: "/v1/events?key=" + writeKey, kind: typeText, body: one("b2", "v")}, "202 accepted=1"},
		{"server by query", ask{key: "none", path: "/v1/events?key=" + serverKey, body: one("b3", "v")}, "401 invalid_key"},
		{"basic", ask{key: "none", headers: map[string]string{"Authorization": "Basic d3JpdGUta2V5Og=="}, body: one("b4", "v")}, "202 accepted=1"},
		{"write: only a user", ask{key: writeKey, body: user("c1")}, "422 rejected rejected=1 [0 c1 missing_field /anonymous_id]"},
		{"write: a user and a visitor", ask{key: writeKey, body: strings.Replace(one("c2", "v"), "{", `{"user_id":"u",`, 1)}, "202 accepted=1 [0 c2 user_not_verified /user_id]"},
		{
			"write: payment",
			ask{key: writeKey, body: of("d1", "payment", `,"anonymous_id":"v","order":{"order_id":"o","value":1,"currency":"EUR"}`)},
			"403 wrong_key rejected=1 [0 d1 server_key_expected /type]",
		},
		{
			"write: purchase",
			ask{key: writeKey, body: of("d2", "purchase", `,"anonymous_id":"v","items":[{"item_id":"i"}],"order":{"order_id":"o"}`)},
			"403 wrong_key rejected=1 [0 d2 server_key_expected /type]",
		},
		{"write: label", ask{key: writeKey, body: of("d3", "report", `,"anonymous_id":"v"`)}, "403 wrong_key rejected=1 [0 d3 server_key_expected /type]"},
		{
			"write: jurisdiction",
			ask{key: writeKey, body: of("d4", "page_view", `,"anonymous_id":"v","jurisdiction":"EU"`)},
			"403 wrong_key rejected=1 [0 d4 server_key_expected /jurisdiction]",
		},
		{
			"write: order",
			ask{key: writeKey, body: of("d5", "begin_checkout", `,"anonymous_id":"v","items":[{"item_id":"i"}],"order":{"order_id":"o"}`)},
			"403 wrong_key rejected=1 [0 d5 server_key_expected /order]",
		},
		{"write: account", ask{key: writeKey, body: of("d6", "page_view", `,"anonymous_id":"v","account":{"email":"e"}`)}, "403 wrong_key rejected=1 [0 d6 server_key_expected /account]"},
		{
			"write: forbidden among others",
			ask{key: writeKey, body: "[" + of("d7", "login", `,"anonymous_id":"v"`) + "," + one("d8", "v") + "]"},
			"202 accepted=1 rejected=1 [0 d7 server_key_expected /type]",
		},
		{
			"write: forbidden and invalid",
			ask{key: writeKey, body: "[" + of("d9", "login", `,"anonymous_id":"v"`) + ",{}]"},
			"422 rejected rejected=2 [0 d9 server_key_expected /type] [1 missing_field /time]",
		},
		{"server: all of it", ask{body: of("e1", "payment", `,"jurisdiction":"EU","account":{"email":"e@example.com"},"order":{"order_id":"o","value":1,"currency":"EUR"}`)}, "202 accepted=1"},
		{"server: label", ask{body: of("e2", "report", ``)}, "202 accepted=1"},
		{"items: write", ask{path: "/v1/items", key: writeKey, body: `{"item_id":"i"}`}, "403 wrong_key"},
		{"item: write", ask{method: http.MethodDelete, path: "/v1/items/i", key: writeKey}, "403 wrong_key"},
		{"rows: write", ask{path: "/v1/replays/0000000000000001/events", key: writeKey}, "403 wrong_key"},
		{"run: write", ask{method: http.MethodGet, path: "/v1/replays/0000000000000001", key: writeKey}, "403 wrong_key"},
		{"run: none", ask{method: http.MethodGet, path: "/v1/replays/0000000000000001", key: "none"}, "401 missing_key"},
	}
	for _, c := range cases {
		answer, body := s.do(t, c.ask)
		if got := told(t, answer, body); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if (answer.Header.Get("WWW-Authenticate") != "") != (answer.StatusCode == http.StatusUnauthorized) {
			t.Errorf("%s: WWW-Authenticate %q", c.name, answer.Header.Get("WWW-Authenticate"))
		}
	}
	for _, e := range s.logged(t, 7) {
		if trusted := e.event.UserId == "u"; e.TrustedClock != trusted {
			t.Errorf("%s: trusted clock %v", e.event.Id, e.TrustedClock)
		}
	}
}

func TestUserTokens(t *testing.T) {
	public, private := keyPair(t)
	second, secondPrivate := keyPair(t)
	_, stranger := keyPair(t)
	s := start(t, func(o *Options) { o.Config.UserKeys = append(o.Config.UserKeys, public, second) })
	claims := func(subject string, expires time.Time) jwt.RegisteredClaims {
		return jwt.RegisteredClaims{Subject: subject, ExpiresAt: jwt.NewNumericDate(expires)}
	}
	sign := func(method jwt.SigningMethod, key any, c jwt.RegisteredClaims) string {
		token, err := jwt.NewWithClaims(method, c).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	later := now.Add(time.Hour)
	cases := []struct{ name, token, want string }{
		{"valid", sign(jwt.SigningMethodEdDSA, private, claims("u", later)), "202 accepted=1"},
		{"second key", sign(jwt.SigningMethodEdDSA, secondPrivate, claims("u", later)), "202 accepted=1"},
		{"just expired", sign(jwt.SigningMethodEdDSA, private, claims("u", now.Add(-10*time.Second))), "202 accepted=1"},
		{"expired", sign(jwt.SigningMethodEdDSA, private, claims("u", now.Add(-time.Hour))), ""},
		{"without exp", sign(jwt.SigningMethodEdDSA, private, jwt.RegisteredClaims{Subject: "u"}), ""},
		{"another person's", sign(jwt.SigningMethodEdDSA, private, claims("w", later)), ""},
		{"nobody's", sign(jwt.SigningMethodEdDSA, private, claims("", later)), ""},
		{"a stranger's key", sign(jwt.SigningMethodEdDSA, stranger, claims("u", later)), ""},
		{"symmetric", sign(jwt.SigningMethodHS256, []byte(public), claims("u", later)), ""},
		{"unsigned", sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims("u", later)), ""},
		{"no token", "x", ""},
	}
	for i, c := range cases {
		id := fmt.Sprint("e", i)
		if c.want == "" {
			c.want = "422 rejected rejected=1 [0 " + id + " missing_field /anonymous_id]"
		}
		got := s.post(t, ask{key: writeKey, body: of(id, "page_view", ``), headers: map[string]string{"Sluice-User-Token": c.token}})
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	s = start(t, func(o *Options) { o.Config.TrustClientIdentity = true })
	if got := s.post(t, ask{key: writeKey, body: of("e", "page_view", ``)}); got != "202 accepted=1" {
		t.Errorf("trusting clients: %s", got)
	}
}

func TestWhatTheRequestSaysOfItsEvents(t *testing.T) {
	s := start(t, nil)
	received, sent, own := now.UnixMicro(), now.Add(-time.Minute).UnixMicro(), now.Add(-50*time.Second).UnixMicro()
	envelope := `{"sent_at":"2026-03-01T11:59:00Z","events":[%s,%s]}`
	withOwn := strings.Replace(one("b2", "v"), "{", `{"sent_at":"2026-03-01T11:59:10Z",`, 1)
	asks := []ask{
		{key: writeKey, body: one("a1", "v")},
		{body: one("a2", "v")},
		{key: writeKey, body: fmt.Sprintf(envelope, one("b1", "v"), withOwn)},
		{key: writeKey, body: one("c1", "v"), headers: map[string]string{"Sec-GPC": "1"}},
		{key: writeKey, body: one("c2", "v"), headers: map[string]string{"Sec-GPC": "0"}},
		{key: writeKey, body: one("d1", "some-v"), headers: map[string]string{"Sec-GPC": "1"}},
	}
	for _, a := range asks {
		if got := s.post(t, a); !strings.HasPrefix(got, "202 accepted=") {
			t.Fatal(got)
		}
	}
	want := map[string]string{
		"a1": fmt.Sprint(0, false, nil), "a2": fmt.Sprint(received, false, nil), "b1": fmt.Sprint(sent, false, nil), "b2": fmt.Sprint(own, false, nil),
		"c1": fmt.Sprint(0, true, nil), "c2": fmt.Sprint(0, false, nil), "d1": fmt.Sprint(0, true, []string{"personalize"}),
	}
	for _, e := range s.logged(t, len(want)) {
		var denied any
		if d := e.event.GetConsent().GetDenied(); d != nil {
			denied = d
		}
		if got := fmt.Sprint(e.event.SentAt, e.event.GetConsent().GetGpc(), denied); got != want[e.event.Id] || e.ReceivedAt != received {
			t.Errorf("%s: got %s, want %s", e.event.Id, got, want[e.event.Id])
		}
	}
}

func TestAcknowledgedIsDurable(t *testing.T) {
	var log *brokenLog
	s := start(t, func(o *Options) {
		log = &brokenLog{Log: o.Log, held: make(chan struct{}, 1)}
		o.Log = log
	})
	hold := make(chan struct{})
	log.set(false, hold)
	answered := make(chan string, 1)
	go func() { answered <- s.post(t, ask{body: one("e", "v")}) }()
	<-log.held
	select {
	case got := <-answered:
		t.Fatalf("answered before the log was: %s", got)
	default:
	}
	close(hold)
	if got := <-answered; got != "202 accepted=1" {
		t.Fatal(got)
	}
	s.logged(t, 1)
}

func TestADuplicateIsOnlyOfTheDurable(t *testing.T) {
	var log *brokenLog
	s := start(t, func(o *Options) {
		log = &brokenLog{Log: o.Log, held: make(chan struct{}, 1)}
		o.Log = log
	})
	log.set(true, nil)
	if got := s.post(t, ask{body: one("e", "v")}); got != "503 log_unavailable" {
		t.Fatal(got)
	}
	log.set(false, nil)
	for _, want := range []string{"202 accepted=1", "202 duplicate=1"} {
		if got := s.post(t, ask{body: one("e", "v")}); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	// While an event is on its way, its repetition waits; if it fails, the repetition takes its place.
	hold := make(chan struct{})
	log.set(true, hold)
	first := make(chan string, 1)
	go func() { first <- s.post(t, ask{body: one("f", "v")}) }()
	<-log.held
	log.set(false, nil)
	second := make(chan string, 1)
	go func() { second <- s.post(t, ask{body: "[" + one("g", "v") + "," + one("f", "v") + "]"}) }()
	s.logged(t, 2) // e, and g, which did not wait
	select {
	case got := <-second:
		t.Fatalf("did not wait: %s", got)
	default:
	}
	close(hold)
	if got := <-first; got != "503 log_unavailable" {
		t.Error(got)
	}
	if got := <-second; got != "202 accepted=2" {
		t.Error(got)
	}
	s.logged(t, 3)
}

func TestRepetitionsAreExactUnderConcurrency(t *testing.T) {
	s := start(t, nil)
	const posts, each = 8, 20
	var wg sync.WaitGroup
	counts := make(chan [2]int, posts)
	for p := range posts {
		wg.Go(func() {
			var lines []string
			for i := range each {
				lines = append(lines, one(fmt.Sprint("e", (i*7+p*3)%each), "v"))
			}
			var accepted, duplicate int
			got := s.post(t, ask{body: "[" + strings.Join(lines, ",") + "]"})
			if _, err := fmt.Sscanf(got, "202 accepted=%d duplicate=%d", &accepted, &duplicate); err != nil {
				if _, err := fmt.Sscanf(got, "202 duplicate=%d", &duplicate); err != nil {
					_, _ = fmt.Sscanf(got, "202 accepted=%d", &accepted)
				}
			}
			counts <- [2]int{accepted, duplicate}
		})
	}
	wg.Wait()
	close(counts)
	var sum [2]int
	for c := range counts {
		sum[0] += c[0]
		sum[1] += c[1]
	}
	if sum != [2]int{each, (posts - 1) * each} {
		t.Errorf("accepted and duplicate: %v", sum)
	}
	s.logged(t, each)
}

func TestRecentIsBounded(t *testing.T) {
	r := newRecent(10)
	for i := range 1000 {
		ev := &ingest.Event{AnonymousId: "v", Id: strconv.Itoa(i)}
		r.remember(ev)
		if !r.knows(r.hash(ev)) {
			t.Fatalf("event %d is forgotten at once", i)
		}
	}
	if n := len(r.sets) * len(recentSet{}); n > 10 {
		t.Errorf("%d are remembered", n)
	}
	if !r.knows(r.hash(&ingest.Event{AnonymousId: "v", Id: "995"})) {
		t.Error("one of the newest five is forgotten")
	}
	if r.hash(&ingest.Event{UserId: "v", Id: "1"}) == r.hash(&ingest.Event{AnonymousId: "v", Id: "1"}) {
		t.Error("users and visitors are one")
	}
}

func TestTooMuchInFlight(t *testing.T) {
	var log *brokenLog
	s := start(t, func(o *Options) {
		o.Config.InFlight = 2 * readStep
		log = &brokenLog{Log: o.Log, held: make(chan struct{}, 1)}
		o.Log = log
	})
	hold := make(chan struct{})
	log.set(false, hold)
	first := make(chan string, 1)
	go func() { first <- s.post(t, ask{body: one("e", "v") + strings.Repeat(" ", readStep)}) }()
	<-log.held
	answer, body := s.do(t, ask{body: one("f", "v")})
	if got := told(t, answer, body); got != "429 busy" || answer.Header.Get("Retry-After") != "1" {
		t.Errorf("%s, Retry-After %q", got, answer.Header.Get("Retry-After"))
	}
	close(hold)
	if got := <-first; got != "202 accepted=1" {
		t.Fatal(got)
	}
	log.set(false, nil)
	if got := s.post(t, ask{body: one("f", "v")}); got != "202 accepted=1" {
		t.Error(got)
	}
}

func TestASlowBody(t *testing.T) {
	s := start(t, func(o *Options) { o.Config.Timeout = 100 * time.Millisecond })
	body, feed := io.Pipe()
	defer feed.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/events", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+serverKey)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusRequestTimeout {
		t.Error(answer.Status)
	}
}

func TestWithoutABroker(t *testing.T) {
	s := start(t, func(o *Options) { o.Config.Timeout = time.Second })
	s.stopBroker()
	for _, a := range []ask{{body: one("e", "v")}, {path: "/v1/items", body: `{"item_id":"i"}`}, {method: http.MethodDelete, path: "/v1/items/i"}} {
		if got := s.post(t, a); got != "503 log_unavailable" {
			t.Errorf("%s %s: %s", a.method, a.path, got)
		}
	}
}
