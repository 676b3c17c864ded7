package parquet

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/parquet-go/parquet-go"

	"sluice/internal/warehouse"
)

// filter tells quickly that a file has no row of a subject: a Bloom filter in blocks of a cache line. Most purges are of people without rows in most files,
// and cost one memory access a file.
type filter struct{ blocks [][8]uint64 }

const (
	filterBits  = 24       // of a subject: one of ten thousand that are not there looks as if it were
	filterBytes = 16 << 20 // of all files' filters: files beyond it are searched
	filterTests = 7        // bits that are set for a subject
)

func newFilter(hashes []uint64) *filter {
	f := &filter{make([][8]uint64, 1+len(hashes)*filterBits/512)}
	for _, h := range hashes {
		block, bits := f.block(h), bitsOf(h)
		for range filterTests {
			block[bits>>6&7] |= 1 << (bits & 63)
			bits >>= 9
		}
	}
	return f
}

func (f *filter) block(h uint64) *[8]uint64 {
	return &f.blocks[(h>>32)*uint64(len(f.blocks))>>32]
}

// bitsOf are a hash's bits in its block, nine for each. They have nothing to do with the block's number.
func bitsOf(h uint64) uint64 { return (h ^ h>>31) * 0x94d049bb133111eb }

func (f *filter) size() int64 { return int64(len(f.blocks)) * 64 }

// has tells whether a subject may be there.
func (f *filter) has(h uint64) bool {
	block, bits := f.block(h), bitsOf(h)
	for range filterTests {
		if block[bits>>6&7]&(1<<(bits&63)) == 0 {
			return false
		}
		bits >>= 9
	}
	return true
}

// hashOf mixes a subject's bytes. It is not kept anywhere.
func hashOf(subject []byte) uint64 {
	const odd = 0x9e3779b97f4a7c15
	h := prefixOf(subject)
	for i := 8; i < len(subject); i += 8 {
		h = (h ^ h>>29) * odd
		h ^= prefixOf(subject[i:])
	}
	h = (h ^ h>>32) * odd
	return (h ^ h>>29) * 0xbf58476d1ce4e5b9
}

// subjects collects the hashes of a file's subjects, which come in order.
type subjects struct {
	last   []byte
	hashes []uint64
}

func (s *subjects) reset() { s.last, s.hashes = s.last[:0], s.hashes[:0] }

func (s *subjects) add(subject []byte) {
	if len(s.hashes) > 0 && bytes.Equal(subject, s.last) {
		return
	}
	s.last = append(s.last[:0], subject...)
	s.hashes = append(s.hashes, hashOf(subject))
}

// filterOf is a file's filter. It is made by reading the subjects, if the file was written before the store was opened. nil = there is no room for it.
func (s *Store) filterOf(ctx context.Context, t *table, f *file) (_ *filter, err error) {
	if made := f.filter.Load(); made != nil {
		return made, nil
	}
	if s.filters.Load() >= filterBytes {
		return nil, nil
	}
	defer recovered(&err)
	o, err := open(ctx, s.path(f))
	if err != nil {
		return nil, err
	}
	defer o.close()
	selected, err := t.Select([]string{t.Subject})
	if err != nil {
		return nil, err
	}
	var all subjects
	for _, g := range o.RowGroups() {
		if err := all.read(o, selected, g); err != nil {
			return nil, err
		}
	}
	return s.setFilter(f, newFilter(all.hashes)), nil
}

func (s *subjects) read(o *opened, selected *warehouse.Table, g parquet.RowGroup) error {
	d, err := o.decode(selected, g, 0, g.NumRows())
	if err != nil {
		return err
	}
	defer d.close()
	for {
		b, err := d.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for row := range b.Rows() {
			s.add(b.Values[0].Text(row))
		}
	}
}

// setFilter gives a file its filter, if there is room.
func (s *Store) setFilter(f *file, made *filter) *filter {
	if s.filters.Add(made.size()) > filterBytes {
		s.filters.Add(-made.size())
		return nil
	}
	f.filter.Store(made)
	return made
}

// dropFilter makes room when a file goes.
func (s *Store) dropFilter(f *file) {
	if made := f.filter.Swap(nil); made != nil {
		s.filters.Add(-made.size())
	}
}

// MayHold tells whether a row of one of the purges' subjects may be stored.
func (s *Store) MayHold(source *warehouse.Source, purges []warehouse.Purge) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, t := range source.Tables {
		if t.Subject == "" || t.Event == "" || s.tables[t.Name] == nil {
			continue
		}
		for _, files := range s.tables[t.Name].days {
			for _, f := range files {
				made := f.filter.Load()
				if made == nil {
					return true
				}
				for i := range purges {
					if made.has(hashOf(purges[i].Subject)) {
						return true
					}
				}
			}
		}
	}
	return false
}
