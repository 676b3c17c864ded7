package items

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/internal/itemid"
)

const (
	day0   = int64(1_767_225_600_000_000) // 2026-01-01
	minute = int64(60e6)
	hour   = 60 * minute
)

func subjectOf(n int) (s Subject) {
	random := rand.NewPCG(7, uint64(n))
	binary.BigEndian.PutUint64(s[:], random.Uint64())
	binary.BigEndian.PutUint64(s[8:], random.Uint64())
	return s
}

// world is a model with the histories that it was given.
type world struct {
	ids       *itemid.Table
	m         *Model
	histories map[int][]Interaction // by person; items are numbers of ids
}

func newWorld() *world {
	ids := itemid.NewTable()
	return &world{ids: ids, m: New(ids, Options{Gap: 30 * minute}), histories: make(map[int][]Interaction)}
}

func (w *world) set(person int, history []Interaction) {
	w.m.Apply([]Change{{subjectOf(person), history}})
	w.histories[person] = history
	if len(history) == 0 {
		delete(w.histories, person)
	}
}

// number is an item's number; the reference to it is never given back.
func (w *world) number(n int) uint32 { return w.ids.Acquire(fmt.Sprintf("i%d", n)) }

// again is the model of the same histories, taken in another order.
func (w *world) again(order []int) *world {
	other := newWorld()
	other.take(w, order)
	return other
}

// loaded is again of a model that is loaded: the first people come in two steps.
func (w *world) loaded(order []int, twice int) *world {
	other := newWorld()
	loaded := other.m.Load()
	for _, person := range order[:twice] {
		history := w.histories[person]
		w.histories[person] = history[:len(history)/2]
		other.take(w, []int{person})
		w.histories[person] = history
	}
	other.take(w, order)
	loaded()
	return other
}

// take gives the model histories of another one.
func (w *world) take(from *world, order []int) {
	for _, person := range order {
		var history []Interaction
		for _, t := range from.histories[person] {
			t.Item = w.ids.Acquire(from.ids.ID(t.Item))
			history = append(history, t)
		}
		w.set(person, history)
	}
}

// dump writes down sessions and postings without numbers.
func (w *world) dump() map[string]string {
	out := make(map[string]string)
	name := func(session uint32) string {
		return fmt.Sprintf("%x %x", w.m.people[w.m.heads[session].person].subject[:4], w.m.sessions[session].key)
	}
	for number := range w.m.sessions {
		h := w.m.heads[number]
		if h.n == 0 {
			continue
		}
		text := fmt.Append(nil, h.second)
		for _, item := range w.m.itemsOf(&h) {
			text = fmt.Append(text, " ", w.ids.ID(item))
		}
		out[name(uint32(number))] = string(text)
	}
	for item := range w.m.postings.lists {
		var text []byte
		w.m.postings.newest(uint32(item), math.MaxInt, func(block []posting) {
			for _, p := range slices.Backward(block) {
				text = fmt.Append(text, p.second(), " ", name(p.session()), ", ")
			}
		})
		if text != nil {
			out[w.ids.ID(uint32(item))] = string(text)
		}
	}
	return out
}

// naive writes down the same from all histories at once.
func (w *world) naive() map[string]string {
	type stands struct {
		second uint32
		name   string
		order  uint64
	}
	out := make(map[string]string)
	postings := make(map[string][]stands)
	for person, history := range w.histories {
		subject := subjectOf(person)
		sessions := make(map[string][]Interaction)
		var last string
		for i, t := range history {
			name := fmt.Sprintf("%x %x", subject[:4], t.Session)
			if t.Session == 0 {
				if before := sessions[last]; len(before) == 0 || t.Time-before[len(before)-1].Time > 30*minute {
					last = fmt.Sprintf("%x %x", subject[:4], history[i].Event)
				}
				name = last
			}
			sessions[name] = append(sessions[name], t)
		}
		for name, interactions := range sessions {
			newest := make(map[string]uint32)
			text := fmt.Append(nil, seconds(interactions[len(interactions)-1].Time))
			for _, t := range interactions {
				text = fmt.Append(text, " ", w.ids.ID(t.Item))
				newest[w.ids.ID(t.Item)] = seconds(t.Time)
			}
			out[name] = string(text)
			for item, second := range newest {
				postings[item] = append(postings[item], stands{second, name, w.orderOf(name)})
			}
		}
	}
	for item, list := range postings {
		slices.SortFunc(list, func(a, b stands) int {
			if a.second != b.second {
				return int(b.second) - int(a.second)
			}
			return map[bool]int{true: -1, false: 1}[a.order > b.order]
		})
		for _, s := range list {
			out[item] += fmt.Sprint(s.second, " ", s.name, ", ")
		}
	}
	return out
}

