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
		{"more than the address has left", writeKey, lines("a", "b", "c", "d", "e", "f"), "429 quota", "events of this address", "2000"},
		{"as many as it has", writeKey, lines("g", "h", "i", "j"), "202 accepted=4", "", ""},
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

// narrow keeps room for few events, and remembers the most that it was asked for.
type narrow struct {
	Backlog
	few, most int
}

func (*narrow) Open() bool         { return true }
func (*narrow) Fill(_, _ int) bool { return true }
func (*narrow) Release(int)        {}

func (b *narrow) Reserve(n int) bool {
	b.most = max(b.most, n)
	return n <= b.few
}

// TestQuotasCountBeforeRoomIsKept: a batch beyond the quota asks for no room in the backlog, and one that finds no room takes nothing of the quota.
func TestQuotasCountBeforeRoomIsKept(t *testing.T) {
	limits := quota.Config{Events: quota.Limits{Address: quota.Limit{Rate: 0.001, Burst: 5}}}
	backlog := &narrow{few: 2}
	s := start(t, func(o *Options) {
		o.Quotas = quota.New(quota.Options{Config: &limits})
		o.Backlog = backlog
	})
	long := func(n int) string { return strings.Repeat(" ", n*eventBytes) + one("a", "v") }
	for i, step := range []struct{ body, want string }{
		{one("a", "v"), "202 accepted=1"},
		{long(3), "429 behind"},
		{long(3), "429 behind"},
		{long(5), "429 quota"},
		{one("b", "v"), "202 accepted=1"},
	} {
		answer, body := s.do(t, ask{key: writeKey, body: step.body})
		if got := told(t, answer, body); got != step.want {
			t.Errorf("request %d: %s, want %s", i, got, step.want)
		}
	}
	if backlog.most != 3 {
		t.Errorf("room was kept for %d events, want 3", backlog.most)
	}
}
