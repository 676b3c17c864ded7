package items

import (
	"slices"
	"time"
)

// Pairs says what counts as looked at together.
type Pairs struct {
	Weights   [64]float64   // by type of interaction, 0 = does not count
	Positions int           // at most so many places apart in a person's history
	People    int           // a pair of fewer people is not returned
	Sample    int           // newest sessions of an item; the people of these are looked at
	HalfLife  time.Duration // of a pair's weight
	Limit     int           // items returned
}

// Together appends to out the items that stand near the given one in people's histories: the sums of their weights, decayed at now (Unix microseconds).
// A pair weighs the product of its interactions' weights, at the time of the later one. By (score, descending; id).
func (m *Model) Together(out []Scored, item uint32, now int64, o *Pairs) []Scored {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.scratches.get()
	defer m.scratches.put(s)
	s.begin(0, len(m.people), len(m.postings.lists))
	q := pairing{m: m, s: s, o: o, item: item, now: seconds(now), half: max(1, float32(o.HalfLife.Seconds()))}
	m.postings.newest(item, o.Sample, func(block []posting) {
		for _, p := range slices.Backward(block) {
			number := m.heads[p.session()].person
			if _, fresh := s.people.of(number); fresh {
				q.number = number
				q.person(&m.people[number])
			}
		}
	})
	for i := range s.votes {
		if v := &s.votes[i]; int(v.people) >= o.People && v.score > 0 {
			s.heap = append(s.heap, Scored{Item: v.item, Cause: item, Score: float64(v.score)})
		}
	}
	h := heap{list: s.heap, ids: m.ids}
	h.init()
	for limit := len(out) + o.Limit; len(out) < limit && len(h.list) > 0; {
		out = append(out, h.pop())
	}
	return out
}

// pairing is one run of Together.
type pairing struct {
	m      *Model
	s      *scratch
	o      *Pairs
	item   uint32
	now    uint32
	half   float32 // life, seconds
	number uint32  // of the person
}

// person adds what one person's history has near the item.
func (q *pairing) person(p *person) {
	interactions := q.m.interactions.At(p.interactions, int(p.n))
	for i := range interactions {
		mine := q.o.Weights[interactions[i].typ&63]
		if interactions[i].item != q.item || mine == 0 {
			continue
		}
		for j := max(0, i-q.o.Positions); j < min(len(interactions), i+q.o.Positions+1); j++ {
			other := &interactions[j]
			if weight := mine * q.o.Weights[other.typ&63]; weight > 0 && other.item != q.item {
				q.add(other.item, float32(weight)*decay(q.now, seconds(interactions[max(i, j)].time), q.half))
			}
		}
	}
}

func (q *pairing) add(item uint32, weight float32) {
	at, fresh := q.s.items.of(item)
	if fresh {
		q.s.votes = append(q.s.votes, vote{item: item})
	}
	v := &q.s.votes[at]
	if v.voter != q.number {
		v.voter = q.number
		v.people++
	}
	v.score += weight
}

// Linked tells whether at least this many people, without the own ones, have both items in one session. It looks at the newest sessions of the rarer item, up
// to a bound.
func (m *Model) Linked(a, b uint32, people int, own []Subject) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.postings.len(a) > m.postings.len(b) {
		a, b = b, a
	}
	if m.postings.len(a) < people {
		return false
	}
	var fixed [16]uint32
	counted := fixed[:0]
	m.postings.newest(a, evidence(people), func(block []posting) {
		for _, p := range slices.Backward(block) {
			h := &m.heads[p.session()]
			if len(counted) >= people || slices.Contains(counted, h.person) || slices.Contains(own, m.people[h.person].subject) {
				continue
			}
			if slices.Contains(m.itemsOf(h), b) {
				counted = append(counted, h.person)
			}
		}
	})
	return len(counted) >= people
}
