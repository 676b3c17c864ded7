package consent

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/purposepb"
)

// TestEffectiveIsTheMostRestrictive proves REQ-017, REQ-055 for the view: account, device and GPC are combined, and nobody's records are neutral.
func TestEffectiveIsTheMostRestrictive(t *testing.T) {
	both := Person{UserID: "1", AnonymousID: "1"}
	withdrawn := func(r *purposepb.ConsentRow) { r.PolicyVersion = "" }
	off := choose(privacyfilter.Personalize, purposepb.Choice_CHOICE_DENY)
	nothing := func(*purposepb.ConsentRow) {}
	justBlocks := func(r *purposepb.ConsentRow) {
		r.PolicyVersion, r.Jurisdiction, r.Purposes, r.BlockedItems = "", "", nil, 1
	}
	for _, test := range []struct {
		name            string
		account, device func(*purposepb.ConsentRow) // nil: no row
		person          Person
		purpose         string
		want            privacyfilter.Decision
		identities      int
	}{
		{"a stranger", nil, nil, Person{}, privacyfilter.Personalize, privacyfilter.Decision{Because: "policy_not_accepted"}, 0},
		{"a stranger, risk", nil, nil, Person{}, privacyfilter.Risk, privacyfilter.Decision{Allow: true}, 0},
		{"no records", nil, nil, both, privacyfilter.Personalize, privacyfilter.Decision{Because: "policy_not_accepted"}, 0},
		{"no records, risk", nil, nil, both, privacyfilter.Risk, privacyfilter.Decision{Allow: true}, 2},
		{"account alone has records", nothing, nil, both, privacyfilter.Personalize, privacyfilter.Decision{Allow: true, Because: "default"}, 1},
		{"device alone has records", nil, nothing, both, privacyfilter.Personalize, privacyfilter.Decision{Allow: true, Because: "default"}, 1},
		{"both allow", nothing, nothing, both, privacyfilter.Personalize, privacyfilter.Decision{Allow: true, Because: "default"}, 2},
		{"both allow, basic", nothing, nothing, both, privacyfilter.History, privacyfilter.Decision{Allow: true}, 2},
		{"account off", off, nothing, both, privacyfilter.Personalize, privacyfilter.Decision{Because: "choice"}, 0},
		{"device off", nothing, off, both, privacyfilter.Personalize, privacyfilter.Decision{Because: "device"}, 0},
		{"device off, other purpose", nothing, off, both, privacyfilter.History, privacyfilter.Decision{Allow: true}, 2},
		{"device has but a block", nothing, justBlocks, both, privacyfilter.Personalize, privacyfilter.Decision{Allow: true, Because: "default"}, 1},
		{"device withdrew", nothing, withdrawn, both, privacyfilter.History, privacyfilter.Decision{Because: "device"}, 0},
		{"device withdrew, risk", nothing, withdrawn, both, privacyfilter.Risk, privacyfilter.Decision{Allow: true}, 2},
		{"gpc", nothing, nothing, Person{UserID: "1", GPC: true}, privacyfilter.Personalize, privacyfilter.Decision{Because: "gpc"}, 0},
		{"gpc, basic", nothing, nothing, Person{UserID: "1", GPC: true}, privacyfilter.History, privacyfilter.Decision{Allow: true}, 1},
		{"additional without a choice", nothing, nil, both, "marketing.sms", privacyfilter.Decision{Because: "default"}, 0},
		{"not in the register", nothing, nothing, both, "insurance", privacyfilter.Decision{Because: "unregistered"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := newStill(t)
			if test.account != nil {
				setRow(t, v, "u:1", row(v.compiler.register, 10, 3, test.account))
			}
			if test.device != nil {
				setRow(t, v, "a:1", row(v.compiler.register, 10, 4, test.device))
			}
			a := lookup(t, v, test.person)
			if got := a.Effective(test.purpose); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if got := len(a.Identities(test.purpose)); got != test.identities {
				t.Errorf("%d identities, want %d", got, test.identities)
			}
		})
	}
}

