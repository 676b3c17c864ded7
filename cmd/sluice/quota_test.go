package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestQuotasOnANode: strangers with the public key are bounded by address behind a trusted proxy, spoofed headers change nothing, and a known person's opt-out
// is obeyed when everybody else is refused.
func TestQuotasOnANode(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "quotas.yaml")
	const limits = `server: {trusted_proxies: [127.0.0.0/8]}
keys: {write: [demo_write], server: [demo_server], operator: [demo_operator]}
collector: {cors: {origins: ["https://shop.example"]}}
quotas:
  identities: {address: {rate: 0.001, burst: 2}, key: {rate: 0.001, burst: 5}}
  events: {address: {rate: 0.001, burst: 3}}
`
	if err := os.WriteFile(config, []byte(limits), 0o600); err != nil {
		t.Fatal(err)
	}
	d := startDemo(t, filepath.Join(dir, "data"), "--shop", "none", "--shoppers", "0", "--config", config)
	accepted := fmt.Sprintf(`{"version":%q,"accepted":true,"jurisdiction":"CN"}`, d.policy())
	d.accept("known") // with the server key
	arrive := func(who, from string) (int, string) {
		t.Helper()
		status, body := d.call(http.MethodPut, "/v1/visitors/"+who+"/policy", accepted, "Authorization", "Bearer demo_write", "X-Forwarded-For", from)
		return status, string(body)
	}
	for _, step := range []struct {
		who, from, refused string
	}{
		{"a", "203.0.113.1", ""},
		{"b", "198.51.100.7, 203.0.113.1", ""}, // what the client says is not read
		{"c", "198.51.100.8, 203.0.113.1", "identities of this address"},
		{"d", "2001:db8::1", ""},
		{"e", "[2001:db8::2]:99", ""}, // the same network
		{"f", "2001:db8::3", "identities of this address"},
		{"g", "203.0.113.2", ""},
		{"h", "203.0.113.3", "identities of this key"},
	} {
		status, body := arrive(step.who, step.from)
		if step.refused == "" && status != http.StatusOK || step.refused != "" && (status != http.StatusTooManyRequests || !strings.Contains(body, step.refused) || !strings.Contains(body, `"code":"quota"`)) {
			t.Errorf("%s from %s: %d %s, want %q", step.who, step.from, status, body, step.refused)
		}
	}
	status, body := d.call(http.MethodPut, "/v1/visitors/known/consent/personalize", `{"decision":"deny"}`, "Authorization", "Bearer demo_write", "X-Forwarded-For", "203.0.113.1")
	if status != http.StatusOK {
		t.Errorf("a known person's opt-out: %d %s", status, body)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url+"/v1/events", strings.NewReader("["+strings.Repeat("{},", 3)+"{}]"))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer demo_write", "X-Forwarded-For": "203.0.113.9", "Origin": "https://shop.example", "Content-Type": "application/json"} {
		req.Header.Set(name, value)
	}
	for _, want := range []int{http.StatusUnprocessableEntity, http.StatusTooManyRequests} { // what is rejected counts, too
		answer, err := http.DefaultClient.Do(req.Clone(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		req.Body, _ = req.GetBody()
		if answer.StatusCode != want {
			t.Errorf("%d, want %d", answer.StatusCode, want)
		}
		if want == http.StatusTooManyRequests && (answer.Header.Get("Retry-After") == "" || answer.Header.Get("Access-Control-Expose-Headers") != "Retry-After") {
			t.Errorf("a page does not see when to come back: %v", answer.Header)
		}
	}
	if n := d.metric(`sluice_quota_refused_total{by="address",quota="identities"}`); n != 2 {
		t.Errorf("%g refusals are counted", n)
	}
}
