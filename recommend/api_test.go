package recommend

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/features/record"
	"sluice/features/scored"
	"sluice/internal/catalog"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
)

// testSurfaces has one retriever a surface where a test wants to see what it does alone.
const testSurfaces = `
surfaces:
  home:
    page_size: 5
    personal:
      - {retriever: session_knn, candidates: 50, weight: 1.0, neighbours: 100}
      - {retriever: co_visitation, candidates: 50, weight: 0.6}
      - {retriever: affinity, candidates: 50, weight: 0.2}
      - {retriever: popular, candidates: 50, weight: 0.1}
    non_personal:
      - {retriever: trending, candidates: 50}
      - {retriever: popular, candidates: 50, weight: 0.5}
      - {retriever: similar, candidates: 50, weight: 0.5}
    seen: {viewed: demote, purchased: exclude}
    require:
      - {at_most: 2, same: category, within: 6}
    diversify: {method: mmr, lambda: 0.7, similarity: category}
  plain:
    page_size: 5
    personal:
      - {retriever: session_knn, candidates: 50}
    non_personal:
      - {retriever: popular, candidates: 50}
  affine:
    page_size: 5
    personal:
      - {retriever: affinity, candidates: 50}
    non_personal:
      - {retriever: latest, candidates: 50}
  found:
    page_size: 5
    non_personal:
      - {retriever: search, candidates: 50}
      - {retriever: same_category, candidates: 50, weight: 0.1}
  together:
    page_size: 5
    personal:
      - {retriever: co_visitation, candidates: 50}
    non_personal:
      - {retriever: similar, candidates: 50}
    diversify: {method: mmr, lambda: 0.5, similarity: co_visitation}
`

func TestPersonalAnswerHasTheContractsShape(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.allow("u1", interaction(1, vocab.Type_VIEW_ITEM, "i30"))
	w.personal.neighbours = causedBy("i30", listed("i10", "i11", "i12"))
	r := w.recommend(`{"surface":"plain","user_id":"u1","anonymous_id":"a1","session_id":"s1",
 "context":{"item_ids":["i1"],"category":"","search_term":"","locale":"en","region":"","bucket":7},
 "exclude_item_ids":[],"limit":4,"cursor":null,"timeout_ms":80}`)
	if r.status != http.StatusOK || r.header.Get("Content-Type") != "application/json" || r.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %s", r.status, r.header, r.raw)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(r.raw, &members); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for name, value := range members {
		got[name] = string(value)
	}
	for _, varying := range []string{"recommendation_id", "next_cursor", "config_version"} {
		if !strings.HasPrefix(got[varying], `"`) || len(got[varying]) < 20 {
			t.Errorf("%s is %s", varying, got[varying])
		}
		delete(got, varying)
	}
	session := `,"reasons":[{"code":"session","item_id":"i30","text":"People whose visits resemble this one went on to it."}]}`
	want := map[string]string{
		"personalized": "true", "not_personalized_because": "null", "relaxed": "[]",
		"items": `[{"item_id":"i10","score":1` + session + `,{"item_id":"i11","score":0.666667` + session + `,{"item_id":"i12","score":0.333333` + session +
			`,{"item_id":"i00","score":0,"reasons":[{"code":"catalogue","text":"From the catalogue: there is nothing else to go by."}]}]`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if again := w.recommend(`{"surface":"plain","user_id":"u1"}`); again.RecommendationID == r.RecommendationID {
		t.Error("two personal lists have one id")
	}
}

