package rank

// window is the slots that a new one shares its windows with.
type window struct {
	rules []Rule
	keep  int // slots that some rule still looks at
	slots []Slot
}

func newWindow(rules []Rule, before []Slot) *window {
	return &window{rules: rules, keep: Span(rules), slots: append(make([]Slot, 0, len(before)+expected), before...)}
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

// allows tells whether a slot with these values keeps every promise.
func (w *window) allows(s *Slot) bool {
	for i := range w.rules {
		if w.breaks(&w.rules[i], s) {
			return false
		}
	}
	return true
}

// broken lists the rules that a slot with these values breaks.
func (w *window) broken(s *Slot) []int {
	var broken []int
	for i := range w.rules {
		if w.breaks(&w.rules[i], s) {
			broken = append(broken, i)
		}
	}
	return broken
}

// breaks counts each of the slot's values in the last Within−1 slots.
func (w *window) breaks(r *Rule, s *Slot) bool {
	for _, value := range s[r.Same] {
		count := 0
		for i := max(0, len(w.slots)-r.Within+1); i < len(w.slots); i++ {
			for _, other := range w.slots[i][r.Same] {
				if other == value {
					count++
				}
			}
		}
		if count >= r.AtMost {
			return true
		}
	}
	return false
}

// push moves every window on by one slot.
func (w *window) push(s *Slot) { w.slots = append(w.slots, *s) }

// recent is what a later page must know: the slots that some rule still looks at, the oldest first.
func (w *window) recent() []Slot {
	return w.slots[max(0, len(w.slots)-w.keep):]
}
