package filter

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/ingest/eventpb"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
)

// TestNoIllegalEventIsEverAdmitted proves REQ-134, REQ-097 and decision 3 and 4 of section 22 against an oracle that knows true times: two devices of one person with
// wrong clocks capture events, go offline, send late, and choose. An event that reaches a purpose was captured, and stands in the log, under the present grant;
// an event that names the grant's revision is never lost; and processing the log again gives the same bytes.
//
// Clocks of collectors differ, and requests take their time, but together by less than the margin.
func TestNoIllegalEventIsEverAdmitted(t *testing.T) {
	reg := testRegister(t)
	rapid.Check(t, func(t *rapid.T) {
		s := &simulation{world: newWorld(t, reg), now: start, jurisdiction: "CN"}
		for i := range s.devices {
			s.devices[i].clock = rapid.Int64Range(-48*testHour, 48*testHour).Draw(t, "clock")
		}
		t.Repeat(map[string]func(*rapid.T){
			"wait":    s.wait,
			"capture": s.capture,
			"send":    s.send,
			"choose":  s.choose,
			"accept":  s.accept,
			"delete":  s.deleteAll,
			"learn":   s.learn,
			"ask":     s.ask,
			"deliver": s.deliver,
		})
		s.processAgain(t)
	})
}

// simulation is one person with two devices, and what is true.
type simulation struct {
	*world
	now      int64 // true time
	devices  [2]device
	captured int
	revision string // newest

	accepted     bool
	jurisdiction string
	choice       purposepb.Choice
	since        [len(streamed)]int64 // true time of the present grant; 0 = denied
	floor        [len(streamed)]int64 // its offset
	all          []stream.Emitted

	denied, policyAt int64         // offsets of the newest denial and the newest policy record
	held             []*permission // asked for, and not on the log yet
}

// permission is one that is held up on its way.
type permission struct {
	control *eventpb.Control
	known   int64 // offset of the newest record when it was asked for
}

type device struct {
	clock    int64  // error of its clock
	revision string // newest that it knows
	events   []capture
}

// capture is an event that waits to be sent, and when it truly was captured.
type capture struct {
	event *eventpb.Event
	at    int64
}

func (s *simulation) device(t *rapid.T) *device {
	return &s.devices[rapid.IntRange(0, 1).Draw(t, "device")]
}

// received is the collector's clock.
func (s *simulation) received(t *rapid.T) int64 {
	return s.now + rapid.Int64Range(-second/4, second/4).Draw(t, "skew")
}

func (s *simulation) wait(t *rapid.T) {
	s.now += rapid.SampledFrom([]int64{1, second / 2, second, 2 * second, minute, 20 * minute, 30 * testHour}).Draw(t, "wait")
}

func (s *simulation) capture(t *rapid.T) {
	d := s.device(t)
	s.captured++
	ev := view(fmt.Sprint("e", s.captured), s.now)
	ev.Time, ev.SentAt = s.now+d.clock, 0
	ev.Type = rapid.SampledFrom([]vocab.Type{vocab.Type_VIEW_ITEM, vocab.Type_PURCHASE, vocab.Type_ADD_TO_WISHLIST}).Draw(t, "type")
	ev.Consent = &eventpb.Consent{Revision: d.revision, Gpc: rapid.IntRange(0, 9).Draw(t, "gpc") == 0}
	d.events = append(d.events, capture{ev, s.now})
	s.now += rapid.Int64Range(0, second/10).Draw(t, "moment")
}

func (s *simulation) send(t *rapid.T) {
	d := s.device(t)
	if len(d.events) == 0 {
		return
	}
	c := d.events[0]
	d.events = d.events[1:]
	if rapid.IntRange(0, 4).Draw(t, "dated") > 0 {
		c.event.SentAt = s.now + d.clock
	}
	s.now += rapid.Int64Range(0, second/3).Draw(t, "network")
	s.all = append(s.all, s.event(c.event, s.received(t), nil)...)
	s.judge(t, c)
}

