package settings

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/httpx"
	"sluice/internal/quota"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
)

func scarce() *quota.Quotas {
	one := quota.Limit{Rate: 0.001, Burst: 1}
	return quota.New(quota.Options{Config: &quota.Config{
		Settings: quota.Limits{Key: one, Address: one, Subject: quota.Limit{Rate: 0.001, Burst: 4}}, Identities: quota.Limits{Key: one, Address: one}, OptOuts: quota.Limits{Key: one, Address: one},
	}})
}

const (
	accepts = `{"version":"2026-09","accepted":true}`
	denies  = `{"decision":"deny"}`
)

// publicly makes a write with the write key.
func (w *world) publicly(method, path, body string) reply {
	w.t.Helper()
	return w.call(method, path, body, "Authorization", "Bearer "+writeKey, "User-Token", "u1")
}

func (w *world) refusedBy(r reply, which string) {
	w.t.Helper()
	if p := w.problem(r); p.Status != http.StatusTooManyRequests || p.Code != quota.Code || !strings.Contains(p.Detail, which) || r.header.Get("Retry-After") == "1" {
		w.t.Errorf("%s, Retry-After %q; want %q", r.body, r.header.Get("Retry-After"), which)
	}
}

func (w *world) obeyed(r reply) {
	w.t.Helper()
	if r.status != http.StatusOK {
		w.t.Errorf("%d: %s", r.status, r.body)
	}
}

// TestKnownPeopleDoNotShareStrangersQuotas: when strangers have used up all there is, a person of whom something is recorded withdraws, denies and deletes.
func TestKnownPeopleDoNotShareStrangersQuotas(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Quotas = scarce() })
	const known = "/v1/visitors/known"
	w.accept(known)
	w.obeyed(w.publicly(http.MethodPut, "/v1/visitors/s1/policy", accepts))
	w.refusedBy(w.publicly(http.MethodPut, "/v1/visitors/s2/policy", accepts), "settings of this address")

	w.obeyed(w.publicly(http.MethodPut, known+"/consent/personalize", denies))
	w.obeyed(w.publicly(http.MethodDelete, known+"/history", ""))
	w.refusedBy(w.publicly(http.MethodPut, known+"/blocks/item/x", ""), "settings of this address")
	w.obeyed(w.publicly(http.MethodPut, known+"/policy", `{"accepted":false}`))
	w.refusedBy(w.publicly(http.MethodPut, known+"/consent/personalize", denies), "settings of this subject")
	w.obeyed(w.publicly(http.MethodPut, u1+"/consent/personalize", denies)) // an account, whose token nobody can make up
	w.obeyed(w.call(http.MethodPut, known+"/consent/personalize", denies))  // the server key
}

// TestAStrangersNoHasAQuotaOfItsOwn: acceptances do not use it up, and what it lets through holds after a later acceptance.
func TestAStrangersNoHasAQuotaOfItsOwn(t *testing.T) {
	one := quota.Limit{Rate: 0.001, Burst: 1}
	w := newWorld(t, func(o *Options) {
		o.Quotas = quota.New(quota.Options{Config: &quota.Config{Identities: quota.Limits{Key: one}, OptOuts: quota.Limits{Key: one}}})
	})
	w.obeyed(w.publicly(http.MethodPut, "/v1/visitors/s1/policy", accepts))
	w.refusedBy(w.publicly(http.MethodPut, "/v1/visitors/s2/blocks/item/x", ""), "identities of this key")
	w.obeyed(w.publicly(http.MethodPut, "/v1/visitors/no/consent/personalize", denies))
	w.refusedBy(w.publicly(http.MethodPut, "/v1/visitors/no2/consent/personalize", denies), "opt_outs of this key")
	w.obeyed(w.publicly(http.MethodPut, "/v1/visitors/no/policy", accepts)) // something is recorded of them by now
	if w.allows(consent.Person{AnonymousID: "no"}, privacyfilter.Personalize) {
		t.Error("the first choice of a stranger is lost")
	}
}

