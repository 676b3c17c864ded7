package warehouse

import (
	"bytes"
	"cmp"
	"slices"
	"unsafe"
)

// Values are the values of a column, or of a part of its rows. No value has a pointer of its own: for the garbage collector a block of a hundred thousand rows
// is a few slices.
type Values struct {
	kind  Kind
	data  []byte   // String, Bytes, Strings: the bytes of all texts, one after another
	ends  []uint32 // where each text ends in data
	ints  []int64  // Int64, Time, Int64s; Uint64 bit by bit
	bools []bool
	lists []uint32 // Strings, Int64s: how many elements there are up to the end of each row's list
}

// Kind is the column's.
func (v *Values) Kind() Kind { return v.kind }

// Text is a row's value in a column of kind String or Bytes, and an element of one of kind Strings. It is part of the column: good until that is cut.
func (v *Values) Text(i int) []byte {
	from := uint32(0)
	if i > 0 {
		from = v.ends[i-1]
	}
	to := v.ends[i]
	return v.data[from:to:to]
}

// String is a text that is part of the column, as Text is.
func (v *Values) String(i int) string {
	text := v.Text(i)
	return unsafe.String(unsafe.SliceData(text), len(text))
}

// Int is a row's value in a column of kind Int64 or Time, and an element of one of kind Int64s.
func (v *Values) Int(i int) int64 { return v.ints[i] }

// Uint is a row's value in a column of kind Uint64.
func (v *Values) Uint(i int) uint64 { return uint64(v.ints[i]) }

// Bool is a row's value in a column of kind Bool.
func (v *Values) Bool(i int) bool { return v.bools[i] }

// Blank tells whether no row has a text or an element: what most columns of most events are.
func (v *Values) Blank() bool {
	switch v.kind {
	case String, Bytes:
		return len(v.data) == 0
	case Strings, Int64s:
		return v.elements() == 0
	default:
		return false
	}
}

// List tells which elements are a row's list: from up to but not including to.
func (v *Values) List(row int) (from, to int) {
	if row > 0 {
		from = int(v.lists[row-1])
	}
	return from, int(v.lists[row])
}

// Strings is a copy of a row's list of texts.
func (v *Values) Strings(row int) []string {
	from, to := v.List(row)
	list := make([]string, 0, to-from)
	for i := from; i < to; i++ {
		list = append(list, string(v.Text(i)))
	}
	return list
}

// Ints is a row's list of numbers, part of the column.
func (v *Values) Ints(row int) []int64 {
	from, to := v.List(row)
	return v.ints[from:to:to]
}

// AppendText adds a text, which is copied: a value of a column of kind String or Bytes, an element of one of kind Strings.
func (v *Values) AppendText(text []byte) {
	v.data = append(v.data, text...)
	v.ends = append(v.ends, uint32(len(v.data)))
}

// AppendString is AppendText for a string.
func (v *Values) AppendString(text string) {
	v.data = append(v.data, text...)
	v.ends = append(v.ends, uint32(len(v.data)))
}

// AppendInt adds a value of a column of kind Int64, Time or Uint64, or an element of one of kind Int64s.
func (v *Values) AppendInt(n int64) { v.ints = append(v.ints, n) }

// AppendBool adds a value of a column of kind Bool.
func (v *Values) AppendBool(is bool) { v.bools = append(v.bools, is) }

// EndList makes the elements that were added since the last list one row's.
func (v *Values) EndList() { v.lists = append(v.lists, uint32(v.elements())) }

// elements counts texts or numbers.
func (v *Values) elements() int {
	if v.kind == Int64s {
		return len(v.ints)
	}
	return len(v.ends)
}

// AppendZeros adds n rows that say nothing.
func (v *Values) AppendZeros(n int) {
	for range n {
		switch v.kind {
		case String, Bytes:
			v.AppendText(nil)
		case Bool:
			v.AppendBool(false)
		case Strings, Int64s:
			v.EndList()
		default:
			v.AppendInt(0)
		}
	}
}

// AppendRow copies a row of a column of the same kind.
func (v *Values) AppendRow(from *Values, row int) {
	switch v.kind {
	case String, Bytes:
		v.AppendText(from.Text(row))
	case Bool:
		v.bools = append(v.bools, from.bools[row])
	case Strings:
		i, j := from.List(row)
		for ; i < j; i++ {
			v.AppendText(from.Text(i))
		}
		v.EndList()
	case Int64s:
		v.ints = append(v.ints, from.Ints(row)...)
		v.EndList()
	default:
		v.ints = append(v.ints, from.ints[row])
	}
}

// rows counts the rows, without the elements of a list that has not ended.
func (v *Values) rows() int {
	switch v.kind {
	case String, Bytes:
		return len(v.ends)
	case Bool:
		return len(v.bools)
	case Strings, Int64s:
		return len(v.lists)
	default:
		return len(v.ints)
	}
}

// cut keeps the first n rows.
func (v *Values) cut(n int) {
	switch v.kind {
	case Bool:
		v.bools = v.bools[:n]
		return
	case Strings, Int64s:
		v.lists = v.lists[:n]
		if n > 0 {
			n = int(v.lists[n-1])
		}
	}
	switch v.kind {
	case String, Bytes, Strings:
		v.ends = v.ends[:n]
		size := uint32(0)
		if n > 0 {
			size = v.ends[n-1]
		}
		v.data = v.data[:size]
	default:
		v.ints = v.ints[:n]
	}
}

// memory is what the column takes, room for further values included.
func (v *Values) memory() int {
	return cap(v.data) + 4*cap(v.ends) + 8*cap(v.ints) + cap(v.bools) + 4*cap(v.lists)
}

// used is how much of its memory holds values.
func (v *Values) used() int {
	return len(v.data) + 4*len(v.ends) + 8*len(v.ints) + len(v.bools) + 4*len(v.lists)
}

// grow makes room for n rows.
func (v *Values) grow(n int) {
	switch v.kind {
	case String, Bytes:
		v.ends = slices.Grow(v.ends, n)
	case Bool:
		v.bools = slices.Grow(v.bools, n)
	case Strings, Int64s:
		v.lists = slices.Grow(v.lists, n)
	default:
		v.ints = slices.Grow(v.ints, n)
	}
}

// compare orders a row and one of another column of the same kind.
func (v *Values) compare(row int, other *Values, otherRow int) int {
	switch v.kind {
	case String, Bytes:
		return bytes.Compare(v.Text(row), other.Text(otherRow))
	case Uint64:
		return cmp.Compare(v.Uint(row), other.Uint(otherRow))
	case Bool:
		return compareBools(v.bools[row], other.bools[otherRow])
	case Strings:
		return slices.Compare(v.Strings(row), other.Strings(otherRow))
	case Int64s:
		return slices.Compare(v.Ints(row), other.Ints(otherRow))
	default:
		return cmp.Compare(v.ints[row], other.ints[otherRow])
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