func (w *world) orderOf(name string) uint64 {
	for number, h := range w.m.heads {
		if h.n > 0 && fmt.Sprintf("%x %x", w.m.people[h.person].subject[:4], w.m.sessions[number].key) == name {
			return w.m.order(uint32(number))
		}
	}
	return 0
}

// drawHistory draws a person's history: times collide, some events have several items, some sessions have no name, others take turns.
func drawHistory(t *rapid.T, w *world, person int) []Interaction {
	var history []Interaction
	at := day0 + rapid.Int64Range(0, 3).Draw(t, "start")*hour
	for n := range rapid.IntRange(0, 12).Draw(t, "events") {
		at += rapid.SampledFrom([]int64{0, 1, minute, 20 * minute, hour}).Draw(t, "pause")
		event := Interaction{Event: 1<<63 | uint64(person)<<32 | uint64(at-day0)<<8 | uint64(n), Time: at, Type: 1}
		event.Session = uint64(rapid.IntRange(0, 2).Draw(t, "session"))
		for _, item := range rapid.SliceOfNDistinct(rapid.IntRange(0, 7), 1, 2, rapid.ID).Draw(t, "items") {
			event.Item = w.number(item)
			history = append(history, event)
		}
	}
	return history
}

// TestTheModelIsAFunctionOfTheHistories replaces, shortens and deletes histories. What is kept equals what a naive fold makes of the present histories,
// and what another model keeps that got them in another order; in the end nothing is left.
func TestTheModelIsAFunctionOfTheHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for range rapid.IntRange(1, 40).Draw(t, "changes") {
			person := rapid.IntRange(0, 4).Draw(t, "person")
			history := slices.Clone(w.histories[person])
			switch n := len(history); {
			case n > 0 && rapid.Bool().Draw(t, "shorten"):
				from := rapid.IntRange(0, n-1).Draw(t, "from")
				history = slices.Delete(history, from, rapid.IntRange(from, n).Draw(t, "to"))
			default:
				history = drawHistory(t, w, person)
			}
			w.set(person, history)
		}
		for person, history := range w.histories {
			if diff := gocmp.Diff(history, w.m.Interactions(nil, subjectOf(person))); diff != "" {
				t.Fatalf("person %d (-given +kept):\n%s", person, diff)
			}
		}
		if diff := gocmp.Diff(w.naive(), w.dump()); diff != "" {
			t.Fatalf("the model is not exact (-naive +live):\n%s", diff)
		}
		order := rapid.Permutation(slices.Sorted(maps.Keys(w.histories))).Draw(t, "order")
		other, loaded := w.again(order), w.loaded(order, rapid.IntRange(0, len(order)).Draw(t, "twice"))
		if diff := gocmp.Diff(w.dump(), loaded.dump()); diff != "" {
			t.Fatalf("loading shows (-live +loaded):\n%s", diff)
		}
		if diff := gocmp.Diff(w.dump(), other.dump()); diff != "" {
			t.Fatalf("the order of changes shows (-live +restored):\n%s", diff)
		}
		if diff := gocmp.Diff(w.answers(), other.answers()); diff != "" {
			t.Fatalf("answers differ (-live +restored):\n%s", diff)
		}
		for person := range w.histories {
			w.set(person, nil)
		}
		if left := w.m.Sizes(); left.People+left.Sessions+left.Interactions+left.Items != 0 {
			t.Fatalf("left after everything was deleted: %+v", left)
		}
		if left := w.dump(); len(left) != 0 {
			t.Fatalf("left after everything was deleted: %v", left)
		}
	})
}

// answers asks for every item.
func (w *world) answers() map[string]string {
	out := make(map[string]string)
	for n := range 8 {
		for _, people := range []int{1, 2} {
			o := KNN{Items: 10, Sample: 3, Neighbours: 2, HalfLife: time.Hour, Decay: 1.5, Distance: 3, Rarity: 0.5, People: people, Limit: 20}
			present := []uint32{w.ids.Find(fmt.Sprint("i", (n+1)%8)), w.ids.Find(fmt.Sprint("i", n))}
			var text []byte
			for _, s := range w.m.Neighbours(nil, present, []Subject{subjectOf(0)}, day0+5*hour, &o) {
				text = fmt.Append(text, w.ids.ID(s.Item), " ", s.Score, " ", w.ids.ID(s.Cause), ", ")
			}
			pairs := Pairs{Weights: [64]float64{1: 1, 2: 3}, Positions: 3, People: people, Sample: 3, HalfLife: time.Hour, Limit: 20}
			for _, s := range w.m.Together(nil, present[0], day0+5*hour, &pairs) {
				text = fmt.Append(text, w.ids.ID(s.Item), " ", s.Score, ", ")
			}
			text = fmt.Append(text, w.m.Linked(present[0], present[1], people, nil))
			out[fmt.Sprint(n, " ", people)] = string(text)
		}
	}
	return out
}

