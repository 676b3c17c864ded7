package httpx

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestWeakness: a key that can be guessed is none, and neither is an example's.
func TestWeakness(t *testing.T) {
	const (
		short, stranger = "must have at least 16 characters, 8 different ones among them; `sluice keys generate` makes a key", "must be visible ASCII characters without spaces"
		example         = "must be a key of your own, not an example's; `sluice keys generate` makes one"
	)
	for key, want := range map[string]string{
		"": short, "short": short, "aaaaaaaaaaaaaaaaaaaa": short, "with a space in between": stranger, "zürich-0123456789": stranger,
		"replace-this-write-key": example, "REPLACE_ME_0123456789": example, "changeme-0123456789": example, "sk_<your key, please>": stranger, "<sk_of_your_back_end>": example,
		"my-example-key-0123456": example, "k3q9xv0m2s7a1d8f": "", "sk_5f2c8e1d9b7a4036": "",
	} {
		if got := Weakness(key); got != want {
			t.Errorf("%q: %s", key, got)
		}
	}
}

// TestKeyHash: a hash is read as it is written.
func TestKeyHash(t *testing.T) {
	hash := HashKey("k3q9xv0m2s7a1d8f")
	if back, ok := ParseKeyHash(hash.String()); !ok || back != hash || len(hash.Fingerprint()) != 8 {
		t.Errorf("%s is read as %s, %v", hash, back, ok)
	}
	for _, text := range []string{"", "sha256:", hash.String()[7:], hash.String() + "0", "sha256:" + strings.Repeat("x", 64), "sha512:" + hash.String()[7:]} {
		if _, ok := ParseKeyHash(text); ok {
			t.Errorf("%q is read as a hash", text)
		}
	}
}

// TestKeys: who may do what, and why not.
func TestKeys(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	keys := NewKeys(map[string]Role{"w": RoleWrite, "s": RoleServer})
	keys.now = func() time.Time { return now }
	keys.Add(HashKey("bound"), Grant{Role: RoleWrite, Origins: []string{"https://shop.example"}})
	keys.Add(HashKey("old"), Grant{Role: RoleWrite, Expires: now})
	keys.Add(HashKey("going"), Grant{Role: RoleWrite, Expires: now.Add(time.Second)})
	keys.Add(HashKey("coming"), Grant{Role: RoleWrite, NotBefore: now.Add(time.Second)})
	keys.Add(HashKey("short"), Grant{Role: RoleWrite, Hashed: true})
	keys.Add(HashKey("k3q9xv0m2s7a1d8f"), Grant{Role: RoleWrite, Hashed: true})
	keys.Add(HashKey("begun"), Grant{Role: RoleWrite, NotBefore: now})
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
		{"an expired one", "GET", "/v1/lists/trending", "Bearer old", "", 401, "expired_key"},
		{"one in its last second", "GET", "/v1/lists/trending", "Bearer going", "", 0, ""},
		{"a key before its not_before", "GET", "/v1/lists/trending", "Bearer coming", "", 401, "invalid_key"},
		{"a key after its not_before", "GET", "/v1/lists/trending", "Bearer begun", "", 0, ""},
		{"one of which the hash is known", "GET", "/v1/lists/trending", "Bearer k3q9xv0m2s7a1d8f", "", 0, ""},
		{"a weak one of which the hash is known", "GET", "/v1/lists/trending", "Bearer short", "", 401, "weak_key"},
		{"a hash instead of its key", "GET", "/v1/lists/trending", "Bearer " + HashKey("w").String(), "", 401, "invalid_key"},
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
