package entity

import (
	"math"
	"math/bits"
	"slices"

	"sluice/features/record"
	"sluice/features/spec"
	"sluice/features/statepb"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// Values are the risk features of one event, in the order of Config.RiskNames. Sums, means and the like are of the amounts in the event's own currency.
type Values struct {
	Names   []string // shared; must not be changed
	Numbers []float64
	Missing []bool // the event has no such entity, or no amount itself, or there is nothing to take a mean, a deviation or a maximum of
}

// Values computes every risk feature in every window, from what is known up to the event's own time, the event itself left out.
//
// Windows are exact on days that are kept event by event. On a folded day (more than 256 events of one entity) they are exact to the minute, distinct counts
// to the hour and within a sketch's error; the event itself is left out of counts, sums and means there, not out of maxima and distinct counts.
func (v *View) Values(ev *purposepb.RiskEvent) Values {
	out := Values{Names: v.c.Names, Numbers: make([]float64, len(v.c.Names)), Missing: make([]bool, len(v.c.Names))}
	t := v.scratch.Get().(*tally)
	defer v.scratch.Put(t)
	for i, k := range spec.Kinds {
		p := &v.plans[i]
		if len(p.features) == 0 {
			continue
		}
		key, ok := keyOf(ev, k)
		if !ok {
			p.miss(&out)
			continue
		}
		t.begin(p, ev, k)
		v.shard(&key).tally(key, t)
		t.write(&out)
	}
	return out
}

func (s *entityShard) tally(key entityKey, t *tally) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.entities[key]
	if e == nil {
		return
	}
	from := t.own.time - t.plan.longest
	for i := len(e.entries) - 1; i >= 0 && e.entries[i].time > from; i-- {
		t.entry(&e.entries[i])
	}
	for i := len(e.folded) - 1; i >= 0 && (e.folded[i].number+1)*dayMicros > from; i-- {
		t.folded(&e.folded[i])
	}
	for i := range e.overlay {
		t.entry(&e.overlay[i])
	}
}

// plan is what is computed for the entities of one kind.
type plan struct {
	features []*spec.Feature
	byType   [64][]step
	longest  int64   // window
	windows  []int64 // of all of them, ascending
	slots    [][]int // by feature: place of each of its windows in windows
}

// step is what one feature does with an event of a type that it counts.
type step struct {
	feature int // place in the plan
	op      spec.Operation
	of      int // place of what is distinct in an entry's hashes
}

func plansOf(c *spec.Config) (plans [len(spec.Kinds)]plan) {
	for i, k := range spec.Kinds {
		p := &plans[i]
		for _, f := range c.Risk {
			if f.Kind == k {
				for t := range p.byType {
					if f.Types.Has(vocab.Type(t)) {
						p.byType[t] = append(p.byType[t], step{len(p.features), f.Op, f.OfPlace})
					}
				}
				p.features = append(p.features, f)
				p.windows = append(p.windows, f.Windows...)
			}
		}
		slices.Sort(p.windows)
		p.windows = slices.Compact(p.windows)
		if n := len(p.windows); n > 0 {
			p.longest = p.windows[n-1]
		}
		for _, f := range p.features {
			var slots []int
			for _, w := range f.Windows {
				slots = append(slots, slices.Index(p.windows, w))
			}
			p.slots = append(p.slots, slots)
		}
	}
	return plans
}

// miss marks all of the plan's values as missing.
func (p *plan) miss(out *Values) {
	for _, f := range p.features {
		for i := range f.Windows {
			out.Missing[f.First+i] = true
		}
	}
}

// slot is the place of the shortest window that an age falls in; len(windows) if it falls in none.
func (p *plan) slot(age int64) int {
	for i, w := range p.windows {
		if age < w {
			return i
		}
	}
	return len(p.windows)
}

// tally adds up one entity's events for the features of one kind. Every event goes to the shortest window that it falls in; the longer ones are added up
// at the end. It is used again and again.
type tally struct {
	plan   *plan
	own    entry
	cells  [][]cell // by feature and slot
	hashes []hashSet
	joined sketch
}

// cell is what fell into one window of one feature and no shorter one.
type cell struct {
	count, valued           int64
	sum, max                int64
	squaresHigh, squaresLow uint64
	sketch                  []byte // joined registers; nil = no sketch took part
}

// newTally makes a tally that fits every plan.
func newTally(plans *[len(spec.Kinds)]plan) *tally {
	most, widest := 0, 0
	for i := range plans {
		most, widest = max(most, len(plans[i].features)), max(widest, len(plans[i].windows))
	}
	t := &tally{cells: make([][]cell, most), hashes: make([]hashSet, most), joined: make(sketch, sketchSize)}
	for i := range t.cells {
		t.cells[i] = make([]cell, widest)
	}
	return t
}

func (t *tally) begin(p *plan, ev *purposepb.RiskEvent, k spec.Kind) {
	t.plan, t.own = p, entryOf(ev, k)
	for i := range p.features {
		clear(t.cells[i])
		t.hashes[i].reset(len(p.windows))
	}
}

