package consent

import (
	"testing"

	"pgregory.net/rapid"

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
