package tables

import (
	"unsafe"

	"sluice/internal/field"
	"sluice/internal/vocab"
	"sluice/internal/warehouse"
	"sluice/privacyfilter"
)

// shape is a purpose's type as columns of a table, compiled from the type's definition. Each field is a column, in the order of the fields' numbers. Order
// lines are lists.
type shape struct {
	columns []warehouse.Column
	puts    []func(b *warehouse.Batch, event unsafe.Pointer) // the columns' values, in their order
	ids     []*field.Field
}

func shapeOf(purpose string) *shape {
	s := new(shape)
	for _, f := range privacyfilter.Type(purpose).Fields {
		if f.Kind == field.Many {
			s.columns = append(s.columns, itemColumns...)
		} else {
			s.columns = append(s.columns, warehouse.Column{Name: f.Name, Kind: kindOf(f), Doc: f.Doc})
		}
		if s.puts = append(s.puts, putterOf(f)); f.Kind == field.Bytes {
			s.ids = append(s.ids, f)
		}
	}
	return s
}

// column is one of the shape's columns, for another table of the same purpose.
func (s *shape) column(name string) warehouse.Column {
	for _, c := range s.columns {
		if c.Name == name {
			return c
		}
	}
	panic("tables: no column " + name)
}

func kindOf(f *field.Field) warehouse.Kind {
	switch f.Kind {
	case field.Bytes:
		return warehouse.Bytes
	case field.Text, field.Enum:
		return warehouse.String
	case field.Bool:
		return warehouse.Bool
	case field.Uint:
		return warehouse.Uint64
	case field.Texts:
		return warehouse.Strings
	}
	if f.Form == field.Form_TIME {
		return warehouse.Time
	}
	return warehouse.Int64
}

// putterOf appends a field's value to the row under way.
func putterOf(f *field.Field) func(b *warehouse.Batch, event unsafe.Pointer) {
	switch f.Kind {
	case field.Bytes:
		return func(b *warehouse.Batch, event unsafe.Pointer) { b.Bytes(*field.At[[]byte](f, event)) }
	case field.Text:
		return func(b *warehouse.Batch, event unsafe.Pointer) { b.String(*field.At[string](f, event)) }
	case field.Enum:
		return func(b *warehouse.Batch, event unsafe.Pointer) { b.String(f.Word(*field.At[int32](f, event))) }
	case field.Int:
		return func(b *warehouse.Batch, event unsafe.Pointer) { b.Int(*field.At[int64](f, event)) }
	case field.Count:
		return func(b *warehouse.Batch, event unsafe.Pointer) { b.Int(int64(*field.At[uint32](f, event))) }
	case field.Uint:
		return func(b *warehouse.Batch, event unsafe.Pointer) { b.Uint(*field.At[uint64](f, event)) }
	case field.Bool:
		return func(b *warehouse.Batch, event unsafe.Pointer) { b.Bool(*field.At[bool](f, event)) }
	case field.Texts:
		return func(b *warehouse.Batch, event unsafe.Pointer) {
			for _, text := range *field.At[[]string](f, event) {
				b.AddString(text)
			}
			b.EndList()
		}
	case field.Many:
		return func(b *warehouse.Batch, event unsafe.Pointer) { putItems(b, *field.At[[]*vocab.Item](f, event)) }
	}
	panic("tables: no column for " + f.Name)
}

// put appends an event as a row.
func (s *shape) put(b *warehouse.Batch, event unsafe.Pointer) error {
	for _, put := range s.puts {
		put(b, event)
	}
	return b.End()
}

// idSize is what most pseudonyms and floors have room in.
const idSize = 16

// lend points the pseudonyms of an empty event at parts of the buffer, so that decoding into them allocates nothing. What is longer gets memory of its own.
func (s *shape) lend(buffer []byte, event unsafe.Pointer) {
	for i, f := range s.ids {
		if end := (i + 1) * idSize; end <= len(buffer) {
			*field.At[[]byte](f, event) = buffer[end-idSize : end-idSize : end]
		}
	}
}
