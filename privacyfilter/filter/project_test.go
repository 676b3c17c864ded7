package filter

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"sluice/ingest/eventpb"
	"sluice/internal/config"
	"sluice/internal/field"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/purposepb"
)

// fullEvent has every field: identifiers begin with "raw-", also those that have no pseudonym because nobody may have them.
func fullEvent() *eventpb.Event {
	ev := new(eventpb.Event)
	fill(ev.ProtoReflect())
	ev.Id, ev.UserId, ev.Jurisdiction, ev.Type, ev.Time, ev.SentAt = "raw-id", "raw-user", "CN", vocab.Type_PURCHASE, start, start+1
	ev.Items = []*vocab.Item{{ItemId: "i1", Index: 3, Quantity: 2, Price: 990_000}, {ItemId: "i2", Index: 4, Quantity: 1, Price: 1}}
	ev.Order.Value, ev.Order.Currency = 5, "EUR"
	ev.Account.Email = "raw-local@example.org"
	ev.Consent = &eventpb.Consent{Revision: "1-5-1"}
	return ev
}

// plain are the texts that a purpose may hold as they are.
var plain = func() map[string]bool {
	names := make(map[string]bool)
	for _, purpose := range streamed {
		for _, f := range privacyfilter.Type(purpose).Fields {
			if f.Kind == field.Text {
				for _, from := range f.From {
					names[from[strings.LastIndexByte(from, '.')+1:]] = true
				}
			}
		}
	}
	return names
}()

// fill gives every field of a message a value.
func fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		text := string(fd.Name())
		if !plain[text] {
			text = "raw-" + text
		}
		switch {
		case fd.IsList() && fd.Kind() == protoreflect.StringKind:
			m.Mutable(fd).List().Append(protoreflect.ValueOfString(text))
		case fd.IsList():
		case fd.Kind() == protoreflect.MessageKind:
			fill(m.Mutable(fd).Message())
		case fd.Kind() == protoreflect.StringKind:
			m.Set(fd, protoreflect.ValueOfString(text))
		case fd.Kind() == protoreflect.BoolKind:
			m.Set(fd, protoreflect.ValueOfBool(true))
		case fd.Kind() == protoreflect.EnumKind:
			m.Set(fd, protoreflect.ValueOfEnum(1))
		default:
			m.Set(fd, protoreflect.ValueOfInt64(77))
		}
	}
}

// collecting is a register that collects, beside the envelope, only the named fields, for every purpose that can hold them.
func collecting(t testing.TB, only ...string) *privacyfilter.Register {
	t.Helper()
	text := string(privacyfilter.Defaults)
	head, rest, _ := strings.Cut(text, "\nfields:\n")
	_, tail, _ := strings.Cut(rest, "\n# How long")
	var fields strings.Builder
	for _, name := range privacyfilter.Fields() {
		var purposes []string
		for _, p := range streamed {
			if can, _ := privacyfilter.CanHold(p, name); can && (slices.Contains(only, name) || slices.Contains(envelopeFields, name)) {
				purposes = append(purposes, p)
			}
		}
		fmt.Fprintf(&fields, "  %s: {category: user, clause: App, collected_for: [%s]}\n", name, strings.Join(purposes, ", "))
	}
	file, err := config.Parse("register.yaml", []byte(head+"\nfields:\n"+fields.String()+"\n# How long"+tail))
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

var envelopeFields = []string{"id", "type", "time", "user_id", "anonymous_id"}

// projections projects the event to every purpose.
func projections(reg *privacyfilter.Register, ev *eventpb.Event) map[string]proto.Message {
	p, a, w := NewProjector(reg, testKeys), new(arena), who{subject: "u:raw-user", event: testKeys.EventHash("u:raw-user", ev.Type, "raw-id")}
	h, m, tr, r := new(purposepb.HistoryEvent), new(purposepb.PersonalEvent), new(purposepb.TrendingEvent), new(purposepb.RiskEvent)
	floor := privacyfilter.Revision{Generation: 1, Partition: 5, Offset: 1}
	p.history(h, a, ev, start, w, floor)
	p.personal(m, a, ev, start, w, floor)
	p.trending(tr, a, ev, start, w, testHour, true)
	p.risk(r, a, ev, start, w)
	return map[string]proto.Message{privacyfilter.History: h, privacyfilter.Personalize: m, privacyfilter.Trending: tr, privacyfilter.Risk: r}
}

// held lists the fields of a message that hold something, those of its items included.
func held(m proto.Message) []string {
	var names []string
	m.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.Name() != "items" {
			names = append(names, string(fd.Name()))
			return true
		}
		v.List().Get(0).Message().Range(func(line protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			names = append(names, "items."+string(line.Name()))
			return true
		})
		return true
	})
	slices.Sort(names)
	return names
}

