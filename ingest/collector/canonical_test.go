package collector

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/ingest"
	"sluice/internal/httpx"
	"sluice/internal/vocab"
)

// TestPlaceholders: a word that stands for nobody is nobody's id, and the list is configuration.
func TestPlaceholders(t *testing.T) {
	words := []string{`\\N`, "NULL", "null", "NaN", "None", "NA", "undefined", "-", "nan", "[object Object]", " "}
	s := start(t, nil)
	for _, word := range words {
		if got := s.post(t, ask{body: one("e", word)}); got != "422 rejected rejected=1 [0 e placeholder /anonymous_id]" {
			t.Errorf("%q: %s", word, got)
		}
	}
	for _, c := range []struct{ name, body, want string }{
		{"user", strings.Replace(of("a", "login", ``), `"u"`, `"undefined"`, 1), "422 rejected rejected=1 [0 a placeholder /user_id]"},
		{"id", of("null", "login", ``), "422 rejected rejected=1 [0 null placeholder /id]"},
		{"item", of("b", "view_item", `,"items":[{"item_id":"i"},{"item_id":"NaN"}]`), "422 rejected rejected=1 [0 b placeholder /items/1/item_id]"},
		{"order", of("c", "refund", `,"order":{"order_id":"none"}`), "422 rejected rejected=1 [0 c placeholder /order/order_id]"},
		{"device", of("d", "login", `,"device":{"id":"unknown","mac":"02:00:00:00:00:00"}`), "202 accepted=1 [0 d placeholder /device/id] [0 d placeholder /device/mac]"},
		{"0 is a number that people have", strings.Replace(of("f", "login", ``), `"u"`, `"0"`, 1), "202 accepted=1"},
		{"a longer word", strings.Replace(of("g", "login", ``), `"u"`, `"nullable"`, 1), "202 accepted=1"},
	} {
		if got := s.post(t, ask{body: c.body}); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	own := start(t, func(o *Options) { o.Config.Forms.Placeholders = nil })
	if got := own.post(t, ask{body: one("e", "null")}); got != "202 accepted=1" {
		t.Errorf("an empty list: %s", got)
	}
}

// TestOneSpellingOfEach: every spelling of an address, a telephone, a country, a currency or a text is stored in one form, over HTTP and from files alike.
func TestOneSpellingOfEach(t *testing.T) {
	cases := []struct{ members, want, warnings string }{
		{`"network":{"ip":"2001:DB8:0:0:0:0:0:1"}`, "2001:db8::1", ""},
		{`"network":{"ip":"[2001:db8::1]:443"}`, "2001:db8::1", ""},
		{`"network":{"ip":"::ffff:203.0.113.5"}`, "203.0.113.5", ""},
		{`"network":{"ip":"203.0.113.5:51234"}`, "203.0.113.5", ""},
		{`"network":{"ip":"203.0.113.5, 10.0.0.1"}`, "", " [0 %s invalid_value /network/ip]"},
		{`"network":{"ip":"unknown"}`, "", " [0 %s invalid_value /network/ip]"},
		{`"account":{"email":" Ada@Example.COM "}`, "ada@example.com", ""},
		{`"account":{"email":"ada"}`, "", " [0 %s invalid_value /account/email]"},
		{`"account":{"phone":"020 7946 0958"},"locale":"en_GB"`, "+442079460958", ""},
		{`"account":{"phone":"+44 (0)20 7946 0958"}`, "+442079460958", ""},
		{`"account":{"phone":"020 7946 0958"}`, "02079460958", " [0 %s national_phone /account/phone]"},
		{`"account":{"phone":"call me"}`, "", " [0 %s invalid_value /account/phone]"},
		{`"surface":"cafe\u0301"`, "caf\u00e9", ""},
		{"\"surface\":\"cafe\u0301\"", "caf\u00e9", ""},
	}
	s := start(t, nil)
	var rows strings.Builder
	for i, c := range cases {
		id := fmt.Sprintf("e%d", i)
		want := "202 accepted=1"
		if c.warnings != "" {
			want += fmt.Sprintf(c.warnings, id)
		}
		if got := s.post(t, ask{body: of(id, "login", ","+c.members)}); got != want {
			t.Errorf("%s: got %q, want %q", c.members, got, want)
		}
		fmt.Fprintf(&rows, `{"row":%d,"event":%s}`+"\n", i+1, of("row-"+id, "login", ","+c.members))
	}
	if got := s.post(t, ask{path: "/v1/replays/00000000000000ab/events", body: rows.String(), kind: typeNDJSON}); !strings.HasPrefix(got, fmt.Sprintf("202 accepted=%d", len(cases))) {
		t.Error(got)
	}
	for _, e := range s.logged(t, 2*len(cases)) {
		var i int
		if _, err := fmt.Sscanf(strings.TrimPrefix(e.event.Id, "row-"), "e%d", &i); err != nil {
			t.Fatal(err)
		}
		ev := e.event
		got := ev.GetNetwork().GetIp() + ev.GetAccount().GetEmail() + ev.GetAccount().GetPhone() + ev.GetSurface()
		if got != cases[i].want {
			t.Errorf("%s: stored %q, want %q", cases[i].members, got, cases[i].want)
		}
	}
}

// TestClocks: a clock that is off is corrected by what it says of the sending; a time that cannot be is refused.
func TestClocks(t *testing.T) {
	at := func(micros int64) string { return time.UnixMicro(micros).UTC().Format(time.RFC3339Nano) }
	received := now.UnixMicro()
	const second, year = int64(1e6), int64(365 * 24 * 3600 * 1e6)
	for _, c := range []struct {
		name       string
		time, sent int64 // 0: not told
		key        string
		want       string
		kept       int64 // the time that is stored
	}{
		{"right", received - 3*second, received - second, writeKey, "202 accepted=1", received - 3*second},
		{"behind by years", received - 11*year - second/5, received - 11*year, writeKey, "202 accepted=1 [0 e clock_corrected /time]", received - second/5},
		{"behind by years, through a server", received - 11*year - second/5, received - 11*year, serverKey, "202 accepted=1 [0 e clock_corrected /time]", received - second/5},
		{"ahead by years", received + 2*year - second, received + 2*year, writeKey, "202 accepted=1 [0 e clock_corrected /time]", received - second},
		{"a minute off", received - 61*second, received - 60*second, writeKey, "202 accepted=1", received - 61*second},
		{"offline for a week", received - 7*24*3600*second, received - second, writeKey, "202 accepted=1", received - 7*24*3600*second},
		{"sent before it happened", received - 5*second, received - 3600*second, writeKey, "202 accepted=1", received - 5*second},
		{"never set", 5 * second, 0, writeKey, "422 rejected rejected=1 [0 e implausible_time /time]", 0},
		{"never set, and set before sending", 5 * second, received, writeKey, "422 rejected rejected=1 [0 e implausible_time /time]", 0},
		{"two days ahead", received + 48*3600*second, 0, serverKey, "422 rejected rejected=1 [0 e implausible_time /time]", 0},
		{"a time zone ahead", received + 14*3600*second, 0, serverKey, "202 accepted=1", received + 14*3600*second},
		{"history", received - 11*year, 0, serverKey, "202 accepted=1", received - 11*year},
	} {
		s := start(t, nil)
		sent := ""
		if c.sent != 0 {
			sent = `,"sent_at":"` + at(c.sent) + `"`
		}
		body := fmt.Sprintf(`{"id":"e","type":"page_view","time":"%s","anonymous_id":"v"%s}`, at(c.time), sent)
		if got := s.post(t, ask{key: c.key, body: body}); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
			continue
		}
		if c.kept == 0 {
			s.holds(t, 0)
		} else if e := s.logged(t, 1)[0]; e.event.Time != c.kept {
			t.Errorf("%s: stored %s, want %s", c.name, at(e.event.Time), at(c.kept))
		}
	}
}

