package record_test

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/features/featurestest"
	"sluice/features/record"
	"sluice/features/spill"
	"sluice/internal/stream"
	"sluice/privacyfilter/purposepb"
)

const (
	keepDays = 10
	lists    = 2
)

// world is people in a task, a copy that follows their changelog, and a model of what must be kept.
type world struct {
	t       featurestest.T
	task    *stream.Task
	people  *record.People
	copy    *record.Copy
	log     []stream.Record
	model   map[int]*person
	newest  int64
	metrics *record.EngineMetrics
	keep    []int
}

type person struct {
	floor string
	since int64
	lists [lists][]record.Entry
}

func newWorld(t featurestest.T, keep ...int) *world {
	w := &world{t: t, task: stream.NewTask(0), copy: record.NewCopy(lists, spill.Options{}), model: make(map[int]*person), metrics: record.NewEngineMetrics(nil, "test"), keep: keep}
	w.people = record.OpenPeople(w.task, record.Options{Name: "people", Keep: keep, Retention: keepDays * featurestest.Day, Suffix: 1, ID: slices.Clone[[]byte], Metrics: w.metrics})
	if err := w.task.Err(); err != nil {
		t.Fatal(err)
	}
	return w
}

// horizon is the model's.
func (w *world) horizon() int64 {
	return record.FloorDiv(w.newest, featurestest.Day)*featurestest.Day - keepDays*featurestest.Day
}

// sweep removes what has expired from the model at once.
func (w *world) sweep() {
	for subject, p := range w.model {
		left := 0
		for at := range p.lists {
			p.lists[at] = slices.DeleteFunc(p.lists[at], func(e record.Entry) bool { return e.Time < w.horizon() })
			left += len(p.lists[at])
		}
		if left == 0 && p.since < w.horizon() {
			delete(w.model, subject)
		}
	}
}

func (w *world) add(subject int, floor string, at, event int, time int64, entries int) {
	var added []record.Entry
	for i := range entries {
		added = append(added, record.Entry{Time: time, ID: append(eventOf(event), byte(i)), Body: fmt.Appendf(nil, "session %d item %d", event%3, i)})
	}
	if err := w.people.Add(featurestest.ID('u', subject), []byte(floor), at, added...); err != nil {
		w.t.Fatal(err)
	}
	if w.newest = max(w.newest, time); time < w.horizon() {
		w.sweep()
		return
	}
	w.sweep()
	p := w.model[subject]
	if p != nil && p.since != 0 && p.floor != floor {
		return
	}
	if p == nil || p.floor != floor {
		p = &person{floor: floor}
	}
	list := p.lists[at]
	known := slices.ContainsFunc(list, func(e record.Entry) bool { return e.Time == time && bytes.HasPrefix(e.ID, eventOf(event)) })
	if known || len(list) >= w.keep[at] && compare(added[0], list[0]) < 0 {
		return
	}
	list = append(list, added...)
	slices.SortFunc(list, compare)
	p.lists[at] = list[max(0, len(list)-w.keep[at]):]
	w.model[subject] = p
}

func compare(a, b record.Entry) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), bytes.Compare(a.ID, b.ID))
}

func eventOf(n int) []byte { return featurestest.ID('e', n)[:8] }

func (w *world) purge(purge *purposepb.Purge, subject int) {
	purge.Subject = featurestest.ID('u', subject)
	if err := w.people.Purge(purge); err != nil {
		w.t.Fatal(err)
	}
	p := w.model[subject]
	switch {
	case len(purge.Event) > 0:
		if p == nil {
			return
		}
		left := 0
		for at := range p.lists {
			p.lists[at] = slices.DeleteFunc(p.lists[at], func(e record.Entry) bool { return bytes.HasPrefix(e.ID, purge.Event) })
			left += len(p.lists[at])
		}
		if left == 0 && p.since == 0 {
			delete(w.model, subject)
		}
	case len(purge.Floor) == 0:
		delete(w.model, subject)
	case p != nil && p.since != 0 && p.floor == string(purge.Floor):
	default:
		if p == nil || p.floor != string(purge.Floor) {
			p = &person{floor: string(purge.Floor)}
			w.model[subject] = p
		}
		p.since = max(1, purge.Time)
	}
}

func (w *world) commit() {
	changes := w.task.Changes()
	for i := range changes {
		w.copy.Apply(&changes[i])
	}
	w.log = append(w.log, changes...)
}

// compacted is the newest record of each key in the order of keys, as a restored copy reads them.
func (w *world) compacted() []stream.Record {
	h := featurestest.Harness{Log: w.log}
	return h.Compacted()
}

// shown is what a copy shows, and what the model does, as text.
func (w *world) shown(c *record.Copy, subject int) (got, want []string) {
	var p record.Person
	known, err := c.Read(&p, [16]byte(featurestest.ID('u', subject)))
	if err != nil {
		w.t.Fatal(err)
	}
	for at := range lists {
		if known {
			for _, e := range p.Lists[at] {
				got = append(got, fmt.Sprintf("%s %d %d %x %s", p.Floor, at, e.Time, e.ID, e.Body))
			}
		}
		if m := w.model[subject]; m != nil {
			for _, e := range m.lists[at] {
				want = append(want, fmt.Sprintf("%s %d %d %x %s", m.floor, at, e.Time, e.ID, e.Body))
			}
		}
	}
	return got, want
}

