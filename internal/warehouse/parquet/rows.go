package parquet

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"sluice/internal/warehouse"
)

// pile is the new rows of one table, from several blocks.
type pile struct {
	table   *table
	batches []*warehouse.Batch
	dead    map[rowAt]struct{} // deleted by a purge that came after them
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
				p = &pile{table: s.tables[t.Name], dead: make(map[rowAt]struct{})}
				piles[t], order = p, append(order, p)
			}
			p.batches = append(p.batches, b.Batches[i])
			if len(b.Purges) > 0 {
				p.purge(b.Purges)
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
func (p *pile) purge(purges []warehouse.Purge) {
	t := p.table.Table
	if t.Subject == "" || t.Event == "" {
		return
	}
	purger := warehouse.NewPurger(purges)
	subject, event, floor := t.Column(t.Subject), t.Column(t.Event), t.Column(t.Floor)
	for i, b := range p.batches {
		for row := range b.Rows() {
			if purger.Deletes(t, b.Values[subject].Text(row), cell(b, event, row), cell(b, floor, row)) {
				p.dead[rowAt{int32(i), int32(row)}] = struct{}{}
			}
		}
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
	refs := p.refs()
	chunk := warehouse.NewBatch(p.table.Table).Grow(chunkRows)
	for len(refs) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := 1
		for n < len(refs) && refs[n].day == refs[0].day {
			n++
		}
		err := c.write(p.table, dayOf(refs[0].day*dayMicros), 0, func(e *encoder) error {
			for part := range slices.Chunk(refs[:n], chunkRows) {
				if err := p.gather(chunk, part); err != nil {
					return err
				}
				if err := e.write(chunk); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		refs = refs[n:]
	}
	return nil
}

// refs are the living rows by day, subject and time; rows that are equal in these stay as they came.
func (p *pile) refs() []ref {
	t := p.table.Table
	subject, at := t.Column(t.Subject), t.Column(t.Time)
	total := 0
	for _, b := range p.batches {
		total += b.Rows()
	}
	refs := make([]ref, 0, total)
	for i, b := range p.batches {
		for row := range b.Rows() {
			micros := b.Values[at].Int(row)
			r := ref{day: dayNumber(micros), time: micros, rowAt: rowAt{int32(i), int32(row)}}
			if subject >= 0 {
				r.prefix = prefixOf(b.Values[subject].Text(row))
			}
			if _, dead := p.dead[r.rowAt]; !dead {
				refs = append(refs, r)
			}
		}
	}
	order := func(x, y ref) int {
		if c := cmp.Compare(x.day, y.day); c != 0 {
			return c
		}
		if c := cmp.Compare(x.prefix, y.prefix); c != 0 {
			return c
		}
		if subject >= 0 {
			if c := bytes.Compare(p.batches[x.batch].Values[subject].Text(int(x.row)), p.batches[y.batch].Values[subject].Text(int(y.row))); c != 0 {
				return c
			}
		}
		return cmp.Or(cmp.Compare(x.time, y.time), cmp.Compare(x.batch, y.batch), cmp.Compare(x.row, y.row))
	}
	if !slices.IsSortedFunc(refs, order) {
		slices.SortFunc(refs, order)
	}
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

// gather puts the rows into chunk, which was used before.
func (p *pile) gather(chunk *warehouse.Batch, refs []ref) error {
	chunk.Cut(0)
	for c := range chunk.Values {
		to := &chunk.Values[c]
		for _, r := range refs {
			to.AppendRow(&p.batches[r.batch].Values[c], int(r.row))
		}
	}
	return chunk.Filled(len(refs))
}
