package features

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"sluice/features/featurestest"
	"sluice/features/profile"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// TestProjectionsHoldNoFloor compares two histories that were collected under different floors.
func TestProjectionsHoldNoFloor(t *testing.T) {
	c := featurestest.Config(t)
	projected := func(floor string, since int64) map[string]string {
		h := featurestest.New(t, profile.Engine(c, nil), nil)
		purge := func(subject int) {
			purge := &purposepb.Purge{Subject: featurestest.ID('u', subject), Floor: []byte(floor), Time: since}
			h.Send(purge.Subject, &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Purge{Purge: purge}})
		}
		purge(1)
		purge(2)
		ev := &purposepb.PersonalEvent{
			Subject: featurestest.ID('u', 1), Event: featurestest.ID('e', 1), Type: vocab.Type_VIEW_ITEM, Time: featurestest.Day0,
			Items: featurestest.Items("a"), Floor: []byte(floor),
		}
		h.Send(ev.Subject, &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Event{Event: ev}})
		h.Commit()
		out := make(map[string]string)
		for _, r := range h.Compacted() {
			Projections()["personal"](r.Key[0], r.Key[1:], r.Value, func(p stream.Pair) { out[p.Store+string(p.Key)] = string(p.Value) })
		}
		return out
	}
	one, two := projected("one", featurestest.Day0), projected("two", featurestest.Day0+7)
	if diff := gocmp.Diff(one, two); diff != "" || len(one) != 2 {
		t.Errorf("%d pairs, want the interaction and the horizon (-one +two):\n%s", len(one), diff)
	}
}