// compareNewest compares the newest entries of each list before the given one with those of the model.
func (w *world) compareNewest(c *record.Copy, subject int, end *record.Entry, n int) {
	var p record.Person
	known, err := c.ReadNewest(&p, [16]byte(featurestest.ID('u', subject)), end, n)
	if err != nil {
		w.t.Fatal(err)
	}
	m := w.model[subject]
	if !known || m == nil {
		return // compared elsewhere
	}
	for at := range lists {
		want := m.lists[at]
		if end != nil {
			before, _ := slices.BinarySearchFunc(want, *end, compare)
			want = want[:before]
		}
		got := p.Lists[at]
		if len(got) < min(n, len(want)) {
			w.t.Fatalf("subject %d: %d entries of list %d, want %d of %d", subject, len(got), at, n, len(want))
		}
		if diff := gocmp.Diff(texts(want[max(0, len(want)-len(got)):]), texts(got)); diff != "" {
			w.t.Fatalf("subject %d, list %d (-model +copy):\n%s", subject, at, diff)
		}
	}
}

func texts(entries []record.Entry) (out []string) {
	for _, e := range entries {
		out = append(out, fmt.Sprintf("%d %x %s", e.Time, e.ID, e.Body))
	}
	return out
}

func (w *world) compare(people int) {
	restored := record.NewCopy(lists, spill.Options{})
	for _, r := range w.compacted() {
		restored.Apply(&r)
	}
	for subject := range people {
		got, want := w.shown(w.copy, subject)
		if diff := gocmp.Diff(want, got); diff != "" {
			w.t.Fatalf("subject %d (-model +copy):\n%s", subject, diff)
		}
		got, want = w.shown(restored, subject)
		if diff := gocmp.Diff(want, got); diff != "" {
			w.t.Fatalf("subject %d (-model +restored):\n%s", subject, diff)
		}
	}
}

// TestPeopleAgainstModel runs random events, most of them in the order of time, deletions, purges, floors and expiry in random transactions.
func TestPeopleAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const people = 3
		w := newWorld(t, 40, 5)
		now := featurestest.Day0
		spread := rapid.SampledFrom([]int64{0, featurestest.Minute, featurestest.Day, 20 * featurestest.Day}).Draw(t, "lateness")
		step := rapid.SampledFrom([]int64{1e6, featurestest.Minute, featurestest.Hour}).Draw(t, "step")
		for event := range rapid.IntRange(1, 300).Draw(t, "events") {
			subject := rapid.IntRange(0, people-1).Draw(t, "subject")
			floor := rapid.SampledFrom([]string{"f", "f", "f", "f", "f", "f", "f", "g"}).Draw(t, "floor")
			switch act := rapid.IntRange(0, 99).Draw(t, "act"); {
			case act < 6:
				w.purge(&purposepb.Purge{Event: eventOf(rapid.IntRange(0, event).Draw(t, "deleted"))}, subject)
			case act == 6:
				w.purge(&purposepb.Purge{Time: now}, subject)
			case act == 7:
				w.purge(&purposepb.Purge{Floor: []byte(floor), Time: now}, subject)
			case act == 8:
				now += 8 * featurestest.Day
			case act == 9: // events that came too late, all to one place
				at := now - spread/2
				for i := range 20 {
					w.add(subject, floor, 0, 1000+20*event+i, at+int64(i), 1)
				}
			default:
				now += step
				at := now - rapid.Int64Range(0, spread).Draw(t, "late")
				w.add(subject, floor, rapid.IntRange(0, 9).Draw(t, "list")/8, event, at, rapid.IntRange(1, 3).Draw(t, "entries"))
			}
			if rapid.IntRange(0, 4).Draw(t, "commit") == 0 {
				w.commit()
				w.compare(people)
				var end *record.Entry
				if m := w.model[subject]; m != nil && len(m.lists[0]) > 0 && rapid.Bool().Draw(t, "before") {
					end = &m.lists[0][rapid.IntRange(0, len(m.lists[0])-1).Draw(t, "end")]
				}
				w.compareNewest(w.copy, subject, end, rapid.IntRange(1, 50).Draw(t, "n"))
			}
		}
		w.commit()
		w.compare(people)
	})
}

// TestExpiredPeopleAreRemoved lets everybody expire: events of one person take the others away, a few at a time, and nothing is left of them.
func TestExpiredPeopleAreRemoved(t *testing.T) {
	w := newWorld(t, 40, 5)
	const people = 500
	for n := range people * 10 {
		w.add(n%people, "f", 0, n, featurestest.Day0+int64(n)*1e6, 1)
	}
	w.commit()
	w.log = nil
	for n := range people {
		w.add(people, "f", 0, people*10+n, featurestest.Day0+20*featurestest.Day+int64(n)*1e6, 1)
		w.commit()
		if size := len(w.log); size > 2*3+8 {
			t.Fatalf("one event writes %d records", size) // two people, each a head and two chunks; its own head and chunk, the clock, what is due
		}
		w.log = nil
	}
	w.compare(people)
	if got := w.copy.Len(); got != 1 {
		t.Errorf("%d people are left, want 1", got)
	}
}

// FuzzRead reads anything without a panic.
func FuzzRead(f *testing.F) {
	w := newWorld(f, 40, 5)
	for n := range 20 {
		w.add(1, "f", 0, n, featurestest.Day0+int64(n), 1)
	}
	w.commit()
	for _, r := range w.log {
		f.Add(r.Value)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := record.NewCopy(lists, spill.Options{})
		subject := [16]byte{1}
		chunk := append(append([]byte{record.ChunkTable}, subject[:]...), 0, 0, 0, 0x20, 0)
		c.Apply(&stream.Record{Key: chunk, Value: data})
		c.Apply(&stream.Record{Key: append([]byte{record.Table}, subject[:]...), Value: data})
		var p record.Person
		_, _ = c.Read(&p, subject)
	})
}
