package parquet

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"sluice/internal/pace"
	"sluice/internal/warehouse"
)

// pile is the new rows of one table, from several blocks.
type pile struct {
	table   *table
	batches []*warehouse.Batch
	dead    map[rowAt]struct{} // deleted by a purge that came after them; nil = none
}

// rowAt is a row of a pile.
type rowAt struct{ batch, row int32 }

// stageRows writes the blocks' rows, one file for each table and day. Rows that a later one of the blocks purges are not written at all.
func (s *Store) stageRows(ctx context.Context, c *staged, blocks []*warehouse.Block) error {
	piles := make(map[*warehouse.Table]*pile)
	var order []*pile
	for _, b := range blocks {
		for i, t := range b.Source.Tables {
			p := piles[t]
			if p == nil {
				p = &pile{table: s.tables[t.Name]}
				piles[t], order = p, append(order, p)
			}
			p.batches = append(p.batches, b.Batches[i])
			if len(b.Purges) > 0 {
				p.purge(pace.From(ctx), b.Purges)
			}
		}
	}
	for _, p := range order {
		if err := p.write(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// purge marks the rows that are here so far.
func (p *pile) purge(at *pace.Pacer, purges []warehouse.Purge) {
	t := p.table.Table
	if t.Subject == "" || t.Event == "" {
		return
	}
	purger := warehouse.NewPurger(purges)
	subject, event, floor := t.Column(t.Subject), t.Column(t.Event), t.Column(t.Floor)
	for i, b := range p.batches {
		for row := range b.Rows() {
			if purger.Deletes(t, b.Values[subject].Text(row), cell(b, event, row), cell(b, floor, row)) {
				if p.dead == nil {
					p.dead = make(map[rowAt]struct{})
				}
				p.dead[rowAt{int32(i), int32(row)}] = struct{}{}
			}
			yieldAt(at, row)
		}
	}
}

// yieldAt yields once in many steps. A loop with short steps calls it at each of them.
func yieldAt(p *pace.Pacer, step int) {
	if step%chunkRows == chunkRows-1 {
		p.Yield()
	}
}

// cell is a value of a column of bytes, nil if there is no column.
func cell(b *warehouse.Batch, column, row int) []byte {
	if column < 0 {
		return nil
	}
	return b.Values[column].Text(row)
}

// ref is a row on its way into a file: almost every comparison ends at the first three.
type ref struct {
	day    int64
	prefix uint64 // of the subject
	time   int64
	rowAt
}

func (p *pile) write(ctx context.Context, c *staged) error {
	refs := p.refs(pace.From(ctx))
	for len(refs) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := 1
		for n < len(refs) && refs[n].day == refs[0].day {
			n++
		}
		err := c.write(ctx, p.table, dayOf(refs[0].day*dayMicros), 0, func(e *encoder) error { return e.write(p.batches, refs[:n]) })
		if err != nil {
			return err
		}
		refs = refs[n:]
	}
	return nil
}

// refs are the living rows by day, subject, time and key.
func (p *pile) refs(at *pace.Pacer) []ref {
	t := p.table.Table
	subject, when := t.Column(t.Subject), t.Column(t.Time)
	total := 0
	for _, b := range p.batches {
		total += b.Rows()
	}
	refs := make([]ref, 0, total)
	for i, b := range p.batches {
		for row := range b.Rows() {
			micros := b.Values[when].Int(row)
			r := ref{day: dayNumber(micros), time: micros, rowAt: rowAt{int32(i), int32(row)}}
			if subject >= 0 {
				r.prefix = prefixOf(b.Values[subject].Text(row))
			}
			if _, dead := p.dead[r.rowAt]; !dead {
				refs = append(refs, r)
			}
			yieldAt(at, row)
		}
	}
	compared := 0
	slices.SortFunc(refs, func(x, y ref) int {
		compared++
		yieldAt(at, compared)
		switch {
		case x.day != y.day:
			return cmp.Compare(x.day, y.day)
		case x.prefix != y.prefix:
			return cmp.Compare(x.prefix, y.prefix)
		}
		a, b := p.batches[x.batch], p.batches[y.batch]
		if x.time != y.time && (subject < 0 || bytes.Equal(cell(a, subject, int(x.row)), cell(b, subject, int(y.row)))) {
			return cmp.Compare(x.time, y.time)
		}
		return cmp.Or(a.Compare(int(x.row), b, int(y.row)), cmp.Compare(x.batch, y.batch), cmp.Compare(x.row, y.row))
	})
	return refs
}

// prefixOf is the first eight bytes, as a number in the same order.
func prefixOf(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.BigEndian.Uint64(b)
	}
	var padded [8]byte
	copy(padded[:], b)
	return binary.BigEndian.Uint64(padded[:])
}
