package collector

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/ingest"
	"sluice/internal/config"
)

func load(t *testing.T, text string) (*Config, error) {
	t.Helper()
	file, err := config.Parse("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	builtin, err := config.Parse("collector.yaml", Defaults)
	if err != nil {
		t.Fatal(err)
	}
	under, _ := builtin.Section(name)
	own, _ := file.Section(name)
	section, _, err := config.Merge(under, own, config.By{})
	if err != nil {
		return nil, err
	}
	return Load(func(string) config.Section { return section })
}

func TestLoad(t *testing.T) {
	public, _ := keyPair(t)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	block := "      " + strings.ReplaceAll(strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))), "\n", "\n      ")
	c, err := load(t, "collector:\n  trust_client_identity: true\n  user_token:\n    public_keys:\n    - |\n"+block+"\n")
	if err != nil {
		t.Fatal(err)
	}
	if !c.TrustClientIdentity || len(c.UserKeys) != 1 || !c.UserKeys[0].Equal(public) || c.Leeway != 30*time.Second || c.Timeout != 10*time.Second || c.InFlight != 64<<20 || c.Remembered != 1_000_000 {
		t.Errorf("%+v", c)
	}
	for text, want := range map[string]string{
		"collector: {timout: 3s}":                      "f.yaml:1:13: collector.timout: unknown key; did you mean timeout?",
		"collector: {timeout: soon}":                   "f.yaml:1:22: collector.timeout: must be a duration such as 30m, 6h or 7d",
		"collector:\n  in_flight_mib: 4":               "f.yaml:2:18: collector.in_flight_mib: must be between 8 and 1048576",
		"collector:\n  remembered_ids: 0":              "f.yaml:2:19: collector.remembered_ids: must be between 1 and 1000000000",
		"collector:\n  max_backlog: 0":                 "f.yaml:2:16: collector.max_backlog: must be between 1 and 1000000000000",
		"collector: {user_token: {leeway: x}}":         "f.yaml:1:34: collector.user_token.leeway: must be a duration such as 30m, 6h or 7d",
		"collector: {user_token: {public_keys: [xy]}}": "f.yaml:1:40: collector.user_token.public_keys[0]: must be an Ed25519 public key in PEM (-----BEGIN PUBLIC KEY-----)",
	} {
		if _, err := load(t, text); err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestDocumentation holds the OpenAPI document to what is decoded.
func TestDocumentation(t *testing.T) {
	s := start(t, nil)
	_, body := s.do(t, ask{method: http.MethodGet, path: "/openapi.json"})
	var doc struct {
		Paths map[string]map[string]*struct {
			RequestBody struct {
				Content map[string]struct{ Schema struct{ OneOf []any } }
			}
		}
		Components struct {
			Schemas map[string]struct{ Properties map[string]json.RawMessage }
		}
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range map[string][]string{"/v1/events": {"post"}, "/v1/items": {"post"}, "/v1/items/{id}": {"delete"}, "/v1/replays/{run}": {"get"}, "/v1/replays/{run}/events": {"post"}} {
		for _, method := range methods {
			if doc.Paths[path][method] == nil {
				t.Errorf("%s %s is not documented", method, path)
			}
		}
	}
	for name, members := range map[string][]string{
		"EventsAnswer": {"accepted", "errors", "warnings"}, "RowsAnswer": {"denied_rows"}, "CollectedEvent": {"id", "items", "order"},
	} {
		for _, member := range members {
			if doc.Components.Schemas[name].Properties[member] == nil {
				t.Errorf("%s has no %s", name, member)
			}
		}
	}
	for kind, forms := range map[string]int{typeJSON: 3, typeText: 3, typeNDJSON: 0} {
		schema := doc.Paths["/v1/events"]["post"].RequestBody.Content[kind].Schema
		if len(schema.OneOf) != forms {
			t.Errorf("a body of %s has %d forms: %+v", kind, len(schema.OneOf), schema)
		}
	}
	event, err := json.Marshal(eventExample)
	if err != nil {
		t.Fatal(err)
	}
	if _, warnings, fault := ingest.Decode(event); fault != nil || warnings != nil {
		t.Errorf("the example: %v, %v", fault, warnings)
	}
	item, err := json.Marshal(itemExample)
	if err != nil {
		t.Fatal(err)
	}
	if _, warnings, fault := ingest.DecodeItem(item); fault != nil || warnings != nil {
		t.Errorf("the item example: %v, %v", fault, warnings)
	}
}