// TestStrangersHavePlacesOfTheirOwn: writes of strangers that wait keep out strangers alone.
func TestStrangersHavePlacesOfTheirOwn(t *testing.T) {
	s := &service{restrictions: make(chan struct{}, 1), permissions: make(chan struct{}, 1), strangers: make(chan struct{}, 1)}
	for _, test := range []struct {
		name string
		c    change
		want chan struct{}
	}{
		{"a stranger permits", change{stranger: true}, s.strangers},
		{"a stranger restricts", change{stranger: true, restrict: new(restriction)}, s.strangers},
		{"a person permits", change{}, s.permissions},
		{"a person restricts", change{restrict: new(restriction)}, s.restrictions},
	} {
		if places, _ := s.placesOf(&test.c); places != test.want {
			t.Error(test.name)
		}
	}
}

func TestStrangersWaitForAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		places := make(chan struct{}, 1)
		began := time.Now()
		if !enter(t.Context(), places, false) || enter(t.Context(), places, false) {
			t.Error("one place, taken twice or not at all")
		}
		if enter(t.Context(), places, true) || time.Since(began) != placeWait {
			t.Errorf("a place after %v", time.Since(began))
		}
		go func() {
			time.Sleep(placeWait / 2) // moves synctest's clock and takes no time: the place is given back while the other one waits
			<-places
		}()
		if !enter(t.Context(), places, true) || time.Since(began) != placeWait*3/2 {
			t.Errorf("no place when one was free, after %v", time.Since(began))
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if enter(gone, places, true) {
			t.Error("a place for one who has gone")
		}
	})
}

// TestNoAddressFillsThePlaces: writes that wait at one address keep out that address alone, and leave nothing behind.
func TestNoAddressFillsThePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{restrictions: make(chan struct{}, 8), restricting: newShares(2)}
		quotas := quota.New(quota.Options{Config: new(quota.Config)})
		from := func(peer string) context.Context {
			r := &http.Request{RemoteAddr: peer, Header: make(http.Header)}
			return context.WithValue(t.Context(), subjectKey{}, subject{caller: quotas.Caller(r, httpx.RoleWrite)})
		}
		restricts := &change{restrict: new(restriction)}
		var leaves []func()
		enters := func(what string, ctx context.Context, want bool) {
			t.Helper()
			leave, ok := s.enter(ctx, restricts)
			if ok != want {
				t.Errorf("%s: %v, want %v", what, ok, want)
			}
			if ok {
				leaves = append(leaves, leave)
			}
		}
		enters("the first", from("203.0.113.1:1"), true)
		enters("the second", from("203.0.113.1:2"), true)
		began := time.Now()
		enters("the third", from("203.0.113.1:3"), false)
		if waited := time.Since(began); waited != placeWait {
			t.Errorf("waited %v for a place of the address, want %v", waited, placeWait)
		}
		enters("another address", from("203.0.113.2:1"), true)
		for range 3 {
			enters("a server key", t.Context(), true)
		}
		for _, leave := range leaves {
			leave()
		}
		enters("later", from("203.0.113.1:1"), true)
		leaves[len(leaves)-1]()
		if len(s.restrictions) != 0 || len(s.restricting.of) != 0 {
			t.Errorf("%d places and %d addresses are left behind", len(s.restrictions), len(s.restricting.of))
		}
	})
}

// TestWithdrawalsOfAnAddress: many people of one address use up what it may withdraw, and nobody else's.
func TestWithdrawalsOfAnAddress(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.Quotas = quota.New(quota.Options{Config: &quota.Config{Withdrawals: quota.Limits{Address: quota.Limit{Rate: 0.001, Burst: 2}}}})
	})
	for _, name := range []string{"a", "b", "c"} {
		w.accept("/v1/visitors/" + name)
	}
	w.obeyed(w.publicly(http.MethodPut, "/v1/visitors/a/consent/personalize", denies))
	w.obeyed(w.publicly(http.MethodPut, "/v1/visitors/b/consent/personalize", denies))
	w.refusedBy(w.publicly(http.MethodPut, "/v1/visitors/c/consent/personalize", denies), "withdrawals of this address")
	w.obeyed(w.publicly(http.MethodPut, "/v1/visitors/c/policy", accepts)) // what permits has another quota
	w.obeyed(w.call(http.MethodPut, "/v1/visitors/c/consent/personalize", denies))
}
