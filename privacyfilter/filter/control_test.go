package filter

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/ingest/eventpb"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/purposepb"
)

// TestEveryControlIsPublished proves REQ-056 for the filter: the row with the record's revision, the end of its restriction, and the record itself in the ledger,
// also where nothing changed.
func TestEveryControlIsPublished(t *testing.T) {
	w := newWorld(t, testRegister(t))
	controls := []*eventpb.Control{
		accept("CN"), accept("CN"), choose("personalize", true), choose("history", false), choose("ads", true), blockItem("i1", false),
		deleteHistory([]byte("none of ours")), deleteHistory(nil), importOf(0, "EU"), withdraw(),
		{Subject: "u:u1"},
	}
	key := testRing.LogKey("u:u1")
	for i, c := range controls {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			rev := w.control(c, start+int64(i)*minute)
			consent := w.on(topics.Consent)
			if block := c.GetBlock(); block != nil {
				expect(t, "blocks' key", consent[0].Key, append(append([]byte{'b'}, key[:]...), privacyfilter.ChunkOf(block.Id)))
				consent = consent[1:]
			}
			if len(consent) != 2 || w.only(topics.Ledger).Partition != 5 {
				t.Fatalf("%d records on consent", len(consent))
			}
			row, err := privacyfilter.ParseRow(consent[0].Value)
			if err != nil {
				t.Fatal(err)
			}
			at := privacyfilter.RevisionFromPB(row.Revision)
			expect(t, "revision", at, rev)
			expect(t, "row's key", consent[0].Key, append([]byte{'r'}, key[:]...))
			expect(t, "tombstone's key", consent[1].Key, at.Append(append([]byte{'x'}, key[:]...)))
			if consent[1].Value != nil || !bytes.Equal(w.only(topics.Ledger).Value, w.records[i].Value) {
				t.Error("the restriction stays, or the ledger has another record")
			}
		})
	}
	want := map[string]int{
		"sluice_filter_controls_total policy changed": 2, "sluice_filter_controls_total policy unchanged": 1, "sluice_filter_controls_total choice changed": 1,
		"sluice_filter_controls_total choice ignored": 2, "sluice_filter_controls_total block changed": 1, "sluice_filter_controls_total delete_history ignored": 1,
		"sluice_filter_controls_total delete_history changed": 1, "sluice_filter_controls_total import ignored": 1, "sluice_filter_controls_total unknown ignored": 1,
	}
	all := w.gather()
	for name, n := range want {
		expect(t, name, all[name], n)
	}
}

// TestFloors: the floor is the revision and the time at which the present uninterrupted allow began, and moves for nothing else.
func TestFloors(t *testing.T) {
	w := newWorld(t, testRegister(t))
	floors := func() string {
		var text strings.Builder
		for _, p := range []string{"history", "trending", "personalize", "marketing.sms"} {
			if s := privacyfilter.StateOf(w.row(), p); s != nil {
				fmt.Fprintf(&text, "%s %v@%d ", p, s.Allow, s.Floor.GetOffset())
			}
		}
		return text.String()
	}
	steps := []struct {
		name    string
		control *eventpb.Control
		want    string
	}{
		{"choice before the policy", choose("marketing.sms", true), "marketing.sms false@0 "},                                                          // 1
		{"acceptance sets the first floors", accept("CN"), "history true@2 trending true@2 personalize true@2 marketing.sms true@2 "},                  // 2
		{"the default as a choice", choose("personalize", true), "history true@2 trending true@2 personalize true@2 marketing.sms true@2 "},            // 3
		{"off", choose("personalize", false), "history true@2 trending true@2 personalize false@0 marketing.sms true@2 "},                              // 4
		{"on", choose("personalize", true), "history true@2 trending true@2 personalize true@5 marketing.sms true@2 "},                                 // 5
		{"again", choose("personalize", true), "history true@2 trending true@2 personalize true@5 marketing.sms true@2 "},                              // 6
		{"deletion of everything", deleteHistory(nil), "history true@7 trending true@7 personalize true@7 marketing.sms true@2 "},                      // 7
		{"move to the EU, where the choice holds", accept("EU"), "history true@7 trending true@7 personalize true@7 marketing.sms true@2 "},            // 8
		{"withdrawal of the policy", withdraw(), "history false@0 trending false@0 personalize false@0 marketing.sms false@0 "},                        // 9
		{"deletion of everything, nothing allowed", deleteHistory(nil), "history false@0 trending false@0 personalize false@0 marketing.sms false@0 "}, // 10
		{"acceptance without a place", accept(""), "history true@11 trending true@11 personalize true@11 marketing.sms true@11 "},                      // 11
		{"an unknown version", policy("1999", true, "CN"), "history true@11 trending true@11 personalize true@11 marketing.sms true@11 "},              // 12
	}
	for i, s := range steps {
		w.control(s.control, start+int64(i)*minute)
		expect(t, s.name, floors(), s.want)
	}
	expect(t, "the place stays", w.row().Jurisdiction, "EU")
	expect(t, "risk", w.state("risk").Allow, true)
}

