// Package rank makes a list from scored candidates: it keeps the promises, prefers variety within them, and fills what is short.
// It knows no person and no surface; equal plans give equal lists.
package rank

import (
	"slices"

	"sluice/internal/catalog"
)

// Kind is what items of a promise share.
type Kind uint8

// The kinds of promises.
const (
	Category Kind = iota // the narrowest category of any of the item's paths
	Brand
	Seller
	kinds
)

// Rule is a promise: of any Within consecutive slots, across pages, at most AtMost share the kind's value.
type Rule struct {
	AtMost int
	Within int
	Same   Kind
}

// Candidate is an item that may be shown.
type Candidate struct {
	ID    string
	Item  *catalog.Entry // nil: the catalogue does not know it; it shares nothing with any other
	Score float64        // ≥ 0
	Tag   int            // the caller's own; -1 for fillers by custom
}

// Slot is what the promises remember of a shown item: hashes of its values by kind.
type Slot [kinds][]uint32

// Plan is everything that a list is made from.
type Plan struct {
	Limit      int
	Candidates []Candidate // in any order; Make changes it
	// Filler gives further candidates one by one, none twice and none that is among Candidates; they are taken where no candidate fits. May be nil.
	Filler func() (Candidate, bool)
	Rules  []Rule
	Exempt []uint32 // hashes of categories that promises do not count, because the whole list is of them
	Before []Slot   // shown on earlier pages, the oldest first
	// Lambda weighs relevance against variety: 1 is relevance alone.
	Lambda float64
	// Similarity tells how alike a candidate (0–1) is to one that was picked. nil: no variety.
	Similarity func(picked *Candidate) func(candidate *Candidate) float64
}

// Pick is one slot of the list.
type Pick struct {
	Candidate
	Filler bool
	Broken []int // rules, by their number, that this pick breaks because no other item could keep them
}

// List is the outcome: the picks, and the slots that the next page must be given as Before.
type List struct {
	Picks []Pick
	Slots []Slot
}

// Make picks greedily: in each slot the candidate of the highest marginal relevance among those that keep every promise; else a filler that does;
// else the best candidate, then a filler, with the broken promises named.
func Make(p *Plan) List {
	m := newMaker(p)
	list := List{Picks: make([]Pick, 0, min(p.Limit, maxPicks))}
	for len(list.Picks) < p.Limit {
		pick, ok := m.next()
		if !ok {
			break
		}
		list.Picks = append(list.Picks, pick)
	}
	list.Slots = m.window.recent()
	return list
}

// maxPicks bounds what is made room for; a plan may ask for more.
const maxPicks = 100

// maker is the state between picks.
type maker struct {
	plan    *Plan
	window  *window
	queue   queue    // the candidates that were not looked at yet
	left    []option // those that were, the best first
	head    int      // options before it are used
	fillers []option // seen but not taken yet, in their order
	dry     bool     // no further fillers
	scanned int
	picked  []func(*Candidate) float64
	top     float64 // the best score: relevance is relative to it
}

// option is a candidate with what was worked out about it.
type option struct {
	Candidate
	slot     Slot
	hashed   bool
	used     bool
	compared int     // how many picks its similarity covers
	alike    float64 // the largest similarity to one of them
}

// maxFillers bounds how many fillers a list looks at for one that keeps the promises.
const maxFillers = 2000

func newMaker(p *Plan) *maker {
	m := &maker{
		plan: p, window: newWindow(p.Rules, p.Before), dry: p.Filler == nil, queue: p.Candidates, left: make([]option, 0, 2*expected),
		picked: make([]func(*Candidate) float64, 0, expected),
	}
	m.queue.order()
	if len(m.queue) > 0 {
		m.top = m.queue[0].Score
	}
	return m
}

func (m *maker) next() (Pick, bool) {
	if best := m.best(true); best != nil {
		return m.take(best, false), true
	}
	if filler := m.keepingFiller(); filler != nil {
		return m.take(filler, true), true
	}
	if best := m.best(false); best != nil {
		return m.take(best, false), true
	}
	for i := range m.fillers {
		if !m.fillers[i].used {
			return m.take(&m.fillers[i], true), true
		}
	}
	return Pick{}, false
}

