package tables_test

import (
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"sluice/ingest/eventpb"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/internal/warehouse"
	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
	"sluice/privacyfilter/tables"
)

// TestEveryFieldIsAColumn fills every field of a purpose's type with a value of its own and finds it in the column of its name, and finds no other column.
// A field that is added to a type is forgotten here first.
func TestEveryFieldIsAColumn(t *testing.T) {
	for _, c := range []struct {
		topic string
		event proto.Message
		wrap  func(proto.Message) proto.Message
	}{
		{topics.History, new(purposepb.HistoryEvent), func(m proto.Message) proto.Message {
			return &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Event{Event: m.(*purposepb.HistoryEvent)}}
		}},
		{topics.Personalize, new(purposepb.PersonalEvent), func(m proto.Message) proto.Message { return personal(m.(*purposepb.PersonalEvent)) }},
		{topics.Trending, new(purposepb.TrendingEvent), func(m proto.Message) proto.Message {
			return &purposepb.TrendingRecord{Of: &purposepb.TrendingRecord_Event{Event: m.(*purposepb.TrendingEvent)}}
		}},
		{topics.Risk, new(purposepb.RiskEvent), func(m proto.Message) proto.Message { return &purposepb.RiskRecord{Event: m.(*purposepb.RiskEvent)} }},
	} {
		want := make(map[string]string) // column → text
		fill(c.event.ProtoReflect(), want)
		source := sourceOf(t, c.topic)
		out := warehouse.NewRows(source)
		if err := source.Decode(record(t, c.topic, c.wrap(c.event)), out); err != nil {
			t.Fatal(err)
		}
		first := out.Batches[0]
		for i, column := range first.Table.Columns {
			if got := cellText(first, i, 0); got != want[column.Name] {
				t.Errorf("%s.%s is %s, expected %s", first.Table.Name, column.Name, got, want[column.Name])
			}
			delete(want, column.Name)
		}
		for name := range want {
			t.Errorf("%s has no column for the field %s", first.Table.Name, name)
		}
	}
}

// fill gives every field a value of its own, and notes how its column shows it.
func fill(m protoreflect.Message, want map[string]string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name, n := string(f.Name()), int64(i+1)
		switch f.Kind() {
		case protoreflect.BytesKind:
			b := slices.Repeat([]byte{byte(n)}, 16)
			m.Set(f, protoreflect.ValueOfBytes(b))
			want[name] = hex.EncodeToString(b)
		case protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString("text of "+name))
			want[name] = "text of " + name
		case protoreflect.Sint64Kind:
			m.Set(f, protoreflect.ValueOfInt64(n))
			want[name] = strconv.FormatInt(n, 10)
			if strings.HasSuffix(name, "time") {
				want[name] = time.UnixMicro(n).UTC().Format(time.RFC3339Nano)
			}
		case protoreflect.Uint64Kind:
			m.Set(f, protoreflect.ValueOfUint64(math.MaxUint64))
			want[name] = strconv.FormatUint(math.MaxUint64, 10)
		case protoreflect.BoolKind:
			m.Set(f, protoreflect.ValueOfBool(true))
			want[name] = "true"
		case protoreflect.EnumKind:
			last := f.Enum().Values().Get(f.Enum().Values().Len() - 1)
			m.Set(f, protoreflect.ValueOfEnum(last.Number()))
			want[name] = strings.ToLower(string(last.Name())) // as JSON has it
		case protoreflect.MessageKind: // items
			list := m.Mutable(f).List()
			for _, item := range lines {
				list.Append(protoreflect.ValueOfMessage(item.ProtoReflect()))
			}
			want["item_ids"], want["item_indexes"], want["item_quantity_micros"], want["item_prices"] = "lamp,灯", "0,7", "2000000,0", "19990000,0"
		default:
			panic("a field of another kind: " + name)
		}
	}
}

// TestItemFields: the lists hold every field of a line.
func TestItemFields(t *testing.T) {
	if n := new(vocab.Item).ProtoReflect().Descriptor().Fields().Len(); n != 4 {
		t.Errorf("a line has %d fields; the tables have lists for 4", n)
	}
}