// TestPagesNarrow: of a record that was written with a write key, a jurisdiction that permits more than the recorded one has no effect, whatever the node that wrote
// it knew: the acceptance yields, a withdrawal withdraws and leaves the jurisdiction.
func TestPagesNarrow(t *testing.T) {
	page := func(accepted bool, place string) *eventpb.Control {
		c := policy(testVersion, accepted, place)
		c.GetPolicy().Narrows = true
		return c
	}
	for _, c := range []struct {
		name     string
		controls []*eventpb.Control
		want     string
	}{
		{"the first word", []*eventpb.Control{page(true, "CN")}, testVersion + " CN"},
		{"narrower", []*eventpb.Control{accept("CN"), page(true, "EU")}, testVersion + " EU"},
		{"wider", []*eventpb.Control{accept("EU"), page(true, "CN")}, testVersion + " EU"},
		{"wider, after a withdrawal", []*eventpb.Control{accept("EU"), withdraw(), page(true, "CN")}, " EU"},
		{"wider, withdrawing", []*eventpb.Control{accept("EU"), page(false, "CN")}, " EU"},
		{"narrower, withdrawing", []*eventpb.Control{accept("CN"), page(false, "EU")}, " EU"},
		{"wider with a server key", []*eventpb.Control{accept("EU"), accept("CN")}, testVersion + " CN"},
		{"none told", []*eventpb.Control{accept("EU"), withdraw(), page(true, "")}, testVersion + " EU"},
	} {
		w := newWorld(t, testRegister(t))
		for i, control := range c.controls {
			w.control(control, start+int64(i)*minute)
		}
		row := w.row()
		expect(t, c.name, row.PolicyVersion+" "+row.Jurisdiction, c.want)
	}
}

// purges lists what the last record told the purposes' streams.
func (w *world) purges() (lines []string) {
	w.t.Helper()
	line := func(topic string, p *purposepb.Purge) {
		if p != nil {
			lines = append(lines, fmt.Sprintf("%s event=%x floor=%x", topic, p.Event, p.Floor))
		}
	}
	for _, e := range w.emitted {
		switch e.Topic {
		case topics.History:
			line(e.Topic, decode(w.t, new(purposepb.HistoryRecord), e).GetPurge())
		case topics.Personalize:
			line(e.Topic, decode(w.t, new(purposepb.PersonalRecord), e).GetPurge())
		case topics.Trending:
			if p := decode(w.t, new(purposepb.TrendingRecord), e).GetPurge(); p != nil {
				lines = append(lines, fmt.Sprintf("%s event=%x contributors=%d", e.Topic, p.Event, len(p.Contributors)))
			}
		}
	}
	return lines
}

