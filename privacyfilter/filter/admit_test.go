package filter

import (
	"testing"

	"sluice/ingest/eventpb"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/purposepb"
)

const (
	everything = "[history trending personalize risk]"
	nothing    = "[]"
)

// TestAdmission: an event is used for a purpose if the decision is allow at its place in the log, and if it was captured under this very grant. It proves REQ-003
// (nothing behavioural before the policy is accepted), REQ-005, REQ-006, REQ-017, REQ-039, REQ-094 and REQ-134.
// The grant stands at minute 10; events arrive at minute 20.
func TestAdmission(t *testing.T) {
	const grant, now = start + 10*minute, start + 20*minute
	trusted := func(lr *eventpb.LogRecord) { lr.TrustedClock = true }
	type times struct{ time, sent int64 }
	ago := func(age int64) times { return times{now - age, now} }
	cases := []struct {
		name     string
		controls []*eventpb.Control // a minute apart, the last one at the grant
		times    times
		type_    vocab.Type // view_item if none
		consent  *eventpb.Consent
		place    string // the event's jurisdiction
		change   func(*eventpb.LogRecord)
		want     string
	}{
		{name: "no records", times: ago(minute), want: nothing},
		{name: "no records, legal duty", times: ago(minute), type_: vocab.Type_LOGIN, want: "[risk]"},
		{name: "no records, legal duty, undated", type_: vocab.Type_LOGIN, want: "[risk]"},
		{name: "accepted", controls: []*eventpb.Control{accept("CN")}, times: ago(minute), want: everything},
		{name: "accepted where personalization is opt-in", controls: []*eventpb.Control{accept("EU")}, times: ago(minute), want: "[history trending risk]"},
		{name: "event from where personalization is opt-in", controls: []*eventpb.Control{accept("CN")}, times: ago(minute), place: "EU", want: "[history trending risk]"},
		{name: "event from where it is opt-out", controls: []*eventpb.Control{accept("EU")}, times: ago(minute), place: "CN", want: "[history trending risk]"},
		{name: "withdrawn policy", controls: []*eventpb.Control{accept("CN"), withdraw()}, times: ago(minute), want: nothing},
		{name: "withdrawn policy, legal duty", controls: []*eventpb.Control{accept("CN"), withdraw()}, times: ago(minute), type_: vocab.Type_PAYMENT, want: "[risk]"},
		{name: "switched off", controls: []*eventpb.Control{accept("CN"), choose("personalize", false)}, times: ago(minute), want: "[history trending risk]"},
		{name: "choice before the policy", controls: []*eventpb.Control{choose("personalize", true)}, times: ago(minute), want: nothing},
		{name: "type of risk alone", controls: []*eventpb.Control{accept("CN")}, times: ago(minute), type_: vocab.Type_PAGE_VIEW, want: "[risk]"},
		{name: "type of history alone", controls: []*eventpb.Control{accept("CN")}, times: ago(minute), type_: vocab.Type_SHARE, want: "[history]"},
		{name: "type of nobody", controls: []*eventpb.Control{accept("CN")}, times: ago(minute), type_: 99, want: nothing},

		{name: "GPC", controls: []*eventpb.Control{accept("CN")}, times: ago(minute), consent: &eventpb.Consent{Gpc: true}, want: "[history trending risk]"},
		{name: "device denies", controls: []*eventpb.Control{accept("CN")}, times: ago(minute), consent: &eventpb.Consent{Denied: []string{"personalize", "history"}}, want: "[trending risk]"},
		{name: "denied legal duty", controls: []*eventpb.Control{accept("CN")}, times: ago(minute), type_: vocab.Type_LOGIN, consent: &eventpb.Consent{Denied: []string{"risk"}}, want: "[risk]"},
		{name: "denied browsing for risk", controls: []*eventpb.Control{accept("CN")}, times: ago(minute), consent: &eventpb.Consent{Denied: []string{"risk"}}, want: "[history trending personalize]"},

		{name: "captured before the grant", controls: []*eventpb.Control{accept("CN")}, times: ago(11 * minute), want: nothing},
		{name: "captured within the margin", controls: []*eventpb.Control{accept("CN")}, times: ago(now - grant - second + 1), want: "[history trending]"},
		{name: "captured a moment before the acceptance", controls: []*eventpb.Control{accept("CN")}, times: ago(now - grant + second), want: "[history trending]"},
		{name: "captured well before the acceptance", controls: []*eventpb.Control{accept("CN")}, times: ago(now - grant + second + 1), want: nothing},
		{name: "captured a moment before a deletion", controls: []*eventpb.Control{accept("CN"), deleteHistory(nil)}, times: ago(now - grant - second + 1), want: "[risk]"},
		{name: "captured just after it", controls: []*eventpb.Control{accept("CN")}, times: ago(now - grant - second), want: everything},
		{name: "wrong clock, right age", controls: []*eventpb.Control{accept("CN")}, times: times{5 * minute, 6 * minute}, want: everything},
		{name: "wrong clock, old", controls: []*eventpb.Control{accept("CN")}, times: times{now * 2, now*2 + 30*minute}, want: nothing},
		{name: "no sending time", controls: []*eventpb.Control{accept("CN")}, times: times{now - minute, 0}, want: nothing},
		{name: "no sending time, trusted", controls: []*eventpb.Control{accept("CN")}, times: times{now - minute, 0}, change: trusted, want: everything},
		{name: "no sending time, trusted, old", controls: []*eventpb.Control{accept("CN")}, times: times{now - 11*minute, 0}, change: trusted, want: nothing},
		{name: "no sending time, trusted, a moment ahead", controls: []*eventpb.Control{accept("CN")}, times: times{now + second/2, 0}, change: trusted, want: everything},
		{name: "no sending time, trusted, far ahead", controls: []*eventpb.Control{accept("CN")}, times: times{now + minute, 0}, change: trusted, want: nothing},
		{name: "sent before it was captured", controls: []*eventpb.Control{accept("CN")}, times: times{now, now - 1}, want: nothing},
		{name: "sent before it was captured, trusted", controls: []*eventpb.Control{accept("CN")}, times: times{now, now - 1}, change: trusted, want: nothing},
		{name: "absurd times", controls: []*eventpb.Control{accept("CN")}, times: times{-1 << 63, 1<<63 - 1}, want: nothing},

		{name: "revision of the grant", controls: []*eventpb.Control{accept("CN")}, consent: &eventpb.Consent{Revision: "1-5-1"}, want: everything},
		{name: "revision before the grant", controls: []*eventpb.Control{choose("personalize", true), accept("CN")}, consent: &eventpb.Consent{Revision: "1-5-1"}, want: nothing},
		{name: "revision of another partition", controls: []*eventpb.Control{accept("CN")}, consent: &eventpb.Consent{Revision: "1-6-1"}, want: nothing},
		{name: "revision of another generation", controls: []*eventpb.Control{accept("CN")}, consent: &eventpb.Consent{Revision: "2-5-1"}, want: nothing},
		{name: "made-up revision: the event's own place", controls: []*eventpb.Control{accept("CN")}, consent: &eventpb.Consent{Revision: "1-5-2"}, want: nothing},
		{name: "made-up revision: beyond", controls: []*eventpb.Control{accept("CN")}, consent: &eventpb.Consent{Revision: "1-5-99"}, want: nothing},
		{name: "revision that is none", controls: []*eventpb.Control{accept("CN")}, consent: &eventpb.Consent{Revision: "newest"}, want: nothing},
		{name: "right revision, but switched off since", controls: []*eventpb.Control{accept("CN"), choose("personalize", false)}, consent: &eventpb.Consent{Revision: "1-5-1"}, want: "[history trending risk]"},
		{name: "revision of an earlier grant", controls: []*eventpb.Control{accept("CN"), choose("personalize", false), choose("personalize", true)}, consent: &eventpb.Consent{Revision: "1-5-1"}, want: "[history trending risk]"},
		{name: "everything deleted, then a late upload", controls: []*eventpb.Control{accept("CN"), deleteHistory(nil)}, times: ago(10 * minute), want: "[risk]"},
		{name: "everything deleted, revision before it", controls: []*eventpb.Control{accept("CN"), deleteHistory(nil)}, consent: &eventpb.Consent{Revision: "1-5-1"}, want: "[risk]"},
		{name: "everything deleted, then a new event", controls: []*eventpb.Control{accept("CN"), deleteHistory(nil)}, times: ago(9 * minute), want: everything},
		{name: "repeated choice moves no floor", controls: []*eventpb.Control{accept("CN"), accept("CN")}, consent: &eventpb.Consent{Revision: "1-5-1"}, want: everything},
		{name: "blocks move no floor", controls: []*eventpb.Control{accept("CN"), blockItem("i9", false)}, consent: &eventpb.Consent{Revision: "1-5-1"}, want: everything},
	}
	reg := testRegister(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, reg)
			for i, control := range c.controls {
				w.control(control, grant-int64(len(c.controls)-1-i)*minute)
			}
			ev := view("e1", now)
			ev.Time, ev.SentAt, ev.Consent, ev.Jurisdiction = c.times.time, c.times.sent, c.consent, c.place
			if c.type_ != 0 {
				ev.Type = c.type_
			}
			w.event(ev, now, c.change)
			expect(t, "reached", w.reached(), c.want)
			if c.want == nothing {
				expect(t, "emitted", len(w.emitted), 0)
				expect(t, "counts", w.counts(), "allowed 0 denied 1 rejected 0 duplicate 0")
			} else {
				expect(t, "counts", w.counts(), "allowed 1 denied 0 rejected 0 duplicate 0")
			}
		})
	}
}

