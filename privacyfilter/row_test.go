package privacyfilter

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// drawRow makes a row as the filter may write it, also one of an older register.
func drawRow(t *rapid.T) *purposepb.ConsentRow {
	revision := rapid.Custom(func(t *rapid.T) *purposepb.Revision {
		return &purposepb.Revision{Generation: rapid.Uint32Range(1, 3).Draw(t, "generation"), Partition: rapid.Int32Range(0, 20).Draw(t, "partition"), Offset: rapid.Int64Range(0, 300).Draw(t, "offset")}
	})
	perhaps := rapid.Custom(func(t *rapid.T) *purposepb.Revision {
		if rapid.Bool().Draw(t, "none") {
			return nil
		}
		return revision.Draw(t, "revision")
	})
	row := &purposepb.ConsentRow{
		Revision: perhaps.Draw(t, "row's revision"), Incarnation: rapid.Uint32Range(0, 2).Draw(t, "incarnation"), PolicyAt: perhaps.Draw(t, "policy at"),
		PolicyVersion: rapid.SampledFrom([]string{"", "2026-09", "2025-01", "never"}).Draw(t, "policy"), Jurisdiction: rapid.SampledFrom([]string{"", "CN", "EU", "XX"}).Draw(t, "jurisdiction"),
		BlockedItems: rapid.Uint32().Draw(t, "items"), BlockedCategories: rapid.Uint32Range(0, 200).Draw(t, "categories"),
	}
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{History, Trending, Personalize, Risk, "marketing.sms", "marketing.push", "gone"}), 0, 7, rapid.ID[string])
	for _, name := range names.Draw(t, "purposes") {
		s := &purposepb.PurposeState{
			Purpose: name, Choice: purposepb.Choice(rapid.Int32Range(0, 2).Draw(t, "choice")), Allow: rapid.Bool().Draw(t, "allow"), Imported: rapid.Bool().Draw(t, "imported"),
			Because: rapid.SampledFrom([]string{"", BecauseChoice, BecauseDefault, "another reason"}).Draw(t, "because"), Denied: perhaps.Draw(t, "denied"),
		}
		if s.Floor = perhaps.Draw(t, "floor"); s.Floor != nil {
			s.FloorTime = rapid.Int64Range(-1, 3).Draw(t, "floor time")
		}
		row.Purposes = append(row.Purposes, s)
	}
	return row
}

// TestARowIsReadAsItWasWritten: whole, and as decisions read it, which is as the register decides from the whole row.
func TestARowIsReadAsItWasWritten(t *testing.T) {
	reg := mustLoad(t)
	shapes := NewShapes(reg)
	rapid.Check(t, func(t *rapid.T) {
		row := drawRow(t)
		data := AppendRow([]byte("before"), row)[len("before"):]
		got, err := ParseRow(data)
		if err != nil || !proto.Equal(got, row) {
			t.Fatalf("wrote %v\nread %v, %v", row, got, err)
		}
		if !bytes.Equal(AppendRow(nil, got), data) {
			t.Fatal("the same row is other bytes")
		}
		var read Row
		if err := shapes.Read(&read, data); err != nil {
			t.Fatal(err)
		}
		if read.Revision != RevisionFromPB(row.Revision) || read.Row.GetIncarnation() != row.Incarnation || read.Row.Jurisdiction != row.Jurisdiction {
			t.Fatalf("read %v of %v", read, row)
		}
		for _, p := range reg.Purposes() {
			if got, want := read.Decision(p), reg.Effective(row, p, ""); got != want {
				t.Fatalf("%s: %v, want %v", p.Name, got, want)
			}
			state := StateOf(row, p.Name)
			if grant, ok := read.Grant(p); ok != (state.GetFloor() != nil) || grant != (Grant{RevisionFromPB(state.GetFloor()), state.GetFloorTime()}) {
				t.Fatalf("%s: grant %v, %v of %v", p.Name, grant, ok, state)
			}
			for _, jurisdiction := range []string{"", "CN", "EU", "XX"} {
				for _, name := range vocab.Types() {
					at, _ := vocab.ParseType(name)
					if got, want := read.Allows(p, at, jurisdiction), reg.EffectiveFor(row, p, at, jurisdiction).Allow; got != want {
						t.Fatalf("%s, %s, %q: %v, want %v", p.Name, name, jurisdiction, got, want)
					}
				}
			}
		}
	})
}