func TestWhyAListIsNotPersonal(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.allow("on", interaction(1, vocab.Type_VIEW_ITEM, "i30"))
	w.allow("new")
	w.allow("impressions", interaction(1, vocab.Type_VIEW_ITEM_LIST, "i30"))
	hidden := w.allow("hidden", interaction(5, vocab.Type_VIEW_ITEM, "i30"))
	hidden.hidden = map[uint64]struct{}{5: {}}
	for _, because := range []string{
		privacyfilter.BecauseChoice, privacyfilter.BecauseDevice, privacyfilter.BecauseAccount, privacyfilter.BecauseDefault,
		privacyfilter.BecausePolicyNotAccepted, privacyfilter.BecausePolicySuperseded, privacyfilter.BecauseUnregistered,
	} {
		w.allow(because, interaction(1, vocab.Type_VIEW_ITEM, "i30")).decision = privacyfilter.Decision{Because: because}
	}
	cases := []struct{ body, gpc, want string }{
		{`{"surface":"plain","user_id":"on"}`, "", ""},
		{`{"surface":"plain","anonymous_id":"on"}`, "0", ""},
		{`{"surface":"plain","user_id":"on"}`, "1", "opted_out"},
		{`{"surface":"plain"}`, "1", "no_subject"},
		{`{"surface":"plain","user_id":"new"}`, "", "no_history"},
		{`{"surface":"plain","user_id":"impressions"}`, "", "no_history"},
		{`{"surface":"plain","user_id":"hidden"}`, "", "no_history"},
		{`{"surface":"plain","user_id":"nobody"}`, "", "no_consent"},
		{`{"surface":"found","user_id":"on"}`, "", "surface"},
		{`{"surface":"plain","user_id":"choice"}`, "", "opted_out"},
		{`{"surface":"plain","user_id":"device"}`, "", "opted_out"},
		{`{"surface":"plain","user_id":"account"}`, "", "opted_out"},
		{`{"surface":"plain","user_id":"default"}`, "", "no_consent"},
		{`{"surface":"plain","user_id":"policy_not_accepted"}`, "", "no_consent"},
		{`{"surface":"plain","user_id":"policy_superseded"}`, "", "no_consent"},
		{`{"surface":"plain","user_id":"unregistered"}`, "", "no_consent"},
	}
	for _, c := range cases {
		if r := w.recommend(c.body, "Sec-GPC", c.gpc); r.because() != c.want || r.Personalized != (c.want == "") {
			t.Errorf("%s: %q, personalized %t; want %q", c.body, r.because(), r.Personalized, c.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, testSurfaces)
	long := strings.Repeat("x", 257)
	many := func(n int) string { return `["a"` + strings.Repeat(`,"a"`, n-1) + `]` }
	cases := []struct {
		name, body string
		status     int
		want       string // pointer and code of the first error, or the problem's code
	}{
		{"unknown surface", `{"surface":"nowhere"}`, 422, "/surface unknown_surface"},
		{"no surface", `{}`, 422, "/surface unknown_surface"},
		{"limit 0", `{"surface":"home","limit":0}`, 422, "/limit out_of_range"},
		{"limit 101", `{"surface":"home","limit":101}`, 422, "/limit out_of_range"},
		{"limit no integer", `{"surface":"home","limit":"9"}`, 422, "/limit wrong_type"},
		{"bucket 16", `{"surface":"home","context":{"bucket":16}}`, 422, "/context/bucket out_of_range"},
		{"bucket -1", `{"surface":"home","context":{"bucket":-1}}`, 422, "/context/bucket out_of_range"},
		{"timeout 0", `{"surface":"home","timeout_ms":0}`, 422, "/timeout_ms out_of_range"},
		{"too many excluded", `{"surface":"home","exclude_item_ids":` + many(501) + `}`, 422, "/exclude_item_ids too_many"},
		{"too many of the page", `{"surface":"home","context":{"item_ids":` + many(51) + `}}`, 422, "/context/item_ids too_many"},
		{"an empty item id", `{"surface":"home","context":{"item_ids":["a",""]}}`, 422, "/context/item_ids/1 invalid"},
		{"a long item id", `{"surface":"home","exclude_item_ids":["` + long + `"]}`, 422, "/exclude_item_ids/0 invalid"},
		{"a long user id", `{"surface":"home","user_id":"` + long + `"}`, 422, "/user_id too_long"},
		{"a long category", `{"surface":"home","context":{"category":"` + long + `"}}`, 422, "/context/category too_long"},
		{"a long search term", `{"surface":"home","context":{"search_term":"` + long + `"}}`, 422, "/context/search_term too_long"},
		{"a long region", `{"surface":"home","context":{"region":"` + long + `"}}`, 422, "/context/region too_long"},
		{"a long locale", `{"surface":"home","context":{"locale":"` + long + `"}}`, 422, "/context/locale too_long"},
		{"a misspelt field", `{"surface":"home","context":{"items":[]}}`, 422, "/context/items unknown_field"},
		{"a broken cursor", `{"surface":"home","cursor":"nonsense"}`, 422, "/cursor broken_cursor"},
		{"no JSON", `surface=home`, 400, "broken_json"},
		{"nothing", ``, 400, "broken_json"},
		{"an array", `[]`, 422, " wrong_type"},
		{"too large", `{"surface":"` + strings.Repeat("x", 300<<10) + `"}`, 413, "too_large"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := w.recommend(c.body)
			got := r.Problem.Code
			if len(r.Problem.Errors) > 0 {
				got = r.Problem.Errors[0].Pointer + " " + r.Problem.Errors[0].Code
			}
			if r.status != c.status || got != c.want {
				t.Errorf("%d %s, want %d %s", r.status, got, c.status, c.want)
			}
			if bytes.Contains(r.raw, []byte("xxx")) {
				t.Error("the problem repeats a value")
			}
		})
	}
	for _, c := range []struct {
		method, path, key string
		status            int
	}{
		{"POST", "/v1/recommendations", "", 401},
		{"POST", "/v1/recommendations", "o", 403},
		{"GET", "/v1/lists/none", serverKey, 404},
		{"GET", "/v1/items/none/similar", serverKey, 404},
		{"GET", "/v1/lists/popular?limit=0", serverKey, 422},
		{"GET", "/v1/lists/popular?limit=ten", serverKey, 422},
		{"GET", "/v1/lists/popular?cursor=nonsense", serverKey, 422},
		{"GET", "/v1/items/i00/similar?category=" + long, serverKey, 422},
	} {
		if r := w.request(c.method, c.path, c.key, `{"surface":"home"}`); r.status != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, r.status, c.status)
		}
	}
}