// entry takes one event that came before the scored one, or at the same time: many clients stamp whole seconds.
func (t *tally) entry(e *entry) {
	steps := t.plan.byType[e.typ&63]
	if len(steps) == 0 || e.time > t.own.time || e.event == t.own.event {
		return
	}
	slot := t.plan.slot(t.own.time - e.time)
	if slot == len(t.plan.windows) {
		return
	}
	for _, s := range steps {
		switch s.op {
		case spec.OpCount:
			t.cells[s.feature][slot].count++
		case spec.OpDistinct:
			if hash := e.hashes[s.of]; hash != 0 {
				t.hashes[s.feature].add(hash, slot)
			}
		default:
			if e.hasValue && e.currency == t.own.currency {
				t.cells[s.feature][slot].add(e.value)
			}
		}
	}
}

func (c *cell) add(value int64) {
	if c.valued == 0 || value > c.max {
		c.max = value
	}
	c.valued++
	c.sum += value
	high, low := square(value)
	c.squaresHigh, c.squaresLow = add128(c.squaresHigh, c.squaresLow, high, low)
}

// minute takes the sums of one type.
func (c *cell) minute(m *statepb.Minute) {
	c.count += int64(m.Count)
	if m.Valued == 0 {
		return
	}
	if c.valued == 0 || m.Max > c.max {
		c.max = m.Max
	}
	c.valued += int64(m.Valued)
	c.sum += m.Sum
	c.squaresHigh, c.squaresLow = add128(c.squaresHigh, c.squaresLow, m.SquaresHigh, m.SquaresLow)
}

// join adds the cell of a shorter window.
func (c *cell) join(o *cell) {
	c.count += o.count
	if o.valued > 0 && (c.valued == 0 || o.max > c.max) {
		c.max = o.max
	}
	c.valued += o.valued
	c.sum += o.sum
	c.squaresHigh, c.squaresLow = add128(c.squaresHigh, c.squaresLow, o.squaresHigh, o.squaresLow)
}

// mergeMinute adds one minute's sums to another's.
func mergeMinute(into, m *statepb.Minute) {
	if m.Valued > 0 && (into.Valued == 0 || m.Max > into.Max) {
		into.Max = m.Max
	}
	into.Count += m.Count
	into.Valued += m.Valued
	into.Sum += m.Sum
	into.SquaresHigh, into.SquaresLow = add128(into.SquaresHigh, into.SquaresLow, m.SquaresHigh, m.SquaresLow)
}

// folded takes a folded day: whole hours where all of an hour falls in one window, minutes elsewhere.
func (t *tally) folded(d *foldedDay) {
	if d.events == 0 {
		return
	}
	for i, h := range d.hours {
		if h == nil {
			continue
		}
		begin := d.number*dayMicros + int64(i)*hourMicros
		if begin > t.own.time {
			break
		}
		t.distinct(h, begin)
		newest := t.slotOf(begin + hourMicros - minuteMicros)
		if newest == t.slotOf(begin) && begin+hourMicros <= t.own.time {
			t.minutes(h.totals, newest)
			continue
		}
		for j := range h.Minutes {
			at := begin + int64(h.Minutes[j].Minute)*minuteMicros
			if at > t.own.time {
				break
			}
			t.minutes(h.Minutes[j:j+1], t.slotOf(at))
		}
	}
	if record.FloorDiv(t.own.time, dayMicros) == d.number && d.shows(&t.own) {
		t.leaveOut()
	}
}

// slotOf is the slot of the minute that begins at micros. A minute that a window cuts counts as a whole.
func (t *tally) slotOf(micros int64) int {
	return t.plan.slot(max(0, t.own.time-micros-minuteMicros+1))
}

func (t *tally) minutes(ms []*statepb.Minute, slot int) {
	if slot == len(t.plan.windows) {
		return
	}
	own := t.own.currency.number()
	for _, m := range ms {
		for i, f := range t.plan.features {
			if f.Types.Has(m.Type) && f.Op != spec.OpDistinct && (f.Op == spec.OpCount || m.Currency == own) {
				t.cells[i][slot].minute(m)
			}
		}
	}
}

// leaveOut takes the scored event out of the sums of the minute that holds it.
func (t *tally) leaveOut() {
	slot := t.slotOf(record.FloorDiv(t.own.time, minuteMicros) * minuteMicros)
	for i, f := range t.plan.features {
		if !f.Types.Has(t.own.typ) || f.Op == spec.OpDistinct {
			continue
		}
		c := &t.cells[i][slot]
		if c.count == 0 {
			continue
		}
		c.count--
		if !t.own.hasValue || c.valued == 0 {
			continue
		}
		c.valued--
		c.sum -= t.own.value
		high, low := square(t.own.value)
		var borrow uint64
		c.squaresLow, borrow = bits.Sub64(c.squaresLow, low, 0)
		c.squaresHigh, _ = bits.Sub64(c.squaresHigh, high, borrow)
	}
}

