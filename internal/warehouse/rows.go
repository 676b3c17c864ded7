package warehouse

import "unsafe"

// Rows takes what a source's records hold, in the order in which it was written: rows of its tables, and purges of what came before.
type Rows struct {
	Batches []*Batch // parallel to the source's Tables
	Purges  []Purge

	marks []mark
	text  []byte // what the newest purges point to
	texts int    // bytes of it and its predecessors
}

// mark tells where purges stand among the rows. Purges without rows in between share one.
type mark struct {
	purge int   // the first one that stands here
	rows  []int // by table: how many rows came before
}

const (
	minText = 64 // bytes
	maxText = 32 << 10
)

// NewRows takes the rows and purges of a source.
func NewRows(s *Source) *Rows {
	r := &Rows{Batches: make([]*Batch, len(s.Tables))}
	for i, t := range s.Tables {
		r.Batches[i] = NewBatch(t)
	}
	return r
}

// Purge deletes rows that came before it. What it points to is copied.
func (r *Rows) Purge(p Purge) {
	r.mark()
	r.Purges = append(r.Purges, Purge{Subject: r.copied(p.Subject), Event: r.copied(p.Event), Floor: r.copied(p.Floor)})
}

// copied is a copy in memory that further ones share. What is full is let go to its purges.
func (r *Rows) copied(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	if cap(r.text)-len(r.text) < len(b) {
		r.text = make([]byte, 0, max(len(b), min(2*cap(r.text), maxText), minText))
		r.texts += cap(r.text)
	}
	from := len(r.text)
	r.text = append(r.text, b...)
	return r.text[from:len(r.text):len(r.text)]
}

// mark notes where the next purge stands.
func (r *Rows) mark() {
	if n := len(r.marks); n > 0 && r.marks[n-1].stands(r.Batches) {
		return
	}
	m := mark{purge: len(r.Purges), rows: make([]int, len(r.Batches))}
	for i, b := range r.Batches {
		m.rows[i] = b.Rows()
	}
	r.marks = append(r.marks, m)
}

// stands tells whether no row came after the mark.
func (m *mark) stands(batches []*Batch) bool {
	for i, b := range batches {
		if b.Rows() != m.rows[i] {
			return false
		}
	}
	return true
}

// rows counts the rows of all tables.
func (r *Rows) rows() int {
	n := 0
	for _, b := range r.Batches {
		n += b.Rows()
	}
	return n
}

// whole tells whether no row is under way.
func (r *Rows) whole() bool {
	for _, b := range r.Batches {
		if !b.whole() {
			return false
		}
	}
	return true
}

// Cut drops everything, and keeps the memory of the columns.
func (r *Rows) Cut() {
	for _, b := range r.Batches {
		b.Cut(0)
	}
	r.Purges, r.marks, r.text, r.texts = nil, nil, nil, 0
}

// cutPurges keeps the first n purges.
func (r *Rows) cutPurges(n int) {
	r.Purges = r.Purges[:n]
	for len(r.marks) > 0 && r.marks[len(r.marks)-1].purge >= n {
		r.marks = r.marks[:len(r.marks)-1]
	}
}

// size is what it all takes, in bytes.
func (r *Rows) size() int {
	taken, _ := r.memory()
	return taken
}

// memory is what it all takes, in bytes, and how much of that is in use.
func (r *Rows) memory() (taken, used int) {
	for _, b := range r.Batches {
		taken += b.Memory()
		used += b.used()
	}
	const perMark = int(unsafe.Sizeof(mark{}))
	marks := cap(r.marks)*perMark + len(r.marks)*len(r.Batches)*int(unsafe.Sizeof(int(0)))
	taken += cap(r.Purges)*int(unsafe.Sizeof(Purge{})) + r.texts + marks
	used += len(r.Purges)*int(unsafe.Sizeof(Purge{})) + r.texts + marks
	return taken, used
}
