package optout

import (
	"errors"
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	acknowledged := time.Now()
	allowed, denied, again := new(choice), &choice{denied: acknowledged}, new(choice)
	after := acknowledged.Add
	for _, test := range []struct {
		name                        string
		before, after               *choice
		arrived                     time.Time
		personal, failed            bool
		violation, late, beyond, by int64
	}{
		{name: "personal while allowed", before: allowed, after: allowed, arrived: after(-time.Second), personal: true},
		{name: "personal to a request after the acknowledgement", before: denied, after: denied, arrived: after(time.Millisecond), personal: true, violation: 1, by: 1},
		{name: "not personal after the acknowledgement", before: denied, after: denied, arrived: after(time.Second), by: 1},
		{name: "no answer after the acknowledgement", before: denied, after: denied, arrived: after(time.Second), failed: true},
		{name: "allowed again while it was under way", before: denied, after: again, arrived: after(time.Second), personal: true},
		{name: "sent before, arrived on loopback's time", before: allowed, after: denied, arrived: after(10 * time.Millisecond), personal: true},
		{name: "sent before, arrived late", before: allowed, after: denied, arrived: after(200 * time.Millisecond), personal: true, late: 1},
		{name: "sent before, arrived when every lease had run out", before: allowed, after: denied, arrived: after(2 * time.Second), personal: true, late: 1, beyond: 1},
		{name: "sent before, arrived late and not personal", before: allowed, after: denied, arrived: after(2 * time.Second)},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWitness(1)
			q := question{before: test.before, sent: test.arrived, answer: answer{Personalized: test.personal}}
			var err error
			if test.failed {
				err = errors.New("503")
			}
			if personal := w.judge(&q, test.arrived, test.after, err); personal != test.personal {
				t.Errorf("personal is %v", personal)
			}
			f := w.findings()
			if f.Violations != test.violation || f.LateAnswers != test.late || f.BeyondLease != test.beyond || f.Judged != test.by {
				t.Errorf("%d violations, %d late, %d beyond the lease, %d judged; expected %d, %d, %d, %d",
					f.Violations, f.LateAnswers, f.BeyondLease, f.Judged, test.violation, test.late, test.beyond, test.by)
			}
		})
	}
}

func TestCauseIsPersonal(t *testing.T) {
	var a answer
	a.Items = append(a.Items, struct {
		Reasons []struct {
			ItemID string `json:"item_id"`
		}
	}{Reasons: []struct {
		ItemID string `json:"item_id"`
	}{{ItemID: ""}, {ItemID: "item-1"}}})
	if !a.personal() {
		t.Error("an item that names what the person looked at is not taken for personal")
	}
	if new(answer).personal() {
		t.Error("an empty answer is taken for personal")
	}
}