// TestNeighboursAgainstTheDefinition computes the scores as the definition says, over all sessions.
func TestNeighboursAgainstTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for person := range 6 {
			w.set(person, drawHistory(t, w, person))
		}
		o := KNN{Items: 2, Sample: 1000, Neighbours: 1000, HalfLife: time.Hour, Decay: 1.5, Distance: 3, Rarity: 0.5, People: 1, Limit: 100}
		present := []uint32{w.number(0), w.number(1), w.number(2), w.number(1)}
		now := day0 + 6*hour
		got := make(map[uint32]float64)
		for _, s := range w.m.Neighbours(nil, present, []Subject{subjectOf(5)}, now, &o) {
			got[s.Item] = s.Score
		}
		want := w.definition([]uint32{w.number(1), w.number(2)}, 5, now, &o)
		for item, score := range want {
			if math.Abs(got[item]-score) > 1e-4 {
				t.Fatalf("%s: %v, want %v", w.ids.ID(item), got[item], score)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("got %d items, want %d", len(got), len(want))
		}
	})
}

func (w *world) definition(items []uint32, own int, now int64, o *KNN) map[uint32]float64 {
	scores := make(map[uint32]float64)
	most, highest := 0.0, 0.0
	for _, scale := range []float64{0, 1} { // once to find the greatest similarity
		for _, h := range w.m.heads {
			list := w.m.itemsOf(&h)
			if h.n == 0 || w.m.people[h.person].subject == subjectOf(own) {
				continue
			}
			sum, shared := 0.0, -1
			for place, item := range items {
				if slices.Contains(list, item) {
					sum += math.Exp(-float64(place) / o.Decay)
					if shared < 0 {
						shared = place
					}
				}
			}
			if shared < 0 {
				continue
			}
			similarity := sum / math.Sqrt(float64(h.n)) * float64(decay(seconds(now), h.second, float32(o.HalfLife.Seconds())))
			most = max(most, similarity)
			at := len(list) - 1
			for list[at] != items[shared] {
				at--
			}
			nearest := make(map[uint32]float64)
			for i, item := range list {
				nearest[item] = max(nearest[item], math.Exp(-math.Abs(float64(i-at))/o.Distance))
			}
			for item, near := range nearest {
				scores[item] += scale * similarity / most * near
			}
		}
	}
	for item := range scores {
		scores[item] *= math.Sqrt(math.Log1p(float64(w.m.open()) / float64(w.m.postings.len(item))))
		highest = max(highest, scores[item])
	}
	for item := range scores {
		scores[item] /= highest
	}
	return scores
}

// TestItemsOfFewPeople returns only what enough others stand behind; the session's own items need nobody.
func TestItemsOfFewPeople(t *testing.T) {
	w := newWorld()
	visit := func(person int, session uint64, items ...int) {
		history := w.histories[person]
		for _, item := range items {
			at := day0 + int64(len(history))*minute
			history = append(history, Interaction{Event: uint64(person)<<32 | uint64(at-day0), Session: session, Time: at, Item: w.number(item), Type: 1})
		}
		w.set(person, history)
	}
	const lamp, bulb, secret, shade, desk = 0, 1, 2, 3, 4
	for person := range 3 {
		visit(person, 1, lamp, bulb)
	}
	visit(3, 1, lamp, secret)
	visit(3, 2, lamp, secret) // again: still one person
	visit(4, 1, lamp, secret) // the person's own
	visit(5, 1, lamp, shade)  // shade is linked with lamp once, with bulb twice
	visit(6, 1, bulb, shade)
	visit(7, 1, bulb, shade)
	visit(8, 1, lamp, desk) // desk is linked with nothing that was found
	visit(9, 1, desk)
	visit(10, 1, desk)
	o := KNN{Items: 10, Sample: 100, Neighbours: 100, HalfLife: time.Hour, Decay: 1.5, Distance: 3, Rarity: 0.5, Limit: 10}
	for people, want := range map[int][]string{1: {"i0", "i1", "i2", "i3", "i4"}, 2: {"i0", "i1", "i3"}, 3: {"i0", "i1", "i3"}, 4: {"i0", "i1"}, 6: {"i0"}} {
		o.People = people
		var got []string
		for _, s := range w.m.Neighbours(nil, []uint32{w.number(lamp)}, []Subject{subjectOf(4)}, day0+hour, &o) {
			got = append(got, w.ids.ID(s.Item))
			if w.ids.ID(s.Cause) != "i0" || s.Score <= 0 || s.Score > 1 {
				t.Errorf("%+v: cause i0 and a score in (0, 1] expected", s)
			}
		}
		slices.Sort(got)
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%d people (-want +got):\n%s", people, diff)
		}
	}
}

