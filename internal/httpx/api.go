package httpx

import (
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// API is one HTTP surface: a mux, its keys, and the OpenAPI document that grows with every registered operation.
type API struct {
	Mux  *http.ServeMux
	Keys *Keys
	Huma huma.API
	Page func(w http.ResponseWriter, r *http.Request, status int) // shows a browser that no route takes its request; nil: it gets a problem, too
}

// NewAPI makes an empty surface. /openapi.json describes what rooms register on it.
func NewAPI(version string, keys *Keys) *API {
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Sluice", version)
	config.CreateHooks = nil // no $schema member in answers: equal inputs give equal bytes
	config.DocsPath = ""     // no page that loads scripts from elsewhere
	config.Info.Description = "Consent-filtered recommendations and risk decisions from one stream. Every error is a problem (RFC 9457) with a stable code."
	config.Tags = tags
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		schemeKey: {
			Type: "http", Scheme: "bearer", Description: "An API key. A write key is public, in pages; a server key is the storefront's back end; an operator key reads metrics, dead letters and digests.",
		},
		schemeToken: {Type: "apiKey", In: "header", Name: userTokenHeader, Description: tokenText},
	}
	config.OnAddOperation = append(config.OnAddOperation, complete)
	return &API{Mux: mux, Keys: keys, Huma: humago.New(mux, config)}
}

// tags are the rooms of the API, as the description lists them.
var tags = []*huma.Tag{
	{Name: "events", Description: "What people do: collected, asked about their consent, durable before the answer."},
	{Name: "catalogue", Description: "The items."},
	{Name: "ranking", Description: "What a page shows: recommendations, similar items, lists."},
	{Name: "decisions", Description: "Whether a sign-up, login or payment may go on."},
	{Name: "settings", Description: "What people have accepted and chosen, what they do not want to see, and their footprints. A write is answered when every node obeys it."},
	{Name: "replays", Description: "History from files; `sluice replay` speaks this."},
	{Name: "dead letters", Description: "What could not be accepted, kept sealed, to be mended and driven again."},
	{Name: "state", Description: "How far the stream is, and a digest of what it keeps."},
}

// Names of the security schemes.
const (
	schemeKey   = "key"
	schemeToken = "user_token"
)

// Security says which keys an operation takes: any of the roles'; without roles none is asked for.
func Security(roles ...Role) []map[string][]string {
	if len(roles) == 0 {
		return []map[string][]string{{}}
	}
	needs := make([]map[string][]string, len(roles))
	for i, role := range roles {
		needs[i] = map[string][]string{schemeKey: {role.String()}}
	}
	return needs
}

// SecurityOfAccount is that of an operation on an account: a server key, or a write key beside the account's user token.
func SecurityOfAccount() []map[string][]string {
	needs := Security(RoleServer, RoleWrite)
	needs[1][schemeToken] = []string{}
	return needs
}

// complete adds to an operation's description what holds for all of them: problems as the body of every error.
func complete(doc *huma.OpenAPI, op *huma.Operation) {
	problem := map[string]*huma.MediaType{"application/problem+json": {Schema: doc.Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")}}
	if op.Responses["default"] == nil && op.Security != nil && len(op.Security[0]) > 0 {
		for status, what := range map[string]string{"401": "No key, or one that is not known.", "403": "A key with another role, or one that is bound to other pages."} {
			if op.Responses[status] == nil {
				op.Responses[status] = &huma.Response{Description: what}
			}
		}
	}
	for status, response := range op.Responses {
		if status >= "4" && response.Content == nil {
			response.Content = problem
		}
	}
}

// Body describes the body of an operation that a plain handler serves, in each of the media types.
func (a *API) Body(of reflect.Type, example any, types ...string) *huma.RequestBody {
	content := make(map[string]*huma.MediaType, len(types))
	for _, t := range types {
		content[t] = &huma.MediaType{Schema: a.Huma.OpenAPI().Components.Schemas.Schema(of, true, ""), Example: example}
	}
	return &huma.RequestBody{Required: true, Content: content}
}

// Answer describes a JSON answer of an operation that a plain handler serves.
func (a *API) Answer(of reflect.Type, doc string) *huma.Response {
	schema := a.Huma.OpenAPI().Components.Schemas.Schema(of, true, "")
	return &huma.Response{Description: doc, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
}

const (
	userTokenHeader = "Sluice-User-Token"
	tokenText       = "Proof of who is signed in, beside a write key: a JWT (EdDSA) with sub and exp, signed by the storefront."
)

// UserToken describes the header that proves who is signed in. A storefront's back end makes it, and it comes beside a write key.
func UserToken() *huma.Param {
	return &huma.Param{
		Name: userTokenHeader, In: "header", Schema: &huma.Schema{Type: huma.TypeString}, Description: tokenText,
	}
}

// GPC describes the header of Global Privacy Control.
func GPC(doc string) *huma.Param {
	return &huma.Param{Name: "Sec-GPC", In: "header", Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{"1"}}, Description: "1: Global Privacy Control. " + doc}
}

// Secure is a huma middleware list that demands a key with one of the roles.
func (a *API) Secure(roles ...Role) huma.Middlewares {
	return huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
		r, _ := humago.Unwrap(ctx)
		role, problem := a.Keys.Admit(r, roles...)
		if problem != nil {
			_, w := humago.Unwrap(ctx)
			WriteProblem(w, problem)
			return
		}
		next(huma.WithContext(ctx, WithRole(ctx.Context(), role)))
	}}
}

