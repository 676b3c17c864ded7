// Package quota bounds what callers with a write key may ask of a node: events, settings, new identities; by key, by address, by subject. A write key is public,
// and whoever reads the page has it.
package quota

import (
	"context"
	"hash/maphash"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/canonical"
	"sluice/internal/httpx"
)

// Code is the code of the problem that answers a request beyond a quota.
const Code = "quota"

// Options of quotas.
type Options struct {
	Config     *Config
	Proxies    Proxies               // whose word for the client's address is believed
	Held       int                   // refused requests that are held at once, at most; 0 = none is held
	Registerer prometheus.Registerer // nil = no metrics
	Now        func() time.Duration  // a clock that never goes back; nil = time since New
}

// hold is how long a refused request is held before it is answered: no longer than most refusals ask to wait. Whoever sends the next one after each answer is slowed down by it, and takes no processor
// from others meanwhile.
const hold = 2 * time.Second

// Quotas counts what callers ask for. It is safe for concurrent use. Nil Quotas refuse nothing.
type Quotas struct {
	proxies Proxies
	now     func() time.Duration
	seed    maphash.Seed // nobody can choose names that share a bucket
	places  chan struct{}
	hold    time.Duration

	events, settings, withdrawals, identities, optOuts quota
}

// by is who is counted.
type by uint8

// Who is counted, the narrowest first. They are asked in this order: what one of them refuses takes nothing from those behind it, so that whoever is refused
// for their own sake uses up nothing of others.
const (
	bySubject by = iota
	byAddress
	byKey
	kinds
)

var names = [kinds]string{"subject", "address", "key"}

// quota is one thing that is counted.
type quota struct {
	name    string
	tables  [kinds]*table
	refused [kinds]prometheus.Counter
}

// New makes quotas.
func New(o Options) *Quotas {
	if o.Now == nil {
		began := time.Now()
		o.Now = func() time.Duration { return time.Since(began) }
	}
	q := &Quotas{proxies: o.Proxies, now: o.Now, seed: maphash.MakeSeed(), places: make(chan struct{}, o.Held), hold: hold}
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_quota_refused_total", Help: "Requests with a write key that were answered 429 `quota`, by quota (events, settings, withdrawals, identities, opt_outs) and by what was counted (key, address, subject).",
	}, []string{"quota", "by"})
	for _, of := range []struct {
		into   *quota
		name   string
		limits Limits
	}{{&q.events, "events", o.Config.Events}, {&q.settings, "settings", o.Config.Settings}, {&q.withdrawals, "withdrawals", o.Config.Withdrawals}, {&q.identities, "identities", o.Config.Identities}, {&q.optOuts, "opt_outs", o.Config.OptOuts}} {
		of.into.name = of.name
		for i, l := range [kinds]Limit{bySubject: of.limits.Subject, byAddress: of.limits.Address, byKey: of.limits.Key} {
			of.into.tables[i] = newTable(l, sets)
			of.into.refused[i] = refused.WithLabelValues(of.name, names[i])
		}
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(refused)
	}
	return q
}

// Caller is who asks, as far as quotas tell callers apart. The zero Caller has no quota.
type Caller struct {
	q       *Quotas
	key     uint64
	address uint64
}

// Caller reads who asks. Only a write key has quotas.
func (q *Quotas) Caller(r *http.Request, role httpx.Role) Caller {
	if q == nil || role != httpx.RoleWrite {
		return Caller{}
	}
	address := canonical.Network(q.proxies.AddressOf(r)).As16()
	return Caller{q: q, key: maphash.String(q.seed, httpx.KeyOf(r)), address: maphash.Bytes(q.seed, address[:])}
}

// Limited tells whether the caller has quotas at all.
func (c Caller) Limited() bool { return c.q != nil }

// Post tells, before a body is read, whether the caller may post an event.
func (c Caller) Post() *httpx.Problem {
	if c.q == nil {
		return nil
	}
	now := int64(c.q.now())
	for kind, id := range [kinds]uint64{byAddress: c.address, byKey: c.key} {
		if kind := by(kind); kind != bySubject {
			if wait := c.q.events.tables[kind].look(id, 1, now); wait > 0 {
				return c.q.events.refuse(kind, wait)
			}
		}
	}
	return nil
}

