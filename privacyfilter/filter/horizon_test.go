package filter

import (
	"testing"

	"sluice/ingest/eventpb"
	"sluice/internal/topics"
	"sluice/internal/vocab"
)

const year = 365 * testDay

// TestExpired: what the retention of every purpose has expired is rejected with a letter, by the time of the purposes' own events and never by a clock.
func TestExpired(t *testing.T) {
	w := newWorld(t, testRegister(t))
	w.control(accept("CN"), start-11*year)
	old := view("old", start-10*year)
	w.event(old, start, nil) // received today, captured and sent ten years ago
	expect(t, "into an empty log", w.reached(), everything)
	w.event(view("older", start-10*year-200*testDay), start, nil)
	expect(t, "older than some purposes keep", w.reached(), "[history personalize]")
	w.event(view("new", start), start, nil)
	expect(t, "today's", w.reached(), everything)
	w.event(view("late", start-2*year), start, nil)
	expect(t, "late", w.reached(), "[]")
	letters := 0
	for _, e := range w.emitted {
		if e.Topic == topics.DeadLetters {
			letters++
			var letter eventpb.DeadLetter
			if err := letter.UnmarshalVT(e.Value); err != nil {
				t.Fatal(err)
			}
			expect(t, "the letter", letter.Code, "expired")
		}
	}
	expect(t, "letters", letters, 1)
	expect(t, "counts", w.counts(), "allowed 3 denied 0 rejected 1 duplicate 0")
	w.event(view("late", start-2*year), start, nil)
	expect(t, "again", w.counts(), "allowed 3 denied 0 rejected 1 duplicate 1")
}

// TestWhatExpiresDoesNotDependOnOtherTypes: a login moves the time of fraud control alone, so that an old view is kept as long as no other view is newer.
func TestWhatExpiresDoesNotDependOnOtherTypes(t *testing.T) {
	w := newWorld(t, testRegister(t))
	w.control(accept("CN"), start-11*year)
	login := view("login", start)
	login.Type, login.Items = vocab.Type_LOGIN, nil
	w.event(login, start, nil)
	expect(t, "login", w.reached(), "[risk]")
	w.event(view("old", start-2*year), start, nil)
	expect(t, "an old view", w.reached(), "[history trending personalize]")
}