// TestTogetherAgainstTheDefinition sums pairs over all histories.
func TestTogetherAgainstTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for person := range 6 {
			history := drawHistory(t, w, person)
			for i := range history {
				history[i].Type = uint8(rapid.IntRange(1, 3).Draw(t, "type"))
			}
			w.set(person, history)
		}
		o := Pairs{Weights: [64]float64{1: 1, 2: 3}, Positions: 3, People: 2, Sample: 1000, HalfLife: time.Hour, Limit: 100}
		item, now := w.number(1), day0+6*hour
		want, people := make(map[uint32]float64), make(map[uint32]int)
		for _, history := range w.histories {
			mine := make(map[uint32]bool)
			for y := range history {
				for x := max(0, y-3); x < y; x++ {
					a, b := history[x], history[y]
					weight := o.Weights[a.Type] * o.Weights[b.Type]
					if b.Item == item {
						a, b = b, a
					}
					if a.Item != item || b.Item == item || weight == 0 {
						continue
					}
					want[b.Item] += weight * float64(decay(seconds(now), seconds(history[y].Time), 3600))
					if !mine[b.Item] {
						people[b.Item]++
					}
					mine[b.Item] = true
				}
			}
		}
		got := w.m.Together(nil, item, now, &o)
		for _, s := range got {
			if math.Abs(s.Score/want[s.Item]-1) > 1e-4 || people[s.Item] < 2 || s.Cause != item {
				t.Fatalf("%s: %v of %d people, want %v", w.ids.ID(s.Item), s.Score, people[s.Item], want[s.Item])
			}
			delete(want, s.Item)
		}
		for other := range want {
			if people[other] >= 2 {
				t.Fatalf("%s is missing", w.ids.ID(other))
			}
		}
		if !slices.IsSortedFunc(got, func(a, b Scored) int {
			return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(w.ids.ID(a.Item), w.ids.ID(b.Item)))
		}) {
			t.Fatalf("not sorted: %v", got)
		}
	})
}

// TestLinked counts other people with a session that has both items.
func TestLinked(t *testing.T) {
	w := newWorld()
	for person := range 3 {
		w.set(person, []Interaction{
			{Event: 1, Session: 1, Time: day0, Item: w.number(1)},
			{Event: 2, Session: 1, Time: day0, Item: w.number(2)},
			{Event: 3, Session: 2, Time: day0, Item: w.number(2)},
			{Event: 4, Session: 3, Time: day0, Item: w.number(1)},
			{Event: 5, Session: 3, Time: day0, Item: w.number(2)},
		})
	}
	w.set(3, []Interaction{{Event: 1, Session: 1, Time: day0, Item: w.number(1)}, {Event: 2, Session: 2, Time: day0, Item: w.number(2)}})
	for people, want := range []bool{true, true, true, true, false} {
		if got := w.m.Linked(w.number(1), w.number(2), people, nil); got != want {
			t.Errorf("%d people: %t", people, got)
		}
	}
	if w.m.Linked(w.number(1), w.number(2), 3, []Subject{subjectOf(0)}) {
		t.Error("the person's own session counts")
	}
}

// TestPostingsAgainstModel inserts and removes at random places of a long list.
func TestPostingsAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := postings{order: func(session uint32) uint64 { return uint64(session) * 0x9e3779b97f4a7c15 }}
		model := make(map[posting]bool)
		p.loading = rapid.Bool().Draw(t, "loading")
		for _, n := range rapid.SliceOfN(rapid.Int64Range(0, 3000), 1, 3000).Draw(t, "times") {
			x := newPosting(n/2*1e6, uint32(n))
			if model[x] {
				if last := p.remove(1, x); last != (len(model) == 1) {
					t.Fatal("the last one was not told")
				}
				delete(model, x)
			} else {
				if first := p.insert(1, x); first != (len(model) == 0) {
					t.Fatal("the first one was not told")
				}
				model[x] = true
			}
		}
		p.loaded()
		want := slices.SortedFunc(maps.Keys(model), p.compare)
		slices.Reverse(want)
		want = want[:min(len(want), 700)]
		var got []posting
		p.newest(1, 700, func(block []posting) {
			for _, x := range slices.Backward(block) {
				got = append(got, x)
			}
		})
		if !slices.Equal(want, got) || p.len(1) != len(model) {
			t.Fatalf("want %v, got %v", want, got)
		}
	})
}

// TestSteps rounds frequencies to 16 steps an octave, and small ones not at all.
func TestSteps(t *testing.T) {
	for n := 1; n < 1<<20; n += 1 + n/100 {
		value := valueOf(stepOf(n))
		if n < 32 && value != float64(n) || value > float64(n) || value < float64(n)*15/16 {
			t.Errorf("%d is rounded to %v", n, value)
		}
	}
}