func TestNullsAreAbsent(t *testing.T) {
	w := newWorld(t, testSurfaces)
	r := w.recommend(`{"surface":"home","user_id":null,"context":null,"exclude_item_ids":null,"limit":null,"timeout_ms":null,"cursor":""}`)
	if r.status != http.StatusOK || len(r.Items) != 5 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	if r := w.recommend(`{"surface":"home","context":{"item_ids":null}}`); r.status != http.StatusOK {
		t.Errorf("%d %s", r.status, r.raw)
	}
}

func TestAWriteKeySpeaksForAnAccountOnlyBesideItsToken(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.userToken = func(r *http.Request) (string, error) {
		user := r.Header.Get("X-User")
		if user == "" {
			return "", errors.New("there must be one")
		}
		return user, nil
	}
	w.allow("u1", interaction(1, vocab.Type_VIEW_ITEM, "i30"))
	w.allow("a1", interaction(1, vocab.Type_VIEW_ITEM, "i30"))
	for _, c := range []struct{ body, token, want string }{
		{`{"surface":"plain","user_id":"u1"}`, "", "no_subject"},
		{`{"surface":"plain","user_id":"u1"}`, "u2", "no_subject"},
		{`{"surface":"plain","user_id":"u1"}`, "u1", ""},
		{`{"surface":"plain","user_id":"u1","anonymous_id":"a1"}`, "", ""},
		{`{"surface":"plain","anonymous_id":"a1"}`, "", ""},
	} {
		if r := w.request(http.MethodPost, "/v1/recommendations", writeKey, c.body, "X-User", c.token); r.because() != c.want {
			t.Errorf("%s with %q: %q, want %q", c.body, c.token, r.because(), c.want)
		}
	}
	w.consents.people["u1"].blocks = &consent.Blocks{Items: set("i00")}
	for key, first := range map[string]string{writeKey: "i00", serverKey: "i01"} {
		if r := w.request(http.MethodGet, "/v1/lists/latest?user_id=u1", key, ""); r.ids()[0] != first {
			t.Errorf("the list of key %s begins with %s", key, r.ids()[0])
		}
	}
}

func TestWhereConsentCannotBeKnown(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.consents.lapsed = true
	r := w.recommend(`{"surface":"home","user_id":"u1"}`)
	if r.status != http.StatusServiceUnavailable || r.Problem.Code != "consent_unknown" || r.header.Get("Retry-After") != "1" {
		t.Errorf("%d %s", r.status, r.raw)
	}
	if r := w.recommend(`{"surface":"home"}`); r.status != http.StatusOK {
		t.Errorf("a stranger gets %d", r.status)
	}
}

