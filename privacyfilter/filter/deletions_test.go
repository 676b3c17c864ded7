package filter

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/ingest/eventpb"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
)

const testDay = 24 * testHour

// footprint is the control record with which u1 deletes the event with this id.
func footprint(id string) *eventpb.Control { return deleteHistory(historyEvent("u:u1", id)) }

// wishedFootprint is the same of an event that wished makes.
func wishedFootprint(id string) *eventpb.Control {
	event := testKeys.Event(privacyfilter.History, "u:u1", vocab.Type_SHARE, id)
	return deleteHistory(event[:])
}

// stranger moves stream time by an event of someone who has no records.
func (w *world) stranger(now int64) {
	w.t.Helper()
	ev := view("tick", now)
	ev.UserId = "stranger"
	w.event(ev, now, nil)
}

// forget sends events of someone else until nothing is due.
func (w *world) forget(now int64) {
	w.t.Helper()
	w.stranger(now)
	for w.filter.expiring {
		w.stranger(now)
	}
}

// TestDeletedFootprintStaysDeleted proves decision 6 of section 22 beyond the week of the duplicates: the event that comes again reaches no purpose but the
// legal one, which it was not deleted from; other events are not concerned, and neither is the same id of someone else.
func TestDeletedFootprintStaysDeleted(t *testing.T) {
	w := newWorld(t, testRegister(t))
	w.control(accept("CN"), start)
	w.event(view("e1", start+minute), start+minute, nil)
	w.event(wished("e2", start+minute), start+minute, nil)
	w.control(footprint("e1"), start+2*minute)
	w.control(wishedFootprint("e2"), start+2*minute)
	w.event(view("e1", start+3*minute), start+3*minute, nil)
	expect(t, "a duplicate as long as it is known", w.counts(), "allowed 2 denied 0 rejected 0 duplicate 1")

	later := start + 8*testDay
	w.stranger(later)
	w.event(view("e1", later), later, nil)
	expect(t, "again", w.reached(), "[risk]")
	w.event(wished("e2", later), later, nil)
	expect(t, "again, of a type that no legal purpose takes", len(w.emitted), 0)
	expect(t, "counts", w.counts(), "allowed 3 denied 2 rejected 0 duplicate 1")
	w.event(view("e3", later), later, nil)
	expect(t, "another event", w.reached(), everything)

	other := accept("CN")
	other.Subject = "u:u2"
	w.control(other, later)
	ev := view("e1", later+minute)
	ev.UserId = "u2"
	w.event(ev, later+minute, nil)
	expect(t, "another subject's", w.reached(), everything)
}

// wished is an event of a type that risk does not take.
func wished(id string, received int64) *eventpb.Event {
	ev := view(id, received)
	ev.Type = vocab.Type_SHARE
	return ev
}

// TestDeletionsExpire: a deletion is remembered for the longest retention of any purpose that people have a say in, by stream time, and then is gone.
func TestDeletionsExpire(t *testing.T) {
	const days = 1095 // of the class "choices"
	cases := []struct {
		name         string
		clock        int64
		want         string
		subjects     int
		replacements []string
	}{
		{"on the last day", start + (days+1)*testDay - second, "[risk]", 1, nil},
		{"the day after", start + (days+1)*testDay + second, everything, 0, nil},
		{"a shorter retention", start + 367*testDay, everything, 0, []string{"period: 1095d", "period: 90d"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, testRegister(t, c.replacements...))
			w.control(accept("CN"), start)
			w.event(view("e1", start+minute), start+minute, nil)
			w.control(footprint("e1"), start+2*minute)
			w.stranger(c.clock)
			w.event(view("e1", c.clock), c.clock, nil)
			expect(t, "reached", w.reached(), c.want)
			w.forget(c.clock)
			expect(t, "subjects with deletions", w.filter.deletions.Len(), c.subjects)
		})
	}
}

