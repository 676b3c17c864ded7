package web

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/internal/httpx"
)

// crowded is a shop with others in it.
type crowded struct{}

func (crowded) Crowd() Crowd {
	return Crowd{Shoppers: 60, OptedOut: 7, Orders: 200, Replayed: 50, Behind: true}
}

// shelf is a catalogue of one item.
type shelf struct{}

var (
	lamp = Item{ID: "lamp", Title: "Brass & Glass Lamp", Category: "Home", Subcategory: "Lamps", Price: "9.50", Currency: "GBP"}
	odd  = Item{ID: "a/b?c=d", Title: "Odd", Category: "In/Out", Subcategory: "50% off?", Price: "1", Currency: "GBP"}
)

func (shelf) Item(id string) (Item, bool) {
	if id == odd.ID {
		return odd, true
	}
	return lamp, id == lamp.ID
}

func (shelf) Search(q string, n int) []Item {
	return slices.Repeat([]Item{odd}, min(n, len(q)))
}
func (shelf) InCategory(name string, _ int) []Item { return []Item{lamp}[:min(1, len(name))] }
func (shelf) Categories() []string                 { return []string{"Home"} }

// api answers as the API does, with the reason given for personalize: one for accounts and one for visitors.
type api struct {
	account, visitor string
	policy           *string // what was last written about it; nil = accepted, and not to be changed
	busy             bool
	unreadable       bool      // the history
	outcome          string    // of decisions; empty: allow
	expired          bool      // decisions are
	choice           string    // member of personalize: "allow" or "deny"; empty = none
	refuses          string    // code of the 422 that writes and histories get
	seen             *[]string // "METHOD path body" of what was written, if somebody wants to know
}

func (a api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	because := a.visitor
	if strings.HasPrefix(r.URL.Path, "/v1/users/") {
		because = a.account
	}
	effective, code, _ := strings.Cut(because, " ")
	accepted := a.policy == nil || strings.Contains(*a.policy, `"accepted":true`)
	if a.seen != nil && r.Method != http.MethodGet {
		body, _ := io.ReadAll(r.Body)
		*a.seen = append(*a.seen, r.Method+" "+r.URL.Path+" "+string(body))
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	if strings.HasPrefix(r.URL.Path, "/v1/decisions") && a.outcome == "twice" {
		httpx.WriteProblem(w, httpx.NewProblem(http.StatusUnprocessableEntity, "id_reused", "This id was used for another event."))
		return
	}
	if strings.HasPrefix(r.URL.Path, "/v1/decisions") {
		expires := time.Now().Add(time.Hour)
		if a.expired {
			expires = time.Now().Add(-time.Hour)
		}
		fmt.Fprintf(w, `{"expires_at":%q,"decision_id":"d1","outcome":%q,"score":350,"reasons":[{"text":"Many payments with this card.","tell_user":true},{"text":"Between us.","tell_user":false}],"appeal_token":"object-1"}`, expires.Format(time.RFC3339), cmp.Or(a.outcome, "allow"))
		return
	}
	if a.refuses != "" && (r.Method == http.MethodPut || strings.HasSuffix(r.URL.Path, "/history")) {
		httpx.WriteProblem(w, httpx.NewProblem(http.StatusUnprocessableEntity, a.refuses, "No."))
		return
	}
	if strings.Contains(r.URL.Path, "/redirected/") {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		return
	}
	if a.busy && strings.HasSuffix(r.URL.Path, "/recommendations") {
		httpx.WriteProblem(w, httpx.Overloaded())
		return
	}
	if a.unreadable && strings.HasSuffix(r.URL.Path, "/history") {
		httpx.WriteProblem(w, httpx.NewProblem(http.StatusServiceUnavailable, "history_unavailable", "Not now."))
		return
	}
	if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/policy") && a.policy != nil {
		body, _ := io.ReadAll(r.Body)
		*a.policy = string(body)
		_, _ = io.WriteString(w, `{"revision":"1-0-1"}`)
		return
	}
	choice := "null"
	if a.choice != "" {
		choice = strconv.Quote(a.choice)
	}
	answers := map[string]string{
		"consent": fmt.Sprintf(`{"policy":{"version":"1","accepted":%t},"purposes":{"personalize":{"effective":%q,"choice":%s,"because":%q},"risk":{"effective":"allow","because":""}}}`, accepted, effective, choice, code),
		"policy":  `{"version":"1","purposes":[{"name":"personalize","doc":"Lists.","tier":"switchable","clause":"2(2)"},{"name":"marketing.sms","doc":"Commercial text messages.","tier":"additional","clause":"2(2)"},{"name":"risk","doc":"Safety.","tier":"legal","clause":"2(9)"}]}`,
		"blocks":  `{"items":["lamp","gone"],"categories":["Lamps"]}`,
		"history": `{"items":[{"event_id":"e","type":"view_item","time":"2026-11-24T08:00:00Z","item_ids":["lamp"]}]}`,
		"events":  `{}`,
		"similar": `{"recommendation_id":"r","items":[{"item_id":"lamp","reasons":[{"code":"viewed_together","item_id":"lamp","text":"Often looked at together."},{"code":"popular","text":"Popular."}]}]}`,
	}
	answers["recommendations"], answers["trending"] = answers["similar"], answers["similar"]
	answer, ok := answers[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]
	if r.Method == http.MethodPut { // a choice that was overtaken
		httpx.WriteProblem(w, httpx.NewProblem(http.StatusConflict, "overtaken", "A newer choice."))
		return
	}
	if !ok {
		httpx.WriteProblem(w, httpx.NewProblem(http.StatusNotFound, "not_found", "Nothing."))
		return
	}
	_, _ = io.WriteString(w, answer)
}