func TestConsentIsAskedAgainBeforeTheAnswer(t *testing.T) {
	for _, c := range []struct {
		name    string
		holds   []bool
		asked   int32
		because string
	}{
		{"it holds", []bool{true}, 1, ""},
		{"it changed once", []bool{false, true}, 2, ""},
		{"it changed twice", []bool{false, false, true}, 3, ""},
		{"it keeps changing", []bool{false, false, false, false}, 4, "degraded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, testSurfaces)
			w.allow("u1", interaction(1, vocab.Type_VIEW_ITEM, "i30"))
			w.consents.holds = c.holds
			r := w.recommend(`{"surface":"plain","user_id":"u1"}`)
			if r.status != http.StatusOK || r.because() != c.because || w.consents.asked.Load() != c.asked {
				t.Errorf("%d, %q, asked %d times", r.status, r.because(), w.consents.asked.Load())
			}
		})
	}
	t.Run("the lease lapses meanwhile", func(t *testing.T) {
		w := newWorld(t, testSurfaces)
		w.allow("u1", interaction(1, vocab.Type_VIEW_ITEM, "i30"))
		w.consents.holds = []bool{false}
		w.personal.pause = func() { w.consents.lapsed = true }
		if r := w.recommend(`{"surface":"plain","user_id":"u1"}`); r.status != http.StatusServiceUnavailable {
			t.Errorf("%d %s", r.status, r.raw)
		}
	})
}

func TestALateListIsEverybodys(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.lists.Popular = listed("i20", "i21")
	w.allow("u1", interaction(1, vocab.Type_VIEW_ITEM, "i30"))
	w.personal.neighbours = listed("i10")
	w.personal.pause = func() { w.now = w.now.Add(50 * time.Millisecond) }
	stranger := w.recommend(`{"surface":"plain"}`)
	if r := w.recommend(`{"surface":"plain","user_id":"u1","timeout_ms":51}`); !r.Personalized {
		t.Error("it was in time")
	}
	late := w.recommend(`{"surface":"plain","user_id":"u1","timeout_ms":50}`)
	if late.because() != "degraded" || !bytes.Equal(late.items, stranger.items) || late.RecommendationID != stranger.RecommendationID {
		t.Errorf("late: %s\nstranger: %s", late.raw, stranger.raw)
	}
}

func TestSeenPolicies(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.allow("u1", interaction(1, vocab.Type_VIEW_ITEM, "i10"), interaction(2, vocab.Type_PURCHASE, "i11"), interaction(3, vocab.Type_ADD_TO_CART, "i11"))
	w.personal.neighbours = []scored.Item{{ItemID: "i10", Score: 10}, {ItemID: "i11", Score: 9.5}, {ItemID: "i12", Score: 9}}
	home := w.recommend(`{"surface":"home","user_id":"u1","limit":60}`)
	if slices.Contains(home.ids(), "i11") {
		t.Error("a purchased item is shown, though it is excluded")
	}
	if ids := home.ids(); slices.Index(ids, "i10") < slices.Index(ids, "i12") {
		t.Error("a viewed item was not demoted")
	}
	if ids := w.recommend(`{"surface":"plain","user_id":"u1"}`).ids(); !slices.Equal(ids[:2], []string{"i10", "i11"}) {
		t.Errorf("seen items are allowed here, the list is %v", ids)
	}
}

func TestTheSessionIsTheNamedOneElseTheNewestInteractions(t *testing.T) {
	w := newWorld(t, testSurfaces)
	var interactions []record.Interaction
	for i := range 30 {
		kind := vocab.Type_VIEW_ITEM
		if i%3 == 0 {
			kind = vocab.Type_VIEW_ITEM_LIST
		}
		tt := interaction(uint64(i+1), kind, fmt.Sprintf("i%02d", i))
		if i < 4 {
			tt.Session = 3 // what the id "abc" is in these tests
		}
		interactions = append(interactions, tt)
	}
	w.allow("u1", interactions...)
	for body, want := range map[string][]string{
		`{"surface":"plain","user_id":"u1","session_id":"abc"}`:                                      {"i01", "i02"},
		`{"surface":"plain","user_id":"u1","session_id":"abc","context":{"item_ids":["i02","i50"]}}`: {"i01", "i02", "i50"},
		`{"surface":"plain","user_id":"u1","session_id":"not seen yet"}`:                             {"i16", "i17", "i19", "i20", "i22", "i23", "i25", "i26", "i28", "i29"},
	} {
		w.recommend(body)
		if diff := cmp.Diff(want, w.personal.session); diff != "" {
			t.Errorf("%s: %s", body, diff)
		}
	}
}

