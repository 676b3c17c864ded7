package httpx

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// TestRetryAfter: whoever is told to come back is told when, however the problem is written.
func TestRetryAfter(t *testing.T) {
	a := NewAPI("test", NewKeys(nil))
	for status, want := range map[int]string{http.StatusTooManyRequests: "1", http.StatusServiceUnavailable: "1", http.StatusNotFound: ""} {
		name := strconv.Itoa(status)
		problem := NewProblem(status, "code", "Detail.")
		a.Mux.HandleFunc("GET /written/"+name, func(w http.ResponseWriter, _ *http.Request) { WriteProblem(w, problem) })
		a.Mux.HandleFunc("GET /later/"+name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			WriteProblem(w, problem)
		})
		huma.Register(a.Huma, huma.Operation{OperationID: "get-" + name, Method: http.MethodGet, Path: "/v1/" + name},
			func(context.Context, *struct{}) (*struct{}, error) { return nil, problem })
		for path, want := range map[string]string{"/written/": want, "/v1/": want, "/later/": "7"} {
			w := httptest.NewRecorder()
			a.Mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path+name, nil))
			if got := w.Header().Values("Retry-After"); w.Code != status || len(got) > 1 || w.Header().Get("Retry-After") != want {
				t.Errorf("%s%s: %d, Retry-After %q, want %q", path, name, w.Code, got, want)
			}
		}
	}
}

// TestUnrouted: what no route takes is answered with a problem, a browser outside /v1/ gets a page, and paths are still put right.
func TestUnrouted(t *testing.T) {
	a := NewAPI("test", NewKeys(nil))
	a.Mux.HandleFunc("POST /v1/things", func(http.ResponseWriter, *http.Request) {})
	a.Mux.HandleFunc("GET /shop/", func(http.ResponseWriter, *http.Request) {})
	a.Page = func(w http.ResponseWriter, _ *http.Request, status int) { http.Error(w, "a page", status) }
	for _, c := range []struct {
		name, method, path, accept string
		status                     int
		code, allow                string // code empty: no problem
	}{
		{"unknown path", "GET", "/v1/nothing", "", 404, "not_found", ""},
		{"other method", "GET", "/v1/things", "", 405, "method_not_allowed", "POST"},
		{"API in a browser", "GET", "/v1/nothing", "text/html", 404, "not_found", ""},
		{"page in a browser", "GET", "/nothing", "text/html,*/*;q=0.8", 404, "", ""},
		{"form in a browser", "PUT", "/shop/", "text/html", 405, "", "GET, HEAD"},
		{"page without a browser", "GET", "/nothing", "*/*", 404, "not_found", ""},
		{"path to put right", "GET", "/shop", "text/html", 307, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, nil)
			r.Header.Set("Accept", c.accept)
			w := httptest.NewRecorder()
			a.Unrouted(w, r)
			if w.Code != c.status || w.Header().Get("Allow") != c.allow {
				t.Errorf("status %d, Allow %q", w.Code, w.Header().Get("Allow"))
			}
			var problem Problem
			if c.code == "" {
				return
			}
			if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || problem.Code != c.code || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%v, %s %s", err, w.Header().Get("Content-Type"), w.Body)
			}
		})
	}
}
