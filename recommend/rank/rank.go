// Package rank makes a list from scored candidates: it keeps the constraints, prefers diversity within them, and fills what is short.
// It knows no person and no surface; equal plans give equal lists.
package rank

import (
	"slices"

	"sluice/internal/catalog"
)

// Kind is what items of a constraint share.
type Kind uint8

// The kinds of constraints.
const (
	Category Kind = iota // the narrowest category of any of the item's paths
	Brand
	Seller
	kinds
)

// Rule is a constraint: of any Within consecutive slots, across pages, at most AtMost share the kind's value.
type Rule struct {
	AtMost int // at least 1
	Within int
	Same   Kind
}

// Candidate is an item that may be shown. It has no pointers: lists have hundreds of them, and show a few.
type Candidate struct {
	Score  float64 // ≥ 0
	Number uint32
	Tag    int32 // the caller's own; -1 for fillers by custom
}

// Slot is what the constraints remember of a shown item: hashes of its values by kind.
type Slot [kinds][]uint32

// Plan is everything that a list is made from.
type Plan struct {
	Limit      int
	Catalogue  *catalog.Snapshot
	ID         func(number uint32) string // of an item that the catalogue need not know; ties are in the order of ids
	Candidates []Candidate                // in any order; Make changes it
	// Filler gives further candidates one by one, none twice and none that is among Candidates; they are taken where no candidate fits. May be nil.
	Filler func() (Candidate, bool)
	Rules  []Rule
	Exempt []uint32 // hashes of categories that constraints do not count, because the whole list is of them
	Before []Slot   // shown on earlier pages, the oldest first
	Memory *Memory  // nil: of its own
	// Lambda weighs relevance against diversity: 1 is relevance alone.
	Lambda float64
	// Similarity tells how alike an item (0–1) is to one that was picked. nil: no diversity.
	Similarity func(picked uint32) func(number uint32) float64
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

// Make picks greedily. For each slot it takes the candidate of the highest marginal relevance that keeps every constraint. If there is none it takes a filler
// that does; else the best candidate, then a filler, and names the broken constraints.
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
	queue   []Candidate // a heap of those that were not looked at yet, the best first: of hundreds a list looks at a few
	*Memory             // left are those that were, the best first; fillers those that were seen but not taken yet, in their order
	head    int         // options of left before it are used
	dry     bool        // no further fillers
	scanned int
	lambda  float64
	top     float64 // the best score: relevance is relative to it
}

// option is a candidate with what was worked out about it.
type option struct {
	Candidate
	relevance float64 // weighed by lambda
	alike     float64 // the largest similarity to the picks that it was compared with
	compared  int32   // how many these are
	slot      int32   // place in slots, plus one; 0 = not asked for yet
	used      bool
}

// Memory is what a list is made in. It can be used again for the next one.
type Memory struct {
	left, fillers []option
	slots         []Slot
	picked        []func(uint32) float64
}

// maxFillers bounds how many fillers a list looks at for one that keeps the constraints.
const maxFillers = 2000

func newMaker(p *Plan) *maker {
	m := &maker{plan: p, window: newWindow(p.Rules, p.Before), dry: p.Filler == nil, queue: p.Candidates, Memory: p.Memory, lambda: p.Lambda}
	if m.Memory == nil {
		m.Memory = new(Memory)
	}
	m.left, m.fillers, m.slots, m.picked = m.left[:0], m.fillers[:0], m.slots[:0], m.picked[:0]
	if p.Similarity == nil {
		m.lambda = 1
	}
	m.order()
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
// only lowers a value: once relevance alone is not above the best value, no later option can be. For the same reason an option is compared with the newest
// picks only if what it was compared with leaves it above the best value.
func (m *maker) best(keeping bool) *option {
	for m.head < len(m.left) && m.left[m.head].used {
		m.head++
	}
	best := -1
	var highest float64
	for i := m.head; ; i++ {
		if i == len(m.left) && !m.more(best >= 0, highest) {
			break
		}
		o := &m.left[i]
		if best >= 0 && o.relevance <= highest {
			break
		}
		if o.used || best >= 0 && m.valued(o) <= highest || keeping && !m.window.allows(m.slotOf(o)) {
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

// more looks at one more candidate, unless none can be above what was found.
func (m *maker) more(found bool, highest float64) bool {
	if len(m.queue) == 0 || found && m.relevance(m.queue[0].Score) <= highest {
		return false
	}
	c := m.pop()
	m.left = append(m.left, option{Candidate: c, relevance: m.relevance(c.Score)})
	return true
}

func (m *maker) relevance(score float64) float64 {
	if m.top == 0 {
		return 0
	}
	return m.lambda * score / m.top
}

// valued is the option's value as far as it is known: what it is worth at most.
func (m *maker) valued(o *option) float64 { return o.relevance - (1-m.lambda)*o.alike }

func (m *maker) value(o *option) float64 {
	for ; int(o.compared) < len(m.picked); o.compared++ {
		o.alike = max(o.alike, m.picked[o.compared](o.Number))
	}
	return m.valued(o)
}

// keepingFiller is the first filler that keeps every constraint.
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
		m.picked = append(m.picked, m.plan.Similarity(o.Number))
	}
	return pick
}

func (m *maker) slotOf(o *option) *Slot {
	if len(m.plan.Rules) == 0 {
		return &Slot{}
	}
	if o.slot == 0 {
		m.slots = append(m.slots, m.slot(o.Number))
		o.slot = int32(len(m.slots))
	}
	return &m.slots[o.slot-1]
}

// slot is what the plan's rules compare of an item.
func (m *maker) slot(number uint32) Slot {
	if !m.window.named { // the shape is at hand, the item is not
		return slotOf(catalog.Traits{m.plan.Catalogue.Shape(number).Narrowest}, m.plan.Exempt)
	}
	return SlotOf(m.plan.Catalogue.At(number), m.plan.Exempt)
}

// maxCategories bounds what a slot holds, because cursors carry it.
const maxCategories = 16

// SlotOf is what constraints compare of an item: at most 16 categories, without those in exempt, the brand and the seller.
func SlotOf(item *catalog.Entry, exempt []uint32) Slot {
	if item == nil {
		return Slot{}
	}
	return slotOf(item.Traits(), exempt)
}

func slotOf(traits catalog.Traits, exempt []uint32) Slot {
	s := Slot(traits)
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

// better orders by score, the highest first, ties by id.
func (m *maker) better(a, b *Candidate) bool {
	return a.Score > b.Score || a.Score == b.Score && m.plan.ID(a.Number) < m.plan.ID(b.Number)
}

func (m *maker) order() {
	for i := len(m.queue)/2 - 1; i >= 0; i-- {
		m.down(i)
	}
}

func (m *maker) down(i int) {
	q := m.queue
	for {
		child := 2*i + 1
		if child >= len(q) {
			return
		}
		if other := child + 1; other < len(q) && m.better(&q[other], &q[child]) {
			child = other
		}
		if !m.better(&q[child], &q[i]) {
			return
		}
		q[i], q[child] = q[child], q[i]
		i = child
	}
}

func (m *maker) pop() Candidate {
	best, last := m.queue[0], len(m.queue)-1
	m.queue[0] = m.queue[last]
	m.queue = m.queue[:last]
	m.down(0)
	return best
}
