package profile

import (
	"cmp"
	"math"
	"slices"
	"time"

	"sluice/features/record"
	"sluice/features/scored"
)

// KNN sizes a search for neighbouring sessions.
type KNN struct {
	Neighbours int // most similar sessions that vote; 100 if 0
	Sample     int // recent touches of the session's items that are looked at to find them; 1000 if 0
	Limit      int // items returned; 100 if 0
}

func (o *KNN) fill() {
	if o.Neighbours <= 0 {
		o.Neighbours = 100
	}
	if o.Sample <= 0 {
		o.Sample = 1000
	}
	if o.Limit <= 0 {
		o.Limit = 100
	}
}

const (
	sessionItems   = 10                 // newest items of the session that are compared
	positionDecay  = 2.0                // in places from the session's end: how fast older items stop to matter
	distanceDecay  = 3.0                // in places from the shared item within a neighbour
	neighbourDecay = 7 * 24 * time.Hour // half-life of a neighbour's vote
	rulesShare     = 0.5                // part of the score that sequential rules give
)

// neighbour is a session of somebody's history: touches [from, to) of one version of it.
type neighbour struct {
	person     *person
	touches    []compactTouch
	similarity float64
	shared     int // place in the present session of the newest item that both have
	at         int // its place in touches
}

// SessionNeighbours are items that people went to in sessions like the given one (oldest touch first): session-kNN with idf, where both a session's newer items
// and newer neighbours count more (STAN), blended with sequential rules that weigh 1/distance behind the session's last item.
// Items of fewer neighbours' people than configured are left out, the session's last item and the person's own sessions too. By (score, descending; id).
func (v *View) SessionNeighbours(session []record.Touch, now int64, o KNN) []scored.Item {
	o.fill()
	s := v.present(session)
	if len(s.items) == 0 {
		return nil
	}
	found := v.similar(&s, now, &o)
	votes := make(map[uint32]*vote)
	for i := range found {
		v.vote(votes, &s, &found[i])
	}
	return v.elect(votes, &s, o.Limit)
}

// present is the session that neighbours are sought for.
type present struct {
	items  []uint32 // distinct, newest first
	weight []float64
	own    map[*person]struct{} // whose session it is
}

func (v *View) present(session []record.Touch) present {
	s := present{own: make(map[*person]struct{})}
	v.items.mu.RLock()
	defer v.items.mu.RUnlock()
	for i := len(session) - 1; i >= 0; i-- {
		n, ok := v.items.numbers[session[i].ItemID]
		if !ok {
			continue
		}
		if p := v.items.byID[n].toucher(session[i].Time, session[i].Event); p != nil {
			s.own[p] = struct{}{}
		}
		if len(s.items) == sessionItems || slices.Contains(s.items, n) {
			continue
		}
		s.weight = append(s.weight, math.Exp(-float64(len(s.items))/positionDecay))
		s.items = append(s.items, n)
	}
	return s
}

// toucher is the person who touched the item at that event, nil if no history has it.
func (it *item) toucher(time int64, event uint64) *person {
	it.mu.RLock()
	defer it.mu.RUnlock()
	return it.postings.person(time, event)
}

// similar finds the most similar sessions among those of the newest touches of the session's items.
func (v *View) similar(s *present, now int64, o *KNN) []neighbour {
	type key struct {
		person *person
		first  uint64 // event that the session begins with
	}
	seen := make(map[key]struct{}, o.Sample)
	found := scored.Top[neighbour]{N: o.Neighbours, Compare: compareNeighbours}
	var sample []posting
	for place, number := range s.items {
		it := v.byNumber(number)
		if it == nil {
			continue
		}
		it.mu.RLock()
		sample = it.postings.newest(sample[:0], max(1, o.Sample/len(s.items)))
		it.mu.RUnlock()
		for i := range sample {
			if _, mine := s.own[sample[i].person]; mine {
				continue
			}
			touches, at := v.session(&sample[i], number)
			if touches == nil {
				continue
			}
			k := key{sample[i].person, touches[0].event}
			if _, known := seen[k]; known {
				continue
			}
			seen[k] = struct{}{}
			found.Offer(neighbour{person: k.person, touches: touches, shared: place, at: at, similarity: s.similarity(touches, now)})
		}
	}
	return found.Best
}

func compareNeighbours(a, b neighbour) int {
	x, y := a.touches[len(a.touches)-1], b.touches[len(b.touches)-1]
	return cmp.Or(cmp.Compare(b.similarity, a.similarity), cmp.Compare(y.time, x.time), cmp.Compare(y.event, x.event))
}

func (v *View) byNumber(number uint32) *item {
	v.items.mu.RLock()
	defer v.items.mu.RUnlock()
	return v.items.byID[number]
}

// session is the session of a posting, and the item's place in it; nil if the history has changed meanwhile.
func (v *View) session(p *posting, number uint32) (touches []compactTouch, at int) {
	h := p.person.state.Load()
	if h == nil {
		return nil, 0
	}
	list := h.touches
	i, _ := slices.BinarySearchFunc(list, p, func(t compactTouch, p *posting) int { return record.CompareEvents(t.time, t.event, p.time, p.event) })
	for i < len(list) && list[i].event == p.event && list[i].item != number {
		i++
	}
	if i == len(list) || list[i].event != p.event {
		return nil, 0
	}
	from, to := i, i+1
	for from > 0 && v.together(&list[from-1], &list[from]) {
		from--
	}
	for to < len(list) && v.together(&list[to-1], &list[to]) {
		to++
	}
	return list[from:to], i - from
}

// together tells whether two touches that follow each other are of one session.
func (v *View) together(a, b *compactTouch) bool {
	return a.session == b.session && (a.session != 0 || b.time-a.time <= v.c.Sessions.Gap)
}

// similarity is the weight of the session's items that the neighbour has, over the root of its length, decayed by its age.
func (s *present) similarity(touches []compactTouch, now int64) float64 {
	var sum float64
	for i, number := range s.items {
		if slices.ContainsFunc(touches, func(t compactTouch) bool { return t.item == number }) {
			sum += s.weight[i]
		}
	}
	return sum / math.Sqrt(float64(len(touches))) * decayed(now-touches[len(touches)-1].time, neighbourDecay)
}

// decayed is 2^(−age/halfLife), at most 1; age in microseconds.
func decayed(age int64, halfLife time.Duration) float64 {
	return math.Exp2(-float64(max(0, age)) / float64(halfLife.Microseconds()))
}

// vote is what neighbours say about an item.
type vote struct {
	similar, rules float64
	cause          uint32 // item of the present session that brought it
	strongest      float64
	people         map[*person]struct{}
}

// vote adds a neighbour's items, each once, at its place nearest to the shared item.
func (v *View) vote(votes map[uint32]*vote, s *present, n *neighbour) {
	for i := range n.touches {
		number := n.touches[i].item
		distance := i - n.at
		if number == s.items[0] || number == s.items[n.shared] || nearer(n.touches, n.at, i) {
			continue
		}
		x := votes[number]
		if x == nil {
			x = &vote{people: make(map[*person]struct{})}
			votes[number] = x
		}
		x.people[n.person] = struct{}{}
		said := n.similarity * math.Exp(-math.Abs(float64(distance))/distanceDecay)
		x.similar += said
		if n.shared == 0 && distance > 0 {
			x.rules += n.similarity / float64(distance)
		}
		if said > x.strongest {
			x.strongest, x.cause = said, s.items[n.shared]
		}
	}
}

// nearer tells whether the item at i stands also nearer to at, or as near before it in the list.
func nearer(touches []compactTouch, at, i int) bool {
	for j := range touches {
		if j != i && touches[j].item == touches[i].item {
			mine, other := abs(i-at), abs(j-at)
			if other < mine || other == mine && j > i { // as near: what came after counts
				return true
			}
		}
	}
	return false
}

func abs(n int) int { return max(n, -n) }

// elect blends both kinds of votes, each relative to its greatest.
func (v *View) elect(votes map[uint32]*vote, s *present, limit int) []scored.Item {
	var similar, rules float64
	total := float64(v.total.Load())
	for number, x := range votes {
		it := v.byNumber(number)
		if it == nil || len(x.people) < v.c.Sessions.People {
			delete(votes, number)
			continue
		}
		it.mu.RLock()
		df := it.postings.n
		it.mu.RUnlock()
		x.similar *= math.Log(1 + total/float64(max(1, df))) // idf
		similar, rules = max(similar, x.similar), max(rules, x.rules)
	}
	list := scored.Best(limit)
	v.items.mu.RLock()
	defer v.items.mu.RUnlock()
	for number, x := range votes {
		it, cause := v.items.byID[number], v.items.byID[x.cause]
		if it == nil || cause == nil {
			continue
		}
		list.Offer(scored.Item{ItemID: it.name, Score: (1-rulesShare)*share(x.similar, similar) + rulesShare*share(x.rules, rules), Cause: cause.name})
	}
	return list.Best
}

func share(part, whole float64) float64 {
	if whole == 0 {
		return 0
	}
	return part / whole
}