// Unrouted answers a request that no route of the mux takes: with a problem, or with a page if a browser asks outside /v1/.
// What the mux answers by itself to put a path right, such as /shop//cart, stays.
func (a *API) Unrouted(w http.ResponseWriter, r *http.Request) {
	handler, _ := a.Mux.Handler(r)
	own := unwritten{header: make(http.Header)}
	handler.ServeHTTP(&own, r)
	var problem *Problem
	switch own.status {
	case http.StatusNotFound:
		problem = NewProblem(own.status, "not_found", "There is nothing at this path; /openapi.json lists what there is.")
	case http.StatusMethodNotAllowed:
		problem = NewProblem(own.status, "method_not_allowed", "This path takes other methods, which the header Allow lists.")
		w.Header().Set("Allow", own.header.Get("Allow"))
	default:
		handler.ServeHTTP(w, r)
		return
	}
	if a.Page != nil && strings.Contains(r.Header.Get("Accept"), "text/html") && !strings.HasPrefix(r.URL.Path, "/v1/") {
		a.Page(w, r, problem.Status)
		return
	}
	WriteProblem(w, problem)
}

// unwritten is an answer that is asked for its status and headers alone.
type unwritten struct {
	header http.Header
	status int
}

// Header is the answer's own.
func (u *unwritten) Header() http.Header { return u.header }

// WriteHeader notes the status.
func (u *unwritten) WriteHeader(status int) { u.status = status }

// Write drops the body.
func (u *unwritten) Write(body []byte) (int, error) { return len(body), nil }

// Document adds an operation that a plain handler serves to the OpenAPI document.
func (a *API) Document(op *huma.Operation) { a.Huma.OpenAPI().AddOperation(op) }

func init() {
	huma.NewError = newHumaProblem
}

// newHumaProblem maps huma's own errors (validation, unreadable body) to a Problem that never echoes a value.
func newHumaProblem(status int, msg string, errs ...error) huma.StatusError {
	problem := NewProblem(status, codeOf(status), msg)
	for _, err := range errs {
		if err == nil {
			continue
		}
		field := FieldError{Code: "invalid", Detail: err.Error()}
		if detailer, ok := err.(huma.ErrorDetailer); ok { // huma hands over the detail itself, never wrapped
			detail := detailer.ErrorDetail()
			field.Detail, field.Pointer = detail.Message, pointerOf(detail.Location)
		}
		problem.Errors = append(problem.Errors, field)
	}
	return problem
}

// pointerOf turns huma's location (body.items[0].item_id) into a pointer (/items/0/item_id).
func pointerOf(location string) string {
	location = strings.TrimPrefix(strings.TrimPrefix(location, "body"), ".")
	if location == "" {
		return ""
	}
	return "/" + strings.NewReplacer(".", "/", "[", "/", "]", "").Replace(location)
}

func codeOf(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "bad_request"
	case http.StatusUnprocessableEntity:
		return "invalid"
	case http.StatusRequestEntityTooLarge:
		return "too_large"
	case http.StatusUnsupportedMediaType:
		return "unsupported_media_type"
	case http.StatusNotFound:
		return "not_found"
	case http.StatusMethodNotAllowed:
		return "method_not_allowed"
	case http.StatusServiceUnavailable:
		return "unavailable"
	default:
		return "error"
	}
}