// shop is a browser with its cookies, and a shop on top of the fake API.
type shop struct {
	t       *testing.T
	handler http.Handler
	cookies map[string]*http.Cookie
}

func openShop(t *testing.T, a api) *shop {
	t.Helper()
	behind := httptest.NewServer(a)
	t.Cleanup(behind.Close)
	return openShopAt(t, behind.URL, io.Discard)
}

func openShopAt(t *testing.T, url string, log io.Writer) *shop {
	t.Helper()
	front := httpx.NewAPI("test", httpx.NewKeys(nil))
	err := Register(front, Options{API: NewClient(url, "k", nil), Catalogue: shelf{}, Crowd: crowded{}, Cards: []Card{{Name: "own", Label: "Own"}}, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return &shop{t: t, cookies: make(map[string]*http.Cookie), handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, route := front.Mux.Handler(r); route == "" {
			front.Unrouted(w, r)
			return
		}
		front.Mux.ServeHTTP(w, r)
	})}
}

func (s *shop) send(method, path string, form url.Values) (status int, page string) {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), method, path, strings.NewReader(form.Encode()))
	r.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range s.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if s.cookies[c.Name] = c; c.MaxAge < 0 {
			delete(s.cookies, c.Name)
		}
	}
	return w.Code, w.Body.String()
}

var formToken = regexp.MustCompile(`name="token" value="([^"]+)"`)

func (s *shop) signIn() {
	s.t.Helper()
	_, page := s.send(http.MethodGet, "/settings/privacy", nil)
	match := formToken.FindStringSubmatch(page)
	if match == nil {
		s.t.Fatal("no form on the page")
	}
	if status, _ := s.send(http.MethodPost, "/shop/sign-in", url.Values{"user": {"ada"}, "token": {match[1]}}); status != http.StatusSeeOther {
		s.t.Fatalf("signing in: %d", status)
	}
}

var orderField = regexp.MustCompile(`name="order" value="([^"]+)"`)

// drawn is the order that the page of the cart may become.
func (s *shop) drawn() string {
	s.t.Helper()
	_, page := s.send(http.MethodGet, "/shop/cart", nil)
	match := orderField.FindStringSubmatch(page)
	if match == nil {
		s.t.Fatalf("nothing can be paid on the page:\n%s", page)
	}
	return match[1]
}

// expect checks what stands on a page, and what does not ("!…").
func (s *shop) expect(page string, texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		if bare, not := strings.CutPrefix(text, "!"); strings.Contains(page, bare) == not {
			s.t.Errorf("expected %q on the page:\n%s", text, page)
		}
	}
}

// TestReasonsHaveWords: every reason that the API gives for a purpose's state is a sentence on the page.
func TestReasonsHaveWords(t *testing.T) {
	for _, because := range []string{
		"deny policy_not_accepted", "deny policy_superseded", "deny choice", "deny default", "deny gpc", "deny device", "deny account", "deny unregistered",
		"allow choice", "allow default",
	} {
		effective, code, _ := strings.Cut(because, " ")
		state := purposeState{Effective: effective, Because: code}
		if words := state.why("switchable"); words == "Not allowed now." || words == "It comes with the privacy notice." {
			t.Errorf("%s has no words", because)
		}
	}
	_, page := openShop(t, api{visitor: "allow choice"}).send(http.MethodGet, "/settings/privacy", nil)
	s := &shop{t: t}
	s.expect(page, `id="because-personalize">You switched it on.</p>`, "<strong>On.</strong> The law asks for it.", "!>choice<")
}

