package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

// call is an operation and where it is.
type call struct {
	operation
	method, path string
}

func (o call) name() string { return o.method + " " + o.path }

// operations reads the description that the node serves.
func (d *demo) operations() (all []call) {
	d.t.Helper()
	var document struct {
		Paths map[string]map[string]operation
	}
	d.ask(http.MethodGet, "/openapi.json", nil, &document)
	for _, path := range slices.Sorted(maps.Keys(document.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(document.Paths[path])) {
			all = append(all, call{document.Paths[path][method], strings.ToUpper(method), path})
		}
	}
	return all
}

// needs tells whether the operation takes a key of the role, "" for none, and whether it then asks for the user token of its account.
func (o call) needs(role string) (takes, token bool) {
	for _, need := range o.Security {
		_, token := need["user_token"]
		if role == "" && len(need) == 0 || role != "" && slices.Contains(need["key"], role) {
			return true, token
		}
	}
	return false, false
}

// caller is one who calls.
type caller struct {
	name, key, origin, token string
	role                     string // of the key, "" if it is none that counts
	query                    bool   // the key stands in the query, where it counts for beacons alone
	elsewhere                bool   // the key is bound to other pages
	own                      bool   // the token is the account's own
}

// examples are values of the parameters in paths.
var examples = map[string]string{
	"user_id": "ada", "anonymous_id": "v-1", "purpose": "personalize", "kind": "item", "id": "i1", "event_id": "e1", "run": "00000000000000aa", "list": "trending", "decision_id": "d1",
}

const accessGuide = "../../docs/reference/access.md"

// TestAccess calls every operation that the API describes as everybody who may come, on a running node: whoever the description lets in is not answered 401 or 403, and
// everybody else is. It holds docs/reference/access.md to the description.
func TestAccess(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	block := strings.ReplaceAll(strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))), "\n", "\n        ")
	token := func(user string) string {
		text, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"sub": user, "exp": time.Now().Add(time.Hour).Unix()}).SignedString(private)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	d := startDemo(t, t.TempDir(), "--shop", "none", "--shoppers", "0", "--config", writeConfig(t, `
log: {level: debug}
keys:
  write: [write-a1b2c3d4e5f6, bound-a1b2c3d4e5f6, over-a1b2c3d4e5f6]
  server: [server-a1b2c3d4e5f6]
  operator: [operator-a1b2c3d4e5f6]
  origins: {bound-a1b2c3d4e5f6: ["https://shop.example"]}
  expires: {over-a1b2c3d4e5f6: 2026-01-01}
collector:
  user_token:
    public_keys:
      - |
        `+block+"\n"))
	all := d.operations()
	if len(all) < 20 {
		t.Fatalf("%d operations", len(all))
	}
	callers := []caller{
		{name: "nobody's key"},
		{name: "an unknown key", key: "unknown-a1b2c3d4e5f6"},
		{name: "an expired write key", key: "over-a1b2c3d4e5f6"},
		{name: "a write key", key: "write-a1b2c3d4e5f6", role: "write"},
		{name: "a write key that is bound to the page", key: "bound-a1b2c3d4e5f6", origin: "https://shop.example", role: "write"},
		{name: "a write key that is bound to another page", key: "bound-a1b2c3d4e5f6", origin: "https://evil.example", role: "write", elsewhere: true},
		{name: "a write key and the account's token", key: "write-a1b2c3d4e5f6", role: "write", token: token(examples["user_id"]), own: true},
		{name: "a write key and another account's token", key: "write-a1b2c3d4e5f6", role: "write", token: token("mallory")},
		{name: "a write key in the query", key: "write-a1b2c3d4e5f6", role: "write", query: true},
		{name: "a server key in the query", key: "server-a1b2c3d4e5f6", query: true},
		{name: "a server key", key: "server-a1b2c3d4e5f6", role: "server"},
		{name: "an operator key", key: "operator-a1b2c3d4e5f6", role: "operator"},
	}
	cells, in := 0, 0
	for _, op := range all {
		if len(op.Security) == 0 {
			t.Errorf("%s does not say who may call it", op.name())
		}
		for _, c := range callers {
			cells++
			want := c.want(op)
			if want == 0 {
				in++
			}
			got := d.status(op, c)
			if want == 0 && (got == http.StatusUnauthorized || got == http.StatusForbidden || got >= 500 && got != http.StatusServiceUnavailable) || want != 0 && got != want {
				t.Errorf("%s with %s: answered %d, want %d (0: let in)", op.name(), c.name, got, want)
			}
		}
	}
	t.Logf("%d operations, %d callers: %d cells, %d let in, %d kept out", len(all), len(callers), cells, in, cells-in)
	compareAccessGuide(t, all)
	for _, c := range callers {
		if c.key != "" && strings.Contains(d.logs.String(), c.key) || c.token != "" && strings.Contains(d.logs.String(), c.token) {
			t.Errorf("the log holds %s", c.name)
		}
	}
}