// Address is the caller's address as quotas tell addresses apart. A caller without quotas has none.
func (c Caller) Address() (id uint64, limited bool) { return c.address, c.q != nil }

// Setting counts a settings write of a subject: by the subject and the address, or also by the key.
func (c Caller) Setting(subject string, whose Reach) *httpx.Problem {
	if c.q == nil {
		return nil
	}
	problem := c.take(&c.q.settings, bySubject, c.subject(subject), 1)
	if problem == nil {
		problem = c.take(&c.q.settings, byAddress, c.address, 1)
	}
	if problem == nil && whose == OfKey {
		problem = c.take(&c.q.settings, byKey, c.key, 1)
	}
	return problem
}

// Reach is who beside the subject is counted for a settings write.
type Reach uint8

// A reach includes those before it.
const (
	OfAddress Reach = iota
	OfKey
)

// Withdrawal counts a settings write by which a subject of whom something is recorded withdraws, denies or deletes: by the subject, like its other writes, and apart
// from them by the address. A key has no such quota: callers elsewhere cannot use it up.
func (c Caller) Withdrawal(subject string) *httpx.Problem {
	if c.q == nil {
		return nil
	}
	if problem := c.take(&c.q.settings, bySubject, c.subject(subject), 1); problem != nil {
		return problem
	}
	return c.take(&c.q.withdrawals, byAddress, c.address, 1)
}

// Identity counts a subject of whom nothing was known.
func (c Caller) Identity() *httpx.Problem {
	if c.q == nil {
		return nil
	}
	return c.one(&c.q.identities)
}

// OptOut counts a subject of whom nothing was known, and who says no.
func (c Caller) OptOut() *httpx.Problem {
	if c.q == nil {
		return nil
	}
	return c.one(&c.q.optOuts)
}

// subject is a subject at the caller's address: whoever knows of it elsewhere uses up nothing of its own.
func (c Caller) subject(name string) uint64 { return maphash.String(c.q.seed, name) + c.address }

// one takes one token of the address and of the key.
func (c Caller) one(of *quota) *httpx.Problem {
	if kind, wait := c.takeAll(of, 1); wait > 0 {
		return of.refuse(kind, wait)
	}
	return nil
}

// takeAll takes n tokens of the address and of the key, or none and tells which of them has too few.
func (c Caller) takeAll(of *quota, n int) (kind by, wait time.Duration) {
	now := int64(c.q.now())
	if wait := of.tables[byAddress].take(c.address, n, now); wait > 0 {
		return byAddress, wait
	}
	if wait := of.tables[byKey].take(c.key, n, now); wait > 0 {
		of.tables[byAddress].give(c.address, n)
		return byKey, wait
	}
	return byKey, 0
}

func (c Caller) take(of *quota, kind by, id uint64, n int) *httpx.Problem {
	if wait := of.tables[kind].take(id, n, int64(c.q.now())); wait > 0 {
		return of.refuse(kind, wait)
	}
	return nil
}

// longest is the longest time that a caller is asked to wait.
const longest = time.Hour

// refuse is the answer to what is beyond the quota.
func (of *quota) refuse(kind by, wait time.Duration) *httpx.Problem {
	of.refused[kind].Inc()
	problem := httpx.NewProblem(http.StatusTooManyRequests, Code, "The quota "+of.name+" of this "+names[kind]+" is used up. Nothing was recorded; send the same again after the time that Retry-After gives.")
	problem.RetryAfter = strconv.Itoa(int(math.Ceil(min(wait, longest).Seconds())))
	return problem
}

// Hold lets a refused caller wait for its answer, unless too many wait.
func (c Caller) Hold(ctx context.Context) {
	if c.q == nil {
		return
	}
	select {
	case c.q.places <- struct{}{}:
	default:
		return
	}
	defer func() { <-c.q.places }()
	timer := time.NewTimer(c.q.hold)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
