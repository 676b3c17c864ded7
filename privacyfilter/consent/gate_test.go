package consent

import (
	"errors"
	"slices"
	"testing"
	"time"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
)

// TestGate proves REQ-003 (nothing behavioural is stored before the policy), REQ-094 (risk works whatever is refused) and that the device's denials and GPC travel with the event.
func TestGate(t *testing.T) {
	off := choose(privacyfilter.Personalize, purposepb.Choice_CHOICE_DENY)
	withdrawn := func(r *purposepb.ConsentRow) { r.PolicyVersion = "" }
	nothing := func(*purposepb.ConsentRow) {}
	for _, test := range []struct {
		name            string
		account, device func(*purposepb.ConsentRow)
		event           *eventpb.Event
		denied          bool
		narrowed        []string
	}{
		{"browsing of someone unknown", nil, nil, &eventpb.Event{AnonymousId: "1", Type: vocab.Type_VIEW_ITEM}, true, nil},
		{"login of someone unknown", nil, nil, &eventpb.Event{UserId: "1", Type: vocab.Type_LOGIN}, false, nil},
		{"browsing after acceptance", nil, nothing, &eventpb.Event{AnonymousId: "1", Type: vocab.Type_VIEW_ITEM}, false, nil},
		{"an account that has accepted nothing, on a device that has", nil, nothing, &eventpb.Event{UserId: "1", AnonymousId: "1", Type: vocab.Type_VIEW_ITEM}, true, nil},
		{"the device's switch", nothing, off, &eventpb.Event{UserId: "1", AnonymousId: "1", Type: vocab.Type_VIEW_ITEM}, false, []string{"personalize"}},
		{"a device that withdrew", nothing, withdrawn, &eventpb.Event{UserId: "1", AnonymousId: "1", Type: vocab.Type_VIEW_ITEM}, true, []string{"history", "personalize", "risk", "trending"}},
		{"a payment on a device that withdrew", nothing, withdrawn, &eventpb.Event{UserId: "1", AnonymousId: "1", Type: vocab.Type_PAYMENT}, false, nil},
		{"gpc", nothing, nil, &eventpb.Event{UserId: "1", Type: vocab.Type_VIEW_ITEM, Consent: &eventpb.Consent{Gpc: true}}, false, []string{"personalize"}},
		{"gpc, where only personalize takes the type", nothing, nil, &eventpb.Event{UserId: "1", Type: vocab.Type_VIEW_ITEM_LIST, Consent: &eventpb.Consent{Gpc: true}}, true, []string{"personalize"}},
		{"the event's own denial", nothing, nil, &eventpb.Event{UserId: "1", Type: vocab.Type_VIEW_ITEM_LIST, Consent: &eventpb.Consent{Denied: []string{"personalize"}}}, true, []string{"personalize"}},
		{"the event cannot deny a duty", nil, nil, &eventpb.Event{UserId: "1", Type: vocab.Type_PAYMENT, Consent: &eventpb.Consent{Denied: []string{"risk"}}}, false, []string{"risk"}},
		{"a jurisdiction that asks for a choice", nothing, nil, &eventpb.Event{UserId: "1", Type: vocab.Type_VIEW_ITEM_LIST, Jurisdiction: "EU"}, true, nil},
		{"an unknown jurisdiction", nothing, nil, &eventpb.Event{UserId: "1", Type: vocab.Type_VIEW_ITEM_LIST, Jurisdiction: "XX"}, true, nil},
		{"the row's own jurisdiction", nothing, nil, &eventpb.Event{UserId: "1", Type: vocab.Type_VIEW_ITEM_LIST, Jurisdiction: "CN"}, false, nil},
		{"a type of history alone", nothing, nil, &eventpb.Event{UserId: "1", Type: vocab.Type_FOLLOW}, false, nil},
		{"no subject", nothing, nil, &eventpb.Event{Type: vocab.Type_VIEW_ITEM}, true, nil},
		{"no type", nothing, nil, &eventpb.Event{UserId: "1"}, true, nil},
		{"a type from the future", nothing, nil, &eventpb.Event{UserId: "1", Type: 99}, true, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := newStill(t)
			if test.account != nil {
				setRow(t, v, "u:1", row(v.compiler.register, 10, 3, test.account))
			}
			if test.device != nil {
				setRow(t, v, "a:1", row(v.compiler.register, 10, 4, test.device))
			}
			denied, err := admit(v, test.event)
			if err != nil || denied != test.denied {
				t.Errorf("denied %v, want %v (%v)", denied, test.denied, err)
			}
			narrowed := slices.Sorted(slices.Values(test.event.Consent.GetDenied()))
			if !slices.Equal(narrowed, test.narrowed) {
				t.Errorf("narrowed %v, want %v", narrowed, test.narrowed)
			}
		})
	}
}

