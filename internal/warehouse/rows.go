package warehouse

// Rows takes what a source's records hold, in the order in which it was written: rows of its tables, and purges of what came before.
type Rows struct {
	Batches []*Batch // parallel to the source's Tables
	Purges  []Purge
}

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
	text := make([]byte, 0, len(p.Subject)+len(p.Event)+len(p.Floor))
	copied := func(b []byte) []byte {
		if len(b) == 0 {
			return nil
		}
		from := len(text)
		text = append(text, b...)
		return text[from:len(text):len(text)]
	}
	r.Purges = append(r.Purges, Purge{Subject: copied(p.Subject), Event: copied(p.Event), Floor: copied(p.Floor)})
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

// Cut drops everything.
func (r *Rows) Cut() {
	for _, b := range r.Batches {
		b.Cut(0)
	}
	r.Purges = r.Purges[:0]
}