// TestSettingsSayWhoseTheyAre: an account's hold on all devices, a browser's in it alone; and what was switched off in it before stays off.
func TestSettingsSayWhoseTheyAre(t *testing.T) {
	const everywhere, browser, before = "they hold on all devices", "the settings of this browser", "switched off in this browser before you signed in"
	s := openShop(t, api{account: "allow choice", visitor: "deny choice"})
	_, page := s.send(http.MethodGet, "/settings/privacy", nil)
	s.expect(page, browser, "!"+everywhere, "!"+before, "Brass &amp; Glass Lamp")
	s.signIn()
	_, page = s.send(http.MethodGet, "/settings/privacy", nil)
	s.expect(page, everywhere, before, "signed in as <strong>ada</strong>", "!"+browser+".")
	s = openShop(t, api{account: "allow choice", visitor: "deny policy_not_accepted"})
	s.signIn()
	_, page = s.send(http.MethodGet, "/settings/privacy", nil)
	s.expect(page, everywhere, "!"+before)
}

// TestAnOvertakenChoiceSaysSo: a switch that was moved elsewhere meanwhile is not shown as moved.
func TestAnOvertakenChoiceSaysSo(t *testing.T) {
	s := openShop(t, api{visitor: "deny choice"})
	_, page := s.send(http.MethodGet, "/settings/privacy", nil)
	form := url.Values{"decision": {"allow"}, "token": formToken.FindStringSubmatch(page)[1:2]}
	status, page := s.send(http.MethodPost, "/settings/privacy/consent/personalize", form)
	if status != http.StatusConflict {
		t.Errorf("answered %d", status)
	}
	s.expect(page, "You chose otherwise in another place", "!Recommendations based on your activity: on")
}

// TestCardsNameWhatCausedThem: "Why this?" links the item.
func TestCardsNameWhatCausedThem(t *testing.T) {
	s := openShop(t, api{visitor: "allow choice"})
	_, page := s.send(http.MethodGet, "/", nil)
	s.expect(page, `Often looked at together. Because of <a href="/shop/items/lamp">Brass &amp; Glass Lamp</a>.`, "<p>Popular.</p>")
}

// TestPagesOfNothing: a browser gets a page where there is none, with its status.
func TestPagesOfNothing(t *testing.T) {
	s := openShop(t, api{visitor: "allow choice"})
	for path, want := range map[string]int{"GET /nothing": 404, "GET /shop/items/none": 404, "POST /nothing": 404, "PUT /shop/cart": 405, "GET /shop/sign-in": 405} {
		method, path, _ := strings.Cut(path, " ")
		status, page := s.send(method, path, nil)
		if status != want {
			t.Errorf("%s %s: %d, want %d", method, path, status, want)
		}
		s.expect(page, "Back to the shop")
	}
}

