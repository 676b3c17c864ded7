package tables_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"

	"sluice/internal/config"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/warehouse"
	"sluice/privacyfilter"
	purposes "sluice/privacyfilter/tables"
	"sluice/risk/riskpb"
	"sluice/risk/tables"
)

var update = flag.Bool("update", false, "write the tables in docs/warehouse.md anew")

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

// decision is one with a value in every field.
func decision() *riskpb.Decision {
	return &riskpb.Decision{
		DecisionId: "0190c0de-0000-7000-8000-000000000000", Event: []byte{1, 15: 1}, Subject: []byte{2, 15: 2}, EventType: "payment", Outcome: riskpb.Decision_REVIEW,
		Score: 900,
		Reasons: []*riskpb.Reason{
			{Code: "instrument_velocity", Text: "Unusually many payments with this card.", Value: 6, TellUser: true, HasValue: true}, {Code: "new_device"},
		},
		Rules: []string{"card_testing_burst", "new_device"}, ShadowRules: []string{"tried"},
		ModelVersion: "m1", PolicyVersion: "p1", FeaturesDigest: "sha256:00", AppealToken: "token", DecidedAt: 1_790_812_800_000_001, ExpiresAt: 1_790_813_700_000_000,
		Values: []*riskpb.Value{
			{Name: "payments_per_instrument_1h", Number: 6},
			{Name: "mean_amount_per_account_30d", Missing: true},
			{Name: "order.value", Number: 0.1},
			{Name: "order.currency", Text: "EUR"},
		},
		Source: "api", BodyHash: []byte{3}, Time: 1_790_812_800_000_000,
		Undecided: []*riskpb.Undecided{{Rule: "r1", Missing: []string{"a", "b"}}, {Rule: "r2"}},
	}
}

func decode(t testing.TB, d *riskpb.Decision) (*warehouse.Batch, error) {
	t.Helper()
	value, err := d.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	source := tables.Sources(register(t))[0]
	out := warehouse.NewRows(source)
	err = source.Decode(&stream.Record{Topic: source.Topic, Value: value}, out)
	return out.Batches[0], err
}