// TestExpired: what every purpose has let go by the partition's own time is refused; a log that knows nothing newer takes it.
func TestExpired(t *testing.T) {
	const year = 365 * 24 * time.Hour
	s := start(t, func(o *Options) {
		o.Keeps = []Keeping{
			{Purpose: "history", Types: 1<<vocab.Type_PAGE_VIEW | 1<<vocab.Type_SEARCH, Kept: year},
			{Purpose: "personalize", Types: 1<<vocab.Type_SEARCH | 1<<vocab.Type_SHARE, Kept: year},
			{Purpose: "risk", Duty: true, Types: 1 << vocab.Type_LOGIN, Kept: year / 2},
		}
	})
	of := func(id, kind, time, more string) ask {
		return ask{key: serverKey, body: fmt.Sprintf(`{"id":"%s","type":"%s","time":"%s","user_id":"u"%s}`, id, kind, time, more)}
	}
	old := func(id, kind, more string) ask { return of(id, kind, "2015-12-14T09:00:00Z", more) }
	const now, term, private = "2026-03-01T12:00:00Z", `,"search_term":"x"`, `,"consent":{"denied":["history"]}`
	for _, step := range []struct {
		ask  ask
		want string
	}{
		{old("a", "page_view", ""), "202 accepted=1"},
		{of("b", "login", now, ""), "202 accepted=1"},
		{old("c", "login", ""), "422 rejected rejected=1 [0 c expired /time]"},
		{old("d", "page_view", ""), "202 accepted=1"}, // no purpose that takes it was given anything newer
		{of("e", "page_view", now, ""), "202 accepted=1"},
		{old("f", "page_view", ""), "422 rejected rejected=1 [0 f expired /time]"},
		{old("g", "search", term), "202 accepted=1"}, // for personalize
		{of("h", "search", now, term+private), "202 accepted=1"},
		{old("i", "search", term), "202 accepted=1"}, // who was given the other one is not known here
		{of("j", "search", now, term), "202 accepted=1"},
		{old("k", "search", term), "422 rejected rejected=1 [0 k expired /time]"},
		{old("l", "search", term+private), "422 rejected rejected=1 [0 l expired /time]"},
	} {
		if got := s.post(t, step.ask); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
}

// TestDenialsFailClosed: a denial that is not clear denies all that it may have meant, and a consent that cannot be read all that can be denied.
func TestDenialsFailClosed(t *testing.T) {
	s := start(t, func(o *Options) {
		o.Denied = func(word string) ([]string, bool) {
			switch word {
			case "personalize":
				return []string{word}, true
			case ingest.DenyAll:
				return []string{"history", "personalize", "marketing.push"}, false
			default:
				return []string{"personalize", "marketing.push"}, false
			}
		}
	})
	const (
		optional   = "[personalize marketing.push]"
		everything = "[history personalize marketing.push]"
		word       = " [0 e%d consent_unclear /consent/denied/0]"
		unclear    = " [0 e%d consent_unclear /consent]"
	)
	order := map[string]string{"history": "1", "personalize": "2", "marketing.push": "3"}
	cases := []struct{ consent, denied, warnings string }{
		{`{"denied":["personalize"]}`, "[personalize]", ""},
		{`{"denied":["personalise"]}`, optional, word},
		{`{"denied":["PERSONALIZE","personalize"]}`, optional, word},
		{`{"denied":["*"]}`, everything, word},
		{`{"denied":[""]}`, optional, word},
		{`{"denied":"personalize"}`, everything, unclear},
		{`{"denied":[null]}`, everything, unclear},
		{`{"denied":[],"denied":["personalize"]}`, everything, unclear},
		{`{"gpc":"1"}`, everything, unclear},
		{`{"gpc":true,"gpc":false}`, everything, unclear},
		{`"deny"`, everything, unclear},
		{`[]`, everything, unclear},
		{`{"deny":["personalize"]}`, everything, " [0 e%d unknown_field /consent/deny] [0 e%d consent_unclear /consent]"},
		{`{},"consent":{"denied":["personalize"]}`, everything, unclear},
		{`{},"Consent":{"denied":["personalize"]}`, everything, " [0 e%d unknown_field /Consent] [0 e%d consent_unclear /consent]"},
		{`null`, "[]", ""},
		{`{"denied":null,"gpc":null}`, "[]", ""},
	}
	for i, c := range cases {
		body := of(fmt.Sprintf("e%d", i), "login", `,"consent":`+c.consent)
		want := "202 accepted=1" + strings.ReplaceAll(c.warnings, "%d", strconv.Itoa(i))
		if got := s.post(t, ask{body: body}); got != want {
			t.Errorf("%s: got %q, want %q", c.consent, got, want)
		}
	}
	for _, e := range s.logged(t, len(cases)) {
		var i int
		if _, err := fmt.Sscanf(e.event.Id, "e%d", &i); err != nil {
			t.Fatal(err)
		}
		denied := e.event.GetConsent().GetDenied()
		slices.SortFunc(denied, func(a, b string) int { return strings.Compare(order[a], order[b]) })
		if got := fmt.Sprint(denied); got != cases[i].denied {
			t.Errorf("%s: denies %s, want %s", cases[i].consent, got, cases[i].denied)
		}
	}
}

// TestUnclearSignals: GPC that comes twice, or with another value than 0, is on.
func TestUnclearSignals(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   bool
	}{{nil, false}, {[]string{"0"}, false}, {[]string{"1"}, true}, {[]string{"0", "1"}, true}, {[]string{"true"}, true}, {[]string{"1, 1"}, true}, {[]string{" 0 "}, false}} {
		r := &http.Request{Header: http.Header{"Sec-Gpc": c.values}}
		if got := httpx.HasGPC(r); got != c.want {
			t.Errorf("%q: %v", c.values, got)
		}
	}
}