// TestNothingInline: no page holds a script, a style or a handler of its own, so that the content security policy can forbid them.
func TestNothingInline(t *testing.T) {
	s := openShop(t, api{visitor: "allow choice"})
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script(?:\s[^>]*)?>[^<]`)
	for _, path := range []string{"/", "/shop/items/lamp", "/shop/category/Home", "/shop/search?q=lamp", "/shop/cart", "/settings/privacy", "/nothing"} {
		_, page := s.send(http.MethodGet, path, nil)
		if found := inline.FindString(page); found != "" {
			t.Errorf("%s holds %q", path, found)
		}
	}
}

// TestDecliningIsNotForEver: who has declined is not asked on every page, and can accept under Privacy; who has accepted can withdraw there.
func TestDecliningIsNotForEver(t *testing.T) {
	const notice, accept, withdraw = "Before you look around", "Accept the notice", `value="withdraw"`
	policy := ""
	s := openShop(t, api{visitor: "deny policy_not_accepted", policy: &policy})
	decide := func(accept string) {
		t.Helper()
		_, page := s.send(http.MethodGet, "/settings/privacy", nil)
		form := url.Values{"accept": {accept}, "version": {"1"}, "token": formToken.FindStringSubmatch(page)[1:2]}
		if status, page := s.send(http.MethodPost, "/shop/policy", form); status != http.StatusSeeOther {
			t.Fatalf("%s: %d %s", accept, status, page)
		}
	}
	expect := func(path string, texts ...string) {
		t.Helper()
		_, page := s.send(http.MethodGet, path, nil)
		s.expect(page, texts...)
	}
	expect("/", notice)
	decide("no")
	if policy != "" {
		t.Errorf("declining wrote %s", policy)
	}
	expect("/", "!"+notice)
	expect("/settings/privacy", accept, "!"+withdraw)
	decide("yes")
	expect("/settings/privacy", "!"+accept, withdraw)
	decide("withdraw")
	if policy != `{"accepted":false,"version":"1"}` {
		t.Errorf("withdrawing wrote %s", policy)
	}
	expect("/", "!"+notice)
	expect("/settings/privacy", accept, "!"+withdraw)
}

// TestDecliningEndsAnAcceptance: who accepts in one tab and declines in another has not accepted.
func TestDecliningEndsAnAcceptance(t *testing.T) {
	policy := ""
	s := openShop(t, api{visitor: "allow choice", policy: &policy})
	_, page := s.send(http.MethodGet, "/settings/privacy", nil)
	form := url.Values{"accept": {"yes"}, "version": {"1"}, "token": formToken.FindStringSubmatch(page)[1:2]}
	s.send(http.MethodPost, "/shop/policy", form)
	form.Set("accept", "no")
	s.send(http.MethodPost, "/shop/policy", form)
	_, page = s.send(http.MethodGet, "/settings/privacy", nil)
	if s.expect(page, "you had accepted before, and that is withdrawn", "Accept the notice"); policy != `{"accepted":false,"version":"1"}` {
		t.Errorf("declining wrote %s", policy)
	}
	policy = `"accepted":true`
	for _, answer := range []string{"", "maybe"} {
		form.Set("accept", answer)
		if status, _ := s.send(http.MethodPost, "/shop/policy", form); status != http.StatusBadRequest || policy != `"accepted":true` {
			t.Errorf("%q: %d, wrote %s", answer, status, policy)
		}
	}
}

// TestAChoiceThatIsOverriddenCanBeTakenBack: the switch shows what the person chose, and its note what holds.
func TestAChoiceThatIsOverriddenCanBeTakenBack(t *testing.T) {
	for choice, want := range map[string]string{"allow": `value="deny" role="switch" aria-checked="true"`, "deny": `value="allow" role="switch" aria-checked="false"`, "": `value="allow" role="switch" aria-checked="false"`} {
		s := openShop(t, api{visitor: "deny gpc", choice: choice})
		_, page := s.send(http.MethodGet, "/settings/privacy", nil)
		s.expect(page, `name="decision" `+want+` aria-labelledby="title-personalize"`, "Your browser sends Global Privacy Control.")
		if choice == "allow" {
			s.expect(page, "You switched it on, and it stays off for now. Your browser sends")
		}
	}
}

// TestSignOutTakesTheCart: nothing of the account stays in the browser.
func TestSignOutTakesTheCart(t *testing.T) {
	s := openShop(t, api{account: "allow choice", visitor: "allow choice", outcome: "block"})
	s.signIn()
	_, page := s.send(http.MethodGet, "/shop/items/lamp", nil)
	form := url.Values{"token": formToken.FindStringSubmatch(page)[1:2], "card": {"own"}, "billing": {"GB"}, "shipping": {"GB"}}
	s.send(http.MethodPost, "/shop/items/lamp/cart", form)
	form.Set("order", s.drawn())
	s.send(http.MethodPost, "/shop/cart/buy", form)
	if s.cookies[cookieCart] == nil || s.cookies[cookieOrder] == nil {
		t.Fatal("there is no cart and order to be taken")
	}
	s.send(http.MethodPost, "/shop/sign-out", form)
	if s.cookies[cookieCart] != nil || s.cookies[cookieOrder] != nil || s.cookies[cookieUser] != nil {
		t.Errorf("the browser keeps %v", s.cookies)
	}
}

// TestRefusalsSayWhatMustBe: what the API does not take is no fault of the shop.
func TestRefusalsSayWhatMustBe(t *testing.T) {
	for code, c := range map[string]struct{ path, says string }{
		"not_switchable":         {"POST /settings/privacy/consent/risk", "has no switch"},
		"invalid_cursor":         {"GET /settings/privacy?cursor=x", "no longer holds"},
		"invalid_id":             {"POST /settings/privacy/consent/personalize", "too long"},
		"unknown_policy_version": {"POST /shop/policy", ""},
	} {
		s := openShop(t, api{visitor: "allow choice", refuses: code})
		_, page := s.send(http.MethodGet, "/shop/items/lamp", nil)
		form := url.Values{"decision": {"deny"}, "accept": {"yes"}, "version": {"0"}, "token": formToken.FindStringSubmatch(page)[1:2]}
		method, path, _ := strings.Cut(c.path, " ")
		status, page := s.send(method, path, form)
		if c.says == "" { // the notice itself is shown again
			_, page = s.send(http.MethodGet, "/", nil)
			c.says = "nothing was accepted"
		} else if status != http.StatusBadRequest {
			t.Errorf("%s: answered %d", code, status)
		}
		s.expect(page, c.says, "!Something went wrong")
	}
}

// TestAddressesStayWhereTheyAre: an id is never another path, no write is repeated elsewhere, and a form leads back within the site.
func TestAddressesStayWhereTheyAre(t *testing.T) {
	var seen []string
	s := openShop(t, api{visitor: "allow choice", seen: &seen})
	_, page := s.send(http.MethodGet, "/settings/privacy", nil)
	token := formToken.FindStringSubmatch(page)[1:2]
	for _, id := range []string{".", ".."} {
		if status, _ := s.send(http.MethodPost, "/settings/privacy/footprints/delete", url.Values{"token": token, "event_id": {id}}); status != http.StatusNotFound {
			t.Errorf("%s: answered %d", id, status)
		}
	}
	if len(seen) != 0 {
		t.Errorf("written: %q", seen)
	}
	behind := httptest.NewServer(api{seen: &seen})
	defer behind.Close()
	if err := NewClient(behind.URL, "k", nil).do(t.Context(), person{}, http.MethodDelete, "/v1/redirected/x", nil, nil); err == nil || len(seen) != 1 {
		t.Errorf("a redirect was followed: %v, %q", err, seen)
	}
	for back, want := range map[string]string{"/shop/cart": "/shop/cart", "/\t/evil": "/", "//evil": "/", "/\\evil": "/", "https://evil": "/", "/\n/evil": "/"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/shop/sign-out", strings.NewReader(url.Values{"back": {back}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		if err := (&visit{w: w, r: r}).back("/"); err != nil || w.Header().Get("Location") != want {
			t.Errorf("%q leads to %q: %v", back, w.Header().Get("Location"), err)
		}
	}
}

// TestBusy: a shop that is refused a list says so, and not that something is broken.
func TestBusy(t *testing.T) {
	status, page := openShop(t, api{visitor: "allow choice", busy: true}).send(http.MethodGet, "/", nil)
	if status != http.StatusServiceUnavailable {
		t.Errorf("answered %d", status)
	}
	(&shop{t: t}).expect(page, "too busy right now", "!Something went wrong")
}

// TestUnreadableHistory: the page says so, instead of showing none, and people can still change their settings.
func TestUnreadableHistory(t *testing.T) {
	status, page := openShop(t, api{visitor: "allow choice", unreadable: true}).send(http.MethodGet, "/settings/privacy", nil)
	if status != http.StatusOK {
		t.Errorf("answered %d", status)
	}
	(&shop{t: t}).expect(page, "They cannot be shown right now", "Delete all footprints", "What you do not want to see", "!None.")
}

// TestOddNames: links lead to items and categories that have in their names what means something in an address.
func TestOddNames(t *testing.T) {
	s := openShop(t, api{visitor: "allow choice"})
	_, page := s.send(http.MethodGet, "/shop/search?q=o", nil)
	s.expect(page, "1 result for", "!1 results")
	links := regexp.MustCompile(`(?:href|src)="(/shop/(?:items|category|image)/[^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(links) != 3 { // image, item, category
		t.Errorf("%d links: %v", len(links), links)
	}
	for _, link := range links {
		if status, _ := s.send(http.MethodGet, link[1], nil); status != http.StatusOK {
			t.Errorf("%s: %d", link[1], status)
		}
	}
	_, page = s.send(http.MethodGet, "/shop/search?q="+strings.Repeat("中", 70), nil)
	s.expect(page, "198 results for", "1 to 60 of 198 items", `rel="next"`, "!\ufffd")
}