// TestGateWithoutLease proves REQ-094 once more: what the law asks for is collected though consent is not known, and for that alone.
func TestGateWithoutLease(t *testing.T) {
	v := newStill(t)
	setRow(t, v, "u:1", row(v.compiler.register, 10, 3, nil))
	now := v.boot()
	v.boot = func() time.Duration { return now + 2*leaseLength }
	if _, err := admit(v, &eventpb.Event{UserId: "1", Type: vocab.Type_VIEW_ITEM}); !errors.Is(err, ErrLeaseLapsed) {
		t.Errorf("browsing: %v", err)
	}
	ev := &eventpb.Event{UserId: "1", Type: vocab.Type_PAYMENT}
	if denied, err := admit(v, ev); denied || err != nil {
		t.Errorf("a payment: denied %v, %v", denied, err)
	}
	for _, p := range v.compiler.purposes {
		if slices.Contains(ev.Consent.GetDenied(), p.Name) != (p.Tier != privacyfilter.Legal) {
			t.Errorf("%s: every purpose but the legal ones must be denied", p.Name)
		}
	}
}

func TestGateSeesRestrictions(t *testing.T) {
	v := newStill(t)
	setRow(t, v, "u:1", row(v.compiler.register, 10, 3, nil))
	admit := func() bool {
		denied, err := admit(v, &eventpb.Event{UserId: "1", Type: vocab.Type_PAGE_VIEW}) // risk takes it after acceptance
		if err != nil {
			t.Fatal(err)
		}
		return !denied
	}
	if !admit() {
		t.Error("denied after acceptance")
	}
	restrict(t, v, "u:1", 11, &purposepb.Restriction{DenyAll: true})
	if admit() {
		t.Error("admitted after the policy was withdrawn")
	}
}

// admit asks about one event.
func admit(v *View, ev *eventpb.Event) (denied bool, err error) {
	return ingest.AdmitOne(v.Gate())(ev)
}

// TestGateOfARequest: each of a request's people is judged by their own records, and a lease that ends while these are read does not count.
func TestGateOfARequest(t *testing.T) {
	v := newStill(t)
	grantLong(v)
	for _, subject := range []string{"u:1", "a:1"} {
		setRow(t, v, subject, row(v.compiler.register, 10, 3, nil))
	}
	events := []*eventpb.Event{
		{UserId: "1", Type: vocab.Type_VIEW_ITEM},
		{AnonymousId: "1", Type: vocab.Type_VIEW_ITEM},
		{UserId: "stranger", Type: vocab.Type_VIEW_ITEM},
		{UserId: "1", Type: vocab.Type_VIEW_ITEM},
		{Type: vocab.Type_VIEW_ITEM},
	}
	denied := make([]bool, len(events))
	if err := v.Gate().Admit(events, denied); err != nil || !slices.Equal(denied, []bool{false, false, true, false, true}) {
		t.Errorf("denied %v, %v", denied, err)
	}
	boot := v.boot
	v.boot = func() time.Duration { // all is read, and the clock is asked
		v.lease.renewed(boot() + 3*time.Hour)
		return boot() + 2*time.Hour
	}
	if err := v.Gate().Admit(events[:1], denied[:1]); !errors.Is(err, ErrLeaseLapsed) {
		t.Errorf("under a lease that was taken when all was read: %v", err)
	}
}
