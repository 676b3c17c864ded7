package quota

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/config"
	"sluice/internal/httpx"
)

// clock is one that tests move.
type clock struct{ now time.Duration }

func (c *clock) read() time.Duration { return c.now }

func quotas(c *clock, config Config) *Quotas {
	return New(Options{Config: &config, Proxies: proxies, Held: 1, Now: c.read})
}

func caller(q *Quotas, peer, key string) Caller {
	return q.Caller(request(peer, "Authorization", "Bearer "+key), httpx.RoleWrite)
}

func expect(t *testing.T, what string, problem *httpx.Problem, text, after string) {
	t.Helper()
	if text == "" {
		if problem != nil {
			t.Errorf("%s: refused: %v", what, problem)
		}
		return
	}
	if problem == nil {
		t.Errorf("%s: let through", what)
		return
	}
	if problem.Status != http.StatusTooManyRequests || problem.Code != Code || !strings.Contains(problem.Detail, text) || problem.GetHeaders().Get("Retry-After") != after {
		t.Errorf("%s: %v, Retry-After %q; want %q in it and %q", what, problem, problem.GetHeaders(), text, after)
	}
}

// post posts n events of each subject, in turn.
func post(c Caller, n int, subjects ...string) *httpx.Problem {
	b, problem := c.Batch(1)
	if problem != nil {
		return problem
	}
	for range n {
		for _, subject := range subjects {
			b.Event(subject)
		}
	}
	return b.Settle(n * len(subjects))
}

func TestEvents(t *testing.T) {
	c := new(clock)
	q := quotas(c, Config{Events: Limits{Key: Limit{1, 30}, Address: Limit{1, 20}, Subject: Limit{0.1, 5}}})
	ada := caller(q, "203.0.113.1:1", "pk")
	expect(t, "five", post(ada, 5, "ada"), "", "")
	expect(t, "the sixth", post(ada, 1, "ada"), "events of this subject", "10")
	expect(t, "another subject", post(ada, 1, "bo"), "", "")
	expect(t, "the same subject elsewhere", post(caller(q, "203.0.113.9:1", "pk"), 5, "ada"), "", "")
	expect(t, "what is left, lent by a full bucket", post(ada, 13, "cy"), "", "")
	expect(t, "before the next body", ada.Post(), "events of this address", "1")
	expect(t, "the same network, with a fine", post(caller(q, "[::ffff:203.0.113.1]:2", "pk"), 1, "di"), "events of this address", "2")
	expect(t, "another address", post(caller(q, "203.0.113.2:1", "pk"), 5, "ed"), "", "")
	expect(t, "all addresses together", post(caller(q, "203.0.113.3:1", "pk"), 2, "fi"), "events of this key", "1")
	expect(t, "another key", caller(q, "203.0.113.3:1", "pk2").Post(), "", "")
	c.now += time.Minute
	expect(t, "later", ada.Post(), "", "")
}

// TestBatchesAreTakenWhole: what is refused takes nothing but the fine, and is taken when Retry-After says so.
func TestBatchesAreTakenWhole(t *testing.T) {
	for _, test := range []struct {
		name       string
		config     Config
		n          int
		subjects   []string
		identities int
	}{
		{"mixed, more than a subject's burst", Config{Events: Limits{Subject: Limit{1, 10}}}, 12, []string{"a", "b"}, 0},
		{"one subject of two", Config{Events: Limits{Subject: Limit{1, 10}}}, 4, []string{"used", "a"}, 0},
		{"more than the address's burst", Config{Events: Limits{Address: Limit{1, 10}}}, 20, []string{"a"}, 0},
		{"more than the key's burst", Config{Events: Limits{Key: Limit{1, 10}}}, 20, []string{"a"}, 0},
		{"more people than an address may bring", Config{Identities: Limits{Address: Limit{1, 10}, Key: Limit{1, 100}}}, 1, []string{"a"}, 11},
		{"more people than a key may bring", Config{Identities: Limits{Address: Limit{1, 100}, Key: Limit{1, 10}}}, 1, []string{"a"}, 11},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := new(clock)
			q := quotas(c, test.config)
			one := caller(q, "203.0.113.1:1", "pk")
			send := func(n, identities int, subjects ...string) *httpx.Problem {
				b, problem := one.Batch(1)
				if problem != nil {
					return problem
				}
				for range n {
					for _, subject := range subjects {
						b.Event(subject)
					}
				}
				if problem := b.Settle(n * len(subjects)); problem != nil {
					return problem
				}
				return b.Identities(identities)
			}
			expect(t, "before", send(8, min(test.identities, 8), "used"), "", "")
			for range 3 {
				problem := send(test.n, test.identities, test.subjects...)
				if problem == nil {
					break
				}
				after, err := time.ParseDuration(problem.RetryAfter + "s")
				if err != nil {
					t.Fatal(err)
				}
				c.now += after
				expect(t, "after "+after.String(), send(test.n, test.identities, test.subjects...), "", "")
				c.now += time.Hour
			}
			c.now += time.Hour
			expect(t, "after a rest", send(test.n, test.identities, test.subjects...), "", "")
		})
	}
}