// TestLogsNameNobody: what fails is logged without the address of the API, which names the visitor.
func TestLogsNameNobody(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	var log bytes.Buffer
	s := openShopAt(t, gone.URL, &log)
	if status, _ := s.send(http.MethodGet, "/shop/items/lamp", nil); status != http.StatusInternalServerError {
		t.Errorf("answered %d", status)
	}
	s.send(http.MethodGet, "/settings/privacy", nil)
	visitor := s.cookies[cookieVisitor].Value
	if visitor == "" || !strings.Contains(log.String(), "a page failed") || strings.Contains(log.String(), visitor) {
		t.Errorf("the log of the visitor %s:\n%s", visitor, log.String())
	}
}

// TestEverySwitch: each purpose that a person can choose has a switch with its own words, which writes that purpose.
func TestEverySwitch(t *testing.T) {
	var seen []string
	s := openShop(t, api{visitor: "allow choice", seen: &seen})
	_, page := s.send(http.MethodGet, "/settings/privacy", nil)
	s.expect(page, `id="switch-personalize"`, `id="switch-marketing.sms"`, "Offers by text message", "!switch-risk", "Commercial text messages. This demo sends none")
	form := url.Values{"decision": {"allow"}, "token": formToken.FindStringSubmatch(page)[1:2]}
	s.send(http.MethodPost, "/settings/privacy/consent/marketing.sms", form)
	if len(seen) != 1 || !strings.HasPrefix(seen[0], "PUT /v1/visitors/") || !strings.HasSuffix(seen[0], `/consent/marketing.sms {"decision":"allow"}`) {
		t.Errorf("written: %q", seen)
	}
}