func TestNoRowIsAShapeOfItsOwn(t *testing.T) {
	reg := mustLoad(t)
	shapes := NewShapes(reg)
	row := Row{Grants: make([]Grant, 3)}
	if err := shapes.Read(&row, nil); err != nil || row.Shape != shapes.None() || len(row.Grants) != 0 || row.Answered {
		t.Errorf("read %v, %v", row, err)
	}
	for _, p := range reg.Purposes() {
		if got, want := row.Decision(p), reg.Effective(nil, p, ""); got != want {
			t.Errorf("%s: %v, want %v", p.Name, got, want)
		}
	}
}

func TestShapesAreShared(t *testing.T) {
	shapes := NewShapes(mustLoad(t))
	var a, b Row
	for i, row := range []*Row{&a, &b} {
		floor := Revision{Generation: 1, Partition: 2, Offset: int64(i)}
		data := AppendRow(nil, &purposepb.ConsentRow{Revision: floor.PB(), PolicyVersion: "2026-09", Purposes: []*purposepb.PurposeState{{Purpose: History, Allow: true, Floor: floor.PB(), FloorTime: int64(i)}}})
		if err := shapes.Read(row, data); err != nil {
			t.Fatal(err)
		}
	}
	if a.Shape != b.Shape || a.Grants[0] == b.Grants[0] {
		t.Errorf("%v and %v", a, b)
	}
}

// FuzzParseRow: whatever comes, reading ends without a panic, and what can be read whole is read alike for decisions.
func FuzzParseRow(f *testing.F) {
	f.Add(AppendRow(nil, new(purposepb.ConsentRow)))
	f.Add(AppendRow(nil, &purposepb.ConsentRow{
		Revision: &purposepb.Revision{Generation: 1, Partition: 2, Offset: 3}, PolicyVersion: "2026-09", BlockedItems: 1,
		Purposes: []*purposepb.PurposeState{{Purpose: "new", Choice: purposepb.Choice_CHOICE_DENY, Floor: &purposepb.Revision{Generation: 1}, FloorTime: 9}},
	}))
	f.Add([]byte{5, 0, 1, 1, 1, 9, 0})
	reg := mustLoad(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		row, err := ParseRow(data)
		var read Row
		readErr := NewShapes(reg).Read(&read, data)
		if err != nil || len(data) == 0 {
			return
		}
		if readErr != nil {
			t.Fatalf("%v is read whole, and not for decisions: %v", row, readErr)
		}
		for _, p := range reg.Purposes() {
			read.Grant(p)
		}
		if again, err := ParseRow(AppendRow(nil, row)); err != nil || !proto.Equal(again, row) {
			t.Fatalf("%v becomes %v, %v", row, again, err)
		}
	})
}

func BenchmarkReadRow(b *testing.B) {
	shapes, row := NewShapes(mustLoad(b)), &purposepb.ConsentRow{Revision: &purposepb.Revision{Generation: 1, Partition: 2, Offset: 4711}, PolicyVersion: "2026-09", Jurisdiction: "CN"}
	for _, p := range shapes.register.Purposes() {
		row.Purposes = append(row.Purposes, &purposepb.PurposeState{Purpose: p.Name, Allow: true, Because: BecauseDefault, Floor: row.Revision, FloorTime: 1_790_812_800_000_000})
	}
	data := AppendRow(nil, row)
	b.ReportMetric(float64(len(data)), "bytes/row")
	b.ReportAllocs()
	var into Row
	for b.Loop() {
		if err := shapes.Read(&into, data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(data)), "bytes/row")
}
