package rank

import "slices"

// window is the slots that a new one shares its windows with.
type window struct {
	rules []Rule
	keep  int  // slots that some rule still looks at
	named bool // some rule looks at more than categories
	slots []Slot
	full  [][]uint32 // by rule: the values that its window can take no more of
}

func newWindow(rules []Rule, before []Slot) *window {
	w := &window{rules: rules, keep: Span(rules), slots: append(make([]Slot, 0, len(before)+expected), before...), full: make([][]uint32, len(rules))}
	for i := range rules {
		w.named = w.named || rules[i].Same != Category
	}
	w.count()
	return w
}

// expected is how many slots a window has room for before it grows.
const expected = 24

// Span is how many slots before a new one the rules look at.
func Span(rules []Rule) int {
	span := 0
	for _, r := range rules {
		span = max(span, r.Within-1)
	}
	return span
}

// allows tells whether a slot with these values keeps every constraint.
func (w *window) allows(s *Slot) bool {
	for i := range w.rules {
		if w.breaks(i, s) {
			return false
		}
	}
	return true
}

// broken lists the rules that a slot with these values breaks.
func (w *window) broken(s *Slot) []int {
	var broken []int
	for i := range w.rules {
		if w.breaks(i, s) {
			broken = append(broken, i)
		}
	}
	return broken
}

// breaks tells whether one of the slot's values is one too many.
func (w *window) breaks(rule int, s *Slot) bool {
	full := w.full[rule]
	if len(full) == 0 {
		return false
	}
	for _, value := range s[w.rules[rule].Same] {
		if slices.Contains(full, value) {
			return true
		}
	}
	return false
}

// push moves every window on by one slot.
func (w *window) push(s *Slot) {
	w.slots = append(w.slots, *s)
	w.count()
}

// count finds what each rule's last Within−1 slots have AtMost times.
func (w *window) count() {
	for i := range w.rules {
		r := &w.rules[i]
		full, last := w.full[i][:0], w.slots[max(0, len(w.slots)-r.Within+1):]
		for at := range last {
			for _, value := range last[at][r.Same] {
				if !slices.Contains(full, value) && times(last[at:], r.Same, value) >= r.AtMost {
					full = append(full, value)
				}
			}
		}
		w.full[i] = full
	}
}

// times counts a value.
func times(slots []Slot, kind Kind, value uint32) int {
	n := 0
	for i := range slots {
		for _, other := range slots[i][kind] {
			if other == value {
				n++
			}
		}
	}
	return n
}

// recent is what a later page must know: the slots that some rule still looks at, the oldest first.
func (w *window) recent() []Slot {
	return w.slots[max(0, len(w.slots)-w.keep):]
}