// TestPurges proves REQ-049 and decisions 4, 5 and 6 of section 22 for the filter: a withdrawal, a grant and a deletion are told to the purposes' streams.
func TestPurges(t *testing.T) {
	const u = "u:u1"
	w := newWorld(t, testRegister(t))
	floor := func(purpose string, offset int64) string {
		return hex.EncodeToString(testKeys.Floor(purpose, u, privacyfilter.Revision{Generation: 1, Partition: 5, Offset: offset}))
	}
	sealed := historyEvent(u, "e1")
	personal, trend := testKeys.Event("personalize", u, vocab.Type_VIEW_ITEM, "e1"), testKeys.Event("trending", u, vocab.Type_VIEW_ITEM, "e1")
	steps := []struct {
		name    string
		control *eventpb.Control // nil: an event
		want    []string
	}{
		{"first acceptance", accept("CN"), []string{"history event= floor=" + floor("history", 1), "personalize event= floor=" + floor("personalize", 1)}},
		{"an event", nil, nil},
		{"repeated", accept("CN"), nil},
		{"off", choose("personalize", false), []string{"personalize event= floor="}},
		{"one footprint", deleteHistory(sealed), []string{
			fmt.Sprintf("history event=%x floor=%s", sealed, floor("history", 1)), fmt.Sprintf("personalize event=%x floor=", personal), fmt.Sprintf("trending event=%x contributors=4", trend),
		}},
		{"on", choose("personalize", true), []string{"personalize event= floor=" + floor("personalize", 6)}},
		{"everything", deleteHistory(nil), []string{
			"history event= floor=" + floor("history", 7), "trending event= contributors=4", "personalize event= floor=" + floor("personalize", 7),
		}},
		{"withdrawal", withdraw(), []string{"history event= floor=", "trending event= contributors=4", "personalize event= floor="}},
		{"accepted again", accept("CN"), []string{"history event= floor=" + floor("history", 9), "personalize event= floor=" + floor("personalize", 9)}},
	}
	for i, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			now := start + int64(i)*minute
			if s.control == nil {
				w.event(view("e1", now), now, nil)
			} else {
				w.control(s.control, now)
			}
			if diff := cmp.Diff(s.want, w.purges()); diff != "" {
				t.Error(diff)
			}
			for _, e := range w.emitted {
				if e.Topic != topics.Entities && e.Partition != 5 {
					t.Errorf("a record on partition %d of %s", e.Partition, e.Topic)
				}
			}
		})
	}
}

// TestTrendingPurgeNamesEveryKeptWindow: the contributor's key of every window that the engine may still hold, and the key that the event went under among them.
func TestTrendingPurgeNamesEveryKeptWindow(t *testing.T) {
	w := newWorld(t, testRegister(t))
	w.control(accept("CN"), start)
	w.event(view("e1", start+minute), start+minute, nil)
	sent := decode(t, new(purposepb.TrendingRecord), w.only(topics.Trending)).GetEvent()
	w.event(view("e2", start+2*testHour+second), start+2*testHour+second, nil)
	w.control(deleteHistory(nil), start+2*testHour)
	purge := decode(t, new(purposepb.TrendingRecord), w.only(topics.Trending)).GetPurge()
	newest := (start + 2*testHour) / testHour
	found := false
	for i, c := range purge.Contributors {
		key := testKeys.Contributor("u:u1", 0, c.Window)
		expect(t, "window", c.Window, newest-3+int64(i))
		expect(t, "key", c.Key, key[:])
		found = found || c.Window == sent.Window && bytes.Equal(c.Key, sent.Contributor)
	}
	if len(purge.Contributors) != 4 || !found {
		t.Errorf("%d windows, that of the event among them: %v", len(purge.Contributors), found)
	}
}