// TestCart: quantities are kept, changed and summed up, and what is bought is what was in the cart.
func TestCart(t *testing.T) {
	var seen []string
	s := openShop(t, api{visitor: "allow choice", seen: &seen})
	_, page := s.send(http.MethodGet, "/shop/items/lamp", nil)
	token := formToken.FindStringSubmatch(page)[1]
	post := func(path string, pairs ...string) {
		t.Helper()
		form := url.Values{"token": {token}}
		for i := 0; i < len(pairs); i += 2 {
			form.Set(pairs[i], pairs[i+1])
		}
		if status, page := s.send(http.MethodPost, path, form); status != http.StatusSeeOther {
			t.Fatalf("%s: %d %s", path, status, page)
		}
	}
	cart := func(texts ...string) {
		t.Helper()
		_, page := s.send(http.MethodGet, "/shop/cart", nil)
		s.expect(page, texts...)
	}
	post("/shop/items/lamp/cart", "quantity", "2")
	post("/shop/items/" + url.PathEscape(odd.ID) + "/cart")
	cart("£19.00", "£20.00", `value="2"`, "Cart (3)")
	post("/shop/cart", "id", "lamp", "quantity", "120")
	cart("£940.50", `value="99"`)
	post("/shop/cart", "id", odd.ID, "quantity", "0")
	cart("!In/Out", "Cart (99)", "is no longer in your cart")
	post("/shop/cart", "id", "lamp", "quantity", "3")
	seen = nil
	post("/shop/cart", "id", "lamp", "quantity", "2.5")
	cart("must be a number from 0 to 99", `value="3"`)
	for _, quantity := range []string{"0", "-1", "two"} {
		post("/shop/items/lamp/cart", "quantity", quantity)
		cart("must be a number from 1 to 99", `value="3"`)
	}
	if len(seen) != 0 {
		t.Errorf("what changes nothing was written: %q", seen)
	}
	post("/shop/cart", "id", "lamp", "quantity", "99")
	post("/shop/items/lamp/cart")
	cart("Your cart has 99 × Brass &amp; Glass Lamp: it takes no more of one item.")
	post("/shop/cart", "id", "lamp", "quantity", "3")
	seen = nil
	post("/shop/cart/buy", "card", "own", "billing", "GB", "shipping", "FR", "order", s.drawn())
	cart("It is empty")
	_, page = s.send(http.MethodGet, "/shop/order", nil)
	s.expect(page, "Your order is placed", "d1", "!object-1")
	if len(seen) != 2 || !strings.Contains(seen[0], `"value":"28.50"`) || !strings.Contains(seen[0], `"shipping_country":"FR"`) || !strings.Contains(seen[1], `"quantity":3`) || !strings.Contains(seen[1], `"type":"purchase"`) {
		t.Errorf("written: %q", seen)
	}
}

// TestCartIsReadAsItWasWritten: whatever stands in the cookie is a cart within its bounds, and is written as it was read.
func TestCartIsReadAsItWasWritten(t *testing.T) {
	var full []string
	for i := range 2 * maxCart {
		full = append(full, fmt.Sprintf("%d*1", i))
	}
	for cookie, want := range map[string]int{"": 0, "a*1,b*2": 2, "a*0": 0, "a*-1": 0, "a": 0, "*3": 0, "%zz*1": 0, "a%2Fb%2Cc%2A*7": 1, strings.Repeat("a*1,", 50): 1, "a*1000000": 1, strings.Join(full, ","): maxCart} {
		cart := parseCart(cookie)
		if len(cart) != want || !slices.Equal(parseCart(cartText(cart)), cart) {
			t.Errorf("%q: %v", cookie, cart)
		}
	}
}

