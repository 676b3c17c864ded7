package items

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"
)

// Scored is an item with a score: higher is better, comparable within one answer.
type Scored struct {
	Item  uint32
	Cause uint32 // item that brought it, itemid.None if none did
	Score float64
}

// KNN says how like sessions are sought and asked.
type KNN struct {
	Items      int           // newest distinct items of the session that are compared
	Sample     int           // newest sessions of each of these that are looked at
	Neighbours int           // the most similar of them, which vote
	HalfLife   time.Duration // of a neighbour's vote, by its age
	Decay      float64       // places from the session's end until an item counts 1/e
	Distance   float64       // places from the shared item until a neighbour's vote counts 1/e
	Rarity     float64       // exponent of an item's inverse frequency
	People     int           // an item of fewer people is not returned
	Limit      int           // items returned
}

// candidate is a session that shares an item with the present one.
type candidate struct {
	key     uint64 // similarity, then second
	session uint32
	shared  uint32 // place in the present session of the newest item that both have
}

// vote is what neighbours say of an item.
type vote struct {
	voter     uint32 // stamp of the last one
	place     uint32 // in found
	score     float32
	strongest float32
	cause     uint32
	people    uint32 // of who voted, as far as it matters
}

// Neighbours appends to out what people had in sessions like the given one (items, the oldest first; numbers may repeat): session-kNN. A session is the
// more similar, the more of the newest items it shares, the shorter it is, and the younger. It votes for its items by their distance from the newest
// shared one, that one and the session's own included, and rare items count more.
//
// The own people's sessions do not vote. An item needs o.People other people behind it: those who voted for it, or else those with a session that links
// it with an item of the present session or with one that was found. The session's own items need nobody. By (score, descending; id).
func (m *Model) Neighbours(out []Scored, present []uint32, own []Subject, now int64, o *KNN) []Scored {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.scratches.get()
	defer m.scratches.put(s)
	s.begin(len(m.sessions), len(m.people), max(len(m.postings.lists), m.ids.Len()), o.Neighbours+2)
	for _, subject := range own {
		if n := m.numbers[subject]; n != 0 {
			s.own = append(s.own, n)
		}
	}
	q := search{m: m, s: s, o: o, now: seconds(now), half: max(1, float32(o.HalfLife.Seconds()))}
	q.compare(present)
	q.similar()
	q.choose()
	q.vote()
	return q.elect(out)
}

// search is one run of Neighbours.
type search struct {
	m    *Model
	s    *scratch
	o    *KNN
	now  uint32
	half float32 // life, seconds

	items []uint32 // compared, the newest first
	fixed [16]uint32
	base  uint32 // first stamp of the voters
	tried int    // items whose people were looked for beyond the voters
}

// compare notes which sessions share which of the session's items.
func (q *search) compare(present []uint32) {
	q.items = q.fixed[:0]
	for i := len(present) - 1; i >= 0 && len(q.items) < q.o.Items; i-- {
		if !slices.Contains(q.items, present[i]) {
			q.items = append(q.items, present[i])
		}
	}
	s := q.s
	s.stamp++
	stamp := s.stamp
	for place, item := range q.items {
		weight := float32(math.Exp(-float64(place) / q.o.Decay))
		q.m.postings.newest(item, q.o.Sample, func(block []posting) {
			for i := len(block) - 1; i >= 0; i-- {
				number := block[i].session()
				a := &s.sessions[number]
				if a.stamp == stamp {
					a.sum += weight
					continue
				}
				*a = alike{stamp, weight}
				s.touched = append(s.touched, candidate{session: number, shared: uint32(place)})
			}
		})
	}
}

// similar works out how similar each candidate is; the own ones are left out.
func (q *search) similar() {
	s := q.s
	kept := s.touched[:0]
	for _, c := range s.touched {
		h := &q.m.heads[c.session]
		if slices.Contains(s.own, h.person) {
			continue
		}
		similarity := s.sessions[c.session].sum * rootOf(h.n) * decay(q.now, h.second, q.half)
		c.key = uint64(math.Float32bits(similarity))<<32 | uint64(h.second)
		kept = append(kept, c)
	}
	s.touched = kept
}

// choose keeps the best candidates, in whatever order.
func (q *search) choose() {
	s := q.s
	n := q.o.Neighbours
	if len(s.touched) <= n {
		return
	}
	clear(s.buckets[:])
	for i := range s.touched {
		s.buckets[s.touched[i].bucket()]++
	}
	last, above := buckets-1, 0 // bucket where the n-th lies
	for ; above+int(s.buckets[last]) < n; last-- {
		above += int(s.buckets[last])
	}
	at, end := 0, len(s.touched)
	for i := 0; i < end; { // those above first, then those of the bucket, then the others
		switch b := s.touched[i].bucket(); {
		case b > last:
			s.touched[i], s.touched[at] = s.touched[at], s.touched[i]
			at, i = at+1, i+1
		case b < last:
			end--
			s.touched[i], s.touched[end] = s.touched[end], s.touched[i]
		default:
			i++
		}
	}
	q.best(s.touched[at:end], n-at)
	s.touched = s.touched[:n]
}