// TestImports: an import has effect from the time that it tells, and yields to any record that the subject has for the purpose.
func TestImports(t *testing.T) {
	const since = start - 1000*testHour
	cases := []struct {
		name     string
		controls []*eventpb.Control
		want     string // history, personalize, marketing.sms: allowed since when, in minutes after start
	}{
		{"policy alone, opt-out", []*eventpb.Control{importOf(since, "CN")}, "-60000 -60000 no"},
		{"policy alone, opt-in", []*eventpb.Control{importOf(since, "EU")}, "-60000 no no"},
		{"with grants", []*eventpb.Control{importOf(since, "EU", "personalize", "marketing.sms")}, "-60000 -60000 -60000"},
		{"unknown and basic grants", []*eventpb.Control{importOf(since, "EU", "ads", "history", "risk")}, "-60000 no no"},
		{"effective in the future", []*eventpb.Control{importOf(start+99*minute, "CN")}, "0 0 no"},
		{"effective before 1970", []*eventpb.Control{importOf(-5, "CN")}, fmt.Sprint(-start/minute, " ", -start/minute, " no")},
		{"after a refusal", []*eventpb.Control{choose("personalize", false), importOf(since, "CN", "personalize")}, "-60000 no no"},
		{"after a withdrawal", []*eventpb.Control{withdraw(), importOf(since, "CN", "personalize")}, "no no no"},
		{"after an acceptance", []*eventpb.Control{accept("CN"), importOf(since, "EU")}, "0 0 no"},
		{"a grant reaches no further back than the acceptance", []*eventpb.Control{accept("EU"), importOf(since, "EU", "personalize")}, "0 0 no"},
		{"a second import adds a grant", []*eventpb.Control{importOf(since, "EU"), importOf(since, "EU", "personalize")}, "-60000 -60000 no"},
		{"a second import moves nothing", []*eventpb.Control{importOf(since, "CN"), importOf(0, "CN")}, "-60000 -60000 no"},
		{"a refusal after it", []*eventpb.Control{importOf(since, "CN", "personalize"), choose("personalize", false)}, "-60000 no no"},
	}
	reg := testRegister(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, reg)
			for i, control := range c.controls {
				w.control(control, start+int64(i)*minute)
			}
			var got []string
			for _, purpose := range []string{"history", "personalize", "marketing.sms"} {
				s := privacyfilter.StateOf(w.row(), purpose)
				if s != nil && s.Allow {
					got = append(got, strconv.FormatInt((s.FloorTime-start)/minute, 10))
				} else {
					got = append(got, "no")
				}
			}
			expect(t, "since", strings.Join(got, " "), c.want)
		})
	}
}

// TestImportedPastIsAdmitted: the rows of a file, sent with a server key, are captured under the imported grant; they are not for who refused.
func TestImportedPastIsAdmitted(t *testing.T) {
	past := view("e1", start)
	past.Time, past.SentAt = start-500*testHour, 0
	trusted := func(lr *eventpb.LogRecord) { lr.TrustedClock = true }
	w := newWorld(t, testRegister(t))
	w.control(importOf(0, "EU", "personalize"), start)
	w.event(past, start, trusted)
	expect(t, "reached", w.reached(), everything)
	w = newWorld(t, testRegister(t))
	w.control(accept("EU"), start)
	w.control(importOf(0, "EU", "personalize"), start)
	w.event(past, start, trusted)
	expect(t, "reached by who had accepted later", w.reached(), nothing)
}

// TestBlocks proves the ledger's part of REQ-052 and REQ-053.
func TestBlocks(t *testing.T) {
	category := func(id string, remove bool) *eventpb.Control {
		c := blockItem(id, remove)
		c.GetBlock().Kind = eventpb.Control_Block_CATEGORY
		return c
	}
	unknown := blockItem("i1", false)
	unknown.GetBlock().Kind = 99
	w := newWorld(t, testRegister(t))
	for i, c := range []*eventpb.Control{
		blockItem("i2", false), blockItem("i1", false), blockItem("i2", false), category("Lamps", false), blockItem("i3", true), blockItem("", false),
		blockItem(string(make([]byte, 257)), false), unknown, category("Rugs", false), category("Lamps", true),
	} {
		w.control(c, start+int64(i))
	}
	expect(t, "blocks", w.blocked(), "{[i1 i2] [Rugs]}")
	expect(t, "counted", fmt.Sprint(w.row().BlockedItems, w.row().BlockedCategories), "2 1")
	for i := range privacyfilter.MaxBlocks + 5 {
		w.control(blockItem(fmt.Sprint("n", i), false), start)
	}
	expect(t, "bounded", len(w.blocked().Items), privacyfilter.MaxBlocks)
	expect(t, "counted", w.row().BlockedItems, privacyfilter.MaxBlocks)
	for _, id := range w.blocked().Items {
		w.control(blockItem(id, true), start)
	}
	expect(t, "unblocked", w.blocked(), "{[] [Rugs]}")
	expect(t, "counted", w.row().BlockedItems, 0)
}