// TestRefusedBatchesSoonGoUnread: batches that are refused cost their address a part, at most a full bucket, and the key nothing.
func TestRefusedBatchesSoonGoUnread(t *testing.T) {
	q := quotas(new(clock), Config{Events: Limits{Address: Limit{1, 100}, Key: Limit{1, 1000}}})
	loud := caller(q, "203.0.113.1:1", "pk")
	expect(t, "before", post(loud, 60, "a"), "", "")
	for range 100 {
		if _, problem := loud.Batch(1000); problem == nil {
			t.Fatal("let through")
		}
	}
	expect(t, "the next body", loud.Post(), "events of this address", "101")
	expect(t, "the key", post(caller(q, "203.0.113.2:1", "pk"), 940, "b"), "", "")
}

// TestReturnGivesBack what a batch took, also after its bucket was used by others.
func TestReturnGivesBack(t *testing.T) {
	q := quotas(new(clock), Config{Events: Limits{Address: Limit{1, 10}, Key: Limit{1, 20}, Subject: Limit{1, 5}}})
	c := caller(q, "203.0.113.1:1", "pk")
	for range 10 {
		b, problem := c.Batch(3)
		expect(t, "batch", problem, "", "")
		for range 5 {
			b.Event("a")
		}
		expect(t, "settle", b.Settle(5), "", "")
		b.Return()
		b.Return()
	}
	expect(t, "all of it", post(c, 5, "a", "b"), "", "")
	expect(t, "one more", c.Post(), "events of this address", "1")
}

// TestWhoIsRefusedTakesNothingOfOthers: a subject's, or an address's, refusals leave the key's bucket full.
func TestWhoIsRefusedTakesNothingOfOthers(t *testing.T) {
	q := quotas(new(clock), Config{Settings: Limits{Key: Limit{1, 10}, Address: Limit{1, 5}, Subject: Limit{1, 2}}})
	loud := caller(q, "203.0.113.1:1", "pk")
	for range 100 {
		loud.Setting("loud", OfKey)
	}
	expect(t, "the same address", loud.Setting("quiet", OfKey), "", "")
	for range 100 {
		loud.Setting("a", OfKey)
		loud.Setting("b", OfKey)
	}
	for i, peer := range []string{"203.0.113.2:1", "203.0.113.3:1", "203.0.113.4:1", "203.0.113.5:1", "203.0.113.6:1"} {
		expect(t, peer, caller(q, peer, "pk").Setting(string(rune('p'+i)), OfKey), "", "")
	}
}

func TestReach(t *testing.T) {
	q := quotas(new(clock), Config{Settings: Limits{Key: Limit{1, 1}, Address: Limit{1, 1}, Subject: Limit{1, 1}}, Withdrawals: Limits{Address: Limit{1, 2}}})
	one := caller(q, "203.0.113.1:1", "pk")
	expect(t, "the first", one.Setting("a", OfKey), "", "")
	expect(t, "by address", one.Setting("b", OfAddress), "settings of this address", "1")
	expect(t, "by key", caller(q, "203.0.113.2:1", "pk").Setting("c", OfKey), "settings of this key", "1")
	expect(t, "by itself", one.Withdrawal("d"), "", "")
	expect(t, "by itself again", one.Withdrawal("d"), "settings of this subject", "1")
	expect(t, "of an address", one.Withdrawal("e"), "", "")
	expect(t, "of an address again", one.Withdrawal("f"), "withdrawals of this address", "1")
	expect(t, "the same subject elsewhere", caller(q, "203.0.113.3:1", "pk").Withdrawal("d"), "", "")
}

func TestNewPeople(t *testing.T) {
	q := quotas(new(clock), Config{Identities: Limits{Address: Limit{2, 1}}, OptOuts: Limits{Key: Limit{1, 1}}})
	one := caller(q, "[2001:db8::1]:1", "pk")
	expect(t, "the first", one.Identity(), "", "")
	expect(t, "another address of the household", caller(q, "[2001:db8::2]:1", "pk").Identity(), "identities of this address", "1")
	expect(t, "one who says no", one.OptOut(), "", "")
	expect(t, "another one", one.OptOut(), "opt_outs of this key", "1")
}

func TestServerKeysHaveNoQuota(t *testing.T) {
	q := quotas(new(clock), Config{Events: Limits{Address: Limit{1, 1}}})
	for _, c := range []Caller{{}, q.Caller(request("203.0.113.1:1"), httpx.RoleServer), (*Quotas)(nil).Caller(request("203.0.113.1:1"), httpx.RoleWrite)} {
		for range 3 {
			for _, problem := range []*httpx.Problem{c.Post(), post(c, 10, "a"), c.Setting("a", OfKey), c.Withdrawal("a"), c.Identity(), c.OptOut()} {
				expect(t, "no quota", problem, "", "")
			}
		}
		c.Hold(t.Context())
		if c.Limited() {
			t.Error("is limited")
		}
	}
}