func TestIdentitiesHaveThePurposesOwnPseudonymAndFloor(t *testing.T) {
	v := newStill(t)
	setRow(t, v, "u:1", row(v.compiler.register, 10, 3, nil))
	setRow(t, v, "a:2", row(v.compiler.register, 9, 4, func(r *purposepb.ConsentRow) { r.Incarnation = 7 }))
	keys := v.compiler.keys
	want := []Identity{
		{Subject: keys.Subject(privacyfilter.Personalize, "u:1", 0), Floor: keys.Floor(privacyfilter.Personalize, "u:1", revision(3))},
		{Subject: keys.Subject(privacyfilter.Personalize, "a:2", 7), Floor: keys.Floor(privacyfilter.Personalize, "a:2", revision(4))},
	}
	a := lookup(t, v, Person{UserID: "1", AnonymousID: "2"})
	if diff := cmp.Diff(want, a.Identities(privacyfilter.Personalize)); diff != "" {
		t.Error(diff)
	}
	if a.Identities(privacyfilter.History)[0].Subject == want[0].Subject {
		t.Error("two purposes share a pseudonym")
	}
	if got := a.Revision(); got != revision(10) {
		t.Errorf("revision %s, want the account's", got)
	}
}

// TestRestrictionHidesUntilTheRow covers the fast path for every kind of restriction (REQ-049, REQ-052, REQ-053, REQ-055, REQ-134).
func TestRestrictionHidesUntilTheRow(t *testing.T) {
	v := newStill(t)
	register, person := v.compiler.register, Person{UserID: "1"}
	setRow(t, v, "u:1", row(register, 10, 3, nil))
	event := footprint(v, "u:1", "e1")
	hash := pseudonym.Hash(func() []byte {
		e := v.compiler.keys.Event(privacyfilter.Personalize, "u:1", vocab.Type_VIEW_ITEM, "e1")
		return e[:]
	}())

	restrict(t, v, "u:1", 11, &purposepb.Restriction{Deny: []string{privacyfilter.Personalize}})
	restrict(t, v, "u:1", 12, &purposepb.Restriction{BlockItem: "i1"})
	restrict(t, v, "u:1", 13, &purposepb.Restriction{BlockCategory: "Lamps"})
	restrict(t, v, "u:1", 14, &purposepb.Restriction{HideEvent: event})
	a := lookup(t, v, person)
	if got := a.Effective(privacyfilter.Personalize); got.Allow || got.Because != "choice" {
		t.Errorf("personalize after the restriction: %+v", got)
	}
	if !a.Effective(privacyfilter.History).Allow {
		t.Error("another purpose is denied too")
	}
	if diff := cmp.Diff(&Blocks{Items: set("i1"), Categories: set("Lamps")}, a.Blocks()); diff != "" {
		t.Error(diff)
	}
	if _, hidden := a.HiddenEvents()[hash]; !hidden || !a.HidesHistory(event) || a.HidesHistory([]byte("another")) {
		t.Error("the deleted event, and it alone, is to be hidden")
	}
	if a.Revision() != revision(14) || a.Record().Pending != 4 {
		t.Errorf("revision %s with %d pending", a.Revision(), a.Record().Pending)
	}

	// The row has folded in 11 and 12 and, perhaps, an allow between: it alone says what holds. 13 and 14 are still ahead of it.
	setRow(t, v, "u:1", row(register, 12, 12, nil))
	a = lookup(t, v, person)
	if !a.Effective(privacyfilter.Personalize).Allow || len(a.Blocks().Items) != 0 || len(a.Blocks().Categories) != 1 {
		t.Error("a row above the restriction does not decide")
	}
	setRow(t, v, "u:1", row(register, 14, 12, nil))
	if a = lookup(t, v, person); !a.HidesHistory(event) || len(a.HiddenEvents()) != 1 {
		t.Error("the features purge behind the filter: the event must stay hidden")
	}
	v.people.sweep(v.boot() + hideFor + time.Second)
	if v.Holds(a) {
		t.Error("an access holds though something changed")
	}
	if a = lookup(t, v, person); a.HidesHistory(event) || a.HiddenEvents() != nil {
		t.Error("the event is hidden for ever")
	}
	if rows, pending := v.people.rows.Load(), v.people.restrictions.Load(); rows != 1 || pending != 0 {
		t.Errorf("%d rows and %d restrictions counted", rows, pending)
	}
}

