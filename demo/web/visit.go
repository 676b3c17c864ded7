package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode"

	"sluice/internal/httpx"
)

// visit is one request with the person behind it.
type visit struct {
	person
	w        http.ResponseWriter
	r        *http.Request
	site     *site
	Revision string // newest that this browser was told; events echo it
	Cart     []cartLine
	state    *consentState // once it was asked for
}

const (
	cookieVisitor  = "sluice_visitor"  // random id of the browser: needed to remember choices
	cookieUser     = "sluice_user"     // demo sign-in, signed
	cookieRevision = "sluice_revision" // newest consent revision
	cookieCart     = "sluice_cart"
	cookieOrder    = "sluice_order"    // newest order and its decision, signed
	cookieDeclined = "sluice_declined" // version of the notice that was declined: it is not shown again
	cookieNotice   = "sluice_notice"   // what the last act did, shown once
)

// errForm refuses a form that this site did not make for this visitor.
var errForm = errors.New("form token does not match")

// handle makes a handler from a page: it knows the person, checks forms, and shows errors as a page.
func (s *site) handle(page func(*visit) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := s.newVisit(w, r)
		err := error(nil)
		if r.Method == http.MethodPost {
			r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
			if !hmac.Equal([]byte(r.PostFormValue("token")), []byte(v.Token())) {
				err = errForm
			}
		}
		if err == nil {
			err = page(v)
		}
		if err != nil {
			v.fail(err)
		}
	})
}

func (s *site) newVisit(w http.ResponseWriter, r *http.Request) *visit {
	v := &visit{w: w, r: r, site: s}
	v.GPC = httpx.HasGPC(r)
	v.Anonymous = v.cookie(cookieVisitor)
	if len(v.Anonymous) != idLength { // none, or one that this site never gave
		v.Anonymous = randomID()
		v.setCookie(cookieVisitor, v.Anonymous, 365*24*time.Hour)
	}
	if user, mac, ok := strings.Cut(v.cookie(cookieUser), "."); ok && hmac.Equal([]byte(mac), []byte(s.sign("user", user))) {
		v.User = user
	}
	v.Revision = v.cookie(cookieRevision)
	v.Cart = parseCart(v.cookie(cookieCart))
	return v
}

// Token is what forms carry, so that another site cannot send them.
func (v *visit) Token() string { return v.site.sign("form", v.Anonymous) }

func (s *site) sign(use, value string) string {
	mac := hmac.New(sha256.New, s.Key[:])
	mac.Write([]byte(use + "\x00" + value))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

func (v *visit) cookie(name string) string {
	c, err := v.r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

func (v *visit) setCookie(name, value string, age time.Duration) {
	http.SetCookie(v.w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(age.Seconds()), HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// accept remembers the revision of a settings write, and what to tell about it.
func (v *visit) accept(answer written, notice string) {
	if answer.Revision != "" {
		v.setCookie(cookieRevision, answer.Revision, 365*24*time.Hour)
	}
	v.tell(notice)
}

func (v *visit) tell(notice string) {
	v.setCookie(cookieNotice, base64.RawURLEncoding.EncodeToString([]byte(notice)), time.Minute)
}

// notice is what the last act did; it is shown once.
func (v *visit) notice() string {
	data, err := base64.RawURLEncoding.DecodeString(v.cookie(cookieNotice))
	if err != nil || len(data) == 0 {
		return ""
	}
	http.SetCookie(v.w, &http.Cookie{Name: cookieNotice, Path: "/", MaxAge: -1})
	return string(data)
}

// back sends the browser to where the form was, within this site.
func (v *visit) back(fallback string) error {
	to := v.r.PostFormValue("back")
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsFunc(to, leadsAway) {
		to = fallback
	}
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
	return nil
}

// leadsAway tells which characters browsers read as "/", or drop, so that the rest of an address means another site.
func leadsAway(c rune) bool { return c == '\\' || unicode.IsControl(c) }

// fail shows an error as a page that tells what to do, not what broke inside.
func (v *visit) fail(err error) {
	status, message := http.StatusInternalServerError, "Something went wrong here. Please try again."
	switch {
	case errors.Is(err, errForm):
		status, message = http.StatusForbidden, "This form has expired. Please go back, reload the page, and try again."
	case errors.Is(err, errNotFound), hasStatus(err, http.StatusNotFound):
		status, message = http.StatusNotFound, "This page does not exist (any more)."
	case errors.Is(err, errAnswer):
		status, message = http.StatusBadRequest, "This form sent an answer that it does not have. Please go back, reload the page, and use its own buttons."
	case errors.Is(err, errMethod):
		status, message = http.StatusMethodNotAllowed, "This address does not take what was sent to it. Please go back, and use the page's own buttons."
	case hasStatus(err, http.StatusConflict):
		status, message = http.StatusConflict, "You chose otherwise in another place a moment ago, and that holds. Please look at your settings, and choose again."
	case hasStatus(err, http.StatusTooManyRequests):
		status, message = http.StatusServiceUnavailable, "The shop is too busy right now. Please try again in a moment."
	case hasStatus(err, http.StatusServiceUnavailable):
		status, message = http.StatusServiceUnavailable, "Your settings cannot be read right now, so nothing is shown rather than something wrong. Please try again in a moment."
	case hasStatus(err, http.StatusBadRequest), hasStatus(err, http.StatusUnprocessableEntity):
		status, message = http.StatusBadRequest, refusal(err)
	}
	if status == http.StatusInternalServerError {
		v.site.Logger.Error("a page failed", "path", v.r.Pattern, "error", err)
	}
	if renderErr := v.render("error", status, map[string]any{"Message": message, "Title": http.StatusText(status)}); renderErr != nil {
		http.Error(v.w, message, status)
	}
}

// refusals say what must be, by the API's code.
var refusals = map[string]string{
	"invalid_cursor":         "This link to older footprints no longer holds. Please open Privacy, and go on from there.",
	"not_switchable":         "This use of your data has no switch: it is necessary for the shop, or the law asks for it.",
	"unknown_policy_version": "The notice has changed meanwhile. Please go back to the shop, and read the new one.",
}

// refusal is why the API did not take what it was asked.
func refusal(err error) string {
	var problem *httpx.Problem
	if errors.As(err, &problem) && refusals[problem.Code] != "" {
		return refusals[problem.Code]
	}
	return "Something in this address or form is not as it must be: it is too long, or not one of what the page offers. Please go back, reload the page, and use its own links and buttons."
}

var (
	errAnswer   = errors.New("the form has no such answer")
	errNotFound = errors.New("not found")
	errMethod   = errors.New("method not allowed")
)

// idLength is that of randomID, in characters.
const idLength = 16

func randomID() string {
	var data [12]byte
	_, _ = rand.Read(data[:]) // crypto/rand never fails
	return base64.RawURLEncoding.EncodeToString(data[:])
}