// TestOnlyWhatHasExpiredIsForgotten: of one subject, and the sweep waits for what is left.
func TestOnlyWhatHasExpiredIsForgotten(t *testing.T) {
	w := newWorld(t, testRegister(t))
	w.control(accept("CN"), start)
	w.control(footprint("e1"), start)
	w.control(footprint("e2"), start+10*testDay)
	w.control(footprint("e1"), start) // again: nothing changes
	expires := start + (w.filter.deletionDays+1)*testDay
	w.stranger(expires + second)
	w.event(view("e1", expires), expires, nil)
	expect(t, "the older", w.reached(), everything)
	w.event(view("e2", expires), expires, nil)
	expect(t, "the newer", w.reached(), "[risk]")
	w.forget(expires)
	expect(t, "subjects with deletions", w.filter.deletions.Len(), 1)
	w.forget(expires + 10*testDay + minute)
	expect(t, "subjects with deletions, later", w.filter.deletions.Len(), 0)
}

// TestDeletionsAreBounded: the newest are kept, sorted, and a new one always.
func TestDeletionsAreBounded(t *testing.T) {
	var d deletions
	for i := range uint64(maxDeletions) {
		d = d.with(i*7919%maxDeletions, 100) // in no order
	}
	d = d.with(5, 99)
	d = d.with(9, 101)
	expect(t, "full", len(d), maxDeletions)
	d = d.with(1<<40, 50) // by a collector whose clock is behind
	d = d.with(1<<41, 101)
	d = d.with(1<<42, 101)
	expect(t, "bounded", len(d), maxDeletions)
	kept := map[uint64]bool{5: true, 9: true, 0: false, 1: false, 1 << 40: false, 1 << 41: true, 1 << 42: true}
	for hash, want := range kept {
		expect(t, fmt.Sprintf("%x is kept", hash), d.has(hash, 0), want)
	}
	for i := range d[1:] {
		if d[i].hash >= d[i+1].hash {
			t.Fatal("not sorted")
		}
	}
	data, err := deletionsCodec{}.Encode(nil, &d)
	if err != nil {
		t.Fatal(err)
	}
	back, err := deletionsCodec{}.Decode(data)
	if err != nil || cmp.Diff(d, *back, cmp.AllowUnexported(deletion{})) != "" {
		t.Errorf("another value comes back: %v", err)
	}
}

// TestDigestOfDeletions: the digest holds which events were deleted, not when.
func TestDigestOfDeletions(t *testing.T) {
	content := func(at int64) map[string]map[string]string {
		w := newWorld(t, testRegister(t))
		changelog := w.changelogOf(
			record(t, eventpb.LogRecord_CONTROL, "u:u1", start, accept("CN"), nil),
			record(t, eventpb.LogRecord_CONTROL, "u:u1", at, footprint("e1"), nil),
			record(t, eventpb.LogRecord_CONTROL, "u:u1", at, footprint("e2"), nil),
		)
		return digestOf(changelog)
	}
	a, b := content(start), content(start+40*testDay)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
	key := testRing.LogKey("u:u1")
	expect(t, "deletions", len(a["deletions"]), 2)
	for at := range a["deletions"] {
		if len(at) != len(key)+8 || at[:len(key)] != string(key[:]) {
			t.Error("the key is not subject ‖ hash")
		}
	}
}

// TestImportAfterDeletionOfEverything: a grant that a file brings reaches no further back than the deletion, though risk's floor keeps the first acceptance.
func TestImportAfterDeletionOfEverything(t *testing.T) {
	w := newWorld(t, testRegister(t))
	w.control(accept("EU"), start)
	w.control(deleteHistory(nil), start+10*minute)
	w.control(importOf(0, "EU", "personalize"), start+20*minute)
	for purpose, want := range map[string]int64{"history": 10, "trending": 10, "personalize": 10, "risk": 0} {
		expect(t, "floor of "+purpose, (w.state(purpose).FloorTime-start)/minute, want)
	}
	expect(t, "origin", w.state("personalize").Choice, purposepb.Choice_CHOICE_ALLOW)
	uploaded := func(id string, captured int64) {
		ev := view(id, start+30*minute)
		ev.Time, ev.SentAt = captured, start+30*minute
		w.event(ev, start+30*minute, nil)
	}
	uploaded("e1", start+5*minute)
	expect(t, "captured before the deletion", w.reached(), "[risk]")
	uploaded("e2", start+15*minute)
	expect(t, "captured after it", w.reached(), everything)
	if p, _ := w.o.Register.Purpose("risk"); p.Tier != privacyfilter.Legal {
		t.Error("risk is no legal purpose")
	}
}