// TestPressedTwice: the second press of the button is no second payment.
func TestPressedTwice(t *testing.T) {
	var seen []string
	s := openShop(t, api{visitor: "allow choice", seen: &seen, outcome: "twice"})
	_, page := s.send(http.MethodGet, "/shop/items/lamp", nil)
	form := url.Values{"token": formToken.FindStringSubmatch(page)[1:2], "card": {"own"}, "billing": {"GB"}, "shipping": {"GB"}}
	s.send(http.MethodPost, "/shop/items/lamp/cart", form)
	form.Set("order", s.drawn())
	if status, _ := s.send(http.MethodPost, "/shop/cart/buy", form); status != http.StatusSeeOther || len(seen) != 3 { // a view, the cart, one try
		t.Errorf("answered %d; written: %q", status, seen)
	}
	_, page = s.send(http.MethodGet, "/shop/cart", nil)
	s.expect(page, "This order has been sent already", "Glass Lamp")
}

// TestOnePageIsOnePayment: a page of the cart gives the same payment however often its button is pressed, and none that it did not make.
func TestOnePageIsOnePayment(t *testing.T) {
	var seen []string
	s := openShop(t, api{visitor: "allow choice", seen: &seen, outcome: "block"})
	_, page := s.send(http.MethodGet, "/shop/items/lamp", nil)
	form := url.Values{"token": formToken.FindStringSubmatch(page)[1:2], "card": {"own"}, "billing": {"GB"}, "shipping": {"GB"}}
	s.send(http.MethodPost, "/shop/items/lamp/cart", form)
	form.Set("order", s.drawn())
	seen = nil
	s.send(http.MethodPost, "/shop/cart/buy", form)
	s.send(http.MethodPost, "/shop/cart/buy", form)
	sentAt := regexp.MustCompile(`"sent_at":"[^"]*"`)
	if len(seen) != 2 || sentAt.ReplaceAllString(seen[0], "") != sentAt.ReplaceAllString(seen[1], "") || !strings.Contains(seen[0], `"id":"pay-`) {
		t.Errorf("written: %q", seen)
	}
	v := &visit{person: person{Anonymous: "v"}, site: new(site)}
	now := time.Now()
	made := v.draw(now)
	if _, at, ok := v.drawn(made, now.Add(drawnFor-time.Second)); !ok || at.UnixMilli() != now.UnixMilli() {
		t.Errorf("a page of 15 minutes: %t, %v", ok, at)
	}
	other := &visit{person: person{Anonymous: "w"}, site: v.site}
	_, _, old := v.drawn(made, now.Add(drawnFor+time.Second))
	_, _, others := other.drawn(made, now)
	_, _, altered := v.drawn("x"+made, now)
	_, _, none := v.drawn("", now)
	if old || others || altered || none {
		t.Errorf("old %t, another visitor's %t, altered %t, none %t", old, others, altered, none)
	}
}

// TestAChallengeIsForOneCart: confirming places what was decided about, once, and while the decision holds.
func TestAChallengeIsForOneCart(t *testing.T) {
	for name, c := range map[string]struct {
		expired bool
		before  func(s *shop, post func(path string, pairs ...string)) // confirming
		says    string
		placed  int
	}{
		"as it was":       {says: "Your order is placed", placed: 1},
		"another cart":    {says: "no longer the one", before: func(_ *shop, post func(string, ...string)) { post("/shop/cart", "id", "lamp", "quantity", "99") }},
		"an empty cart":   {says: "no longer the one", before: func(_ *shop, post func(string, ...string)) { post("/shop/cart", "id", "lamp", "quantity", "0") }},
		"too late":        {says: "has passed", expired: true},
		"twice":           {says: "Your order is placed", placed: 1, before: func(_ *shop, post func(string, ...string)) { post("/shop/order/confirm") }},
		"with old cookie": {says: "Your order is placed", placed: 1, before: replayed},
	} {
		var seen []string
		s := openShop(t, api{visitor: "allow choice", seen: &seen, outcome: "challenge", expired: c.expired})
		_, page := s.send(http.MethodGet, "/shop/items/lamp", nil)
		token := formToken.FindStringSubmatch(page)[1]
		post := func(path string, pairs ...string) {
			form := url.Values{"token": {token}}
			for i := 0; i < len(pairs); i += 2 {
				form.Set(pairs[i], pairs[i+1])
			}
			s.send(http.MethodPost, path, form)
		}
		post("/shop/items/lamp/cart")
		post("/shop/cart/buy", "card", "own", "billing", "GB", "shipping", "GB", "order", s.drawn())
		if c.before != nil {
			c.before(s, post)
		}
		post("/shop/order/confirm")
		_, page = s.send(http.MethodGet, "/shop/order", nil)
		_, cart := s.send(http.MethodGet, "/shop/cart", nil)
		if !strings.Contains(page+cart, c.says) {
			t.Errorf("%s: neither the order nor the cart says %q:\n%s", name, c.says, page)
		}
		ids := make(map[string]bool)
		for _, line := range seen {
			if strings.Contains(line, `"purchase"`) {
				ids[regexp.MustCompile(`"id":"buy-[^"]*"`).FindString(line)] = true
			}
		}
		if len(ids) != c.placed || ids[""] {
			t.Errorf("%s: %d purchases, want %d: %q", name, len(ids), c.placed, seen)
		}
	}
}