// always are the fields of a purpose type that come from the envelope.
var always = map[string][]string{
	privacyfilter.History:     {"event", "floor", "subject", "time", "type"},
	privacyfilter.Personalize: {"event", "floor", "subject", "time", "type"},
	privacyfilter.Trending:    {"contributor", "established", "event", "time", "type", "window"},
	privacyfilter.Risk:        {"event", "event_hash", "subject", "time", "type"},
}

// becomes are the fields of the purpose's type that a field of the event becomes.
func becomes(purpose, name string) []string {
	if strings.HasPrefix(name, "items.") {
		return []string{name}
	}
	var names []string
	for _, f := range privacyfilter.Type(purpose).Fields {
		if privacyfilter.Holds(f, name) {
			names = append(names, f.Name)
		}
	}
	return names
}

// TestRegisterNarrowsEveryField proves REQ-038, REQ-039, REQ-090, REQ-098 and REQ-103 for the filter, field by field: a purpose's event holds a field if and only
// if the register collects it for the purpose, and privacyfilter.CanHold is exactly what the types can hold.
func TestRegisterNarrowsEveryField(t *testing.T) {
	reached := make(map[string][]string)
	for _, field := range privacyfilter.Fields() {
		collected := []string{field}
		if strings.HasPrefix(field, "items.") {
			collected = append(collected, "items.item_id")
		}
		for purpose, m := range projections(collecting(t, collected...), fullEvent()) {
			want := slices.Clone(always[purpose])
			if can, _ := privacyfilter.CanHold(purpose, field); can && !slices.Contains(envelopeFields, field) {
				for _, f := range collected {
					want = append(want, becomes(purpose, f)...)
				}
			} else if len(collected) > 1 && slices.Contains(held(m), "items.item_id") {
				t.Errorf("%s holds items, but cannot hold %s", purpose, field)
			}
			slices.Sort(want)
			want = slices.Compact(want)
			if diff := cmp.Diff(want, held(m)); diff != "" {
				t.Errorf("%s for %s:\n%s", field, purpose, diff)
			}
			reached[purpose] = append(reached[purpose], held(m)...)
		}
	}
	for purpose, m := range projections(collecting(t), fullEvent()) {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			name := string(fields.Get(i).Name())
			if name != "items" && !slices.Contains(reached[purpose], name) {
				t.Errorf("%s has a field %s that no field of the register opens", purpose, name)
			}
		}
	}
}

// TestIndexWithoutItemsIsNothing: what hangs on an item id does not go without it.
func TestIndexWithoutItemsIsNothing(t *testing.T) {
	for purpose, m := range projections(collecting(t, "items.index", "items.price"), fullEvent()) {
		if diff := cmp.Diff(always[purpose], held(m)); diff != "" {
			t.Errorf("%s:\n%s", purpose, diff)
		}
	}
}

// TestNoIdentifierLeaves proves REQ-104 and REQ-180 for the purpose streams: whatever the register collects, no identifier of the event stands in them as it was,
// and no two purposes share a value that could join them.
func TestNoIdentifierLeaves(t *testing.T) {
	seen := make(map[string]string)
	for purpose, m := range projections(collecting(t, privacyfilter.Fields()...), fullEvent()) {
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(bytes.ToLower(data), []byte("raw-")); i >= 0 {
			t.Errorf("%s holds %q…", purpose, data[i:i+8])
		}
		m.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			if fd.Kind() != protoreflect.BytesKind {
				return true
			}
			if other, ok := seen[string(v.Bytes())]; ok {
				t.Errorf("%s.%s and %s are one value", purpose, fd.Name(), other)
			}
			seen[string(v.Bytes())] = purpose + "." + string(fd.Name())
			return true
		})
	}
}