func TestMetricsNameNobody(t *testing.T) {
	reg := prometheus.NewRegistry()
	q := New(Options{Config: &Config{Events: Limits{Address: Limit{1, 1}}}, Registerer: reg})
	c := caller(q, "203.0.113.1:1", "pk")
	for range 2 {
		_, _ = c.Batch(1)
	}
	const want = `# HELP sluice_quota_refused_total Requests with a write key that were answered 429 ` + "`quota`" + `, by quota (events, settings, withdrawals, identities, opt_outs) and by what was counted (key, address, subject).
# TYPE sluice_quota_refused_total counter
`
	var lines strings.Builder
	lines.WriteString(want)
	for _, quota := range []string{"events", "identities", "opt_outs", "settings", "withdrawals"} {
		for _, by := range []string{"address", "key", "subject"} {
			value := "0"
			if quota == "events" && by == "address" {
				value = "1"
			}
			lines.WriteString(`sluice_quota_refused_total{by="` + by + `",quota="` + quota + `"} ` + value + "\n")
		}
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(lines.String())); err != nil {
		t.Error(err)
	}
}

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := quotas(new(clock), Config{})
		c := caller(q, "203.0.113.1:1", "pk")
		began := time.Now()
		held := make(chan time.Duration, 1)
		go func() {
			c.Hold(t.Context())
			held <- time.Since(began)
		}()
		synctest.Wait()
		c.Hold(t.Context()) // there is one place
		if took := time.Since(began); took != 0 {
			t.Errorf("held for %v beyond the bound", took)
		}
		if took := <-held; took != hold {
			t.Errorf("held for %v, want %v", took, hold)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		began = time.Now()
		c.Hold(gone)
		if took := time.Since(began); took != 0 {
			t.Errorf("one who has gone is held for %v", took)
		}
	})
}

// builtin is the configuration as it is built in.
func builtin(t *testing.T, text string) (*Config, error) {
	t.Helper()
	own, err := config.Parse("quotas.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Load(func(name string) config.Section {
		s, _ := own.Section(name)
		return s
	})
}

// TestTheDefaultsLeaveRoom for what shops do: one page's visitor, an office, a carrier.
func TestTheDefaultsLeaveRoom(t *testing.T) {
	config, err := builtin(t, string(Defaults))
	if err != nil {
		t.Fatal(err)
	}
	c := new(clock)
	q := quotas(c, *config)
	office := caller(q, "203.0.113.1:1", "pk")
	posts := func(subject string, n int) {
		t.Helper()
		for _, problem := range []*httpx.Problem{office.Post(), post(office, n, subject)} {
			expect(t, subject, problem, "", "")
		}
	}
	for range 40 { // a visitor, 40 events in two seconds
		posts("visitor", 1)
		c.now += time.Second / 20
	}
	for second := range 60 { // 500 people come within a minute, and each does something each second
		for person := range 500 {
			subject := string(rune(person + 256))
			if person%60 == second {
				expect(t, "a setting", office.Setting(subject, OfKey), "", "")
				expect(t, "an acceptance", office.Identity(), "", "")
			}
			if second%2 == 0 {
				posts(subject, 1)
			}
		}
		c.now += time.Second
	}
	posts("an app that was offline", 500)
}

func TestFaultyConfigurations(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"quotas: {events: {key: {rate: -1, burst: 1}}}", "events.key.rate: must be between 0.001 and 1000000 a second, or 0 for no limit"},
		{"quotas: {settings: {subject: {rate: 1, burst: 0}}}", "settings.subject.burst: must be between 1 and 1000000"},
		{"quotas: {identities: {subject: {rate: 1, burst: 1}}}", "identities.subject: must not be set: a subject is new once"},
		{"quotas: {opt_outs: {address: {rate: .inf, burst: 1}}}", "opt_outs.address.rate: must be between"},
		{"quotas: {opt_outs: {address: {rate: .nan, burst: 1}}}", "opt_outs.address.rate: must be between"},
		{"quotas: {withdrawals: {key: {rate: 1, burst: 1}}}", "withdrawals: must be set by address alone"},
		{"quotas: {blocks: 1001}", "blocks: must be between 1 and 1000"},
		{"quotas: {events: {country: {rate: 1}}}", "country"},
	} {
		if _, err := builtin(t, test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.text, err, test.want)
		}
	}
	if _, err := builtin(t, "quotas: {events: {key: {rate: 0}}, blocks: 1}"); err != nil {
		t.Errorf("no limit: %v", err)
	}
}

func BenchmarkCaller(b *testing.B) {
	c := new(clock)
	q := New(Options{Config: &Config{Events: Limits{Key: Limit{1e6, 1e6}, Address: Limit{1e6, 1e6}, Subject: Limit{1e6, 1e6}}}, Now: c.read})
	r := request("203.0.113.1:4711", "Authorization", "Bearer pk_0123456789abcdef")
	b.ReportAllocs()
	for b.Loop() {
		c.now += time.Microsecond
		c := q.Caller(r, httpx.RoleWrite)
		if c.Post() != nil || post(c, 1, "visitor-1") != nil {
			b.Fatal("refused")
		}
	}
}
