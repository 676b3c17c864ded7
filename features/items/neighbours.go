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
	key     uint64 // similarity, then second; at first the sum of what the shared items weigh
	session uint32
	shared  uint32 // place in the present session of the newest item that both have
}

// vote is what neighbours say of an item.
type vote struct {
	item      uint32
	voter     uint32 // the last one
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
	s.begin(len(m.sessions), len(m.people), max(len(m.postings.lists), m.ids.Len()))
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
	tried int // items for which people beyond the voters were looked for
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
	for place, item := range q.items {
		weight := float32(math.Exp(-float64(place) / q.o.Decay))
		q.m.postings.newest(item, q.o.Sample, func(block []posting) {
			for i := len(block) - 1; i >= 0; i-- {
				number := block[i].session()
				at, fresh := s.sessions.of(number)
				if fresh {
					s.touched = append(s.touched, candidate{session: number, shared: uint32(place)})
				}
				s.touched[at].add(weight)
			}
		})
	}
}

// add adds to the sum of what the shared items weigh.
func (c *candidate) add(weight float32) {
	c.key = uint64(math.Float32bits(math.Float32frombits(uint32(c.key)) + weight))
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
		similarity := math.Float32frombits(uint32(c.key)) * rootOf(h.n) * decay(q.now, h.second, q.half)
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
	for i := range q.s.touched {
		c := &q.s.touched[i]
		h := &q.m.heads[c.session]
		items := q.m.itemsOf(h)
		b := ballot{voter: uint32(i + 1), person: h.person, cause: q.items[c.shared], weight: math.Float32frombits(uint32(c.key>>32)) * scale}
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
	at, fresh := s.items.of(item)
	if fresh {
		s.votes = append(s.votes, vote{item: item})
		for range q.o.People - 1 {
			s.who = append(s.who, 0)
		}
	}
	v := &s.votes[at]
	if v.voter == b.voter {
		return
	}
	v.voter = b.voter
	said := b.weight * near
	v.score += said
	if said > v.strongest {
		v.strongest, v.cause = said, b.cause
	}
	if int(v.people) < q.o.People && !s.behind(at, b.person, q.o.People) {
		s.join(at, b.person, q.o.People)
	}
}

// behind tells whether the person is known to be among those behind the item at a place.
func (s *scratch) behind(at, person uint32, k int) bool {
	return slices.Contains(s.who[int(at)*(k-1):][:s.votes[at].people], person)
}

// join puts the person among them. Of the last one it is enough to be counted.
func (s *scratch) join(at, person uint32, k int) {
	v := &s.votes[at]
	if n := int(v.people); n < k-1 {
		s.who[int(at)*(k-1)+n] = person
	}
	v.people++
}

// elect appends the items of enough people, the best first.
func (q *search) elect(out []Scored) []Scored {
	s := q.s
	s.rarity.make(q.m.open(), q.o.Rarity)
	for at := range s.votes {
		v := &s.votes[at]
		v.score *= s.rarity.of(q.m.postings.len(v.item))
		s.order = append(s.order, uint64(^math.Float32bits(v.score))<<32|uint64(at)) // scores are positive, so their bits are in their order
	}
	slices.Sort(s.order)
	var most float64
	limit := len(out) + q.o.Limit
	for rest := s.order; len(rest) > 0; {
		alike := q.alike(rest)
		rest = rest[len(alike):]
		for _, x := range alike {
			if len(out) == limit {
				return out
			}
			at := uint32(x)
			v := &s.votes[at]
			most = max(most, float64(v.score))
			if int(v.people) >= q.o.People || slices.Contains(q.items, v.item) || q.enough(at) {
				out = append(out, Scored{Item: v.item, Cause: v.cause, Score: float64(v.score) / most})
			}
		}
	}
	return out
}

// alike are the first of the ordered items, those of the same score, by id.
func (q *search) alike(order []uint64) []uint64 {
	n := 1
	for n < len(order) && order[n]>>32 == order[0]>>32 {
		n++
	}
	if n > 1 {
		slices.SortFunc(order[:n], func(a, b uint64) int {
			return cmp.Compare(q.m.ids.ID(q.s.votes[uint32(a)].item), q.m.ids.ID(q.s.votes[uint32(b)].item))
		})
	}
	return order[:n]
}

// evidence is how many of an item's newest sessions are looked at for people behind it. More of them change next to nothing: of diginetica's and clicks'
// hit rates the third digit.
func evidence(people int) int { return max(16, 4*people) }

// maxTried bounds the items for which a search looks for people beyond the voters. It looks at the best items, and most of these have enough voters.
const maxTried = 100

// enough tells whether enough people stand behind the item at a place, beside those who voted for it. A person does who has a session that links it with an
// item that was found.
func (q *search) enough(at uint32) bool {
	v := &q.s.votes[at]
	if q.m.postings.len(v.item) < q.o.People || q.tried == maxTried {
		return false
	}
	q.tried++
	q.m.postings.newest(v.item, evidence(q.o.People), func(block []posting) {
		for i := len(block) - 1; i >= 0 && int(v.people) < q.o.People; i-- {
			h := &q.m.heads[block[i].session()]
			if !slices.Contains(q.s.own, h.person) && !q.s.behind(at, h.person, q.o.People) && q.links(h, v.item) {
				q.s.join(at, h.person, q.o.People)
			}
		}
	})
	return int(v.people) >= q.o.People
}

// links tells whether a session has another item that was found.
func (q *search) links(h *head, item uint32) bool {
	if h.n == 1 {
		return false
	}
	for _, other := range q.m.itemsOf(h) {
		if other != item && q.s.items.has(other) {
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