// TestDeletedHistoryIsUnreadableAtOnce proves REQ-049 for the deletion of everything: the identity's floor is the new one before the filter has written it.
func TestDeletedHistoryIsUnreadableAtOnce(t *testing.T) {
	v := newStill(t)
	register := v.compiler.register
	setRow(t, v, "u:1", row(register, 10, 3, nil))
	before := lookup(t, v, Person{UserID: "1"})
	restrict(t, v, "u:1", 11, &purposepb.Restriction{HideHistory: true})
	during := lookup(t, v, Person{UserID: "1"})
	setRow(t, v, "u:1", row(register, 11, 11, nil))
	after := lookup(t, v, Person{UserID: "1"})
	for _, purpose := range []string{privacyfilter.History, privacyfilter.Personalize, privacyfilter.Trending} {
		old, now := before.Identities(purpose)[0].Floor, during.Identities(purpose)[0].Floor
		if slices.Equal(old, now) || !slices.Equal(now, after.Identities(purpose)[0].Floor) {
			t.Errorf("%s: the floor does not rise at once to what the filter writes", purpose)
		}
	}
	if !during.HidesHistory([]byte("any")) || after.HidesHistory([]byte("any")) {
		t.Error("what was there is hidden until the new floor does it, and not longer")
	}
}

func TestWithdrawnPolicyDeniesAllButDuties(t *testing.T) {
	v := newStill(t)
	setRow(t, v, "u:1", row(v.compiler.register, 10, 3, nil))
	restrict(t, v, "u:1", 11, &purposepb.Restriction{DenyAll: true})
	a := lookup(t, v, Person{UserID: "1"})
	for _, p := range v.compiler.purposes {
		if got := a.Effective(p.Name); got.Allow != (p.Tier == privacyfilter.Legal) {
			t.Errorf("%s: %+v", p.Name, got)
		}
	}
	if a.Record().PolicyVersion != "" {
		t.Error("the policy still counts as accepted")
	}
}

