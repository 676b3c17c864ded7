package consent

import (
	"maps"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
)

// TestNoOrderOfTheTwoReadersAllowsTooMuch proves REQ-134: whatever a person chose, and however far each of the two readers of sluice.consent has come,
// the view never allows what the newest row it has read, or a restriction it has read above that row, denies.
func TestNoOrderOfTheTwoReadersAllowsTooMuch(t *testing.T) {
	register := loadRegister(t)
	rapid.Check(t, func(t *rapid.T) {
		v := newStill(t)
		choices := rapid.SliceOfN(rapid.Bool(), 1, 12).Draw(t, "choices")
		acknowledged := rapid.SliceOfN(rapid.Bool(), len(choices), len(choices)).Draw(t, "fast path")
		rows, restrictions := 0, 0 // how far each reader has come
		for rows < len(choices) || restrictions < len(choices) {
			if rows < len(choices) && (restrictions == len(choices) || rapid.Bool().Draw(t, "row next")) {
				choice := purposepb.Choice_CHOICE_DENY
				if choices[rows] {
					choice = purposepb.Choice_CHOICE_ALLOW
				}
				setRow(t, v, "u:1", row(register, int64(rows+1), 1, choose(privacyfilter.Personalize, choice)))
				rows++
			} else {
				if !choices[restrictions] && acknowledged[restrictions] {
					restrict(t, v, "u:1", int64(restrictions+1), &purposepb.Restriction{Deny: []string{privacyfilter.Personalize}})
				}
				restrictions++
			}
			want := rows > 0 && choices[rows-1]
			for i := rows; i < restrictions; i++ {
				want = want && (choices[i] || !acknowledged[i])
			}
			a := lookup(t, v, Person{UserID: "1"})
			if got := a.Effective(privacyfilter.Personalize).Allow; got != want {
				t.Fatalf("after %d rows and %d restrictions of %v (%v): allow %v, want %v", rows, restrictions, choices, acknowledged, got, want)
			}
		}
		if pending := v.people.restrictions.Load(); pending != 0 {
			t.Fatalf("%d restrictions are left", pending)
		}
	})
}

// TestBlocksStandBesideTheRow: chunks come before and after rows, replace what they held, and go; a block that is pending holds until the row has come.
func TestBlocksStandBesideTheRow(t *testing.T) {
	v := newStill(t)
	key := v.ring.LogKey("u:1")
	chunk := func(ids ...string) {
		t.Helper()
		rec := &kgo.Record{Topic: v.cluster.Topic(topics.Consent), Key: append(append([]byte{blocksTag}, key[:]...), privacyfilter.ChunkOf("i1"))}
		if len(ids) > 0 {
			rec.Value = privacyfilter.AppendBlocks(nil, privacyfilter.Blocks{Items: ids})
		}
		v.people.applyRows(applied(rec), v.boot())
	}
	expect := func(want ...string) {
		t.Helper()
		got := slices.Sorted(maps.Keys(lookup(t, v, Person{UserID: "1"}).Blocks().Items))
		if !slices.Equal(got, want) {
			t.Errorf("blocks %q, want %q", got, want)
		}
	}
	restrict(t, v, "u:1", 5, &purposepb.Restriction{BlockItem: "i1"})
	expect("i1")
	chunk("i1")
	before := lookup(t, v, Person{UserID: "1"})
	setRow(t, v, "u:1", row(v.compiler.register, 5, 1, func(*purposepb.ConsentRow) {}))
	expect("i1")
	if v.Holds(before) {
		t.Error("what held before the row holds still")
	}
	if v.people.restrictions.Load() != 0 {
		t.Error("the restriction is left")
	}
	setRow(t, v, "u:1", row(v.compiler.register, 7, 1, func(*purposepb.ConsentRow) {}))
	restrict(t, v, "u:1", 9, &purposepb.Restriction{BlockItem: "another"})
	expect("another", "i1")
	chunk()
	expect("another")
	setRow(t, v, "u:1", row(v.compiler.register, 9, 1, func(*purposepb.ConsentRow) {}))
	expect()
	setRow(t, v, "u:1", nil)
	if p := v.people.find(key); !p.empty() {
		t.Errorf("%+v is left", p)
	}
	chunk("i1", "x")
	expect("i1", "x")
	v.people.applyRows([]stream.Record{{Key: append(append([]byte{blocksTag}, key[:]...), 0), Value: []byte{0xff}}}, v.boot())
	if v.people.broken.Load() != 1 {
		t.Error("a broken chunk is not counted")
	}
}
