package app

import (
	"net/http"
	"net/http/pprof"

	"sluice/internal/httpx"
)

// registerProfiles adds Go's profiles, for operators: what the process spends its time and memory on.
func registerProfiles(api *httpx.API) {
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /debug/pprof/":        pprof.Index,
		"GET /debug/pprof/profile": pprof.Profile,
		"GET /debug/pprof/symbol":  pprof.Symbol,
		"GET /debug/pprof/trace":   pprof.Trace,
	} {
		api.Mux.Handle(pattern, api.Keys.Require(handler, httpx.RoleOperator))
	}
}