func TestProjectedValues(t *testing.T) {
	all := collecting(t, privacyfilter.Fields()...)
	ev := fullEvent()
	ev.Time = start + minute // ahead: it cannot have happened after it was received
	got := projections(all, ev)
	h := got[privacyfilter.History].(*purposepb.HistoryEvent)
	if of, err := testKeys.OpenEvent(privacyfilter.History, "u:raw-user", h.Event); err != nil || of != testKeys.EventHash("u:raw-user", ev.Type, "raw-id") {
		t.Errorf("history's event: %x, %v", of, err)
	}
	expect(t, "time", h.Time, start)
	tr := got[privacyfilter.Trending].(*purposepb.TrendingEvent)
	expect(t, "window", tr.Window, start/testHour)
	expect(t, "window before 1970", windowOf(-1, testHour), -1)
	expect(t, "window at 1970", windowOf(0, testHour), 0)
	r := got[privacyfilter.Risk].(*purposepb.RiskEvent)
	expect(t, "domain", r.EmailDomain, "example.org")
	email := testKeys.Identifier(privacyfilter.Risk, "email", "raw-local@example.org")
	expect(t, "email", r.Email, email[:])
	expect(t, "hash", r.EventHash, pseudonym.Hash(r.Event))
	expect(t, "value", fmt.Sprintf("%d %v %s", r.Value, r.HasValue, r.Currency), "5 true EUR")
	narrow := projections(collecting(t, "items.item_id", "items.quantity"), ev)[privacyfilter.Personalize].(*purposepb.PersonalEvent)
	expect(t, "lines", len(narrow.Items), 2)
	expect(t, "second line", fmt.Sprintf("%s %d %d", narrow.Items[1].ItemId, narrow.Items[1].Quantity, narrow.Items[1].Index), "i2 1 0")
	expect(t, "the event is left alone", ev.Items[1].Index, 4)
}

// TestEmitted: what the filter sends where; REQ-091 and REQ-087: a decision made with the event goes with it to risk control, and only there.
func TestEmitted(t *testing.T) {
	w := newWorld(t, testRegister(t))
	w.control(&eventpb.Control{Subject: "u:raw-user", Act: accept("CN").Act}, start-minute)
	key := testRing.LogKey("u:raw-user")
	ev := fullEvent()
	w.event(ev, start+second, func(lr *eventpb.LogRecord) { _, lr.Decision = testRing.Seal([]byte("decision"), key[:]) })
	expect(t, "reached", w.reached(), everything)
	for _, purpose := range []string{topics.History, topics.Personalize, topics.Risk} {
		subject := testKeys.Subject(purpose, "u:raw-user", 0)
		expect(t, purpose+"'s subject", whose(t, w.only(purpose)), subject[:])
		expect(t, purpose+"'s partition", w.only(purpose).Partition, 5)
	}
	expect(t, "trending's partition", w.only(topics.Trending).Partition, 5)
	personal := decode(t, new(purposepb.PersonalRecord), w.only(topics.Personalize)).GetEvent()
	expect(t, "floor", personal.Floor, testKeys.Floor("personalize", "u:raw-user", privacyfilter.Revision{Generation: 1, Partition: 5, Offset: 1}))
	rec := decode(t, new(purposepb.RiskRecord), w.only(topics.Risk))
	expect(t, "decision", string(rec.Decision), "decision")
	if !proto.Equal(rec.Event, w.filter.projector.Risk(ev, start+second)) {
		t.Error("the projector gives something else than the filter")
	}
	var kinds []string
	for _, e := range w.on(topics.Entities) {
		kinds = append(kinds, fmt.Sprintf("%c%d", e.Key[0], len(e.Key)))
		if !proto.Equal(decode(t, new(purposepb.EntityDelta), e).Event, rec.Event) {
			t.Errorf("entity %c sees another event", e.Key[0])
		}
		expect(t, "partition", e.Partition, stream.PartitionOf(e.Key[1:], stream.Partitions))
	}
	slices.Sort(kinds) // what shares a partition shares a pack
	expect(t, "entities", kinds, "[a17 c17 d17 i17 p17]")
}

// TestEntitiesOnlyForRisk: an event that risk control does not take reaches no entity.
func TestEntitiesOnlyForRisk(t *testing.T) {
	w := newWorld(t, testRegister(t))
	w.control(accept("CN"), start)
	ev := view("e1", start+minute)
	ev.Type = vocab.Type_ADD_TO_WISHLIST
	w.event(ev, start+minute, nil)
	expect(t, "reached", w.reached(), "[history trending personalize]")
	expect(t, "entities", len(w.on(topics.Entities)), 0)
}
