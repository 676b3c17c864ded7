package filter

import (
	"testing"
	"time"

	"sluice/ingest/eventpb"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// TestEstablished: lists that everyone sees count whoever accepted the policy long enough before what they do, by the server's time, and accounts that a server key
// names. Nobody can make a visitor older by what they send.
func TestEstablished(t *testing.T) {
	const (
		accepted = start
		day      = 24 * 60 * minute
	)
	asVisitor := func(c *eventpb.Control) *eventpb.Control {
		c.Subject = "a:v1"
		return c
	}
	trusted := func(lr *eventpb.LogRecord) { lr.TrustedClock = true }
	cases := []struct {
		name     string
		age      time.Duration
		controls []*eventpb.Control // the first one at the acceptance, the others a minute apart
		account  bool
		time     int64 // by the client's clock
		received int64
		change   func(*eventpb.LogRecord)
		want     bool
	}{
		{name: "fresh", time: accepted + minute, received: accepted + minute},
		{name: "almost a day", time: accepted + day - 1, received: accepted + day + minute},
		{name: "a day", time: accepted + day, received: accepted + day, want: true},
		{name: "a clock far ahead", time: accepted + 30*day, received: accepted + minute},
		{name: "captured long before it is sent", time: accepted + minute, received: accepted + 2*day},
		{name: "visitor by a server key", time: accepted + minute, received: accepted + minute, change: trusted},
		{name: "account", account: true, time: accepted + minute, received: accepted + minute},
		{name: "account by a server key", account: true, time: accepted + minute, received: accepted + minute, change: trusted, want: true},
		{name: "imported", controls: []*eventpb.Control{asVisitor(importOf(0, "CN"))}, time: accepted + minute, received: accepted + minute, want: true},
		{
			name: "everything was deleted since", controls: []*eventpb.Control{asVisitor(accept("CN")), asVisitor(deleteHistory(nil))},
			time: accepted + day, received: accepted + day,
		},
		{
			name: "accepted anew", controls: []*eventpb.Control{asVisitor(accept("CN")), asVisitor(withdraw()), asVisitor(accept("CN"))},
			time: accepted + day, received: accepted + day,
		},
		{
			name: "accepted twice", controls: []*eventpb.Control{asVisitor(accept("CN")), asVisitor(accept("CN"))},
			time: accepted + day, received: accepted + day, want: true,
		},
		{name: "no age is asked for", age: -1, time: accepted - second/2, received: accepted + minute, want: true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions(testRegister(t))
			if o.TrendingAge = 24 * time.Hour; c.age < 0 {
				o.TrendingAge = 0
			}
			w := newWorldWith(t, o)
			if c.controls == nil {
				c.controls = []*eventpb.Control{asVisitor(accept("CN"))}
			}
			for i, control := range c.controls {
				if c.account {
					control.Subject = "u:u1"
				}
				w.control(control, accepted+int64(i)*minute)
			}
			ev := &eventpb.Event{
				Id: "e", Type: vocab.Type_VIEW_ITEM, AnonymousId: "v1", Time: c.time, SentAt: max(c.time, c.received), Items: []*vocab.Item{{ItemId: "i1"}},
			}
			if c.account {
				ev.UserId = "u1"
			}
			w.event(ev, c.received, c.change)
			if got := decode(t, new(purposepb.TrendingRecord), w.only(topics.Trending)).GetEvent().GetEstablished(); got != c.want {
				t.Errorf("established: %t", got)
			}
		})
	}
}