// TestPermissionsYieldToWhatTheirAskerDidNotKnow proves REQ-134 for requests that come late: a permission holds only if the newest restriction of the same
// thing was known where it was asked for. A restriction always holds.
func TestPermissionsYieldToWhatTheirAskerDidNotKnow(t *testing.T) {
	knowing := func(c *eventpb.Control, known string) *eventpb.Control {
		c.Known = &known
		return c
	}
	category := func(remove bool) *eventpb.Control {
		c := blockItem("Lamps", remove)
		c.GetBlock().Kind = eventpb.Control_Block_CATEGORY
		return c
	}
	on := func() *eventpb.Control { return choose("personalize", true) }
	off := func() *eventpb.Control { return choose("personalize", false) }
	allows := func(purpose string) func(w *world) bool {
		return func(w *world) bool { return w.state(purpose).GetAllow() }
	}
	shows := func(w *world) bool { return w.row().BlockedItems+w.row().BlockedCategories == 0 }
	cases := []struct {
		name     string
		controls []*eventpb.Control // at 1-5-2, after the acceptance of the policy at 1-5-1
		holds    func(*world) bool
		want     bool
		did      string // the last one
	}{
		{"known", []*eventpb.Control{off(), knowing(on(), "1-5-2")}, allows("personalize"), true, "choice changed"},
		{"a later one known", []*eventpb.Control{off(), blockItem("i1", false), knowing(on(), "1-5-3")}, allows("personalize"), true, "choice changed"},
		{"not known", []*eventpb.Control{off(), knowing(on(), "1-5-1")}, allows("personalize"), false, "choice overtaken"},
		{"nothing known", []*eventpb.Control{off(), knowing(on(), "")}, allows("personalize"), false, "choice overtaken"},
		{"unreadable", []*eventpb.Control{off(), knowing(on(), "newest")}, allows("personalize"), false, "choice overtaken"},
		{"of an earlier generation", []*eventpb.Control{off(), knowing(on(), "0-5-9")}, allows("personalize"), false, "choice overtaken"},
		{"not told", []*eventpb.Control{off(), on()}, allows("personalize"), true, "choice changed"},
		{"a repeated refusal counts", []*eventpb.Control{off(), off(), knowing(on(), "1-5-2")}, allows("personalize"), false, "choice overtaken"},
		{"sent twice and taken back", []*eventpb.Control{off(), knowing(on(), "1-5-2"), knowing(off(), "1-5-3"), knowing(on(), "1-5-2")}, allows("personalize"), false, "choice overtaken"},
		{"sent twice", []*eventpb.Control{off(), knowing(on(), "1-5-2"), knowing(on(), "1-5-2")}, allows("personalize"), true, "choice unchanged"},
		{"of another purpose", []*eventpb.Control{off(), choose("marketing.sms", false), knowing(on(), "1-5-2")}, allows("personalize"), true, "choice changed"},
		{"a refusal that comes late", []*eventpb.Control{on(), knowing(off(), "")}, allows("personalize"), false, "choice changed"},
		{"accepted, known", []*eventpb.Control{withdraw(), knowing(accept("CN"), "1-5-2")}, allows("history"), true, "policy changed"},
		{"accepted, not known", []*eventpb.Control{withdraw(), knowing(accept("CN"), "1-5-1")}, allows("history"), false, "policy overtaken"},
		{"accepted elsewhere, not known", []*eventpb.Control{accept("EU"), knowing(accept("CN"), "1-5-1")}, allows("personalize"), false, "policy overtaken"},
		{"accepted elsewhere, known", []*eventpb.Control{accept("EU"), knowing(accept("CN"), "1-5-2")}, allows("personalize"), true, "policy changed"},
		{"accepted twice", []*eventpb.Control{knowing(accept("EU"), "1-5-1"), knowing(accept("EU"), "1-5-1")}, allows("history"), true, "policy overtaken"},
		{"withdrawn late", []*eventpb.Control{knowing(withdraw(), "")}, allows("history"), false, "policy changed"},
		{"unblocked, known", []*eventpb.Control{blockItem("i1", false), knowing(blockItem("i1", true), "1-5-2")}, shows, true, "block changed"},
		{"unblocked, not known", []*eventpb.Control{blockItem("i1", false), knowing(blockItem("i1", true), "1-5-1")}, shows, false, "block overtaken"},
		{"another block is not known", []*eventpb.Control{blockItem("i1", false), category(false), knowing(blockItem("i1", true), "1-5-2"), knowing(category(true), "1-5-3")}, shows, true, "block changed"},
		{"a repeated block counts", []*eventpb.Control{category(false), category(false), knowing(category(true), "1-5-2")}, shows, false, "block overtaken"},
		{"unblocked twice and blocked again", []*eventpb.Control{
			category(false), knowing(category(true), "1-5-2"), knowing(category(false), "1-5-3"), knowing(category(true), "1-5-2"),
		}, shows, false, "block overtaken"},
	}
	reg := testRegister(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, reg)
			w.control(accept("CN"), start)
			before := w.gather()
			for i, control := range c.controls {
				before = w.gather()
				w.control(control, start+int64(i+1)*minute)
			}
			expect(t, "holds", c.holds(w), c.want)
			name := "sluice_filter_controls_total " + c.did
			expect(t, name, w.gather()[name], before[name]+1)
			expect(t, "revision", privacyfilter.RevisionFromPB(w.row().Revision).Offset, w.offset-1)
		})
	}
}

