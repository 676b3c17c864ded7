package parquet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/parquet-go/parquet-go"

	"sluice/internal/warehouse"
)

func (s *Store) path(f *file) string { return filepath.Join(s.dir, f.path()) }

// purger deletes rows of one table.
type purger struct {
	*warehouse.Purger
	table    *warehouse.Table // with the columns that purges look at
	event    int              // their places in it
	floor    int              // -1 = none
	hashes   []uint64         // of all subjects
	purges   []warehouse.Purge
	subjects [][]byte // those that the file at hand may have, sorted
}

func newPurger(t *warehouse.Table, purges []warehouse.Purge) (*purger, error) {
	names := []string{t.Subject, t.Event}
	if t.Floor != "" {
		names = append(names, t.Floor)
	}
	selected, err := t.Select(names)
	if err != nil {
		return nil, err
	}
	p := &purger{
		Purger: warehouse.NewPurger(purges), table: selected, event: selected.Column(t.Event), floor: selected.Column(t.Floor),
		purges: purges, hashes: make([]uint64, len(purges)),
	}
	for i := range purges {
		p.hashes[i] = hashOf(purges[i].Subject)
	}
	return p, nil
}

// choose finds the subjects that a file may have, by its filter; all, without one.
func (p *purger) choose(f *filter) (some bool) {
	p.subjects = p.subjects[:0]
	for i, h := range p.hashes {
		if f == nil || f.has(h) {
			p.subjects = append(p.subjects, p.purges[i].Subject)
		}
	}
	slices.SortFunc(p.subjects, bytes.Compare)
	return len(p.subjects) > 0
}

// deletes tells whether a row of a batch with the purger's columns must go.
func (p *purger) deletes(b *warehouse.Batch, row int) bool {
	return p.Deletes(p.table, b.Values[0].Text(row), cell(b, p.event, row), cell(b, p.floor, row))
}

// stagePurges writes every stored file that holds rows to be deleted anew, without them. What is stored is older than every block of the change.
func (s *Store) stagePurges(ctx context.Context, c *staged, blocks []*warehouse.Block) error {
	for _, b := range blocks {
		for _, t := range b.Source.Tables {
			if t.Subject != "" && t.Event != "" && len(b.Purges) > 0 {
				known := s.tables[t.Name]
				c.purges[known] = append(c.purges[known], b.Purges...)
			}
		}
	}
	for t, purges := range c.purges {
		days := s.daysOf(t)
		if len(days) == 0 {
			continue
		}
		p, err := newPurger(t.Table, purges)
		if err != nil {
			return err
		}
		for _, day := range days {
			for _, f := range s.filesOf(t, day) {
				if err := s.stagePurge(ctx, c, t, p, f); err != nil {
					return fmt.Errorf("purging: %w", err)
				}
			}
		}
	}
	return nil
}

