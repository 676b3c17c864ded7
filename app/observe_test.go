package app

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/httpx"
)

// TestReadyByRole: a balancer of one role asks for that role alone; a process that is about to stop is ready for nothing.
func TestReadyByRole(t *testing.T) {
	readiness := &readiness{roles: []string{roleRanker, roleRisk}}
	readiness.role = roleRanker
	why := "lapsed"
	readiness.add("consent lease", func() string { return why })
	api := httpx.NewAPI("test", httpx.NewKeys(nil))
	registerHealth(api, readiness, prometheus.NewRegistry())
	expect := func(path string, want int) {
		t.Helper()
		answer := httptest.NewRecorder()
		api.Mux.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if answer.Code != want {
			t.Errorf("%s: %d, expected %d: %s", path, answer.Code, want, answer.Body)
		}
	}
	expect("/readyz", http.StatusServiceUnavailable)
	expect("/readyz?role=ranker", http.StatusServiceUnavailable)
	expect("/readyz?role=risk", http.StatusOK)
	expect("/readyz?role=filter", http.StatusServiceUnavailable) // not of this process
	why = ""
	note := "nothing was ever posted"
	readiness.note("catalogue", func() string { return note })
	expect("/readyz", http.StatusOK)
	if notes := readiness.state().Notes; notes["catalogue"] != note {
		t.Errorf("notes: %v", notes)
	}
	if note = ""; len(readiness.state().Notes) > 0 {
		t.Error("a note without words")
	}
	readiness.leaving.Store(true)
	expect("/readyz?role=risk", http.StatusServiceUnavailable)
}