// TestARetriedDecisionIsTheSame: another sent_at changes nothing of what an event says, also where the clock that sends it is corrected.
func TestARetriedDecisionIsTheSame(t *testing.T) {
	s := start(t, nil)
	payment := func(sent, value string) []byte {
		return []byte(of("p1", "payment", `,"sent_at":"`+sent+`","order":{"order_id":"o","value":"`+value+`","currency":"gbp"},"network":{"ip":"unknown"}`))
	}
	first, problem := s.c.Prepare(payment("2026-03-01T10:00:01Z", "19.90"), httpx.RoleServer, now)
	if problem != nil {
		t.Fatal(problem)
	}
	again, problem := s.c.Prepare(payment("2026-03-01T10:00:04Z", "19.9"), httpx.RoleServer, now.Add(7*time.Second))
	if problem != nil {
		t.Fatal(problem)
	}
	if !bytes.Equal(first.Hash, again.Hash) {
		t.Error("a retry says something else")
	}
	if diff := cmp.Diff(first.Warnings, again.Warnings); diff != "" || len(first.Warnings) != 1 || first.Warnings[0].Pointer != "/network/ip" {
		t.Error(first.Warnings, diff)
	}
	if first.Event.Order.Currency != "GBP" || first.Event.Time == again.Event.Time {
		t.Errorf("%s, at %d and %d", first.Event.Order.Currency, first.Event.Time, again.Event.Time)
	}
	other, _ := s.c.Prepare(payment("2026-03-01T10:00:01Z", "19.91"), httpx.RoleServer, now)
	if bytes.Equal(first.Hash, other.Hash) {
		t.Error("another value is the same")
	}
}

