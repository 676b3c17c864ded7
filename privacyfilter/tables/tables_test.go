package tables_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"sluice/ingest/eventpb"
	"sluice/internal/config"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/internal/warehouse"
	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
	"sluice/privacyfilter/tables"
)

var update = flag.Bool("update", false, "write testdata/rows.txt anew")

var ring = seal.NewKeyring([32]byte{7})

// at is the time of the tests' events: 2026-10-01 by the collector's clock.
const at = int64(1_790_812_800_000_000)

func register(t testing.TB) *privacyfilter.Register {
	t.Helper()
	file, err := config.Parse("register.yaml", privacyfilter.Defaults)
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

// sourceOf is the source of a topic.
func sourceOf(t testing.TB, topic string) *warehouse.Source {
	t.Helper()
	for _, s := range tables.Sources(register(t), ring) {
		if s.Topic == topic {
			return s
		}
	}
	t.Fatalf("no source of %s", topic)
	return nil
}

func encoded(t testing.TB, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func id(b byte) []byte { return []byte{b, 15: b} }

var lines = []*vocab.Item{{ItemId: "lamp", Quantity: 2_000_000, Price: 19_990_000}, {ItemId: "灯", Index: 7}}

// control is a record of the ledger, as the filter writes it.
func control(t testing.TB, c *eventpb.Control) *stream.Record {
	t.Helper()
	c.Subject = "u:ann"
	key := ring.LogKey(c.Subject)
	keyID, sealed := ring.Seal(encoded(t, c), key[:])
	lr := &eventpb.LogRecord{Version: 1, Kind: eventpb.LogRecord_CONTROL, ReceivedAt: at, KeyId: keyID, Body: sealed}
	revision := privacyfilter.Revision{Generation: 1, Partition: 5, Offset: 4711}
	return &stream.Record{Topic: topics.Ledger, Key: revision.Append(key[:]), Value: encoded(t, lr)}
}

func record(t testing.TB, topic string, m proto.Message) *stream.Record {
	t.Helper()
	return &stream.Record{Topic: topic, Value: encoded(t, m)}
}

func personal(e *purposepb.PersonalEvent) *purposepb.PersonalRecord {
	return &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Event{Event: e}}
}

// TestRows holds every kind of record against the rows and purges that it makes.
func TestRows(t *testing.T) {
	var got strings.Builder
	for _, c := range []struct {
		name string
		rec  *stream.Record
	}{
		{"history event", record(t, topics.History, &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Event{Event: &purposepb.HistoryEvent{
			Subject: id(1), Event: slices.Repeat([]byte{2}, 40), Type: vocab.Type_PURCHASE, Time: at, Items: lines, Floor: id(3),
		}}})},
		{"history event of a very long id", record(t, topics.History, &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Event{Event: &purposepb.HistoryEvent{
			Subject: id(1), Event: slices.Repeat([]byte{2}, 144), Type: vocab.Type_SEARCH, Time: at, SearchTerm: "lamp", Floor: id(3),
		}}})},
		{"history withdrawn", record(t, topics.History, &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Purge{Purge: &purposepb.Purge{Subject: id(1), Time: at}}})},
		{"personal event", record(t, topics.Personalize, personal(&purposepb.PersonalEvent{
			Subject: id(1), Event: id(2), Session: id(3), Type: vocab.Type_SEARCH, Time: at, SearchTerm: "lamp", Locale: "zh-CN", Floor: id(4),
		}))},
		{"personal list with places", record(t, topics.Personalize, personal(&purposepb.PersonalEvent{
			Subject: id(1), Event: id(2), Type: vocab.Type_VIEW_ITEM_LIST, Time: at, Items: lines, Surface: "home", Recommendation: id(5), Floor: id(4),
		}))},
		{"personal list without places", record(t, topics.Personalize, personal(&purposepb.PersonalEvent{
			Subject: id(1), Event: id(2), Type: vocab.Type_VIEW_ITEM_LIST, Time: at, Items: []*vocab.Item{{ItemId: "a"}, {ItemId: "b"}}, Recommendation: id(5),
		}))},
		{"personal list that names no surface", record(t, topics.Personalize, personal(&purposepb.PersonalEvent{
			Subject: id(1), Event: id(2), Type: vocab.Type_VIEW_ITEM_LIST, Time: at, Items: lines,
		}))},
		{"personal floor raised", record(t, topics.Personalize, &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Purge{Purge: &purposepb.Purge{
			Subject: id(1), Floor: id(9), Time: at,
		}}})},
		{"personal event deleted", record(t, topics.Personalize, &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Purge{Purge: &purposepb.Purge{
			Subject: id(1), Event: id(2), Floor: id(4), Time: at,
		}}})},
		{"trending event", record(t, topics.Trending, &purposepb.TrendingRecord{Of: &purposepb.TrendingRecord_Event{Event: &purposepb.TrendingEvent{
			Contributor: id(1), Event: id(2), Window: 2961, Type: vocab.Type_ADD_TO_CART, Time: at, Items: lines[:1], Locale: "zh-CN", Established: true,
		}}})},
		{"trending purge", record(t, topics.Trending, &purposepb.TrendingRecord{Of: &purposepb.TrendingRecord_Purge{Purge: &purposepb.TrendingPurge{
			Contributors: []*purposepb.TrendingPurge_Contributor{{Window: 2960, Key: id(1)}, {Window: 2961, Key: id(2)}}, Event: id(3), Time: at,
		}}})},
		{"risk event", record(t, topics.Risk, &purposepb.RiskRecord{Event: &purposepb.RiskEvent{
			Subject: id(1), Event: id(2), Type: vocab.Type_PAYMENT, Time: at, Channel: vocab.Channel_WEB, Value: 12_500_000, HasValue: true, Currency: "EUR",
			Counterparty: id(3), CounterpartyKind: vocab.CounterpartyKind_TERMINAL, SignupTime: at - 1, EventHash: 1 << 63,
		}, Decision: []byte("whatever")})},
		{"policy accepted", control(t, &eventpb.Control{Surface: "storefront", Act: &eventpb.Control_Policy_{Policy: &eventpb.Control_Policy{
			Version: "2026-09", Accepted: true, Jurisdiction: "EU",
		}}})},
		{"policy withdrawn", control(t, &eventpb.Control{Act: &eventpb.Control_Policy_{Policy: &eventpb.Control_Policy{Version: "2026-09"}}})},
		{"choice", control(t, &eventpb.Control{Surface: "settings", Known: proto.String("1-5-4709"), Act: &eventpb.Control_Choice_{Choice: &eventpb.Control_Choice{Purpose: "personalize"}}})},
		{"block", control(t, &eventpb.Control{Act: &eventpb.Control_Block_{Block: &eventpb.Control_Block{Kind: eventpb.Control_Block_CATEGORY, Id: "Lamps", Remove: true}}})},
		{"footprint deleted", control(t, &eventpb.Control{Act: &eventpb.Control_DeleteHistory_{DeleteHistory: &eventpb.Control_DeleteHistory{Event: id(2)}}})},
		{"everything deleted", control(t, &eventpb.Control{Act: &eventpb.Control_DeleteHistory_{DeleteHistory: &eventpb.Control_DeleteHistory{}}})},
		{"import", control(t, &eventpb.Control{Surface: "import", Act: &eventpb.Control_Import_{Import: &eventpb.Control_Import{
			PolicyVersion: "2026-09", Jurisdiction: "CN", Grants: []string{"personalize", "marketing.sms"},
		}}})},
		{"control of a later version", control(t, &eventpb.Control{})},
	} {
		fmt.Fprintf(&got, "%s\n", c.name)
		source := sourceOf(t, c.rec.Topic)
		out := warehouse.NewRows(source)
		err := source.Decode(c.rec, out)
		clear(c.rec.Key) // what was appended must not need the record, whose memory is its reader's
		clear(c.rec.Value)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, b := range out.Batches {
			for row := range b.Rows() {
				fmt.Fprintf(&got, "  %s%s\n", b.Table.Name, rowText(b, row))
			}
		}
		for _, p := range out.Purges {
			fmt.Fprintf(&got, "  purge subject=%x event=%x floor=%x\n", p.Subject, p.Event, p.Floor)
		}
	}
	const file = "testdata/rows.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); diff != "" {
		t.Error(diff)
	}
}

