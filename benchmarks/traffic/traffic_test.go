package traffic

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"sluice/benchmarks/load"
)

type sentEvent struct {
	ID      string    `json:"id"`
	Type    string    `json:"type"`
	Time    time.Time `json:"time"`
	SentAt  time.Time `json:"sent_at"`
	UserID  string    `json:"user_id"`
	Session string    `json:"session_id"`
}

// decode reads the events of a post.
func decode(t *testing.T, body []byte) (events []sentEvent) {
	t.Helper()
	for line := range bytes.Lines(body) {
		var e sentEvent
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if len(line) != EventSize+1 {
			t.Errorf("%d bytes: %s", len(line), line)
		}
		events = append(events, e)
	}
	return events
}

// TestHistoriesGiveEverybodyTheSame: each person gets as many events as asked for, in order, in visits, with ids of their own.
func TestHistoriesGiveEverybodyTheSame(t *testing.T) {
	const people, each, perPost = 10, 14, 7
	s := New(people, 100)
	past := Past{Each: each, Oldest: 48 * time.Hour, Newest: 24 * time.Hour}
	source, another := s.Histories(perPost, past), 0
	workers := []load.Source{source(0), source(1)}
	ids, count, last, visits, kinds := map[string]bool{}, map[string]int{}, map[string]time.Time{}, map[string]bool{}, map[string]bool{}
	for range s.HistoryPosts(perPost, past) {
		for _, e := range decode(t, workers[another%2]().Body()) {
			if e.Time.Before(last[e.UserID]) || e.Time.After(e.SentAt) {
				t.Errorf("%s at %s, after %s, sent %s", e.UserID, e.Time, last[e.UserID], e.SentAt)
			}
			ids[e.ID], last[e.UserID], visits[e.Session], kinds[e.UserID+e.Type] = true, e.Time, true, true
			count[e.UserID]++
		}
		another++
	}
	if len(ids) != people*each || len(count) != people || len(visits) != people*3 || len(kinds) < 2*people {
		t.Errorf("%d ids, %d people, %d visits, %d kinds", len(ids), len(count), len(visits), len(kinds))
	}
	for person, n := range count {
		if n != each {
			t.Errorf("%s: %d events", person, n)
		}
	}
}

// TestPaymentsDiffer: a payment is valid JSON with an id of its own.
func TestPaymentsDiffer(t *testing.T) {
	next := New(1000, 1000).Payments()(0)
	ids := map[string]bool{}
	for range 3 {
		var e sentEvent
		if err := json.Unmarshal(next().Body(), &e); err != nil || e.Type != "payment" || time.Since(e.Time) > time.Minute {
			t.Errorf("%v: %+v", err, e)
		}
		ids[e.ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("%d ids", len(ids))
	}
}