// TestKnownRestrictions: what is known of one thing is not what is known of another, since restrictions come in any order; the row holds all up to its own.
func TestKnownRestrictions(t *testing.T) {
	personalize := func(r *purposepb.Restriction) bool { return slices.Contains(r.Deny, privacyfilter.Personalize) }
	off := &purposepb.Restriction{Deny: []string{privacyfilter.Personalize}}
	v := newStill(t)
	expect := func(when string, want privacyfilter.Revision) {
		t.Helper()
		if got := v.Applied(Person{UserID: "1"}).KnownOf(personalize); got != want {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	expect("nothing", privacyfilter.Revision{})
	setRow(t, v, "u:1", row(v.compiler.register, 5, 3, nil))
	expect("a row", revision(5))
	restrict(t, v, "u:1", 10, &purposepb.Restriction{BlockItem: "i1"})
	expect("a newer block", revision(5))
	restrict(t, v, "u:1", 8, off)
	expect("an opt-out that comes late", revision(8))
	restrict(t, v, "u:1", 12, off)
	expect("another opt-out", revision(12))
	restrict(t, v, "u:2", 14, off)
	setRow(t, v, "u:1", row(v.compiler.register, 13, 13, nil))
	v.lease.end()
	expect("a row that has overtaken all, without a lease", revision(13))
}

func TestLookupNeedsALeaseOnlyForSubjects(t *testing.T) {
	v := newStill(t)
	now := v.boot()
	v.boot = func() time.Duration { return now }
	a := lookup(t, v, Person{AnonymousID: "1"})
	if !v.Holds(a) || !a.Known() {
		t.Error("nothing changed, and the lease is alive")
	}
	setRow(t, v, "u:2", row(v.compiler.register, 1, 1, nil))
	if !v.Holds(a) {
		t.Error("another person's change counts")
	}
	v.boot = func() time.Duration { return now + leaseLength + time.Millisecond }
	if _, err := v.Lookup(Person{AnonymousID: "1"}); !errors.Is(err, ErrLeaseLapsed) {
		t.Errorf("a subject without a lease: %v", err)
	}
	if v.Holds(a) {
		t.Error("an access outlives the lease")
	}
	stranger, err := v.Lookup(Person{GPC: true})
	if err != nil || stranger.Known() || !v.Holds(stranger) {
		t.Errorf("a stranger is refused: %v", err)
	}
}

// TestLeaseNeedsHeartbeats: a lease that was taken while the others could not know of the node does not count.
func TestLeaseNeedsHeartbeats(t *testing.T) {
	var l lease
	step := func(what string, now time.Duration, want bool) {
		t.Helper()
		if got := l.holds(now); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	const s = time.Second
	l.renewed(10 * s)
	step("without a heartbeat", 10*s, false)
	l.beaten(10*s, 10*s+1)
	step("lease from before the first heartbeat", 10*s+2, false)
	l.renewed(10*s + 2)
	step("lease from after it", 10*s+3, true)
	step("a second later", 11*s+3, false)
	l.renewed(12 * s)
	l.beaten(12*s, 12*s)
	step("heartbeat and lease", 12*s+1, true)
	l.renewed(15 * s)
	step("three seconds without a heartbeat", 15*s, false)
	l.beaten(15*s+1, 15*s+2)
	step("the others waited for nobody meanwhile", 15*s+3, false)
	l.renewed(15*s + 4)
	step("a new lease", 15*s+5, true)
	if lapsed := l.lapsed(15*s + 6); lapsed != 0 {
		t.Errorf("lapsed for %v while it holds", lapsed)
	}
	if lapsed := l.lapsed(18 * s); lapsed != 2*s-4 {
		t.Errorf("lapsed for %v", lapsed)
	}
	l.end()
	step("leaving", 15*s+6, false)
}

func TestBlocksDigest(t *testing.T) {
	digests := map[string]bool{}
	for _, b := range []*Blocks{newBlocks(nil, nil), newBlocks([]string{"a", "b"}, nil), newBlocks(nil, []string{"a", "b"}), newBlocks([]string{"a"}, []string{"b"}), newBlocks([]string{"ab"}, nil)} {
		digests[b.Digest()] = true
	}
	if len(digests) != 5 || !digests[""] {
		t.Errorf("5 different digests expected, empty for no blocks: %v", digests)
	}
	if newBlocks([]string{"b", "a"}, nil).Digest() != newBlocks([]string{"a", "b"}, nil).Digest() {
		t.Error("the order counts")
	}
}

func set(ids ...string) map[string]struct{} {
	out := map[string]struct{}{}
	for _, id := range ids {
		out[id] = struct{}{}
	}
	return out
}

// TestEveryPurposeHasItsOwnGrant: more grants than a person has room for, and one of the log's generation before.
func TestEveryPurposeHasItsOwnGrant(t *testing.T) {
	older := privacyfilter.Revision{Generation: 1, Partition: 0, Offset: 99}
	for name, change := range map[string]func(*purposepb.ConsentRow){
		"one each": func(r *purposepb.ConsentRow) {
			for i, s := range r.Purposes {
				s.Floor, s.FloorTime = revision(int64(20+i)).PB(), int64(i)
			}
		},
		"two": func(r *purposepb.ConsentRow) { r.Purposes[1].Floor, r.Purposes[1].FloorTime = revision(7).PB(), 7 },
		"none of the first": func(r *purposepb.ConsentRow) {
			r.Purposes[0].Floor, r.Purposes[0].FloorTime = nil, 0
		},
		"an older generation": func(r *purposepb.ConsentRow) {
			r.Revision.Generation = 2
			r.Purposes[2].Floor = older.PB()
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newStill(t)
			of := row(v.compiler.register, 100, 3, change)
			setRow(t, v, "u:1", of)
			a := lookup(t, v, Person{UserID: "1"})
			for _, p := range v.compiler.purposes {
				state := privacyfilter.StateOf(of, p.Name)
				since, ok := a.Record().Since(p)
				if wantOK := a.Effective(p.Name).Allow && state.Floor != nil; ok != wantOK || ok && since != state.FloorTime {
					t.Errorf("%s: since %d, %v, want %v", p.Name, since, ok, state)
				}
				var floor []byte
				if state.Floor != nil {
					floor = v.compiler.keys.Floor(p.Name, "u:1", privacyfilter.RevisionFromPB(state.Floor))
				}
				for _, is := range a.Identities(p.Name) {
					if !bytes.Equal(is.Floor, floor) {
						t.Errorf("%s: floor %x, want %x", p.Name, is.Floor, floor)
					}
				}
			}
		})
	}
}