// want is the status that keeps the caller out; 0: they are let in.
func (c caller) want(op call) int {
	if open, _ := op.needs(""); open {
		return 0
	}
	takes, token := op.needs(c.role)
	switch {
	case c.role == "", c.query && op.name() != "POST /v1/events":
		return http.StatusUnauthorized
	case !takes, c.elsewhere, token && !c.own:
		return http.StatusForbidden
	default:
		return 0
	}
}

var parameter = regexp.MustCompile(`\{([^}]*)\}`)

// status calls the operation and tells the answer's status.
func (d *demo) status(op call, c caller) int {
	d.t.Helper()
	path := parameter.ReplaceAllStringFunc(op.path, func(name string) string {
		value, known := examples[name[1:len(name)-1]]
		if !known {
			d.t.Fatalf("%s: no example of %s", op.path, name)
		}
		return value
	})
	var body io.Reader
	if op.RequestBody != nil {
		body = strings.NewReader("{}")
	}
	req, err := http.NewRequestWithContext(d.t.Context(), op.method, d.url+path, body)
	if err != nil {
		d.t.Fatal(err)
	}
	if c.query {
		req.URL.RawQuery = url.Values{"key": {c.key}}.Encode()
		req.Header.Set("Referer", "https://shop.example/?key="+c.key)
		c.key = ""
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + c.key, "Origin": c.origin, "Sluice-User-Token": c.token, "Content-Type": "application/json"} {
		if value != "" && value != "Bearer " {
			req.Header.Set(name, value)
		}
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		d.t.Fatal(err)
	}
	return answer.StatusCode
}

// compareAccessGuide holds the guide to the description; -update writes it.
func compareAccessGuide(t *testing.T, all []call) {
	t.Helper()
	var b strings.Builder
	b.WriteString(`# Access: which key may call what

Made from the API's own description (` + "`/openapi.json`, `security` of each operation), by `go test ./cmd/sluice -run TestAccess -update`" + `. The same test calls each operation of a
running node with every kind of key. "With its token": beside a [user token](../storefront.md#keys) of this very account. What a key may say in a body is in the
[storefront guide](../storefront.md#keys).

| operation | no key | write | server | operator | what it does |
|---|---|---|---|---|---|
`)
	for _, op := range all {
		fmt.Fprintf(&b, "| `%s` |", op.name())
		for _, role := range []string{"", "write", "server", "operator"} {
			takes, token := op.needs(role)
			open, _ := op.needs("")
			switch {
			case takes && token:
				b.WriteString(" with its token |")
			case takes || open:
				b.WriteString(" yes |")
			default:
				b.WriteString(" |")
			}
		}
		fmt.Fprintf(&b, " %s |\n", op.Summary)
	}
	if *update {
		if err := os.WriteFile(accessGuide, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(accessGuide)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(written), "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("%s (run with -update to accept): %s", accessGuide, diff)
	}
}