// replayed confirms, and goes back to the cookies of before.
func replayed(s *shop, post func(path string, pairs ...string)) {
	before := maps.Clone(s.cookies)
	post("/shop/order/confirm")
	s.cookies = before
}

// TestCheckoutObeysTheDecision: a payment that is not allowed is no purchase; the person learns what they may, and nobody else learns anything.
func TestCheckoutObeysTheDecision(t *testing.T) {
	for _, c := range []struct {
		outcome string
		says    []string
		cart    bool // kept
	}{
		{"challenge", []string{"One more step", "Yes, this is my payment", "Many payments with this card.", "!Between us.", "object-1"}, true},
		{"review", []string{"on hold", "!Yes, this is my payment", "object-1"}, false},
		{"block", []string{"The payment was refused", "object-1"}, true},
	} {
		var seen []string
		s := openShop(t, api{visitor: "allow choice", outcome: c.outcome, seen: &seen})
		_, page := s.send(http.MethodGet, "/shop/items/lamp", nil)
		form := url.Values{"token": formToken.FindStringSubmatch(page)[1:2], "card": {"own"}, "billing": {"GB"}, "shipping": {"GB"}}
		s.send(http.MethodPost, "/shop/items/lamp/cart", form)
		form.Set("order", s.drawn())
		seen = nil
		s.send(http.MethodPost, "/shop/cart/buy", form)
		_, page = s.send(http.MethodGet, "/shop/order", nil)
		s.expect(page, c.says...)
		_, page = s.send(http.MethodGet, "/shop/cart", nil)
		if kept := strings.Contains(page, lamp.Title) || strings.Contains(page, "Brass &amp; Glass Lamp"); kept != c.cart || len(seen) != 1 {
			t.Errorf("%s: the cart is kept: %t; written: %q", c.outcome, kept, seen)
		}
		status, _ := s.send(http.MethodPost, "/shop/order/confirm", form)
		if confirmed := len(seen) == 3 && strings.Contains(seen[2], `"purchase"`); confirmed != (c.outcome == "challenge") {
			t.Errorf("%s: confirming answers %d, written: %q", c.outcome, status, seen)
		}
		s.cookies[cookieVisitor].Value = "somebody-else-00"
		if status, _ := s.send(http.MethodGet, "/shop/order", nil); status != http.StatusNotFound {
			t.Errorf("%s: another visitor sees the order: %d", c.outcome, status)
		}
	}
}

// TestListsSayWhatTheyAre: what nobody chose is not called popular or trending.
func TestListsSayWhatTheyAre(t *testing.T) {
	chosen, filled := card{Reasons: []cause{{Code: "trending"}}}, card{Reasons: []cause{{Code: "catalogue"}}}
	for _, c := range []struct {
		cards       []card
		title, note string
	}{
		{[]card{chosen, chosen}, "Trending", "Counted in people."},
		{[]card{chosen, filled}, "Trending", "so 1 of these come from the catalogue"},
		{[]card{filled, filled}, "New in the shop", "to say what is trending"},
	} {
		r := row{Cards: c.cards}
		if r.name("Trending", "Counted in people."); r.Title != c.title || !strings.Contains(r.Note, c.note) {
			t.Errorf("%q: %q", r.Title, r.Note)
		}
	}
	s := openShop(t, api{visitor: "allow choice"})
	_, page := s.send(http.MethodGet, "/", nil)
	s.expect(page, "reading in its past: 25 % of 200 orders", "60 shoppers, 7 of them", "Shelves, search and the cart are the shop’s own", "!every list on this page")
}
