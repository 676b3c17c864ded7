package httpx

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestKeys: who may do what, and why not.
func TestKeys(t *testing.T) {
	keys := NewKeys(map[string]Role{"w": RoleWrite, "bound": RoleWrite, "s": RoleServer})
	keys.Bind("bound", []string{"https://shop.example"})
	for _, c := range []struct {
		name, method, path, authorization, origin string
		status                                    int
		code                                      string
	}{
		{"a write key", "GET", "/v1/lists/trending", "Bearer w", "", 0, ""},
		{"as a user name", "GET", "/v1/lists/trending", "Basic dzo=", "", 0, ""},
		{"none", "GET", "/v1/lists/trending", "", "", 401, "missing_key"},
		{"an empty one", "GET", "/v1/lists/trending", "Bearer ", "", 401, "missing_key"},
		{"an unknown one", "GET", "/v1/lists/trending", "Bearer x", "", 401, "invalid_key"},
		{"another role's", "GET", "/v1/lists/trending", "Bearer s", "", 403, "wrong_key"},
		{"a beacon's", "POST", "/v1/events?key=w", "", "", 0, ""},
		{"a beacon with a server key", "POST", "/v1/events?key=s", "", "", 401, "invalid_key"},
		{"in the query of anything else", "POST", "/v1/recommendations?key=w", "", "", 401, "missing_key"},
		{"in the query of settings", "GET", "/v1/visitors/v/history?key=w", "", "", 401, "missing_key"},
		{"a bound key from its page", "POST", "/v1/events?key=bound", "", "https://shop.example", 0, ""},
		{"a bound key from another page", "POST", "/v1/events?key=bound", "", "https://evil.example", 403, "wrong_origin"},
		{"a bound key from no page", "POST", "/v1/events", "Bearer bound", "", 403, "wrong_origin"},
		{"a bound key from a page of the API's own origin", "GET", "https://shop.example/v1/lists/trending", "Bearer bound", "same-origin", 0, ""},
		{"a bound key from a page of an API elsewhere", "GET", "https://api.example/v1/lists/trending", "Bearer bound", "same-origin", 403, "wrong_origin"},
		{"a bound key from a page of a like origin", "GET", "https://op.example/v1/lists/trending", "Bearer bound", "same-origin", 403, "wrong_origin"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, nil)
		r.Header.Set("Authorization", c.authorization)
		if c.origin == "same-origin" {
			r.Header.Set("Sec-Fetch-Site", c.origin)
		} else {
			r.Header.Set("Origin", c.origin)
		}
		role, problem := keys.Admit(r, RoleWrite)
		if c.code == "" && (problem != nil || role != RoleWrite) {
			t.Errorf("%s: %v %v", c.name, role, problem)
		}
		if c.code != "" && (problem == nil || problem.Code != c.code || problem.Status != c.status || role != RoleNone) {
			t.Errorf("%s: %v %v", c.name, role, problem)
		}
		if problem != nil && (problem.GetHeaders().Get("WWW-Authenticate") != "") != (problem.Status == http.StatusUnauthorized) {
			t.Errorf("%s: %v", c.name, problem.GetHeaders())
		}
	}
}