// TestPolicyVersions proves REQ-162 and REQ-164 for the filter: after a new version that is a major change for a purpose, that purpose waits for the acceptance,
// the others go on, and the new grant has a new floor.
func TestPolicyVersions(t *testing.T) {
	old := newWorld(t, testRegister(t, "version: \"2026-09\"", "version: \"2025-01\""))
	old.control(policy("2025-01", true, "CN"), start)
	now := testRegister(t, "older: []  ", "older: [{version: \"2025-01\"}]  ", "major_for: []", "major_for: [personalize]")
	w := newWorld(t, now)
	w.filter.ledger.Put(old.records[0].Key, old.row())
	w.offset = 10

	w.event(view("e1", start+minute), start+minute, nil)
	expect(t, "before the new acceptance", w.reached(), "[history trending risk]")
	w.control(accept("CN"), start+2*minute)
	expect(t, "floor of history", w.state("history").FloorTime, start)
	expect(t, "floor of personalize", w.state("personalize").FloorTime, start+2*minute)
	purge := decode(t, new(purposepb.PersonalRecord), w.only(topics.Personalize)).GetPurge()
	if len(purge.GetFloor()) != pseudonym.Size || len(w.on(topics.History)) != 0 {
		t.Error("the purpose that waited is purged with its new floor, the others are left alone")
	}
	late := view("e2", start+3*minute)
	late.Time -= 2 * minute
	w.event(late, start+3*minute, nil)
	expect(t, "captured while it waited", w.reached(), "[history trending risk]")
	w.event(view("e3", start+3*minute), start+3*minute, nil)
	expect(t, "after the new acceptance", w.reached(), everything)
	w.control(policy("2025-01", true, "CN"), start+4*minute)
	expect(t, "an older version accepted later", w.row().PolicyVersion, testVersion)
}

// TestWiderRegisterGrantsNothing: a purpose that a new register allows by default has no grant before the subject's next record.
func TestWiderRegisterGrantsNothing(t *testing.T) {
	w := newWorld(t, testRegister(t))
	w.control(accept("EU"), start)
	wider := newWorld(t, testRegister(t, "default: {CN: allow, EU: deny}", "default: {CN: allow, EU: allow}"))
	wider.filter.ledger.Put(w.records[0].Key, w.row())
	wider.offset = 10
	wider.event(view("e1", start+minute), start+minute, nil)
	expect(t, "reached", wider.reached(), "[history trending risk]")
}

// TestUnregisteredPurposeIsDenied proves REQ-103: a purpose that the register does not name gets nothing.
func TestUnregisteredPurposeIsDenied(t *testing.T) {
	o := testOptions(testRegister(t))
	w := newWorldWith(t, o)
	w.filter.purposes[personalize] = nil
	w.control(accept("CN"), start)
	w.event(view("e1", start+minute), start+minute, nil)
	expect(t, "reached", w.reached(), "[history trending risk]")
	if _, ok := o.Register.Purpose(privacyfilter.Personalize); !ok {
		t.Error("the built-in register has lost a purpose")
	}
}