const buckets = 1 << 12

// bucket orders candidates coarsely: the exponent of the similarity and four bits more.
func (c *candidate) bucket() int { return int(c.key >> (32 + 19)) }

// better tells whether a comes before b.
func (q *search) better(a, b *candidate) bool {
	if a.key != b.key {
		return a.key > b.key
	}
	return a.session != b.session && q.m.order(a.session) > q.m.order(b.session)
}

// best brings the n best to the front, in whatever order.
func (q *search) best(list []candidate, n int) {
	for n > 0 && n < len(list) {
		pivot := list[len(list)/2]
		i, j := 0, len(list)-1
		for i <= j {
			for q.better(&list[i], &pivot) {
				i++
			}
			for q.better(&pivot, &list[j]) {
				j--
			}
			if i <= j {
				list[i], list[j] = list[j], list[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case n <= j+1:
			list = list[:j+1]
		case n >= i:
			list, n = list[i:], n-i
		default:
			return
		}
	}
}

// vote lets the chosen sessions vote, each for an item once, at its place nearest to the newest shared item.
func (q *search) vote() {
	var most uint64
	for i := range q.s.touched {
		most = max(most, q.s.touched[i].key)
	}
	scale := 1 / math.Float32frombits(uint32(most>>32)) // so that the votes of old sessions do not vanish
	near := newDistances(q.o.Distance)
	q.base = q.s.stamp + 1
	for i := range q.s.touched {
		c := &q.s.touched[i]
		q.s.stamp++
		h := &q.m.heads[c.session]
		items := q.m.itemsOf(h)
		b := ballot{voter: q.s.stamp, person: h.person, cause: q.items[c.shared], weight: math.Float32frombits(uint32(c.key>>32)) * scale}
		at := len(items) - 1
		for items[at] != b.cause {
			at--
		}
		q.cast(&b, items[at], 1)
		for d := 1; d <= max(at, len(items)-1-at); d++ {
			if at+d < len(items) { // as near: what came after counts
				q.cast(&b, items[at+d], near.at(d))
			}
			if at-d >= 0 {
				q.cast(&b, items[at-d], near.at(d))
			}
		}
	}
}

// ballot is a voter.
type ballot struct {
	voter, person, cause uint32
	weight               float32
}

func (q *search) cast(b *ballot, item uint32, near float32) {
	s := q.s
	v := &s.votes[item]
	if v.voter == b.voter {
		return
	}
	if v.voter < q.base {
		*v = vote{place: uint32(len(s.found))}
		s.found = append(s.found, item)
		for range q.o.People - 1 {
			s.who = append(s.who, 0)
		}
	}
	v.voter = b.voter
	said := b.weight * near
	v.score += said
	if said > v.strongest {
		v.strongest, v.cause = said, b.cause
	}
	if int(v.people) < q.o.People {
		v.people += s.newcomer(v, b.person, q.o.People)
	}
}

// behind tells whether the person is known to be among those behind the item.
func (s *scratch) behind(v *vote, person uint32, k int) bool {
	return slices.Contains(s.who[int(v.place)*(k-1):][:v.people], person)
}

// newcomer is 1 if the person is not among those behind the item yet; it is then.
func (s *scratch) newcomer(v *vote, person uint32, k int) uint32 {
	if s.behind(v, person, k) {
		return 0
	}
	if who := s.who[int(v.place)*(k-1) : int(v.place+1)*(k-1)]; int(v.people) < len(who) {
		who[v.people] = person
	}
	return 1
}

// elect appends the items of enough people, the best first.
func (q *search) elect(out []Scored) []Scored {
	s := q.s
	s.rarity.make(q.m.open(), q.o.Rarity)
	for _, item := range s.found {
		v := &s.votes[item]
		s.heap = append(s.heap, Scored{Item: item, Cause: v.cause, Score: float64(v.score * s.rarity.of(q.m.postings.len(item)))})
	}
	h := heap{list: s.heap, ids: q.m.ids}
	h.init()
	if len(h.list) == 0 {
		return out
	}
	most := h.list[0].Score
	for limit := len(out) + q.o.Limit; len(out) < limit && len(h.list) > 0; {
		x := h.pop()
		if v := &s.votes[x.Item]; int(v.people) < q.o.People && !slices.Contains(q.items, x.Item) && !q.enough(x.Item, v) {
			continue
		}
		x.Score /= most
		out = append(out, x)
	}
	return out
}

// evidence is how many of an item's newest sessions are looked at for people behind it. More of them change next to nothing: of diginetica's and clicks'
// hit rates the third digit.
func evidence(people int) int { return max(16, 4*people) }

// maxTried bounds the items of a search for which people are looked for beyond the voters: the best ones, of which most have enough among those.
const maxTried = 100

// enough tells whether enough people stand behind an item, beside those who voted for it: they have a session that links it with an item that was found.
func (q *search) enough(item uint32, v *vote) bool {
	if q.m.postings.len(item) < q.o.People || q.tried == maxTried {
		return false
	}
	q.tried++
	enough := false
	q.m.postings.newest(item, evidence(q.o.People), func(block []posting) {
		for i := len(block) - 1; i >= 0 && !enough; i-- {
			h := &q.m.heads[block[i].session()]
			if !slices.Contains(q.s.own, h.person) && !q.s.behind(v, h.person, q.o.People) && q.links(h, item) {
				v.people += q.s.newcomer(v, h.person, q.o.People)
				enough = int(v.people) >= q.o.People
			}
		}
	})
	return enough
}

// links tells whether a session has another item that was found.
func (q *search) links(h *head, item uint32) bool {
	if h.n == 1 {
		return false
	}
	for _, other := range q.m.itemsOf(h) {
		if other != item && q.s.votes[other].voter >= q.base {
			return true
		}
	}
	return false
}

// rootOf is 1/√n.
func rootOf(n uint32) float32 {
	if int(n) < len(roots) {
		return roots[n]
	}
	return float32(1 / math.Sqrt(float64(n)))
}

var roots = func() (t [256]float32) {
	for n := range t {
		t[n] = float32(1 / math.Sqrt(float64(n)))
	}
	return t
}()

// decaySteps is how many steps decay takes within a half-life; decayLives after how many half-lives it ends.
const (
	decaySteps = 64
	decayLives = 24
)

// decay is 2^(−age/half), in steps of a percent.
func decay(now, then uint32, half float32) float32 {
	if then >= now {
		return 1
	}
	step := float32(now-then) / half * decaySteps
	if step >= decaySteps*decayLives {
		return decays[decaySteps*decayLives]
	}
	return decays[int(step)]
}

var decays = func() (t [decaySteps*decayLives + 1]float32) {
	for i := range t {
		t[i] = float32(math.Exp2(-float64(i) / decaySteps))
	}
	return t
}()

// distances is how much a vote counts, by distance.
type distances [32]float32

func newDistances(scale float64) (d distances) {
	for i := range d {
		d[i] = float32(math.Exp(-float64(i) / scale))
	}
	return d
}

// at is the weight at a distance; from the end of the table on it stays, next to nothing.
func (d *distances) at(n int) float32 { return d[min(n, len(d)-1)] }

// rarity is log(1 + sessions/frequency) to the power of an exponent. It is made anew when the number of sessions has grown by a sixteenth.
type rarity struct {
	sessions int // step
	exponent float64
	table    [32 << 4]float32 // by step of the frequency
}

func (r *rarity) make(sessions int, exponent float64) {
	if step := stepOf(sessions); r.sessions != step || r.exponent != exponent {
		r.sessions, r.exponent = step, exponent
		for i := range r.table {
			r.table[i] = float32(math.Pow(math.Log1p(valueOf(step)/valueOf(i)), exponent))
		}
	}
}

func (r *rarity) of(frequency int) float32 { return r.table[stepOf(frequency)] }

// stepOf rounds a number to 16 steps an octave; up to 32 it is exact.
func stepOf(n int) int {
	if n < 16 {
		return max(n, 1)
	}
	octave := bits.Len(uint(n)) - 5
	return (octave+1)<<4 | n>>octave&15
}

func valueOf(step int) float64 {
	if step < 16 {
		return float64(max(step, 1))
	}
	return float64(16|step&15) * float64(uint(1)<<(step>>4-1))
}

// heap gives items one after the other, the best first.
type heap struct {
	list []Scored
	ids  interface{ ID(uint32) string }
}

func (h *heap) before(a, b *Scored) bool {
	if a.Score != b.Score {
		return a.Score > b.Score
	}
	return cmp.Less(h.ids.ID(a.Item), h.ids.ID(b.Item))
}

func (h *heap) init() {
	for i := len(h.list)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h *heap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.list) {
			return
		}
		if other := child + 1; other < len(h.list) && h.before(&h.list[other], &h.list[child]) {
			child = other
		}
		if !h.before(&h.list[child], &h.list[i]) {
			return
		}
		h.list[i], h.list[child] = h.list[child], h.list[i]
		i = child
	}
}

func (h *heap) pop() Scored {
	best := h.list[0]
	last := len(h.list) - 1
	h.list[0] = h.list[last]
	h.list = h.list[:last]
	h.down(0)
	return best
}