// best is the option of the highest marginal relevance, ties to the one that comes first. Options are in the order of relevance, and similarity
// only lowers a value: once relevance alone is not above the best value, no later option can be.
func (m *maker) best(keeping bool) *option {
	for m.head < len(m.left) && m.left[m.head].used {
		m.head++
	}
	best := -1
	var highest float64
	for i := m.head; ; i++ {
		if i == len(m.left) {
			if len(m.queue) == 0 || best >= 0 && m.relevance(m.queue[0].Score) <= highest {
				break
			}
			m.left = append(m.left, option{Candidate: m.queue.pop()})
		}
		o := &m.left[i]
		if best >= 0 && m.relevance(o.Score) <= highest {
			break
		}
		if o.used || keeping && !m.window.allows(m.slotOf(o)) {
			continue
		}
		if value := m.value(o); best < 0 || value > highest {
			best, highest = i, value
		}
	}
	if best < 0 {
		return nil
	}
	return &m.left[best]
}

func (m *maker) relevance(score float64) float64 {
	if m.top == 0 {
		return 0
	}
	return m.lambda() * score / m.top
}

func (m *maker) lambda() float64 {
	if m.plan.Similarity == nil {
		return 1
	}
	return m.plan.Lambda
}

func (m *maker) value(o *option) float64 {
	for ; o.compared < len(m.picked); o.compared++ {
		o.alike = max(o.alike, m.picked[o.compared](&o.Candidate))
	}
	return m.relevance(o.Score) - (1-m.lambda())*o.alike
}

// keepingFiller is the first filler that keeps every promise.
func (m *maker) keepingFiller() *option {
	for i := range m.fillers {
		if o := &m.fillers[i]; !o.used && m.window.allows(m.slotOf(o)) {
			return o
		}
	}
	for !m.dry && m.scanned < maxFillers {
		c, ok := m.plan.Filler()
		if !ok {
			m.dry = true
			break
		}
		m.scanned++
		m.fillers = append(m.fillers, option{Candidate: c})
		if o := &m.fillers[len(m.fillers)-1]; m.window.allows(m.slotOf(o)) {
			return o
		}
	}
	return nil
}

func (m *maker) take(o *option, filler bool) Pick {
	o.used = true
	slot := m.slotOf(o)
	pick := Pick{Candidate: o.Candidate, Filler: filler, Broken: m.window.broken(slot)}
	m.window.push(slot)
	if m.plan.Similarity != nil {
		m.picked = append(m.picked, m.plan.Similarity(&o.Candidate))
	}
	return pick
}

func (m *maker) slotOf(o *option) *Slot {
	if !o.hashed && len(m.plan.Rules) > 0 {
		o.slot, o.hashed = SlotOf(o.Item, m.plan.Exempt), true
	}
	return &o.slot
}

// maxCategories bounds what a slot holds, because cursors carry it.
const maxCategories = 16

// SlotOf is what promises compare of an item: at most 16 categories, without those in exempt, the brand and the seller.
func SlotOf(item *catalog.Entry, exempt []uint32) Slot {
	if item == nil {
		return Slot{}
	}
	s := Slot(item.Traits())
	if counts := func(h uint32) bool { return !slices.Contains(exempt, h) }; len(s[Category]) > maxCategories || !all(s[Category], counts) {
		var kept []uint32
		for _, h := range s[Category] {
			if counts(h) && len(kept) < maxCategories {
				kept = append(kept, h)
			}
		}
		s[Category] = kept
	}
	return s
}

func all(list []uint32, holds func(uint32) bool) bool {
	return !slices.ContainsFunc(list, func(h uint32) bool { return !holds(h) })
}

// queue is a heap of candidates, the best first: of thousands a list looks at a few.
type queue []Candidate

// better orders by score, the highest first, ties by id.
func better(a, b *Candidate) bool { return a.Score > b.Score || a.Score == b.Score && a.ID < b.ID }

func (q queue) order() {
	for i := len(q)/2 - 1; i >= 0; i-- {
		q.down(i)
	}
}

func (q queue) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(q) {
			return
		}
		if other := child + 1; other < len(q) && better(&q[other], &q[child]) {
			child = other
		}
		if !better(&q[child], &q[i]) {
			return
		}
		q[i], q[child] = q[child], q[i]
		i = child
	}
}

func (q *queue) pop() Candidate {
	best, last := (*q)[0], len(*q)-1
	(*q)[0] = (*q)[last]
	*q = (*q)[:last]
	q.down(0)
	return best
}