func TestReasonsNameTheCause(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.lists.Trending, w.lists.Popular = listed("i20", "i21"), listed("i20", "i22")
	w.allow("u1", interaction(1, vocab.Type_VIEW_ITEM, "i30"))
	w.personal.neighbours = causedBy("i30", listed("i10"))
	w.personal.together = map[string][]scored.Item{"i30": listed("i10", "i40"), "i01": listed("i41")}
	personal := w.recommend(`{"surface":"home","user_id":"u1","limit":60}`).reasons()
	for id, want := range map[string]string{
		"i10": "session(i30) viewed_together(i30)", "i40": "viewed_together(i30)", "i20": "popular()", "i36": "category()", "i01": "catalogue()",
	} {
		if got := personal[id]; got != want {
			t.Errorf("personal: %s is there because %q, want %q", id, got, want)
		}
	}
	others := w.recommend(`{"surface":"home","limit":60,"context":{"item_ids":["i01"]}}`).reasons()
	for id, want := range map[string]string{"i20": "trending() popular()", "i21": "trending()", "i22": "popular()", "i41": "viewed_together(i01)", "i00": "catalogue()"} {
		if got := others[id]; got != want {
			t.Errorf("everybody's: %s is there because %q, want %q", id, got, want)
		}
	}
	found := w.recommend(`{"surface":"found","limit":60,"context":{"search_term":"thing 7","item_ids":["i00"]}}`).reasons()
	for id, want := range map[string]string{"i07": "search()", "i01": "search()", "i18": "search() same_category()"} {
		if got := found[id]; got != want {
			t.Errorf("search: %s is there because %q, want %q", id, got, want)
		}
	}
	if latest := w.recommend(`{"surface":"affine"}`).reasons(); latest["i00"] != "new()" {
		t.Errorf("latest: %v", latest)
	}
}

func TestCatalogueGates(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.stock(
		&catalog.Item{ItemId: "in"}, &catalog.Item{ItemId: "pre", Availability: catalog.Preorder}, &catalog.Item{ItemId: "out", Availability: catalog.OutOfStock},
		&catalog.Item{ItemId: "never", Availability: catalog.Discontinued}, &catalog.Item{ItemId: "soon", AvailableFrom: start.Add(time.Hour).UnixMicro()},
		&catalog.Item{ItemId: "page"}, &catalog.Item{ItemId: "excluded"},
	)
	w.lists.Popular = listed("never", "soon", "out", "in", "pre", "unknown", "page", "excluded")
	body := `{"surface":"plain","context":{"item_ids":["page"]},"exclude_item_ids":["excluded"]}`
	first := w.recommend(body)
	if diff := cmp.Diff([]string{"in", "pre"}, first.ids()); diff != "" {
		t.Error(diff)
	}
	w.now = w.now.Add(time.Hour)
	later := w.recommend(body)
	if diff := cmp.Diff([]string{"soon", "in", "pre"}, later.ids()); diff != "" {
		t.Error(diff)
	}
	if first.RecommendationID == later.RecommendationID {
		t.Error("another list has the same id")
	}
}

func TestCategoryLimitsTheList(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.lists.Popular = listed("i20", "unknown", "i03", "i09")
	r := w.recommend(`{"surface":"plain","context":{"category":"C3"},"limit":60}`)
	if ids := r.ids(); !slices.Equal(ids[:2], []string{"i03", "i09"}) || len(ids) != 10 || len(r.Relaxed) > 0 || r.NextCursor != nil {
		t.Errorf("%v, relaxed %v, next %v", ids, r.Relaxed, r.NextCursor)
	}
	// Every item of C3 has C3 and C3/0, so the promise of two a category says nothing here.
	if r := w.recommend(`{"surface":"home","context":{"category":"C3"},"limit":10}`); len(r.Items) != 10 || len(r.Relaxed) > 0 {
		t.Errorf("%v, relaxed %v", r.ids(), r.Relaxed)
	}
	r = w.recommend(`{"surface":"plain","context":{"category":"No such"}}`)
	if len(r.Items) != 5 || len(r.Relaxed) != 1 || r.Relaxed[0].Code != "category" {
		t.Errorf("%v, relaxed %v", r.ids(), r.Relaxed)
	}
}