// judge compares where the event went with what is true.
func (s *simulation) judge(t *rapid.T, c capture) {
	reached := s.reached()
	for i, purpose := range streamed {
		takes := s.filter.purposes[i].Takes(c.event.Type)
		begins := s.since[i]
		if i != personalize && i != risk && s.floor[i] == s.floor[risk] {
			begins -= 2 * second // a basic purpose hangs on the acceptance alone, about its moment; not so after a deletion
		}
		legal := takes && s.since[i] > 0 && c.at >= begins && (i != personalize || !c.event.Consent.Gpc)
		got := slices.Contains(reached, purpose)
		if got && !legal {
			t.Fatalf("illegal: %s got an event captured %d µs after its grant began", purpose, c.at-s.since[i])
		}
		knows := false
		var known int64
		if _, err := fmt.Sscanf(c.event.Consent.Revision, "1-5-%d", &known); err == nil {
			knows = known >= s.floor[i]
		}
		if legal && knows && !got {
			t.Fatalf("lost: %s did not get an event whose client knew the grant", purpose)
		}
	}
}

// act appends a control record by a device and books what is true from now on.
func (s *simulation) act(t *rapid.T, c *eventpb.Control) {
	d := s.device(t)
	offset := s.offset
	s.revision = s.control(c, s.received(t))
	s.all = append(s.all, s.emitted...)
	d.revision = s.revision
	for i, allowed := range s.allows() {
		switch {
		case !allowed:
			s.since[i] = 0
		case s.since[i] == 0:
			s.since[i], s.floor[i] = s.now, offset
		}
	}
	s.now += rapid.Int64Range(0, second/10).Draw(t, "moment")
}

// allows is the model of the decisions, in the order of streamed; risk's is that of browsing.
func (s *simulation) allows() [len(streamed)]bool {
	personal := s.choice == purposepb.Choice_CHOICE_ALLOW || s.choice == purposepb.Choice_CHOICE_NONE && s.jurisdiction == "CN"
	return [...]bool{s.accepted, s.accepted, s.accepted && personal, s.accepted}
}

func (s *simulation) choose(t *rapid.T) {
	allow := rapid.Bool().Draw(t, "allow")
	s.choice = purposepb.Choice_CHOICE_DENY
	if allow {
		s.choice = purposepb.Choice_CHOICE_ALLOW
	} else {
		s.denied = s.offset
	}
	s.act(t, choose("personalize", allow))
}

func (s *simulation) accept(t *rapid.T) {
	s.accepted = rapid.IntRange(0, 3).Draw(t, "accept") > 0
	s.jurisdiction = rapid.SampledFrom([]string{"CN", "EU"}).Draw(t, "jurisdiction")
	s.policyAt = s.offset
	s.act(t, policy(testVersion, s.accepted, s.jurisdiction))
}

// ask makes a permission that knows everything so far, and holds it up.
func (s *simulation) ask(t *rapid.T) {
	c := choose("personalize", true)
	if rapid.Bool().Draw(t, "policy") {
		c = accept(rapid.SampledFrom([]string{"CN", "EU"}).Draw(t, "jurisdiction"))
	}
	known := s.revision
	c.Known = &known
	s.held = append(s.held, &permission{c, s.offset - 1})
}

// deliver lets one that was held up through. It has no effect if what it permits was restricted since.
func (s *simulation) deliver(t *rapid.T) {
	if len(s.held) == 0 {
		return
	}
	i := rapid.IntRange(0, len(s.held)-1).Draw(t, "held")
	p := s.held[i]
	s.held = slices.Delete(s.held, i, i+1)
	switch accepted := p.control.GetPolicy(); {
	case accepted == nil && s.denied <= p.known:
		s.choice = purposepb.Choice_CHOICE_ALLOW
	case accepted != nil && s.policyAt <= p.known:
		s.accepted, s.jurisdiction, s.policyAt = true, accepted.Jurisdiction, s.offset
	}
	s.act(t, p.control)
}

func (s *simulation) deleteAll(t *rapid.T) {
	at, offset := s.now, s.offset
	s.act(t, deleteHistory(nil))
	for i := range streamed {
		if s.since[i] > 0 && i != risk {
			s.since[i], s.floor[i] = at, offset
		}
	}
}

// learn tells a device the newest revision, as any answer of the API does.
func (s *simulation) learn(t *rapid.T) { s.device(t).revision = s.revision }

func (s *simulation) processAgain(t *rapid.T) {
	again := newWorld(t, s.o.Register)
	var all []stream.Emitted
	for _, rec := range s.records {
		all = append(all, again.process(rec)...)
	}
	if diff := cmp.Diff(s.all, all); diff != "" {
		t.Fatalf("processed again:\n%s", diff)
	}
}

