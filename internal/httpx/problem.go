// Package httpx is the HTTP plumbing that every room shares: problems (RFC 9457), keys, and the API that also writes the OpenAPI document.
package httpx

import (
	"cmp"
	"encoding/json"
	"net/http"
)

// FieldError names one fault of a request. It never holds the value itself.
type FieldError struct {
	Index   *int   `json:"index,omitempty" doc:"Position of the faulty entry in a batch, from 0."`
	ID      string `json:"id,omitempty" doc:"The entry's own id, where it has a readable one."`
	Pointer string `json:"pointer,omitempty" doc:"RFC 6901 pointer to the field."`
	Code    string `json:"code" doc:"Stable code of the fault."`
	Detail  string `json:"detail" doc:"What must be."`
}

// Problem is the body of every error answer: RFC 9457 with a stable code.
type Problem struct {
	Type   string       `json:"type,omitempty"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Code   string       `json:"code"`
	Detail string       `json:"detail,omitempty"`
	Errors []FieldError `json:"errors,omitempty"`

	RetryAfter string `json:"-"` // seconds after which the caller may come back, as its header tells them; empty: one
}

// NewProblem makes a problem with the status's own title.
func NewProblem(status int, code, detail string, errs ...FieldError) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail, Errors: errs}
}

// Error makes a problem usable as an error; huma also asks for it.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus is what huma asks of an error.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is what huma asks of an error's body.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders is what huma asks of an error: when to come back, where that helps, and how to show a key.
func (p *Problem) GetHeaders() http.Header {
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return http.Header{"Retry-After": {cmp.Or(p.RetryAfter, "1")}}
	case http.StatusUnauthorized:
		return http.Header{"Www-Authenticate": {`Bearer realm="sluice"`}}
	default:
		return nil
	}
}

// Overloaded is the answer to a request that was not let in.
func Overloaded() *Problem {
	return NewProblem(http.StatusTooManyRequests, "overloaded", "Too many requests are being worked on. Nothing was done; send the same again in a moment.")
}

// WriteProblem answers with p, and with its headers unless others are set.
func WriteProblem(w http.ResponseWriter, p *Problem) {
	for name, values := range p.GetHeaders() {
		if w.Header().Get(name) == "" {
			w.Header()[name] = values
		}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone if this fails
}