// TestABlockIsWrittenWithFewOthers: what a block costs on the topics hardly grows with the blocks that there are.
func TestABlockIsWrittenWithFewOthers(t *testing.T) {
	w := newWorld(t, testRegister(t))
	long := strings.Repeat("x", 200)
	most := 0
	for i := range 300 {
		w.emitted = w.emitted[:0]
		w.control(blockItem(fmt.Sprint(long, i), false), start)
		bytes := 0
		for _, rec := range w.emitted {
			bytes += len(rec.Key) + len(rec.Value)
		}
		most = max(most, bytes)
	}
	if most > 20*(len(long)+3) {
		t.Errorf("a block of 203 bytes writes %d", most)
	}
}

// TestUnreadableRecordsBecomeLetters: whatever cannot be opened is a sealed dead letter in the same transaction, and the filter goes on.
func TestUnreadableRecordsBecomeLetters(t *testing.T) {
	good := eventRecord(t, view("e1", start), start, nil)
	change := func(f func(lr *eventpb.LogRecord)) func() (r struct{ key, value []byte }) {
		return func() (r struct{ key, value []byte }) {
			rec := eventRecord(t, view("e1", start), start, f)
			r.key, r.value = rec.Key, rec.Value
			return r
		}
	}
	plain := func(kind eventpb.LogRecord_Kind, body []byte) func(lr *eventpb.LogRecord) {
		return func(lr *eventpb.LogRecord) { lr.Kind, lr.KeyId, lr.Body = kind, 0, body }
	}
	nobody, err := (&eventpb.Event{Id: "e1"}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	other, err := (&eventpb.Control{Subject: "u:u2"}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, code string
		isControl  bool
		make       func() (r struct{ key, value []byte })
	}{
		{"tombstone", "unreadable_record", false, func() (r struct{ key, value []byte }) { r.key = good.Key; return r }},
		{"no protobuf", "unreadable_record", false, func() (r struct{ key, value []byte }) { r.key, r.value = good.Key, []byte("{}"); return r }},
		{"short key", "unreadable_record", false, func() (r struct{ key, value []byte }) { r.key, r.value = good.Key[:3], good.Value; return r }},
		{"later version", "unreadable_record", false, change(func(lr *eventpb.LogRecord) { lr.Version = 2 })},
		{"no kind", "unknown_kind", false, change(func(lr *eventpb.LogRecord) { lr.Kind = 0 })},
		{"unknown key", "unknown_key", false, change(func(lr *eventpb.LogRecord) { lr.KeyId = 99 })},
		{"broken seal", "not_authentic", false, change(func(lr *eventpb.LogRecord) { lr.Body[20] ^= 1 })},
		{"short body", "not_authentic", false, change(func(lr *eventpb.LogRecord) { lr.Body = lr.Body[:4] })},
		{"broken decision", "not_authentic", false, change(func(lr *eventpb.LogRecord) { lr.Decision = []byte("not sealed at all") })},
		{"body that is no event", "undecodable", false, change(plain(eventpb.LogRecord_EVENT, []byte{0xff}))},
		{"nobody's event", "missing_field", false, change(plain(eventpb.LogRecord_EVENT, nobody))},
		{"body that is no control", "undecodable", true, change(plain(eventpb.LogRecord_CONTROL, []byte{0xff}))},
		{"someone else's control", "wrong_subject", true, change(plain(eventpb.LogRecord_CONTROL, other))},
	}
	reg := testRegister(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, reg)
			rec, made := good, c.make()
			rec.Key, rec.Value, rec.Index = made.key, made.value, 3
			w.process(rec)
			letter := decode(t, new(eventpb.DeadLetter), w.only(topics.DeadLetters))
			expect(t, "code", letter.Code, c.code)
			expect(t, "place", fmt.Sprint(letter.Stage, " ", letter.Source, " ", letter.Position, " ", letter.Index), "filter events/5 1 3")
			id := w.only(topics.DeadLetters).Key
			if payload, err := testRing.Unseal(letter.KeyId, letter.Payload, id); err != nil || !bytes.Equal(payload, made.value) {
				t.Errorf("the letter holds something else: %v", err)
			}
			if len(w.emitted) != 1 {
				t.Errorf("%d records", len(w.emitted))
			}
			want := "allowed 0 denied 0 rejected 1 duplicate 0"
			if c.isControl {
				want = "allowed 0 denied 0 rejected 0 duplicate 0"
				expect(t, "controls", w.gather()["sluice_filter_controls_total unknown rejected"], 1)
			}
			expect(t, "counts", w.counts(), want)
			w.control(accept("CN"), start)
			w.event(view("e1", start+minute), start+minute, nil)
			expect(t, "the next event", w.reached(), everything)
		})
	}
}

// TestIncarnationIsPartOfEveryPseudonym: a new incarnation of a subject has nothing in common with the one before.
func TestIncarnationIsPartOfEveryPseudonym(t *testing.T) {
	w := newWorld(t, testRegister(t))
	w.control(accept("CN"), start)
	keys := make(map[string]bool)
	for incarnation := range uint32(2) {
		w.row().Incarnation = incarnation
		w.event(view(fmt.Sprint("e", incarnation), start+minute), start+minute, nil)
		for _, e := range w.emitted {
			who := string(whose(t, e))
			if keys[who] {
				t.Errorf("a pseudonym of %s is shared", e.Topic)
			}
			keys[who] = true
		}
	}
	if len(keys) < 2*len(streamed) || pseudonym.Size != 16 {
		t.Errorf("%d pseudonyms", len(keys))
	}
}
