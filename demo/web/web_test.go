package web

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/internal/httpx"
)

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
	unreadable       bool // the history
}

func (a api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	because := a.visitor
	if strings.HasPrefix(r.URL.Path, "/v1/users/") {
		because = a.account
	}
	effective, code, _ := strings.Cut(because, " ")
	accepted := a.policy == nil || strings.Contains(*a.policy, `"accepted":true`)
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
	answers := map[string]string{
		"consent": fmt.Sprintf(`{"policy":{"version":"1","accepted":%t},"purposes":{"personalize":{"effective":%q,"because":%q},"risk":{"effective":"allow","because":""}}}`, accepted, effective, code),
		"policy":  `{"version":"1","purposes":[{"name":"personalize","doc":"Lists.","tier":"switchable","clause":"2(2)"},{"name":"risk","doc":"Safety.","tier":"legal","clause":"2(9)"}]}`,
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
	err := Register(front, Options{API: NewClient(url, "k", nil), Catalogue: shelf{}, Logger: slog.New(slog.NewTextHandler(log, nil))})
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
	s.expect(page, `id="personal-because">You switched it on.</p>`, "<strong>On.</strong> The law asks for it.", "!>choice<")
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
	status, page := s.send(http.MethodPost, "/settings/privacy/personalize", form)
	if status != http.StatusConflict {
		t.Errorf("answered %d", status)
	}
	s.expect(page, "You chose otherwise in another place", "!Recommendations are on")
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
	const notice, withdraw = "Before you look around", `value="withdraw"`
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
	expect("/settings/privacy", notice, "!"+withdraw)
	decide("yes")
	expect("/settings/privacy", "!"+notice, withdraw)
	decide("withdraw")
	if policy != `{"accepted":false,"version":"1"}` {
		t.Errorf("withdrawing wrote %s", policy)
	}
	expect("/", "!"+notice)
	expect("/settings/privacy", notice, "!"+withdraw)
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
	if len(links) != 3 {
		t.Errorf("%d links: %v", len(links), links)
	}
	for _, link := range links {
		if status, _ := s.send(http.MethodGet, link[1], nil); status != http.StatusOK {
			t.Errorf("%s: %d", link[1], status)
		}
	}
	_, page = s.send(http.MethodGet, "/shop/search?q="+strings.Repeat("中", 70), nil)
	s.expect(page, "The first 60 results for", "!\ufffd")
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