func TestRelaxedNamesThePromiseAndTheSlots(t *testing.T) {
	w := newWorld(t, testSurfaces)
	var items []*catalog.Item
	for _, id := range []string{"a", "b", "c", "d"} {
		items = append(items, &catalog.Item{ItemId: id, Categories: []*catalog.CategoryPath{{Names: []string{"One"}}}})
	}
	w.stock(append(items, &catalog.Item{ItemId: "e", Categories: []*catalog.CategoryPath{{Names: []string{"Two"}}}})...)
	w.lists.Trending = listed("a", "b", "c", "d")
	r := w.recommend(`{"surface":"home"}`)
	want := []RelaxedConstraint{{Code: "at_most", AtMost: 2, Same: "category", Within: 6, Slots: []int{3, 4}, Text: "At most 2 of the same category in any 6 could not be kept with what the catalogue has."}}
	if diff := cmp.Diff(want, r.Relaxed); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "e", "c", "d"}, r.ids()); diff != "" {
		t.Error(diff)
	}
}

func TestVarietyByCoVisitation(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.personal.together = map[string][]scored.Item{
		"i00": {{ItemID: "i10", Score: 10}, {ItemID: "i11", Score: 9}, {ItemID: "i12", Score: 8}},
		"i10": {{ItemID: "i11", Score: 5}},
	}
	r := w.recommend(`{"surface":"together","context":{"item_ids":["i00"]},"limit":3}`)
	if diff := cmp.Diff([]string{"i10", "i12", "i11"}, r.ids()); diff != "" {
		t.Error(diff)
	}
}

func TestSimilarListsAreEqualWithinATick(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.personal.together["i00"] = listed("i10", "i11")
	first := w.request(http.MethodGet, "/v1/items/i00/similar?limit=2", serverKey, "")
	w.personal.together["i00"] = listed("i11", "i10")
	second := w.request(http.MethodGet, "/v1/items/i00/similar?limit=2", serverKey, "")
	if !bytes.Equal(first.items, second.items) || first.RecommendationID != second.RecommendationID {
		t.Error("lists of one tick differ")
	}
	w.lists.Tick++
	third := w.request(http.MethodGet, "/v1/items/i00/similar?limit=2", serverKey, "")
	if diff := cmp.Diff([]string{"i11", "i10"}, third.ids()); diff != "" || third.RecommendationID == first.RecommendationID {
		t.Error("the next tick's list is not a new one", diff)
	}
	if third.because() != "surface" {
		t.Errorf("because %q", third.because())
	}
}

// TestEverybodysListOfATick: who asks for the same within a tick gets the same bytes, with a cursor of their own that leads on.
func TestEverybodysListOfATick(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.lists.Popular = listed("i20", "i21", "i22", "i23")
	ask := func(cursor string) *reply {
		return w.recommend(`{"surface":"plain","limit":2,"cursor":"` + cursor + `"}`)
	}
	plain := func(r *reply) string { return strings.ReplaceAll(string(r.raw), *r.NextCursor, "") }
	first := ask("")
	w.now = w.now.Add(20 * time.Minute)
	second := ask("")
	if plain(first) != plain(second) || *first.NextCursor == *second.NextCursor {
		t.Errorf("%s and %s", first.raw, second.raw)
	}
	w.now = w.now.Add(20 * time.Minute)
	if r := ask(*first.NextCursor); r.status != http.StatusGone {
		t.Errorf("the first cursor is answered %d after 40 minutes", r.status)
	}
	if diff := cmp.Diff([]string{"i22", "i23"}, ask(*second.NextCursor).ids()); diff != "" {
		t.Error(diff)
	}
	w.lists.Tick++
	if r := ask(""); r.RecommendationID == first.RecommendationID || string(r.items) != string(first.items) {
		t.Errorf("the next tick's list is not one of its own: %s", r.raw)
	}
}

func TestLists(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.lists.Trending, w.lists.Popular = listed("i20", "i21"), listed("i30", "i31", "i32")
	for path, want := range map[string][]string{
		"/v1/lists/trending?limit=3":             {"i20", "i21", "i00"},
		"/v1/lists/popular?limit=4":              {"i30", "i31", "i32", "i00"},
		"/v1/lists/latest?limit=3":               {"i00", "i01", "i02"},
		"/v1/lists/popular?limit=3&category=C1":  {"i31", "i01", "i07"},
		"/v1/lists/latest?limit=2&anonymous_id=": {"i00", "i01"},
	} {
		r := w.request(http.MethodGet, path, writeKey, "")
		if diff := cmp.Diff(want, r.ids()); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
		if r.because() != "surface" || r.NextCursor == nil {
			t.Errorf("%s: because %q, next %v", path, r.because(), r.NextCursor)
		}
		next := w.request(http.MethodGet, path+"&cursor="+*r.NextCursor, writeKey, "")
		for _, id := range next.ids() {
			if slices.Contains(r.ids(), id) {
				t.Errorf("%s: %s comes twice", path, id)
			}
		}
	}
	if r := w.request(http.MethodGet, "/v1/lists/popular?limit=4", writeKey, ""); r.reasons()["i00"] != "catalogue()" {
		t.Errorf("a short list does not say how it was filled: %v", r.reasons())
	}
}

