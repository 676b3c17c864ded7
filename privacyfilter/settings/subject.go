package settings

import (
	"context"
	"errors"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sluice/ingest"
	"sluice/internal/canonical"
	"sluice/internal/httpx"
	"sluice/internal/quota"
	"sluice/privacyfilter/consent"
)

// kind is a kind of subject.
type kind struct {
	word   string // in operation ids
	path   string
	param  string
	doc    string
	prefix string // of the subject
}

var (
	users    = kind{"user", "/v1/users/{user_id}", "user_id", "The account's id.", "u:"}
	visitors = kind{"visitor", "/v1/visitors/{anonymous_id}", "anonymous_id", "The device's visitor id, which only the visitor and the shop know.", "a:"}
)

// security says who may act for such a subject.
func (k kind) security() []map[string][]string {
	if k == users {
		return httpx.SecurityOfAccount()
	}
	return httpx.Security(httpx.RoleServer, httpx.RoleWrite)
}

// subject is the person that a request's settings belong to.
type subject struct {
	kind   kind
	id     string
	gpc    bool
	caller quota.Caller // who asks
	public bool         // the caller has a write key: what a page says of its person only narrows
	page   string       // jurisdiction of the caller's page by its origin, empty where none is configured
}

func (s subject) key() string { return s.kind.prefix + s.id }

func (s subject) person() consent.Person {
	if s.kind == users {
		return consent.Person{UserID: s.id, GPC: s.gpc}
	}
	return consent.Person{AnonymousID: s.id, GPC: s.gpc}
}

type subjectKey struct{}

// subjectOf is the subject that the middleware found.
func subjectOf(ctx context.Context) subject {
	s, _ := ctx.Value(subjectKey{}).(subject)
	return s
}

// whose reads the subject from the path, and lets through who may act for it. The server key may act for everyone. A write key may act for a visitor, since a
// visitor's id cannot be guessed, and for an account only beside its user's token.
func (s *service) whose(api *httpx.API, k kind) huma.Middlewares {
	return append(api.Secure(httpx.RoleServer, httpx.RoleWrite), func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		who := subject{kind: k, id: canonical.Text(ctx.Param(k.param)), gpc: httpx.HasGPC(r)}
		if who.public = httpx.RoleFrom(ctx.Context()) == httpx.RoleWrite; who.public {
			who.page = s.Jurisdictions[r.Header.Get("Origin")]
		}
		if !validID(who.id) {
			httpx.WriteProblem(w, invalid("invalid_id", "/"+k.param, "must be 1 to 256 bytes of UTF-8"))
			return
		}
		if s.Placeholders.Has(who.id) {
			httpx.WriteProblem(w, invalid(ingest.CodePlaceholder, "/"+k.param, detailPlaceholder))
			return
		}
		who.caller = s.Quotas.Caller(r, httpx.RoleFrom(ctx.Context()))
		if k == users && who.public {
			if err := s.signedIn(r, who.id); err != nil {
				httpx.WriteProblem(w, httpx.NewProblem(http.StatusForbidden, "user_token_required", "There must be a user token of this account beside a write key: "+err.Error()+"."))
				return
			}
		}
		next(huma.WithValue(ctx, subjectKey{}, who))
	})
}

var (
	errNoTokens    = errors.New("no user token counts here")
	errOthersToken = errors.New("sub must be the user_id of the path")
)

// signedIn proves that the account's person is signed in. The error says what the request's token must have.
func (s *service) signedIn(r *http.Request, userID string) error {
	if s.UserToken == nil {
		return errNoTokens
	}
	id, err := s.UserToken(r)
	if err == nil && id != userID {
		err = errOthersToken
	}
	return err
}

const detailPlaceholder = "must be the id of one person; a word that stands for none is refused"

func validID(id string) bool { return id != "" && len(id) <= maxID && utf8.ValidString(id) }

// answer is a response that no cache may keep.
type answer[T any] struct {
	CacheControl string `header:"Cache-Control"`
	Body         T
}

func private[T any](body T) *answer[T] { return &answer[T]{CacheControl: "no-store", Body: body} }

// Written is the answer to a write that is obeyed everywhere.
type Written struct {
	Revision    string    `json:"revision" example:"AAAAAQAFAAAAAAAAEmeM0x5CkQfY2bHv" doc:"Of the record, for this person alone: opaque. Clients echo the newest as consent.revision on events."`
	EffectiveAt time.Time `json:"effective_at" doc:"From then on every node obeys it."`
}

// registerSubject adds the operations of one kind of subject.
func (s *service) registerSubject(api *httpx.API, k kind) {
	op := func(method, path, id, summary, description string) huma.Operation {
		errors := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusServiceUnavailable}
		if method != http.MethodGet {
			errors = append(errors, http.StatusTooManyRequests)
		}
		return huma.Operation{
			OperationID: id, Method: method, Path: k.path + path, Summary: summary, Description: description, Tags: []string{"settings"},
			Middlewares: s.whose(api, k), MaxBodyBytes: maxBody, Security: k.security(), Errors: errors,
			Parameters: []*huma.Param{httpx.UserToken(), {Name: k.param, In: "path", Required: true, Description: k.doc, Schema: &huma.Schema{Type: huma.TypeString}}},
		}
	}
	const obeyed = "Answered when every node obeys it; 503 not_yet_effective says that it is recorded and will take effect. Repeating it changes nothing."
	const yields = " A permission yields to a newer restriction of the same thing that was not known where it was asked for: 409 overtaken."
	permits := func(o huma.Operation) huma.Operation {
		o.Description += yields
		o.Errors = append(o.Errors, http.StatusConflict)
		return o
	}
	huma.Register(api.Huma, op(http.MethodGet, "/consent", "get-"+k.word+"-consent", "What holds for each purpose, and why",
		"With Sec-GPC: 1 the answer is what holds for such a request."), s.getConsent)
	huma.Register(api.Huma, permits(op(http.MethodPut, "/policy", "put-"+k.word+"-policy", "Accept the policy, or withdraw the acceptance", obeyed)), s.putPolicy)
	huma.Register(api.Huma, permits(op(http.MethodPut, "/consent/{purpose}", "put-"+k.word+"-consent", "Allow or deny a purpose", obeyed)), s.putConsent)
	huma.Register(api.Huma, op(http.MethodGet, "/blocks", "get-"+k.word+"-blocks", "What the person does not want to see", ""), s.getBlocks)
	huma.Register(api.Huma, op(http.MethodPut, "/blocks/{kind}/{id}", "put-"+k.word+"-block", "Block an item or a category", obeyed), s.putBlock)
	huma.Register(api.Huma, permits(op(http.MethodDelete, "/blocks/{kind}/{id}", "delete-"+k.word+"-block", "Unblock an item or a category", obeyed)), s.deleteBlock)
	huma.Register(api.Huma, op(http.MethodGet, "/history", "get-"+k.word+"-history", "Footprints, newest first", ""), s.getHistory)
	huma.Register(api.Huma, op(http.MethodDelete, "/history", "delete-"+k.word+"-history", "Delete all footprints, and what was made from them", obeyed), s.deleteHistory)
	huma.Register(api.Huma, op(http.MethodDelete, "/history/{event_id}", "delete-"+k.word+"-footprint", "Delete one footprint, and what was made from it", obeyed), s.deleteFootprint)
}
