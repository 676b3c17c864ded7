package collector

import (
	"strings"
	"testing"

	"sluice/ingest"
	"sluice/internal/quota"
)

// TestQuotas: what is beyond a write key's quota is refused as a whole, names the quota, and leaves the server key alone.
func TestQuotas(t *testing.T) {
	limits := quota.Config{
		Events:     quota.Limits{Address: quota.Limit{Rate: 0.001, Burst: 12}, Subject: quota.Limit{Rate: 0.001, Burst: 3}},
		Identities: quota.Limits{Key: quota.Limit{Rate: 0.001, Burst: 1}},
	}
	s := start(t, func(o *Options) {
		o.Quotas = quota.New(quota.Options{Config: &limits, Registerer: o.Registerer})
		o.Introduces = func(ev *ingest.Event) bool { return strings.HasPrefix(ev.AnonymousId, "new") }
	})
	lines := func(who ...string) string {
		var all strings.Builder
		for i, name := range who {
			all.WriteString(one(name+string(rune('a'+i)), name) + "\n")
		}
		return all.String()
	}
	for _, step := range []struct{ name, key, body, want, detail, after string }{
		{"three of a visitor", writeKey, lines("v", "v", "v"), "202 accepted=3", "", ""},
		{"the fourth", writeKey, lines("v"), "429 quota", "events of this subject", "1000"},
		{"one who is new", writeKey, lines("new1", "new1"), "202 accepted=2", "", ""},
		{"another one, among others", writeKey, lines("w", "new2"), "429 quota", "identities of this key", "1000"},
		{"more than the address has left", writeKey, lines("a", "b", "c", "d", "e", "f"), "429 quota", "events of this address", "1000"},
		{"as many as it has", writeKey, lines("g", "h", "i", "j", "k"), "202 accepted=5", "", ""},
		{"not even read", writeKey, "rubbish", "429 quota", "events of this address", "1000"},
		{"the server key", serverKey, lines("x", "x", "x", "x", "new3", "new4"), "202 accepted=6", "", ""},
	} {
		t.Run(step.name, func(t *testing.T) {
			answer, body := s.do(t, ask{key: step.key, body: step.body, kind: typeNDJSON})
			if got := told(t, answer, body); got != step.want || !strings.Contains(body, step.detail) || answer.Header.Get("Retry-After") != step.after {
				t.Errorf("%s, Retry-After %q: %s\nwant %s, %q and %q", got, answer.Header.Get("Retry-After"), body, step.want, step.detail, step.after)
			}
		})
	}
}