func TestCursors(t *testing.T) {
	page := func(w *world, cursor string) *reply {
		return w.recommend(fmt.Sprintf(`{"surface":"plain","user_id":"u1","cursor":%q}`, cursor))
	}
	begin := func(t *testing.T) (*world, *reply) {
		w := newWorld(t, testSurfaces)
		w.allow("u1", interaction(1, vocab.Type_VIEW_ITEM, "i30"))
		w.personal.neighbours = listed("i10", "i11", "i12", "i13", "i14", "i15", "i16", "i17")
		w.lists.Popular = listed("i10", "i20", "i21", "i22", "i23", "i24")
		first := page(w, "")
		if !first.Personalized || first.NextCursor == nil {
			t.Fatalf("the first page is not what the test needs: %s", first.raw)
		}
		return w, first
	}
	t.Run("the next page is personal", func(t *testing.T) {
		w, first := begin(t)
		if r := page(w, *first.NextCursor); !r.Personalized || !slices.Equal(r.ids(), []string{"i15", "i16", "i17", "i00", "i01"}) {
			t.Errorf("%t %v", r.Personalized, r.ids())
		}
	})
	t.Run("another grant", func(t *testing.T) {
		w, first := begin(t)
		w.consents.people["u1"].identities[0].Floor = []byte("taken back and given again")
		r := page(w, *first.NextCursor)
		if r.because() != "degraded" || !slices.Equal(r.ids(), []string{"i20", "i21", "i22", "i23", "i24"}) {
			t.Errorf("%q %v", r.because(), r.ids())
		}
		if next := page(w, *r.NextCursor); next.Personalized {
			t.Error("the list became personal again")
		}
	})
	t.Run("withdrawn", func(t *testing.T) {
		w, first := begin(t)
		w.consents.people["u1"].decision = privacyfilter.Decision{Because: privacyfilter.BecauseChoice}
		if r := page(w, *first.NextCursor); r.because() != "opted_out" {
			t.Errorf("because %q", r.because())
		}
	})
	t.Run("another person", func(t *testing.T) {
		w, first := begin(t)
		w.allow("u2", interaction(1, vocab.Type_VIEW_ITEM, "i30"))
		if r := w.recommend(fmt.Sprintf(`{"surface":"plain","user_id":"u2","cursor":%q}`, *first.NextCursor)); r.Personalized {
			t.Error("a list of one person went on for another")
		}
	})
	t.Run("granted meanwhile", func(t *testing.T) {
		w, _ := begin(t)
		allowed := w.consents.people["u1"].decision
		w.consents.people["u1"].decision = privacyfilter.Decision{Because: privacyfilter.BecauseChoice}
		first := page(w, "")
		w.consents.people["u1"].decision = allowed
		if r := page(w, *first.NextCursor); r.because() != "opted_out" {
			t.Errorf("a list that was begun as everybody's became personal: %q", r.because())
		}
	})
	t.Run("blocked meanwhile", func(t *testing.T) {
		w, first := begin(t)
		w.consents.people["u1"].blocks = &consent.Blocks{Items: set("i16"), Categories: set("C5")} // i17
		if r := page(w, *first.NextCursor); !r.Personalized || !slices.Equal(r.ids(), []string{"i15", "i00", "i01", "i02", "i03"}) {
			t.Errorf("%t %v", r.Personalized, r.ids())
		}
	})
	t.Run("expired", func(t *testing.T) {
		w, first := begin(t)
		w.now = w.now.Add(30*time.Minute - time.Microsecond)
		if r := page(w, *first.NextCursor); r.status != http.StatusOK {
			t.Errorf("before 30 minutes: %d", r.status)
		}
		w.now = w.now.Add(time.Microsecond)
		if r := page(w, *first.NextCursor); r.status != http.StatusGone || r.Problem.Code != "cursor_expired" {
			t.Errorf("after 30 minutes: %d %s", r.status, r.raw)
		}
	})
	t.Run("of another page", func(t *testing.T) {
		w, first := begin(t)
		for _, other := range []string{`"surface":"affine"`, `"surface":"plain","context":{"category":"C1"}`, `"surface":"plain","context":{"bucket":3}`} {
			if r := w.recommend(fmt.Sprintf(`{%s,"user_id":"u1","cursor":%q}`, other, *first.NextCursor)); r.status != http.StatusUnprocessableEntity {
				t.Errorf("%s: %d", other, r.status)
			}
		}
	})
	t.Run("changed", func(t *testing.T) {
		w, first := begin(t)
		for i := range len(*first.NextCursor) {
			changed := []byte(*first.NextCursor)
			changed[i] ^= 1
			if r := page(w, string(changed)); r.status != http.StatusUnprocessableEntity && r.status != http.StatusBadRequest {
				t.Fatalf("byte %d: %d", i, r.status)
			}
		}
	})
	t.Run("the end", func(t *testing.T) {
		w, first := begin(t)
		shown := first.ids()
		for r := first; r.NextCursor != nil; shown = append(shown, r.ids()...) {
			r = page(w, *r.NextCursor)
		}
		slices.Sort(shown)
		if n := len(slices.Compact(shown)); n != len(shown) || n != 60 {
			t.Errorf("%d items, %d different ones, of 60", len(shown), n)
		}
	})
}

