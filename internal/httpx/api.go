package httpx

import (
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// API is one HTTP surface: a mux, its keys, and the OpenAPI document that grows with every registered operation.
type API struct {
	Mux  *http.ServeMux
	Keys *Keys
	Huma huma.API
}

// NewAPI makes an empty surface. /openapi.json describes what rooms register on it.
func NewAPI(version string, keys *Keys) *API {
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Sluice", version)
	config.CreateHooks = nil // no $schema member in answers: equal inputs give equal bytes
	config.DocsPath = ""     // no page that loads scripts from elsewhere
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"key": {Type: "http", Scheme: "bearer"}}
	return &API{Mux: mux, Keys: keys, Huma: humago.New(mux, config)}
}

// Secure is a huma middleware list that demands a key with one of the roles.
func (a *API) Secure(roles ...Role) huma.Middlewares {
	return huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
		r, _ := humago.Unwrap(ctx)
		role := a.Keys.RoleOf(r)
		if problem := CheckRole(role, roles...); problem != nil {
			_, w := humago.Unwrap(ctx)
			if problem.Status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="sluice"`)
			}
			WriteProblem(w, problem)
			return
		}
		next(huma.WithContext(ctx, WithRole(ctx.Context(), role)))
	}}
}

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
		if detailer, ok := err.(huma.ErrorDetailer); ok { //nolint:errorlint // huma hands over the detail itself, never wrapped
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
	case http.StatusServiceUnavailable:
		return "unavailable"
	default:
		return "error"
	}
}
