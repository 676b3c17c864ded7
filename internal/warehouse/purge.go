package warehouse

import (
	"bytes"
	"cmp"
	"iter"
	"maps"
	"slices"
)

// Purge deletes rows of one subject from every table of its source: one event's, or all that are under another floor than the present one.
type Purge struct {
	Subject []byte // of a table's Subject column
	Event   []byte // one event; empty = every row of the subject
	Floor   []byte // rows under this floor stay, in tables that have floors; empty = none stays
	// Kept are events that came after the purge in its own block, so that their rows stay. So a store carries out the purge when it has all of the block's rows,
	// and may do so again when the block comes again. An event comes once: nothing older has it.
	Kept Kept
}

// Kept are events of a purge's subject. The zero value has none.
type Kept struct {
	events map[string]int // event → after how many marks it came; shared by the subject's purges
	from   int
}

// Has tells whether the event is one of them.
func (k *Kept) Has(event []byte) bool {
	at, ok := k.events[string(event)]
	return ok && at >= k.from
}

// All are the events, in the order of their bytes.
func (k *Kept) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, event := range slices.Sorted(maps.Keys(k.events)) {
			if k.events[event] >= k.from && !yield(event) {
				return
			}
		}
	}
}

// Deletes tells whether a row of the purge's subject must go: event and floor are the row's values in the table's columns, nil where it has none.
func (p *Purge) Deletes(t *Table, event, floor []byte) bool {
	switch {
	case t.Subject == "" || t.Event == "":
		return false
	case len(p.Event) > 0:
		return bytes.Equal(event, p.Event)
	case len(p.Floor) > 0 && t.Floor != "" && bytes.Equal(floor, p.Floor):
		return false
	default:
		return !p.Kept.Has(event)
	}
}

// Purger finds the purges of a subject among many.
type Purger struct {
	purges []Purge
	slots  []int32 // by the beginning of the subject: the last purge of a chain, plus 1
	next   []int32 // by purge: the one before it in its chain, plus 1
	shift  uint
}

// NewPurger indexes purges, which must not change.
func NewPurger(purges []Purge) *Purger {
	p := &Purger{purges: purges, next: make([]int32, len(purges)), shift: 60}
	for 1<<(64-p.shift) < len(purges) {
		p.shift--
	}
	p.slots = make([]int32, 1<<(64-p.shift))
	for i := range purges {
		slot := p.slot(purges[i].Subject)
		p.next[i], p.slots[slot] = p.slots[slot], int32(i+1)
	}
	return p
}

func (p *Purger) slot(subject []byte) uint64 {
	return prefixOf(subject) * 0x9e3779b97f4a7c15 >> p.shift
}

// Len counts the purges.
func (p *Purger) Len() int { return len(p.purges) }

// Concerns tells whether a purge is about the subject.
func (p *Purger) Concerns(subject []byte) bool {
	for i := p.slots[p.slot(subject)]; i > 0; i = p.next[i-1] {
		if bytes.Equal(p.purges[i-1].Subject, subject) {
			return true
		}
	}
	return false
}

// Deletes tells whether one of the purges deletes a row of the table.
func (p *Purger) Deletes(t *Table, subject, event, floor []byte) bool {
	for i := p.slots[p.slot(subject)]; i > 0; i = p.next[i-1] {
		if purge := &p.purges[i-1]; bytes.Equal(purge.Subject, subject) && purge.Deletes(t, event, floor) {
			return true
		}
	}
	return false
}

// keep tells every purge which rows it does not concern, since they came after it.
func (r *Rows) keep() {
	if len(r.Purges) == 0 {
		return
	}
	k := keeper{Rows: r, of: make(map[string]map[string]int), needed: make(map[int]map[string]int)}
	for i, b := range r.Batches {
		if t := b.Table; t.Subject != "" && t.Event != "" && r.marks[0].rows[i] < b.Rows() {
			k.take(i, b)
		}
	}
	for mark, m := range r.marks {
		last := len(r.Purges)
		if mark+1 < len(r.marks) {
			last = r.marks[mark+1].purge
		}
		for i := m.purge; i < last; i++ {
			if events := k.needed[i]; events != nil {
				r.Purges[i].Kept = Kept{events, mark + 1}
			}
		}
	}
}

// keeper finds rows that follow purges.
type keeper struct {
	*Rows
	of     map[string]map[string]int // subject → event → after how many marks it came, of subjects with both purges and rows
	needed map[int]map[string]int    // those of a purge's subject, if the purge would delete a row that came after it
}

// take goes through one table's rows. A purge of somebody who has no row here costs a look into an index.
func (k *keeper) take(table int, b *Batch) {
	t, purger := b.Table, NewPurger(k.Purges)
	subjects, events, floor := &b.Values[t.Column(t.Subject)], &b.Values[t.Column(t.Event)], t.Column(t.Floor)
	for row := k.marks[0].rows[table]; row < b.Rows(); row++ {
		subject, passed := subjects.Text(row), 0
		for i := purger.slots[purger.slot(subject)]; i > 0; i = purger.next[i-1] {
			p := &k.Purges[i-1]
			if !bytes.Equal(p.Subject, subject) {
				continue
			}
			if passed == 0 {
				passed = k.passed(table, row)
				k.note(subject, events.Text(row), passed)
			}
			if len(p.Event) == 0 && int(i-1) < k.purgesBefore(passed) && p.Deletes(t, events.Text(row), b.textOf(floor, row)) {
				k.needed[int(i-1)] = k.of[string(subject)]
			}
		}
	}
}

func (k *keeper) note(subject, event []byte, passed int) {
	of := k.of[string(subject)]
	if of == nil {
		of = make(map[string]int)
		k.of[string(subject)] = of
	}
	of[string(event)] = max(of[string(event)], passed)
}

// passed counts the marks before a row.
func (k *keeper) passed(table, row int) int {
	n, _ := slices.BinarySearchFunc(k.marks, row+1, func(m mark, row int) int { return cmp.Compare(m.rows[table], row) })
	return n
}

// purgesBefore counts the purges that stand before the mark with this number.
func (k *keeper) purgesBefore(marks int) int {
	if marks == len(k.marks) {
		return len(k.Purges)
	}
	return k.marks[marks].purge
}

// textOf is a value of a column of bytes, nil if there is no column.
func (b *Batch) textOf(column, row int) []byte {
	if column < 0 {
		return nil
	}
	return b.Values[column].Text(row)
}
