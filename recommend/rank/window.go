package rank

// window counts, per rule, the values in the last slots that a new one shares its windows with.
type window struct {
	rules  []Rule
	keep   int // slots that some rule still looks at
	slots  []Slot
	counts []map[uint32]int // by rule: values in the last Within−1 slots
}

func newWindow(rules []Rule, before []Slot) *window {
	w := &window{rules: rules, keep: Span(rules), counts: make([]map[uint32]int, len(rules))}
	for i := range w.counts {
		w.counts[i] = make(map[uint32]int)
	}
	for _, slot := range before {
		w.push(slot)
	}
	return w
}

// Span is how many slots before a new one the rules look at.
func Span(rules []Rule) int {
	span := 0
	for _, r := range rules {
		span = max(span, r.Within-1)
	}
	return span
}

// allows tells whether a slot with these values keeps every promise.
func (w *window) allows(s Slot) bool {
	for i := range w.rules {
		if w.breaks(i, s) {
			return false
		}
	}
	return true
}

// broken lists the rules that a slot with these values breaks.
func (w *window) broken(s Slot) []int {
	var broken []int
	for i := range w.rules {
		if w.breaks(i, s) {
			broken = append(broken, i)
		}
	}
	return broken
}

func (w *window) breaks(rule int, s Slot) bool {
	for _, value := range s[w.rules[rule].Same] {
		if w.counts[rule][value] >= w.rules[rule].AtMost {
			return true
		}
	}
	return false
}

// push moves every window on by one slot.
func (w *window) push(s Slot) {
	w.slots = append(w.slots, s)
	for i, r := range w.rules {
		for _, value := range s[r.Same] {
			w.counts[i][value]++
		}
		if leaving := len(w.slots) - r.Within; leaving >= 0 {
			w.forget(i, w.slots[leaving])
		}
	}
}

func (w *window) forget(rule int, s Slot) {
	for _, value := range s[w.rules[rule].Same] {
		if w.counts[rule][value]--; w.counts[rule][value] == 0 {
			delete(w.counts[rule], value)
		}
	}
}

// recent is what a later page must know: the slots that some rule still looks at, the oldest first.
func (w *window) recent() []Slot {
	return w.slots[max(0, len(w.slots)-w.keep):]
}