func TestDecisionRow(t *testing.T) {
	b, err := decode(t, decision())
	if err != nil || b.Rows() != 1 {
		t.Fatal(b.Rows(), err)
	}
	got := make(map[string]any)
	for i, column := range b.Table.Columns {
		v := &b.Values[i]
		switch column.Kind {
		case warehouse.String:
			got[column.Name] = v.String(0)
		case warehouse.Bytes:
			got[column.Name] = hex.EncodeToString(v.Text(0))
		case warehouse.Strings:
			got[column.Name] = strings.Join(v.Strings(0), "|")
		default:
			got[column.Name] = v.Int(0)
		}
	}
	want := map[string]any{
		"decision_id": "0190c0de-0000-7000-8000-000000000000", "event": "01000000000000000000000000000001", "subject": "02000000000000000000000000000002",
		"event_type": "payment", "time": int64(1_790_812_800_000_000), "decided_at": int64(1_790_812_800_000_001), "expires_at": int64(1_790_813_700_000_000),
		"source": "api", "outcome": "review", "score": int64(900), "rules": "card_testing_burst|new_device", "shadow_rules": "tried",
		"reasons": "instrument_velocity|new_device", "reason_values": "6|", "undecided_rules": "r1|r1|r2", "undecided_missing": "a|b|",
		"feature_names":  "payments_per_instrument_1h|mean_amount_per_account_30d|order.value|order.currency",
		"feature_values": "6||0.1|EUR", "model_version": "m1", "policy_version": "p1", "features_digest": "sha256:00",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestEveryFieldIsAColumn: a field of a decision has a column, or a reason why it has none.
func TestEveryFieldIsAColumn(t *testing.T) {
	column := map[string]string{
		"reasons.code": "reasons", "reasons.value": "reason_values", "reasons.has_value": "reason_values",
		"values.name": "feature_names", "values.number": "feature_values", "values.missing": "feature_values", "values.text": "feature_values",
		"undecided.rule": "undecided_rules", "undecided.missing": "undecided_missing",
	}
	left := map[string]string{
		"appeal_token": "who has it may appeal", "body_hash": "the event as it was sent could be guessed",
		"warnings.code": "the caller's own", "warnings.pointer": "the caller's own", "warnings.detail": "the caller's own",
		"reasons.text": "the rule's, by policy_version", "reasons.tell_user": "the rule's, by policy_version",
	}
	table := tables.Sources(register(t))[0].Tables[0]
	var walk func(prefix string, fields protoreflect.FieldDescriptors)
	walk = func(prefix string, fields protoreflect.FieldDescriptors) {
		for i := range fields.Len() {
			f := fields.Get(i)
			name := prefix + string(f.Name())
			if f.Kind() == protoreflect.MessageKind {
				walk(name+".", f.Message().Fields())
				continue
			}
			c := name
			if other, ok := column[name]; ok {
				c = other
			}
			if table.Column(c) < 0 && left[name] == "" {
				t.Errorf("the field %s has no column", name)
			}
		}
	}
	walk("", new(riskpb.Decision).ProtoReflect().Descriptor().Fields())
	for _, name := range append([]string{table.Time, table.Subject, table.Event}, table.Key...) {
		if table.Column(name) < 0 {
			t.Errorf("no column %q", name)
		}
	}
	if table.Keep != 180*24*time.Hour {
		t.Errorf("kept for %v", table.Keep)
	}
}

func TestBrokenDecision(t *testing.T) {
	if b, err := decode(t, new(riskpb.Decision)); err == nil || b.Rows() != 0 {
		t.Error(b.Rows(), err)
	}
	source := tables.Sources(register(t))[0]
	if err := source.Decode(&stream.Record{Value: []byte{0xff}}, warehouse.NewRows(source)); err == nil || !strings.Contains(err.Error(), "must be a Decision") {
		t.Error(err)
	}
}

func BenchmarkDecode(b *testing.B) {
	value, err := decision().MarshalVT()
	if err != nil {
		b.Fatal(err)
	}
	source := tables.Sources(register(b))[0]
	out := warehouse.NewRows(source)
	rec := &stream.Record{Topic: source.Topic, Value: value}
	b.ReportAllocs()
	for b.Loop() {
		if out.Batches[0].Rows() == 10_000 {
			out.Cut()
		}
		if err := source.Decode(rec, out); err != nil {
			b.Fatal(err)
		}
	}
}

// TestDocs compares the data dictionary in docs/warehouse.md with the tables.
func TestDocs(t *testing.T) {
	const file, begin, end = "../../docs/warehouse.md", "<!-- tables: go test ./risk/tables -update -->\n", "<!-- end of tables -->\n"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), begin)
	have, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s lacks %q or %q", file, begin, end)
	}
	reg := register(t)
	want := dictionary(append(purposes.Sources(reg, seal.NewKeyring([32]byte{})), tables.Sources(reg)...))
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(have, "\n")); diff != "" {
		t.Errorf("docs/warehouse.md differs from the tables; go test ./risk/tables -run TestDocs -update writes it anew:\n%s", diff)
	}
}

// kindNames say what a column holds.
var kindNames = map[warehouse.Kind]string{
	warehouse.String: "text", warehouse.Bytes: "bytes", warehouse.Int64: "integer", warehouse.Uint64: "unsigned integer", warehouse.Bool: "truth value",
	warehouse.Time: "time", warehouse.Strings: "list of texts", warehouse.Int64s: "list of integers",
}

// dictionary is the tables in Markdown.
func dictionary(sources []*warehouse.Source) string {
	var out strings.Builder
	for _, s := range sources {
		for _, table := range s.Tables {
			fmt.Fprintf(&out, "\n### %s\n\n%s\n\nFrom `sluice.%s`; a row is told from all others by %s; kept for %d days; %s.\n\n| column | kind | |\n|---|---|---|\n",
				table.Name, table.Doc, s.Topic, codes(table.Key), int(table.Keep.Hours()/24), purged(table))
			for _, c := range table.Columns {
				fmt.Fprintf(&out, "| `%s` | %s | %s |\n", c.Name, kindNames[c.Kind], c.Doc)
			}
		}
	}
	out.WriteString("\n")
	return out.String()
}

// purged says what a person's own acts delete of a table.
func purged(table *warehouse.Table) string {
	switch table.Name {
	case "risk_events", "decisions":
		return "a legal duty, which no choice purges"
	case "consents":
		return "a proof, which no choice purges"
	case "trending_events":
		return "purged by contributor and event"
	default:
		return "purged by subject, event and floor"
	}
}

func codes(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }
