package profile

import (
	"cmp"
	"slices"
	"time"

	"sluice/features/record"
	"sluice/features/scored"
)

// folder is the applying goroutine's scratch.
type folder struct {
	person         record.Person
	oldRun, newRun []int32
	pairs          []pairChange
	deltas         []delta
}

// pairChange is a pair (a < b) that stands near each other in the old or the new version, at a place that the change touches.
type pairChange struct {
	a, b   uint32
	added  bool // in the new version, else in the old one
	time   int64
	weight float64
}

// delta is what a change adds to one weight of a pair; at is the edge without the neighbour.
type delta struct {
	at edge
	by int64
}

// replace folds a change of one person's history into the items. Its cost grows with what changed: pairs that stand in both versions as they were are
// not looked at.
func (v *View) replace(p *person, before, after []compactTouch) {
	f := &v.fold
	f.oldRun, f.newRun = align(f.oldRun[:0], f.newRun[:0], before, after)
	f.pairs = f.pairs[:0]
	v.pairs(before, f.oldRun, false)
	v.pairs(after, f.newRun, true)
	slices.SortFunc(f.pairs, func(a, b pairChange) int { return cmp.Or(cmp.Compare(a.a, b.a), cmp.Compare(a.b, b.b)) })
	for from := 0; from < len(f.pairs); {
		to := from + 1
		for to < len(f.pairs) && f.pairs[to].a == f.pairs[from].a && f.pairs[to].b == f.pairs[from].b {
			to++
		}
		v.pair(f.pairs[from:to], before, after)
		from = to
	}
	v.index(p, before, f.oldRun, after, f.newRun)
	v.total.Add(int64(len(after) - len(before)))
}

// align numbers the runs of touches that both versions have, contiguous in both; a touch that only one has is -1.
func align(oldRun, newRun []int32, before, after []compactTouch) ([]int32, []int32) {
	run, joined := int32(-1), false
	i, j := 0, 0
	for i < len(before) || j < len(after) {
		switch c := compareTouches(before, i, after, j); {
		case c == 0:
			if !joined {
				run, joined = run+1, true
			}
			oldRun, newRun = append(oldRun, run), append(newRun, run)
			i, j = i+1, j+1
		case c < 0:
			oldRun, joined = append(oldRun, -1), false
			i++
		default:
			newRun, joined = append(newRun, -1), false
			j++
		}
	}
	return oldRun, newRun
}

// compareTouches tells which list goes on: 0 both with the same touch, -1 the old one, +1 the new one.
func compareTouches(before []compactTouch, i int, after []compactTouch, j int) int {
	if j == len(after) {
		return -1
	}
	if i == len(before) {
		return 1
	}
	a, b := &before[i], &after[j]
	if c := record.CompareEvents(a.time, a.event, b.time, b.event); c != 0 {
		return c
	}
	if a.item != b.item {
		return -1 // of one event, but one version has lost its first items
	}
	return 0
}

// pairs collects the pairs of one version that the change touches.
func (v *View) pairs(list []compactTouch, run []int32, added bool) {
	for y := range list {
		later := &list[y]
		weight := v.c.CoVisits.Weights[later.typ&63]
		for x := max(0, y-v.c.CoVisits.Positions); x < y && (run[y] < 0 || run[x] != run[y]); x++ {
			earlier := &list[x]
			w := weight * v.c.CoVisits.Weights[earlier.typ&63]
			if w == 0 || earlier.item == later.item {
				continue
			}
			a, b := min(earlier.item, later.item), max(earlier.item, later.item)
			v.fold.pairs = append(v.fold.pairs, pairChange{a: a, b: b, added: added, time: later.time, weight: w})
		}
	}
}

// pair folds all changes of one pair: its weights, and whether the person has it at all.
func (v *View) pair(changes []pairChange, before, after []compactTouch) {
	had, has := false, false
	v.fold.deltas = v.fold.deltas[:0]
	for i := range changes {
		c := &changes[i]
		had, has = had || !c.added, has || c.added
		v.weigh(c)
	}
	a, b := changes[0].a, changes[0].b
	had = had || v.hasPair(before, a, b)
	has = has || v.hasPair(after, a, b)
	var people int32
	switch {
	case has && !had:
		people = 1
	case had && !has:
		people = -1
	}
	v.items.byID[a].change(b, v.fold.deltas, people)
	v.items.byID[b].change(a, v.fold.deltas, people)
}

// weigh adds a change to the pair's deltas.
func (v *View) weigh(c *pairChange) {
	for place, d := range v.decays {
		landmark, growth := d.landmark(c.time)
		at, by := edgeAt(place, landmark, 0), int64(c.weight*growth*contributionUnit+0.5)
		if !c.added {
			by = -by
		}
		i := slices.IndexFunc(v.fold.deltas, func(d delta) bool { return d.at == at })
		if i < 0 {
			i = len(v.fold.deltas)
			v.fold.deltas = append(v.fold.deltas, delta{at: at})
		}
		v.fold.deltas[i].by += by
	}
}

// hasPair tells whether a weighed pair of the two items stands in the list.
func (v *View) hasPair(list []compactTouch, a, b uint32) bool {
	for y := range list {
		other := a
		switch list[y].item {
		case a:
			other = b
		case b:
		default:
			continue
		}
		if v.c.CoVisits.Weights[list[y].typ&63] == 0 {
			continue
		}
		for x := max(0, y-v.c.CoVisits.Positions); x < y; x++ {
			if list[x].item == other && v.c.CoVisits.Weights[list[x].typ&63] != 0 {
				return true
			}
		}
	}
	return false
}

// index keeps the items' postings and references.
func (v *View) index(p *person, before []compactTouch, oldRun []int32, after []compactTouch, newRun []int32) {
	for i := range after {
		if newRun[i] < 0 {
			t := &after[i]
			it := v.items.byID[t.item]
			it.mu.Lock()
			it.postings.insert(posting{time: t.time, event: t.event, person: p})
			it.mu.Unlock()
			v.items.ref(t.item, +1)
		}
	}
	for i := range before {
		if oldRun[i] < 0 {
			t := &before[i]
			it := v.items.byID[t.item]
			it.mu.Lock()
			it.postings.remove(t.time, t.event)
			it.mu.Unlock()
			v.items.ref(t.item, -1)
		}
	}
}

// CoVisited are items that stand near item in people's histories: the sums of their decayed weights at now (Unix microseconds), by (score, descending; id).
// Pairs of fewer people than configured are left out. A half-life that is not configured gets the nearest that is.
func (v *View) CoVisited(item string, now int64, halfLife time.Duration, limit int) []scored.Item {
	it := v.items.find(item)
	if it == nil || limit <= 0 {
		return nil
	}
	place := v.nearest(halfLife)
	type neighbour struct {
		number uint32
		weight float64
	}
	var found []neighbour
	it.neighbours(v.decays[place], place, int32(v.c.CoVisits.People), now, func(to uint32, weight float64) {
		found = append(found, neighbour{to, weight})
	})
	list := scored.Best(limit)
	v.items.mu.RLock()
	defer v.items.mu.RUnlock()
	for _, n := range found {
		if other := v.items.byID[n.number]; other != nil {
			list.Offer(scored.Item{ItemID: other.name, Score: n.weight, Cause: item})
		}
	}
	return list.Best
}

// nearest is the place of the configured half-life that is nearest to h.
func (v *View) nearest(h time.Duration) int {
	best := 0
	for i, have := range v.c.CoVisits.HalfLives {
		if (have - h).Abs() < (v.c.CoVisits.HalfLives[best] - h).Abs() {
			best = i
		}
	}
	return best
}
