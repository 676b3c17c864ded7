package recommend

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"sluice/internal/canonical"
	"sluice/internal/httpx"
	"sluice/privacyfilter/consent"
	"sluice/recommend/cursor"
)

const (
	maxLimit     = 100
	maxBucket    = 15
	maxBody      = 256 << 10
	maxID        = 256 // bytes
	maxContext   = 50
	maxExcluded  = 500
	maxTerm      = 256
	maxName      = 256
	maxShort     = 64 // locale, region
	maxTimeout   = 10_000
	timeoutUnset = time.Second
)

// RecommendationRequest is the body of POST /v1/recommendations.
type RecommendationRequest struct {
	Surface     string       `json:"surface" doc:"Place of the storefront, as the configuration names it." example:"home"`
	UserID      string       `json:"user_id,omitempty" maxLength:"256" doc:"The account. With a write key it counts only beside this user's token; otherwise it is ignored."`
	AnonymousID string       `json:"anonymous_id,omitempty" maxLength:"256" doc:"The device's own random id."`
	SessionID   string       `json:"session_id,omitempty" maxLength:"256" doc:"The present visit, as events carry it. Only a personal list looks at it."`
	Context     *PageContext `json:"context,omitempty" doc:"The page. All that a list which is not personal is made from, beside the person's own blocks."`
	Exclude     []string     `json:"exclude_item_ids,omitempty" maxItems:"500" doc:"Items that the page shows already."`
	Limit       *int         `json:"limit,omitempty" minimum:"1" maximum:"100" doc:"Items wanted. The surface's page size if absent."`
	Cursor      *string      `json:"cursor,omitempty" doc:"next_cursor of the page before, with the same surface and context. null or absent: the first page."`
	TimeoutMS   *int         `json:"timeout_ms,omitempty" minimum:"1" maximum:"10000" doc:"Milliseconds that a personal list may take to find its candidates; where they do not suffice the list is not personal (degraded). 1000 if absent." example:"80"`
}

// PageContext is the page that shows a list.
type PageContext struct {
	ItemIDs    []string `json:"item_ids,omitempty" maxItems:"50" doc:"Items that the page is about: the one shown, those in the cart. They are never in the list."`
	Category   string   `json:"category,omitempty" maxLength:"256" doc:"Limits the list to this category, at any depth of an item's paths. One that the catalogue does not know is reported in relaxed and ignored."`
	SearchTerm string   `json:"search_term,omitempty" maxLength:"256" doc:"What the page's visitor searched for."`
	Locale     string   `json:"locale,omitempty" maxLength:"64" example:"en"`
	Region     string   `json:"region,omitempty" maxLength:"64" doc:"Coarse delivery region."`
	Bucket     int      `json:"bucket,omitempty" minimum:"0" maximum:"15" doc:"Experiment bucket, chosen by the caller, never made from a person's id."`
}

// query is a request that has been checked.
type query struct {
	name     string // endpoint or surface, for metrics; a bounded set
	surface  *Surface
	context  PageContext
	exclude  []string
	person   consent.Person
	session  string
	limit    int
	timeout  time.Duration
	cursor   *cursor.State // nil: the first page
	pageHash [8]byte
}

// faults gathers what is wrong with a request.
type faults []httpx.FieldError

func (f *faults) expect(ok bool, pointer, code, detail string) {
	if !ok {
		f.add(pointer, code, detail)
	}
}

func (f *faults) add(pointer, code, detail string) {
	*f = append(*f, httpx.FieldError{Pointer: pointer, Code: code, Detail: detail})
}

func (f *faults) text(pointer, value string, most int) {
	if len(value) > most || !utf8.ValidString(value) { // what is wrong is put into words only then
		f.add(pointer, "too_long", "must be at most "+strconv.Itoa(most)+" bytes")
	}
}

func (f *faults) ids(pointer string, ids []string, most int) {
	if len(ids) > most {
		f.add(pointer, "too_many", "must be at most "+strconv.Itoa(most)+" item ids")
	}
	for i, id := range ids[:min(len(ids), most)] {
		if id == "" || len(id) > maxID {
			f.add(pointer+"/"+strconv.Itoa(i), "invalid", "must be an item id of 1 to 256 bytes")
		}
	}
}

func (f faults) problem() *httpx.Problem {
	if len(f) == 0 {
		return nil
	}
	return httpx.NewProblem(http.StatusUnprocessableEntity, "invalid", "The request is not valid.", f[:min(len(f), 20)]...)
}

// readRequest decodes the body strictly: a member that is not known is an error, because a misspelt one would be obeyed by nobody.
func readRequest(w http.ResponseWriter, r *http.Request) (*RecommendationRequest, *httpx.Problem) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, httpx.NewProblem(http.StatusRequestEntityTooLarge, "too_large", "The body must be at most 256 KiB.")
		}
		return nil, httpx.NewProblem(http.StatusBadRequest, "bad_request", "The body cannot be read.")
	}
	req := new(RecommendationRequest)
	if err := json.Unmarshal(data, req, json.RejectUnknownMembers(true)); err != nil {
		return nil, decodeProblem(err)
	}
	if req.Context == nil {
		req.Context = new(PageContext)
	}
	req.compose()
	return req, nil
}

// compose makes the request's texts NFC. They are compared with texts of events and items, which are.
func (req *RecommendationRequest) compose() {
	c := req.Context
	for _, text := range []*string{&req.UserID, &req.AnonymousID, &req.SessionID, &c.Category, &c.SearchTerm} {
		*text = canonical.Text(*text)
	}
	for _, ids := range [][]string{c.ItemIDs, req.Exclude} {
		for i := range ids {
			ids[i] = canonical.Text(ids[i])
		}
	}
}