// TestConsentFields: what a control record says is in the consents, or stays sealed for a reason.
func TestConsentFields(t *testing.T) {
	column := map[string]string{
		"surface": "surface", "known": "known",
		"policy.version": "policy_version", "policy.accepted": "decision", "policy.jurisdiction": "jurisdiction",
		"choice.purpose": "purpose", "choice.allow": "decision",
		"block.kind": "object", "block.remove": "decision",
		"import.policy_version": "policy_version", "import.jurisdiction": "jurisdiction", "import.grants": "purpose", "import.effective_at": "effective_at",
	}
	sealed := map[string]string{
		"subject":              "a raw identifier",
		"block.id":             "what somebody does not want to see proves no consent",
		"policy.narrows":       "how the filter is to read the jurisdiction, of which the ledger's reader sees what was told",
		"delete_history.event": "the history's pseudonym: it would join both tables",
	}
	table := sourceOf(t, topics.Ledger).Tables[0]
	var walk func(prefix string, fields protoreflect.FieldDescriptors)
	walk = func(prefix string, fields protoreflect.FieldDescriptors) {
		for i := range fields.Len() {
			f := fields.Get(i)
			name := prefix + string(f.Name())
			if f.Kind() == protoreflect.MessageKind {
				walk(name+".", f.Message().Fields())
				continue
			}
			if c, ok := column[name]; ok && table.Column(c) < 0 || !ok && sealed[name] == "" {
				t.Errorf("the field %s has no column", name)
			}
		}
	}
	walk("", new(eventpb.Control).ProtoReflect().Descriptor().Fields())
}

// fieldOf is the event's field that a column about a line is made from. Any other column is a field of its purpose's type, under the same name.
var fieldOf = map[string]string{
	"item_ids": "items.item_id", "item_id": "items.item_id", "line": "items.item_id", "item_indexes": "items.index", "position": "items.index",
	"item_quantity_micros": "items.quantity", "item_prices": "items.price",
}

// TestColumnsStayWithinTheirPurpose: no table has a column for a field that its purpose's type cannot hold.
func TestColumnsStayWithinTheirPurpose(t *testing.T) {
	purposes := map[string]string{
		"history_events": privacyfilter.History, "personal_events": privacyfilter.Personalize, "impressions": privacyfilter.Personalize,
		"trending_events": privacyfilter.Trending, "risk_events": privacyfilter.Risk,
	}
	checked := 0
	for _, s := range tables.Sources(register(t), ring) {
		for _, table := range s.Tables {
			if purpose, ok := purposes[table.Name]; ok {
				checked++
				checkColumns(t, table, purpose)
			}
		}
	}
	if checked != len(purposes) {
		t.Errorf("%d tables were checked, %d expected", checked, len(purposes))
	}
}

func checkColumns(t *testing.T, table *warehouse.Table, purpose string) {
	t.Helper()
	for _, column := range table.Columns {
		if privacyfilter.Type(purpose).Field(column.Name) != nil {
			continue
		}
		if can, known := privacyfilter.CanHold(purpose, fieldOf[column.Name]); !known || !can {
			t.Errorf("%s.%s: events of the purpose %s do not hold such a field", table.Name, column.Name, purpose)
		}
	}
}

// TestTablesAreSound: names, documentation, and columns that a store relies on.
func TestTablesAreSound(t *testing.T) {
	for _, s := range tables.Sources(register(t), ring) {
		for _, table := range s.Tables {
			if table.Doc == "" || table.Keep == 0 {
				t.Errorf("%s: documentation and a time to keep expected", table.Name)
			}
			for _, name := range append([]string{table.Time, table.Subject}, table.Key...) {
				if table.Column(name) < 0 {
					t.Errorf("%s has no column %q", table.Name, name)
				}
			}
			for _, name := range []string{table.Subject, table.Event, table.Floor} {
				if name != "" && table.Columns[table.Column(name)].Kind != warehouse.Bytes {
					t.Errorf("%s.%s: bytes expected", table.Name, name)
				}
			}
			for i, column := range table.Columns {
				if column.Doc == "" || column.Kind == 0 || table.Column(column.Name) != i {
					t.Errorf("%s.%s: documentation, a kind and a name of its own expected", table.Name, column.Name)
				}
			}
		}
	}
}

// FuzzDecode: no record breaks a decoder, and none that is refused leaves a row.
func FuzzDecode(f *testing.F) {
	f.Add(encoded(f, personal(&purposepb.PersonalEvent{Subject: id(1), Event: id(2), Type: vocab.Type_VIEW_ITEM_LIST, Items: lines, Surface: "home"})), []byte("key"))
	rec := control(f, &eventpb.Control{Act: &eventpb.Control_Choice_{Choice: &eventpb.Control_Choice{Purpose: "personalize"}}})
	f.Add(rec.Value, rec.Key)
	sources := tables.Sources(register(f), ring)
	f.Fuzz(func(t *testing.T, value, key []byte) {
		for _, source := range sources {
			out := warehouse.NewRows(source)
			err := source.Decode(&stream.Record{Topic: source.Topic, Key: key, Value: value}, out)
			if b := out.Batches[0]; err != nil && b.Rows() > 0 {
				t.Errorf("%s: %d rows of a record that is refused: %v", source.Topic, b.Rows(), err)
			}
		}
	})
}