// TestByteOrderMarks: what some programs put before UTF-8 costs no line, also where such files were joined.
func TestByteOrderMarks(t *testing.T) {
	s := start(t, nil)
	const bom = "\ufeff"
	for _, c := range []struct {
		name string
		ask  ask
		want string
	}{
		{"lines", ask{body: bom + one("a", "v") + "\n" + bom + one("b", "v"), kind: typeNDJSON}, "202 accepted=2"},
		{"lines as JSON", ask{body: bom + one("c", "v") + "\n" + one("d", "v")}, "202 accepted=2"},
		{"array", ask{body: bom + "[" + one("e", "v") + "]"}, "202 accepted=1"},
		{"object", ask{body: bom + one("f", "v")}, "202 accepted=1"},
		{"items", ask{path: "/v1/items", body: bom + `{"item_id":"a"}` + "\n" + `{"item_id":"b"}`, kind: typeNDJSON}, "202 accepted=2"},
		{"rows", ask{path: "/v1/replays/00000000000000ab/events", body: bom + `{"row":1,"event":` + one("g", "v") + `}`, kind: typeNDJSON}, "202 accepted=1"},
	} {
		if got := s.post(t, c.ask); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// TestPartsAndPairs: a quantity may be a part, and one id may name a payment and a purchase.
func TestPartsAndPairs(t *testing.T) {
	s := start(t, nil)
	for _, c := range []struct{ body, want string }{
		{of("q1", "purchase", `,"items":[{"item_id":"cheese","quantity":0.75,"price":"12.40"}],"order":{"order_id":"o9"}`), "202 accepted=1"},
		{of("order-1", "payment", `,"order":{"order_id":"order-1","value":"5","currency":"GBP"}`), "202 accepted=1"},
		{of("order-1", "purchase", `,"items":[{"item_id":"g1"}],"order":{"order_id":"order-1"}`), "202 accepted=1"},
		{of("order-1", "purchase", `,"items":[{"item_id":"g1"}],"order":{"order_id":"order-1"}`), "202 duplicate=1"},
	} {
		if got := s.post(t, ask{body: c.body}); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	hashes := make(map[uint64]bool)
	for _, e := range s.logged(t, 3) {
		hashes[e.Dedupe] = true
		if e.event.Id == "q1" && e.event.Items[0].Quantity != 750_000 {
			t.Errorf("quantity %d", e.event.Items[0].Quantity)
		}
	}
	if len(hashes) != 3 {
		t.Errorf("%d different events for the filter, want 3", len(hashes))
	}
}