// TestRequestsAtOnce is for the race detector: caches and memory are shared, answers are not.
func TestRequestsAtOnce(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.lists.Trending, w.lists.Popular = listed("i20", "i21"), listed("i30", "i31")
	w.personal.together["i01"] = listed("i40", "i41")
	body := `{"surface":"home","context":{"item_ids":["i01"]},"limit":20}`
	want := w.recommend(body)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 25 {
				if got := w.recommend(body); !bytes.Equal(got.items, want.items) || got.RecommendationID != want.RecommendationID {
					t.Errorf("%s, want %s", got.raw, want.raw)
				}
			}
		})
	}
	group.Wait()
}

func TestMetricsNameNobody(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.allow("secret-person", interaction(1, vocab.Type_VIEW_ITEM, "i30"))
	w.recommend(`{"surface":"plain","user_id":"secret-person"}`)
	w.recommend(`{"surface":"plain"}`)
	w.recommend(`{"surface":"nowhere"}`)
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			words := []string{f.GetName()}
			for _, l := range m.GetLabel() {
				words = append(words, l.GetValue())
				if strings.Contains(l.GetValue(), "secret") || strings.HasPrefix(l.GetValue(), "i3") {
					t.Errorf("%s has a label %s", f.GetName(), l.GetValue())
				}
			}
			counts[strings.Join(words, " ")] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"sluice_recommend_requests_total personal plain": 1, "sluice_recommend_requests_total non_personal plain": 1,
		"sluice_recommend_not_personalized_total no_subject": 1, "sluice_recommend_refused_total invalid": 1, "sluice_recommend_recomputed_total": 0,
		"sluice_recommend_stage_seconds retrieve": 2, "sluice_recommend_stage_seconds rank": 2, "sluice_recommend_candidates plain": 2,
	}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Error(diff)
	}
}

func TestOpenAPIDescribesEveryField(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.serve()
	document, err := json.Marshal(w.api.Huma.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"/v1/recommendations", "/v1/items/{id}/similar", "/v1/lists/{list}", "exclude_item_ids", "search_term", "not_personalized_because", "config_version", "Sec-GPC",
		"no_history", "viewed_together", "Limits the list to this category",
	} {
		if !bytes.Contains(document, []byte(text)) {
			t.Errorf("%q is not in the document", text)
		}
	}
}

func TestScoresAreBetween0And1(t *testing.T) {
	w := newWorld(t, testSurfaces)
	w.allow("u1", interaction(1, vocab.Type_VIEW_ITEM, "i30"))
	w.personal.neighbours = []scored.Item{{ItemID: "i10", Score: 1e9}, {ItemID: "i11", Score: 1e-9}, {ItemID: "i12", Score: 0}, {ItemID: "i13", Score: math.NaN()}}
	for _, item := range w.recommend(`{"surface":"home","user_id":"u1","limit":60}`).Items {
		if !(item.Score >= 0 && item.Score <= 1) {
			t.Errorf("%s: %v", item.ItemID, item.Score)
		}
	}
}