// rowText shows a row's cells that are not empty.
func rowText(b *warehouse.Batch, row int) string {
	var text strings.Builder
	for i := range b.Table.Columns {
		if cell := cellText(b, i, row); cell != "" {
			fmt.Fprintf(&text, " %s=%s", b.Table.Columns[i].Name, cell)
		}
	}
	return text.String()
}

func cellText(b *warehouse.Batch, column, row int) string {
	v := &b.Values[column]
	switch v.Kind() {
	case warehouse.String:
		return string(v.Text(row))
	case warehouse.Bytes:
		return hex.EncodeToString(v.Text(row))
	case warehouse.Time:
		return time.UnixMicro(v.Int(row)).UTC().Format(time.RFC3339Nano)
	case warehouse.Int64:
		return strconv.FormatInt(v.Int(row), 10)
	case warehouse.Uint64:
		return strconv.FormatUint(v.Uint(row), 10)
	case warehouse.Bool:
		return strconv.FormatBool(v.Bool(row))
	case warehouse.Strings:
		return strings.Join(v.Strings(row), ",")
	default:
		return strings.Trim(strings.ReplaceAll(fmt.Sprint(v.Ints(row)), " ", ","), "[]")
	}
}

// TestBrokenRecords: what cannot be read is an error that holds no value.
func TestBrokenRecords(t *testing.T) {
	other := control(t, &eventpb.Control{Act: &eventpb.Control_Choice_{Choice: &eventpb.Control_Choice{Purpose: "personalize"}}})
	other.Key[0]++
	long := control(t, &eventpb.Control{})
	long.Key = append(long.Key, 0)
	event := control(t, &eventpb.Control{})
	event.Value = encoded(t, &eventpb.LogRecord{Kind: eventpb.LogRecord_EVENT})
	for _, c := range []struct {
		name, want string
		rec        *stream.Record
	}{
		{"history", "must be a HistoryRecord", &stream.Record{Topic: topics.History, Value: []byte{0xff}}},
		{"history tombstone", "must hold an event or a purge", &stream.Record{Topic: topics.History}},
		{"personal", "must be a PersonalRecord", &stream.Record{Topic: topics.Personalize, Value: []byte{0xff}}},
		{"personal tombstone", "must hold an event or a purge", &stream.Record{Topic: topics.Personalize}},
		{"purge of nobody", "must hold an event or a purge", record(t, topics.Personalize, &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Purge{Purge: &purposepb.Purge{}}})},
		{"trending", "must be a TrendingRecord", &stream.Record{Topic: topics.Trending, Value: []byte{0xff}}},
		{"trending tombstone", "must hold an event or a purge", &stream.Record{Topic: topics.Trending}},
		{"trending purge of nobody", "must hold an event or a purge", record(t, topics.Trending, &purposepb.TrendingRecord{Of: &purposepb.TrendingRecord_Purge{Purge: &purposepb.TrendingPurge{}}})},
		{"risk", "must be a RiskRecord", &stream.Record{Topic: topics.Risk, Value: []byte{0xff}}},
		{"risk tombstone", "must hold an event", &stream.Record{Topic: topics.Risk}},
		{"ledger key", "the key must be a pseudonym and a revision", long},
		{"ledger of an event", "must be a LogRecord with a control", event},
		{"ledger of somebody else", "not authentic", other},
	} {
		source := sourceOf(t, c.rec.Topic)
		out := warehouse.NewRows(source)
		if err := source.Decode(c.rec, out); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, b := range out.Batches {
			if b.Rows() > 0 {
				t.Errorf("%s: %d rows", c.name, b.Rows())
			}
		}
	}
}

