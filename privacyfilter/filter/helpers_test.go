package filter

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/internal/config"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/purposepb"
)

// testing.TB and *rapid.T have these in common.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

const (
	testVersion = "2026-09"
	second      = int64(1_000_000)
	minute      = 60 * second
	testHour    = 60 * minute
	// start is when tests begin: 2026-10-01, by the collector's clock.
	start = int64(1_790_812_800_000_000)
)

var (
	testRing = seal.NewKeyring([32]byte{7})
	testKeys = pseudonym.New(testRing)
)

func testRegister(t tester, replacements ...string) *privacyfilter.Register {
	t.Helper()
	text := string(privacyfilter.Defaults)
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(text, replacements[i]) {
			t.Fatalf("the built-in register does not contain %q", replacements[i])
		}
		text = strings.Replace(text, replacements[i], replacements[i+1], 1)
	}
	file, err := config.Parse("register.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	reg, err := privacyfilter.Load(func(name string) config.Section {
		s, _ := file.Section(name)
		return s
	})
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

func testOptions(reg *privacyfilter.Register) Options {
	return Options{
		Register: reg, Ring: testRing, Keys: testKeys, Generation: 1, Registerer: prometheus.NewRegistry(),
		TrendingWindow: time.Hour, TrendingKept: 3,
	}
}

// world drives the filter of one partition. Whoever is named stands in it, whatever their real partition.
type world struct {
	t       tester
	o       Options
	task    *stream.Task
	filter  *filter
	offset  int64
	records []stream.Record  // everything processed, to process it again
	emitted []stream.Emitted // by the last record
}

func newWorld(t tester, reg *privacyfilter.Register) *world {
	t.Helper()
	return newWorldWith(t, testOptions(reg))
}

func newWorldWith(t tester, o Options) *world {
	t.Helper()
	w := &world{t: t, o: o, task: stream.NewTask(5), offset: 1}
	p, err := Engine(o).Open(w.task)
	if err != nil {
		t.Fatal(err)
	}
	w.filter = p.(*filter)
	return w
}

// record makes a record of the log as the collector does.
func record(t tester, kind eventpb.LogRecord_Kind, subject string, received int64, body interface{ MarshalVT() ([]byte, error) }, change func(*eventpb.LogRecord)) stream.Record {
	t.Helper()
	key := testRing.LogKey(subject)
	plain, err := body.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	lr := &eventpb.LogRecord{Version: 1, Kind: kind, ReceivedAt: received}
	lr.KeyId, lr.Body = testRing.Seal(plain, key[:])
	if change != nil {
		change(lr)
	}
	value, err := lr.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return stream.Record{Topic: topics.Events, Partition: 5, Key: key[:], Value: value, Time: time.UnixMicro(received)}
}

// process gives the filter a record at the next offset and returns what it emitted.
func (w *world) process(rec stream.Record) []stream.Emitted {
	w.t.Helper()
	rec.Offset = w.offset
	w.offset++
	w.records = append(w.records, rec)
	if err := w.filter.Process(&rec); err != nil {
		w.t.Fatal(err)
	}
	if err := w.task.Err(); err != nil {
		w.t.Fatal(err)
	}
	w.emitted = w.task.Take()
	return w.emitted
}

// event sends an event.
func (w *world) event(ev *eventpb.Event, received int64, change func(*eventpb.LogRecord)) []stream.Emitted {
	w.t.Helper()
	return w.process(eventRecord(w.t, ev, received, change))
}

func eventRecord(t tester, ev *eventpb.Event, received int64, change func(*eventpb.LogRecord)) stream.Record {
	t.Helper()
	subject := ingest.Subject(ev)
	return record(t, eventpb.LogRecord_EVENT, subject, received, ev, func(lr *eventpb.LogRecord) {
		lr.Dedupe = testRing.DedupeHash(subject, byte(ev.Type), ev.Id)
		if change != nil {
			change(lr)
		}
	})
}

// runRecord is a row of run 77, of u1.
func runRecord(t tester, row uint64, id string, received int64) stream.Record {
	t.Helper()
	return eventRecord(t, view(id, received), received, func(lr *eventpb.LogRecord) { lr.Run, lr.Row = 77, row })
}

// control sends a control record and returns its revision.
func (w *world) control(c *eventpb.Control, received int64) string {
	w.t.Helper()
	rev := privacyfilter.Revision{Generation: 1, Partition: 5, Offset: w.offset}
	w.process(record(w.t, eventpb.LogRecord_CONTROL, c.Subject, received, c, nil))
	return rev.String()
}

// view is an item view of u1, captured and sent a moment before it is received.
func view(id string, received int64) *eventpb.Event {
	return &eventpb.Event{
		Id: id, Type: vocab.Type_VIEW_ITEM, UserId: "u1", Time: received - second/5, SentAt: received - second/10, Channel: vocab.Channel_WEB, Locale: "en",
		Items: []*vocab.Item{{ItemId: "i1", Index: 2, Quantity: 1, Price: 990_000}},
	}
}

func accept(jurisdiction string) *eventpb.Control {
	return policy(testVersion, true, jurisdiction)
}

func withdraw() *eventpb.Control { return policy("", false, "") }

func policy(version string, accepted bool, jurisdiction string) *eventpb.Control {
	return &eventpb.Control{Subject: "u:u1", Act: &eventpb.Control_Policy_{Policy: &eventpb.Control_Policy{Version: version, Accepted: accepted, Jurisdiction: jurisdiction}}}
}