// stagePurge writes one file anew if it must be.
func (s *Store) stagePurge(ctx context.Context, c *staged, t *table, p *purger, f *file) (err error) {
	defer recovered(&err)
	if err := ctx.Err(); err != nil {
		return err
	}
	made, err := s.filterOf(ctx, t, f)
	if err != nil || !p.choose(made) {
		return err
	}
	o, err := open(ctx, s.path(f))
	if err != nil {
		return err
	}
	defer o.close()
	groups := o.RowGroups()
	dead := make([][]int64, len(groups))
	found := false
	for i, g := range groups {
		if dead[i], err = p.find(o, g); err != nil {
			return err
		}
		found = found || len(dead[i]) > 0
	}
	if !found {
		return nil
	}
	c.drop(f)
	before := len(c.Add)
	err = c.write(ctx, t, f.Day, f.Level, func(e *encoder) error {
		for i, g := range groups {
			if err := keep(ctx, e, o, g, dead[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || len(c.Add) == before {
		return err
	}
	if fresh := c.Add[before]; made != nil && fresh.filter.Load() == nil {
		s.setFilter(fresh, made) // it has no subject that the old file did not have
	}
	return p.verify(ctx, s.path(c.Add[before]))
}

// keep writes a row group without its dead rows; as it is if there are none, and if the file was written when the table had the columns of today.
func keep(ctx context.Context, e *encoder, o *opened, g parquet.RowGroup, dead []int64) error {
	if len(dead) == 0 && parquet.EqualNodes(e.writer.Schema(), g.Schema()) {
		return e.copy(g)
	}
	d, err := o.decode(e.table, g, 0, g.NumRows())
	if err != nil {
		return err
	}
	defer d.close()
	for first := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := d.next()
		if errors.Is(err, io.EOF) {
			return e.flush()
		}
		if err != nil {
			return err
		}
		kept, rows := warehouse.NewBatch(e.table), b.Rows()
		from := 0
		for len(dead) > 0 && dead[0] < first+int64(rows) {
			at := int(dead[0] - first)
			kept.Append(b, from, at)
			from, dead = at+1, dead[1:]
		}
		kept.Append(b, from, rows)
		if err := e.writeBatch(kept); err != nil {
			return err
		}
		first += int64(rows)
	}
}

// find lists the rows of a group that must go, in order. It reads only pages that may hold a subject, by their bounds.
func (p *purger) find(o *opened, g parquet.RowGroup) ([]int64, error) {
	leaf, err := leafOf(o.Schema(), p.table.Columns[0])
	if err != nil || leaf < 0 {
		return nil, fmt.Errorf("%s: must have a column of subjects: %w", o.os.Name(), err)
	}
	chunk := g.ColumnChunks()[leaf]
	index, err := chunk.ColumnIndex()
	if err != nil {
		return p.scan(o, g, 0, g.NumRows())
	}
	offsets, err := chunk.OffsetIndex()
	if err != nil {
		return p.scan(o, g, 0, g.NumRows())
	}
	var dead []int64
	pages := index.NumPages()
	for i := 0; i < pages; i++ {
		if !p.within(index, i) {
			continue
		}
		from, to := offsets.FirstRowIndex(i), g.NumRows()
		for i+1 < pages && p.within(index, i+1) {
			i++
		}
		if i+1 < pages {
			to = offsets.FirstRowIndex(i + 1)
		}
		more, err := p.scan(o, g, from, to)
		if err != nil {
			return nil, err
		}
		dead = append(dead, more...)
	}
	return dead, nil
}

// within tells whether a page may hold one of the subjects. Bounds may be cut to their first bytes, so the upper one is compared by these alone.
func (p *purger) within(index parquet.ColumnIndex, page int) bool {
	low, high := index.MinValue(page).ByteArray(), index.MaxValue(page).ByteArray()
	i, _ := slices.BinarySearchFunc(p.subjects, low, bytes.Compare)
	return i < len(p.subjects) && bytes.Compare(p.subjects[i][:min(len(high), len(p.subjects[i]))], high) <= 0
}

// scan lists the rows from up to but not including to that must go.
func (p *purger) scan(o *opened, g parquet.RowGroup, from, to int64) ([]int64, error) {
	d, err := o.decode(p.table, g, from, to)
	if err != nil {
		return nil, err
	}
	defer d.close()
	var dead []int64
	for at := from; ; {
		b, err := d.next()
		if errors.Is(err, io.EOF) {
			return dead, nil
		}
		if err != nil {
			return nil, err
		}
		for row := range b.Rows() {
			if p.deletes(b, row) {
				dead = append(dead, at+int64(row))
			}
		}
		at += int64(b.Rows())
	}
}

var errStillThere = errors.New("must be without the purged rows")

// verify reads all subjects of a file that was written anew, without the help of an index, before the file takes the old one's place.
func (p *purger) verify(ctx context.Context, path string) (err error) {
	defer recovered(&err)
	o, err := open(ctx, path)
	if err != nil {
		return err
	}
	defer o.close()
	for _, g := range o.RowGroups() {
		dead, err := p.scan(o, g, 0, g.NumRows())
		if err != nil {
			return err
		}
		if len(dead) > 0 {
			return fmt.Errorf("%s: %w", path, errStillThere)
		}
	}
	return nil
}