// TestOrderAcrossSubjectsDoesNotMatter: however the records of several people are interleaved, with each one's own order kept, the digest is the same.
func TestOrderAcrossSubjectsDoesNotMatter(t *testing.T) {
	reg := testRegister(t)
	rapid.Check(t, func(t *rapid.T) {
		var people [3][]stream.Record
		for i := range people {
			people[i] = personRecords(t, fmt.Sprint("p", i))
		}
		first, second := interleaved(t, reg, people), interleaved(t, reg, people)
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatal(diff)
		}
		if len(first["ledger"]) == 0 {
			t.Fatal("the digest holds nothing")
		}
	})
}

// personRecords are some controls and events of one person, without revisions, which depend on the place in the log.
func personRecords(t *rapid.T, user string) []stream.Record {
	now := start
	of := func(c *eventpb.Control) stream.Record {
		c.Subject = "u:" + user
		return record(t, eventpb.LogRecord_CONTROL, c.Subject, now, c, nil)
	}
	recs := []stream.Record{of(accept("CN"))}
	for i := range rapid.IntRange(1, 100).Draw(t, "records") {
		now += rapid.Int64Range(1, testHour).Draw(t, "wait")
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			recs = append(recs, of(choose("personalize", rapid.Bool().Draw(t, "allow"))))
		case 1:
			recs = append(recs, of(blockItem(fmt.Sprint("i", i), false)))
		case 2:
			recs = append(recs, of(deleteHistory(nil)))
		case 3:
			id := fmt.Sprint("e", rapid.IntRange(0, 80).Draw(t, "id"))
			recs = append(recs, of(deleteHistory(historyEvent("u:"+user, id))))
		default:
			ev := view(fmt.Sprint("e", rapid.IntRange(0, 80).Draw(t, "id")), now)
			ev.UserId = user
			recs = append(recs, eventRecord(t, ev, now, nil))
		}
	}
	return recs
}

// interleaved processes the people's records in a random order and returns the content of the digest.
func interleaved(t *rapid.T, reg *privacyfilter.Register, people [3][]stream.Record) map[string]map[string]string {
	w := newWorld(t, reg)
	changelog := make(map[string]stream.Record)
	for left := true; left; {
		left = false
		who := rapid.IntRange(0, 2).Draw(t, "next")
		for range people {
			if n := len(people[who]); n > 0 {
				rec := people[who][0]
				people[who] = people[who][1:]
				rec.Offset = w.offset
				w.offset++
				if err := w.filter.Process(&rec); err != nil {
					t.Fatal(err)
				}
				left = true
				break
			}
			who = (who + 1) % len(people)
		}
		for _, change := range w.task.Changes() {
			changelog[string(change.Key)] = change
		}
	}
	return digestOf(changelog)
}

// changelogOf processes the records and returns the newest change of every key.
func (w *world) changelogOf(recs ...stream.Record) map[string]stream.Record {
	w.t.Helper()
	changelog := make(map[string]stream.Record)
	for _, rec := range recs {
		rec.Offset = w.offset
		w.offset++
		if err := w.filter.Process(&rec); err != nil {
			w.t.Fatal(err)
		}
		for _, change := range w.task.Changes() {
			changelog[string(change.Key)] = change
		}
	}
	return changelog
}

// digestOf is what the digest compares of a changelog.
func digestOf(changelog map[string]stream.Record) map[string]map[string]string {
	stores := make(map[string]map[string]string)
	project := Projection()
	for _, rec := range changelog {
		if rec.Value == nil {
			continue
		}
		project(rec.Key[0], rec.Key[1:], rec.Value, func(p stream.Pair) {
			if stores[p.Store] == nil {
				stores[p.Store] = make(map[string]string)
			}
			stores[p.Store][string(p.Key)] = string(p.Value)
		})
	}
	return stores
}

// TestDigestHoldsNoPlaces: two logs with other offsets and received hours, but the same times of choice, have one digest.
func TestDigestHoldsNoPlaces(t *testing.T) {
	content := func(firstOffset, later int64) map[string]map[string]string {
		w := newWorld(t, testRegister(t))
		w.offset = firstOffset
		return digestOf(w.changelogOf(
			record(t, eventpb.LogRecord_CONTROL, "u:u1", start, importOf(5, "CN", "personalize"), nil),
			eventRecord(t, view("e1", start+later), start+later, nil),
		))
	}
	a, b := content(1, minute), content(700, 90*testHour)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
	if len(a["ledger"]) != 1 || len(a["dedupe"]) != 1 {
		t.Errorf("stores: %d, %d", len(a["ledger"]), len(a["dedupe"]))
	}
	if topics.State("filter") != Engine(Options{}).Changelog() {
		t.Error("the changelog has another name")
	}
}
