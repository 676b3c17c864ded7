package settings

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sluice/internal/httpx"
	"sluice/privacyfilter/purposepb"
)

// restriction is the fast path's record.
type restriction = purposepb.Restriction

// Recorded is the problem of a write that is on the log: not yet obeyed everywhere, or without effect.
type Recorded struct {
	*httpx.Problem
	Revision string `json:"revision" doc:"Of the record."`
}

// notYet says that the choice is recorded and will take effect.
func (c *change) notYet(revision string) error {
	detail := "The choice is recorded at this revision and will take effect, but it is not yet obeyed everywhere. Repeating it does no harm."
	if c.permit != nil {
		detail = "The choice is recorded at this revision and will take effect unless a newer one stands against it. Repeating it does no harm."
	}
	return later(recorded(revision, detail))
}

func recorded(revision, detail string) *Recorded {
	return &Recorded{Problem: httpx.NewProblem(http.StatusServiceUnavailable, "not_yet_effective", detail), Revision: revision}
}

// overtaken says that the permission is recorded and does not hold.
func overtaken(revision string) error {
	return &Recorded{
		Problem:  httpx.NewProblem(http.StatusConflict, "overtaken", "The permission is recorded at this revision and does not hold: a newer choice of this person stands against it."),
		Revision: revision,
	}
}

// later asks the caller to come back.
func later(err error) error { return huma.ErrorWithHeaders(err, retryAfter) }

func problemBusy() *httpx.Problem {
	return httpx.NewProblem(http.StatusTooManyRequests, "too_many_writes", "Too many writes are waiting at this moment. Nothing was recorded.")
}

func problemLog() *httpx.Problem {
	return httpx.NewProblem(http.StatusServiceUnavailable, "log_unavailable", "The log cannot be written now. The change is not known to be recorded.")
}

func problemUnknown() error {
	return later(httpx.NewProblem(http.StatusServiceUnavailable, "consent_unknown", "The present state of consent is not known here."))
}

func problemHistory() error {
	return later(httpx.NewProblem(http.StatusServiceUnavailable, "history_unavailable", "This person's history cannot be read here now. Nothing of it is shown, rather than a part."))
}

func problemPurpose() *httpx.Problem {
	return httpx.NewProblem(http.StatusNotFound, "unknown_purpose", "The purpose must be one that the register names.")
}

func problemEvent() *httpx.Problem {
	return httpx.NewProblem(http.StatusNotFound, "unknown_event", "The event id must be one that this person's history has given.")
}

// invalid is a 422 that names one field.
func invalid(code, pointer, detail string) *httpx.Problem {
	return httpx.NewProblem(http.StatusUnprocessableEntity, code, detail, httpx.FieldError{Pointer: pointer, Code: code, Detail: detail})
}