// TestRetention: every table keeps its rows as long as the register says for its purpose, and the proofs of choices longest.
func TestRetention(t *testing.T) {
	const day = 24 * time.Hour
	want := map[string]time.Duration{
		"history_events": 365 * day, "personal_events": 365 * day, "impressions": 365 * day, "trending_events": 30 * day, "risk_events": 180 * day, "consents": 1095 * day,
	}
	got := make(map[string]time.Duration)
	for _, s := range tables.Sources(register(t), ring) {
		for _, table := range s.Tables {
			got[table.Name] = table.Keep
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkDecode(b *testing.B) {
	records := []*stream.Record{
		record(b, topics.History, &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Event{Event: &purposepb.HistoryEvent{
			Subject: id(1), Event: slices.Repeat([]byte{2}, 40), Type: vocab.Type_VIEW_ITEM, Time: at, Items: lines[:1], Floor: id(3),
		}}}),
		record(b, topics.Personalize, personal(&purposepb.PersonalEvent{
			Subject: id(1), Event: id(2), Session: id(3), Type: vocab.Type_VIEW_ITEM, Time: at, Items: lines[:1], Surface: "home", Locale: "zh-CN", Floor: id(4),
		})),
		record(b, topics.Trending, &purposepb.TrendingRecord{Of: &purposepb.TrendingRecord_Event{Event: &purposepb.TrendingEvent{
			Contributor: id(1), Event: id(2), Window: 2961, Type: vocab.Type_VIEW_ITEM, Time: at, Items: lines[:1], Locale: "zh-CN",
		}}}),
		record(b, topics.Risk, &purposepb.RiskRecord{Event: &purposepb.RiskEvent{
			Subject: id(1), Event: id(2), Session: id(3), Type: vocab.Type_PAYMENT, Time: at, Channel: vocab.Channel_WEB, Order: id(4), Value: 1, HasValue: true,
			Currency: "EUR", Instrument: id(5), Counterparty: id(6), CounterpartyKind: vocab.CounterpartyKind_SELLER, Device: id(7), Ip: id(8), EventHash: 9,
		}}),
		control(b, &eventpb.Control{Surface: "settings", Act: &eventpb.Control_Choice_{Choice: &eventpb.Control_Choice{Purpose: "personalize"}}}),
	}
	for _, rec := range records {
		b.Run(rec.Topic, func(b *testing.B) {
			source := sourceOf(b, rec.Topic)
			out := warehouse.NewRows(source)
			b.ReportAllocs()
			for b.Loop() {
				if out.Batches[0].Rows() == 10_000 { // a block's size
					out.Cut()
				}
				if err := source.Decode(rec, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