// distinct takes the sets of an hour, in the window that its newest minute falls in.
func (t *tally) distinct(h *viewHour, begin int64) {
	slot := t.slotOf(min(begin+hourMicros-minuteMicros, t.own.time))
	if slot == len(t.plan.windows) {
		return
	}
	for _, d := range h.Distinct {
		for i, f := range t.plan.features {
			if f.Op != spec.OpDistinct || uint32(f.Of) != d.Kind || !f.Types.Has(d.Type) {
				continue
			}
			for _, hash := range d.Exact {
				t.hashes[i].add(hash, slot)
			}
			if len(d.Sketch) == sketchSize {
				c := &t.cells[i][slot]
				if c.sketch == nil {
					c.sketch = make([]byte, sketchSize)
				}
				sketch(c.sketch).join(d.Sketch)
			}
		}
	}
}

// write adds the windows up and writes the plan's values.
func (t *tally) write(out *Values) {
	for i, f := range t.plan.features {
		if f.Op == spec.OpDistinct {
			t.writeDistinct(out, i)
			continue
		}
		var total cell
		from := 0
		for w, slot := range t.plan.slots[i] {
			for ; from <= slot; from++ {
				total.join(&t.cells[i][from])
			}
			if f.Op != spec.OpCount && !t.own.hasValue {
				out.Missing[f.First+w] = true // amounts of which currency?
				continue
			}
			out.Numbers[f.First+w], out.Missing[f.First+w] = total.value(f.Op)
		}
	}
}

const unit = 1e6 // micros

// value is the aggregate of a cell, and whether it is missing.
func (c *cell) value(op spec.Operation) (float64, bool) {
	switch op {
	case spec.OpCount:
		return float64(c.count), false
	case spec.OpSum:
		return float64(c.sum) / unit, false
	case spec.OpMean:
		if c.valued == 0 {
			return 0, true
		}
		return float64(c.sum) / float64(c.valued) / unit, false
	case spec.OpMax:
		if c.valued == 0 {
			return 0, true
		}
		return float64(c.max) / unit, false
	case spec.OpStddev:
		return c.stddev()
	}
	return 0, true
}

// stddev is the sample standard deviation; missing with fewer than two values.
func (c *cell) stddev() (float64, bool) {
	if c.valued < 2 {
		return 0, true
	}
	n := float64(c.valued)
	squares := (math.Ldexp(float64(c.squaresHigh), 64) + float64(c.squaresLow)) / (unit * unit)
	sum := float64(c.sum) / unit
	return math.Sqrt(max(0, squares-sum*sum/n) / (n - 1)), false
}

// writeDistinct writes how many different entities each window holds: exactly, or where a sketch took part, its estimate of all.
func (t *tally) writeDistinct(out *Values, i int) {
	f := t.plan.features[i]
	sketched, exact, from := false, 0, 0
	clear(t.joined)
	for w, slot := range t.plan.slots[i] {
		for ; from <= slot; from++ {
			exact += t.hashes[i].seen[from]
			if s := t.cells[i][from].sketch; s != nil {
				sketched = true
				t.joined.join(s)
			}
		}
		at := f.First + w
		out.Numbers[at] = float64(exact)
		if sketched {
			t.hashes[i].addTo(t.joined, slot)
			out.Numbers[at] = math.Round(t.joined.estimate())
		}
	}
}

// join adds what another sketch holds.
func (s sketch) join(o []byte) {
	for i := range s {
		s[i] = max(s[i], o[i])
	}
}

// hashSet is a set of hashes, each with the shortest window that it was seen in: an open table of a size that is a power of two.
type hashSet struct {
	table []hashSlot
	n     int
	seen  []int // hashes by window
}

type hashSlot struct {
	hash uint64 // 0 = free
	slot int
}

func (s *hashSet) reset(slots int) {
	if len(s.table) > 1024 {
		s.table = nil // one busy entity must not slow down all that come after it
	}
	clear(s.table)
	s.n = 0
	s.seen = append(s.seen[:0], make([]int, slots)...)
}

func (s *hashSet) add(hash uint64, slot int) {
	if 2*s.n >= len(s.table) {
		s.grow()
	}
	at := s.find(hash)
	if at.hash == 0 {
		*at = hashSlot{hash, slot}
		s.n++
		s.seen[slot]++
		return
	}
	if slot < at.slot {
		s.seen[at.slot]--
		s.seen[slot]++
		at.slot = slot
	}
}

// find is the place of a hash, or the free one where it belongs.
func (s *hashSet) find(hash uint64) *hashSlot {
	mask := uint64(len(s.table) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		if at := &s.table[i]; at.hash == hash || at.hash == 0 {
			return at
		}
	}
}

func (s *hashSet) grow() {
	old := s.table
	s.table = make([]hashSlot, max(32, 2*len(old)))
	for _, h := range old {
		if h.hash != 0 {
			*s.find(h.hash) = h
		}
	}
}

// addTo adds the hashes seen in the window at slot or a shorter one to a sketch.
func (s *hashSet) addTo(k sketch, slot int) {
	for i := range s.table {
		if s.table[i].hash != 0 && s.table[i].slot <= slot {
			k.add(s.table[i].hash)
		}
	}
}