func choose(purpose string, allow bool) *eventpb.Control {
	return &eventpb.Control{Subject: "u:u1", Act: &eventpb.Control_Choice_{Choice: &eventpb.Control_Choice{Purpose: purpose, Allow: allow}}}
}

func blockItem(id string, remove bool) *eventpb.Control {
	return &eventpb.Control{Subject: "u:u1", Act: &eventpb.Control_Block_{Block: &eventpb.Control_Block{Kind: eventpb.Control_Block_ITEM, Id: id, Remove: remove}}}
}

func deleteHistory(event []byte) *eventpb.Control {
	return &eventpb.Control{Subject: "u:u1", Act: &eventpb.Control_DeleteHistory_{DeleteHistory: &eventpb.Control_DeleteHistory{Event: event}}}
}

// historyEvent is the id that the history gives of an event.
func historyEvent(subject, id string) []byte {
	event := testKeys.Event(privacyfilter.History, subject, vocab.Type_VIEW_ITEM, id)
	return event[:]
}

func importOf(effective int64, jurisdiction string, grants ...string) *eventpb.Control {
	return &eventpb.Control{Subject: "u:u1", Act: &eventpb.Control_Import_{Import: &eventpb.Control_Import{
		PolicyVersion: testVersion, Jurisdiction: jurisdiction, Grants: grants, EffectiveAt: effective,
	}}}
}

// reached lists the purposes whose stream got an event of the last record.
func (w *world) reached() []string {
	w.t.Helper()
	var names []string
	for _, e := range w.emitted {
		if slices.Contains(streamed[:], e.Topic) && isEvent(w.t, e) {
			names = append(names, e.Topic)
		}
	}
	return names
}

func isEvent(t tester, e stream.Emitted) bool {
	t.Helper()
	switch e.Topic {
	case topics.History:
		return decode(t, new(purposepb.HistoryRecord), e).GetEvent() != nil
	case topics.Trending:
		return decode(t, new(purposepb.TrendingRecord), e).GetEvent() != nil
	case topics.Personalize:
		return decode(t, new(purposepb.PersonalRecord), e).GetEvent() != nil
	default:
		return true
	}
}

// whose is the pseudonym that an emitted event is of.
func whose(t tester, e stream.Emitted) []byte {
	t.Helper()
	switch e.Topic {
	case topics.History:
		return decode(t, new(purposepb.HistoryRecord), e).GetEvent().GetSubject()
	case topics.Trending:
		return decode(t, new(purposepb.TrendingRecord), e).GetEvent().GetContributor()
	case topics.Personalize:
		return decode(t, new(purposepb.PersonalRecord), e).GetEvent().GetSubject()
	case topics.Risk:
		return decode(t, new(purposepb.RiskRecord), e).GetEvent().GetSubject()
	default:
		return e.Key
	}
}

func decode[M interface{ UnmarshalVT([]byte) error }](t tester, m M, e stream.Emitted) M {
	t.Helper()
	if err := m.UnmarshalVT(e.Value); err != nil {
		t.Fatal(err)
	}
	return m
}

// only is the one record of the last step on a topic.
func (w *world) only(topic string) stream.Emitted {
	w.t.Helper()
	of := w.on(topic)
	if len(of) != 1 {
		w.t.Fatalf("%d records on %s, expected one", len(of), topic)
	}
	return of[0]
}

func (w *world) on(topic string) (of []stream.Emitted) {
	for _, e := range w.emitted {
		if e.Topic == topic {
			of = append(of, e)
		}
	}
	return of
}

// row is u1's row in the ledger.
func (w *world) row() *purposepb.ConsentRow {
	key := testRing.LogKey("u:u1")
	return w.filter.ledger.Get(key[:])
}

// blocked is what u1 blocks.
func (w *world) blocked() (all privacyfilter.Blocks) {
	key := testRing.LogKey("u:u1")
	for chunk := range privacyfilter.BlockChunks {
		if of := w.filter.blocks.Get(append(key[:], byte(chunk))); of != nil {
			all.Items, all.Categories = append(all.Items, of.Items...), append(all.Categories, of.Categories...)
		}
	}
	slices.Sort(all.Items)
	slices.Sort(all.Categories)
	return all
}

func (w *world) state(purpose string) *purposepb.PurposeState {
	w.t.Helper()
	s := privacyfilter.StateOf(w.row(), purpose)
	if s == nil {
		w.t.Fatalf("no state of %s", purpose)
	}
	return s
}

// counts are the events by outcome; every purpose must account for as many.
func (w *world) counts() string {
	w.t.Helper()
	all := w.gather()
	total := 0
	var texts []string
	for _, name := range outcomeNames {
		n := all["sluice_filter_events_total "+name]
		total += n
		texts = append(texts, fmt.Sprintf("%s %d", name, n))
	}
	for _, purpose := range streamed {
		sum := 0
		for _, name := range outcomeNames {
			sum += all["sluice_filter_purpose_events_total "+name+" "+purpose]
		}
		if sum != total {
			w.t.Fatalf("%s accounts for %d of %d events", purpose, sum, total)
		}
	}
	return strings.Join(texts, " ")
}

// gather reads the counters: name and label values, in the order of the labels' names.
func (w *world) gather() map[string]int {
	w.t.Helper()
	families, err := w.o.Registerer.(*prometheus.Registry).Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	all := make(map[string]int)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := []string{family.GetName()}
			for _, label := range m.GetLabel() {
				name = append(name, label.GetValue())
			}
			all[strings.Join(name, " ")] = int(m.GetCounter().GetValue())
		}
	}
	return all
}

func expect(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