func decodeProblem(err error) *httpx.Problem {
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return httpx.NewProblem(http.StatusBadRequest, "broken_json", "The body must be one JSON object.")
	}
	fault := httpx.FieldError{Pointer: string(semantic.JSONPointer), Code: "wrong_type", Detail: "must be of another JSON type"}
	if errors.Is(err, json.ErrUnknownName) {
		fault.Code, fault.Detail = "unknown_field", "must be a field of this request; /openapi.json lists them"
	} else if semantic.GoType != nil {
		fault.Detail = expected[semantic.GoType.Kind().String()]
	}
	return faults{fault}.problem()
}

// expected says in JSON's words what a field of a Go kind takes.
var expected = map[string]string{
	"string": "must be a string", "int": "must be an integer", "slice": "must be an array", "struct": "must be an object", "ptr": "must be of another JSON type",
}

// check makes a query of a request, or says what is wrong with it.
func (s *service) check(req *RecommendationRequest) (*query, *httpx.Problem) {
	var f faults
	surface, known := s.Config.Surface(req.Surface)
	if !known {
		f.add("/surface", "unknown_surface", "surface must be one of "+strings.Join(s.Config.Surfaces(), ", "))
	}
	f.text("/user_id", req.UserID, maxID)
	f.text("/anonymous_id", req.AnonymousID, maxID)
	f.text("/session_id", req.SessionID, maxID)
	c := req.Context
	f.ids("/context/item_ids", c.ItemIDs, maxContext)
	f.text("/context/category", c.Category, maxName)
	f.text("/context/search_term", c.SearchTerm, maxTerm)
	f.text("/context/locale", c.Locale, maxShort)
	f.text("/context/region", c.Region, maxShort)
	f.expect(c.Bucket >= 0 && c.Bucket <= maxBucket, "/context/bucket", "out_of_range", "bucket must be between 0 and 15")
	f.ids("/exclude_item_ids", req.Exclude, maxExcluded)
	f.expect(req.Limit == nil || *req.Limit >= 1 && *req.Limit <= maxLimit, "/limit", "out_of_range", "limit must be between 1 and 100")
	f.expect(req.TimeoutMS == nil || *req.TimeoutMS >= 1 && *req.TimeoutMS <= maxTimeout, "/timeout_ms", "out_of_range", "timeout_ms must be between 1 and 10000")
	if problem := f.problem(); problem != nil {
		return nil, problem
	}
	q := &query{
		name: surface.Name, surface: surface, context: *c, exclude: req.Exclude, session: req.SessionID,
		person: consent.Person{UserID: req.UserID, AnonymousID: req.AnonymousID}, limit: surface.PageSize, timeout: timeoutUnset,
	}
	if req.Limit != nil {
		q.limit = *req.Limit
	}
	if req.TimeoutMS != nil {
		q.timeout = time.Duration(*req.TimeoutMS) * time.Millisecond
	}
	if req.Cursor == nil {
		return q, s.open(q, "")
	}
	return q, s.open(q, *req.Cursor)
}

// open digests the page and reads the cursor, which must be of the same page.
func (s *service) open(q *query, text string) *httpx.Problem {
	q.pageHash = q.digest()
	if text == "" {
		return nil
	}
	state, err := s.cursors.Open(text, s.Now())
	switch {
	case errors.Is(err, cursor.ErrExpired):
		return httpx.NewProblem(http.StatusGone, "cursor_expired", "The cursor is older than 30 minutes. Start again with the first page.")
	case err != nil, int(state.Because) >= len(becauses):
		return faults{{Pointer: "/cursor", Code: "broken_cursor", Detail: "cursor must be the next_cursor of an earlier answer"}}.problem()
	case state.Page != q.pageHash:
		return faults{{Pointer: "/cursor", Code: "foreign_cursor", Detail: "cursor must be of the same surface and context"}}.problem()
	}
	q.cursor = state
	return nil
}

// checkList makes a query of a GET endpoint's parameters: limit, cursor, category, locale, user_id, anonymous_id.
func (s *service) checkList(r *http.Request, surface *Surface, items []string) (*query, *httpx.Problem) {
	values := r.URL.Query()
	q := &query{
		name: surface.Name, surface: surface, limit: surface.PageSize, timeout: timeoutUnset,
		context: PageContext{ItemIDs: items, Category: canonical.Text(values.Get("category")), Locale: values.Get("locale")},
		person:  consent.Person{UserID: canonical.Text(values.Get("user_id")), AnonymousID: canonical.Text(values.Get("anonymous_id"))},
	}
	var f faults
	q.limit = f.number(values, "limit", surface.PageSize)
	f.text("/category", q.context.Category, maxName)
	f.text("/locale", q.context.Locale, maxShort)
	f.text("/user_id", q.person.UserID, maxID)
	f.text("/anonymous_id", q.person.AnonymousID, maxID)
	if problem := f.problem(); problem != nil {
		return nil, problem
	}
	return q, s.open(q, values.Get("cursor"))
}

func (f *faults) number(values url.Values, name string, absent int) int {
	text := values.Get(name)
	if text == "" {
		return absent
	}
	n, err := strconv.Atoi(text)
	f.expect(err == nil && n >= 1 && n <= maxLimit, "/"+name, "out_of_range", name+" must be between 1 and 100")
	return n
}

// identify finds the person that the request is for: with a write key an account counts only beside its own token.
func (s *service) identify(q *query, r *http.Request) {
	q.person.GPC = httpx.HasGPC(r)
	if httpx.RoleFrom(r.Context()) == httpx.RoleServer || q.person.UserID == "" {
		return
	}
	if s.UserToken != nil {
		if user, err := s.UserToken(r); err == nil && user == q.person.UserID {
			return
		}
	}
	q.person.UserID = ""
}
