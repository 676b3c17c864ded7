package warehouse

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// Sort puts the rows in the order of subject, time and key. Rows that are equal in all of them keep their order, so that the same rows appended in the
// same order always give the same batch.
func (b *Batch) Sort() {
	places := b.places()
	order := b.comparer()
	if slices.IsSortedFunc(places, order) {
		return
	}
	slices.SortFunc(places, order)
	for i := range b.Values {
		b.Values[i].permute(places)
	}
}

// Compare orders a row and one of another batch of the same table by subject, time and key.
func (b *Batch) Compare(row int, other *Batch, otherRow int) int {
	t := b.Table
	for _, name := range [...]string{t.Subject, t.Time} {
		if c := t.Column(name); c >= 0 {
			if order := b.Values[c].compare(row, &other.Values[c], otherRow); order != 0 {
				return order
			}
		}
	}
	for _, name := range t.Key {
		if c := t.Column(name); c >= 0 {
			if order := b.Values[c].compare(row, &other.Values[c], otherRow); order != 0 {
				return order
			}
		}
	}
	return 0
}

// place is a row as the sort sees it: almost every comparison ends at the prefix or the time, without following a pointer.
type place struct {
	prefix uint64 // of the subject, big endian
	time   int64
	row    int32
}

func (b *Batch) places() []place {
	places := make([]place, b.rows)
	for i := range places {
		places[i].row = int32(i)
	}
	if c := b.Table.Column(b.Table.Subject); c >= 0 {
		for i := range places {
			places[i].prefix = prefixOf(b.Values[c].Text(i))
		}
	}
	if c := b.Table.Column(b.Table.Time); c >= 0 {
		for i := range places {
			places[i].time = b.Values[c].Int(i)
		}
	}
	return places
}

// prefixOf orders as the bytes do, except that strings which differ only after eight bytes, or in zeros at their ends, are equal.
func prefixOf(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.BigEndian.Uint64(b)
	}
	var padded [8]byte
	copy(padded[:], b)
	return binary.BigEndian.Uint64(padded[:])
}

// comparer orders rows completely: the last word has the place where a row was appended.
func (b *Batch) comparer() func(x, y place) int {
	subject := b.Table.Column(b.Table.Subject)
	return func(x, y place) int {
		switch {
		case x.prefix != y.prefix:
			return cmp.Compare(x.prefix, y.prefix)
		case x.time != y.time && (subject < 0 || bytes.Equal(b.Values[subject].Text(int(x.row)), b.Values[subject].Text(int(y.row)))):
			return cmp.Compare(x.time, y.time)
		default:
			return cmp.Or(b.Compare(int(x.row), b, int(y.row)), cmp.Compare(x.row, y.row))
		}
	}
}

// permute puts the rows in the order of places.
func (v *Values) permute(places []place) {
	to := Values{kind: v.kind, data: make([]byte, 0, len(v.data)), ends: make([]uint32, 0, len(v.ends))}
	to.grow(len(places))
	for i := range places {
		to.AppendRow(v, int(places[i].row))
	}
	*v = to
}
