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
		b.Values[i].permute(b.Table.Columns[i].Kind, places)
	}
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
		for i, subject := range b.Values[c].Bytes {
			places[i].prefix = prefixOf(subject)
		}
	}
	if c := b.Table.Column(b.Table.Time); c >= 0 {
		for i, at := range b.Values[c].Ints {
			places[i].time = at
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
	var subjects [][]byte
	if c := b.Table.Column(b.Table.Subject); c >= 0 {
		subjects = b.Values[c].Bytes
	}
	var keys []func(x, y int32) int
	for _, name := range b.Table.Key {
		if c := b.Table.Column(name); c >= 0 {
			keys = append(keys, b.Values[c].comparer(b.Table.Columns[c].Kind))
		}
	}
	return func(x, y place) int {
		if c := cmp.Compare(x.prefix, y.prefix); c != 0 {
			return c
		}
		if subjects != nil {
			if c := bytes.Compare(subjects[x.row], subjects[y.row]); c != 0 {
				return c
			}
		}
		if c := cmp.Compare(x.time, y.time); c != 0 {
			return c
		}
		for _, key := range keys {
			if c := key(x.row, y.row); c != 0 {
				return c
			}
		}
		return cmp.Compare(x.row, y.row)
	}
}

func (v *Values) comparer(kind Kind) func(x, y int32) int {
	switch kind {
	case String:
		return func(x, y int32) int { return cmp.Compare(v.Strings[x], v.Strings[y]) }
	case Bytes:
		return func(x, y int32) int { return bytes.Compare(v.Bytes[x], v.Bytes[y]) }
	case Int64, Time:
		return func(x, y int32) int { return cmp.Compare(v.Ints[x], v.Ints[y]) }
	case Uint64:
		return func(x, y int32) int { return cmp.Compare(v.Uints[x], v.Uints[y]) }
	case Bool:
		return func(x, y int32) int { return compareBools(v.Bools[x], v.Bools[y]) }
	case Strings:
		return func(x, y int32) int { return slices.Compare(v.StringLists[x], v.StringLists[y]) }
	default:
		return func(x, y int32) int { return slices.Compare(v.IntLists[x], v.IntLists[y]) }
	}
}

func compareBools(x, y bool) int {
	switch {
	case x == y:
		return 0
	case y:
		return -1
	default:
		return 1
	}
}

func (v *Values) permute(kind Kind, places []place) {
	switch kind {
	case String:
		v.Strings = gather(v.Strings, places)
	case Bytes:
		v.Bytes = gather(v.Bytes, places)
	case Int64, Time:
		v.Ints = gather(v.Ints, places)
	case Uint64:
		v.Uints = gather(v.Uints, places)
	case Bool:
		v.Bools = gather(v.Bools, places)
	case Strings:
		v.StringLists = gather(v.StringLists, places)
	case Int64s:
		v.IntLists = gather(v.IntLists, places)
	}
}

func gather[T any](from []T, places []place) []T {
	to := make([]T, len(places))
	for i := range places {
		to[i] = from[places[i].row]
	}
	return to
}
