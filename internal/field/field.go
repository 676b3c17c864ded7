// Package field reads the definition of an event's fields once at start: their protobuf options (field.proto), and the place of each field in its Go struct.
// Code compiled from it works on every event without reflection, as protobuf's own decoder does.
package field

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Kind is the Go type of a field.
type Kind uint8

// The kinds of fields.
const (
	Text  Kind = iota + 1 // string
	Texts                 // []string
	Bytes                 // []byte
	Int                   // int64
	Uint                  // uint64
	Count                 // uint32
	Enum                  // of type int32
	Bool                  // bool
	One                   // a pointer to another message
	Many                  // a slice of pointers to another message
)

// Field is one field of a message.
type Field struct {
	*Options
	Name    string
	Kind    Kind
	Told    *Field   // notes that the value was told; nil where no field does
	Message *Message // of the kinds One and Many
	Values  []string // of an Enum: the JSON names by number, the first one empty

	number protoreflect.FieldNumber
	offset uintptr
}

// Message is a protobuf message by its defined fields, in the order of their numbers.
type Message struct {
	Name   string
	Fields []*Field

	of reflect.Type
}

// At is the field in a message, which must be one of the Field's own Message. T must be the Go type of the Kind.
func At[T any](f *Field, message unsafe.Pointer) *T { return (*T)(unsafe.Add(message, f.offset)) }

// New is an empty message.
func (m *Message) New() unsafe.Pointer { return reflect.New(m.of).UnsafePointer() }

// Field finds a field by its name.
func (m *Message) Field(name string) *Field {
	for _, f := range m.Fields {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Word is the JSON name of an Enum's number, empty where it has none.
func (f *Field) Word(number int32) string {
	if number < 0 || int(number) >= len(f.Values) {
		return ""
	}
	return f.Values[number]
}

// Leaf is a field that holds a value, under the path by which the register and the map of a replay know it: "device.mac".
type Leaf struct {
	*Field
	Path  string
	Group *Field // that the field lies in; nil at the top
}

// Leaves are the fields that hold values. A message is replaced by its own fields.
func (m *Message) Leaves() []Leaf {
	var all []Leaf
	for _, f := range m.Fields {
		if f.Message == nil {
			all = append(all, Leaf{Field: f, Path: f.Name})
			continue
		}
		for _, inner := range f.Message.Fields {
			all = append(all, Leaf{Field: inner, Path: f.Name + "." + inner.Name, Group: f})
		}
	}
	return all
}

// Of reads the definition of a message. A field without options is none. It panics on a Go type that no Kind is for: that is found at the first start.
func Of(m proto.Message) *Message { return read(m.ProtoReflect().Type()) }

func read(t protoreflect.MessageType) *Message {
	d := t.Descriptor()
	m := &Message{Name: string(d.Name()), of: reflect.TypeOf(t.Zero().Interface()).Elem()}
	fields := d.Fields()
	for i := range fields.Len() {
		if fd := fields.Get(i); proto.HasExtension(fd.Options(), E_Is) {
			m.Fields = append(m.Fields, m.field(t, fd))
		}
	}
	slices.SortFunc(m.Fields, func(a, b *Field) int { return cmp.Compare(a.number, b.number) })
	return m
}

func (m *Message) field(t protoreflect.MessageType, fd protoreflect.FieldDescriptor) *Field {
	f := &Field{Options: &Options{}, Name: string(fd.Name()), number: fd.Number()}
	if is, ok := proto.GetExtension(fd.Options(), E_Is).(*Options); ok {
		f.Options = is
	}
	var goType reflect.Type
	f.offset, goType = place(m.of, fd)
	f.Kind = kindOf(fd, goType)
	switch f.Kind {
	case One:
		f.Message = read(t.Zero().NewField(fd).Message().Type())
	case Many:
		f.Message = read(t.Zero().NewField(fd).List().NewElement().Message().Type())
	case Enum:
		f.Values = values(fd.Enum().Values())
	}
	if name := f.GetTold(); name != "" {
		told := fd.ContainingMessage().Fields().ByName(protoreflect.Name(name))
		f.Told = m.field(t, told)
	}
	return f
}

// place finds a protobuf field in its Go struct, by the tag that protoc-gen-go gives it.
func place(of reflect.Type, fd protoreflect.FieldDescriptor) (uintptr, reflect.Type) {
	for i := range of.NumField() {
		f := of.Field(i)
		if slices.Contains(strings.Split(f.Tag.Get("protobuf"), ","), "name="+string(fd.Name())) {
			return f.Offset, f.Type
		}
	}
	panic(fmt.Sprintf("field: %s has no Go field", fd.FullName()))
}

// kindOf is the kind of a Go type: exactly the type that At is asked for.
func kindOf(fd protoreflect.FieldDescriptor, t reflect.Type) Kind {
	isMessage := fd.Kind() == protoreflect.MessageKind
	switch {
	case t == reflect.TypeFor[string]():
		return Text
	case t == reflect.TypeFor[[]string]():
		return Texts
	case t == reflect.TypeFor[[]byte]():
		return Bytes
	case t == reflect.TypeFor[int64]():
		return Int
	case t == reflect.TypeFor[uint64]():
		return Uint
	case t == reflect.TypeFor[uint32]():
		return Count
	case t == reflect.TypeFor[bool]():
		return Bool
	case fd.Kind() == protoreflect.EnumKind && t.Kind() == reflect.Int32:
		return Enum
	case isMessage && t.Kind() == reflect.Pointer:
		return One
	case isMessage && t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Pointer:
		return Many
	}
	panic(fmt.Sprintf("field: %s: no kind for %s", fd.FullName(), t))
}

// values are the JSON names of an enum, by number.
func values(of protoreflect.EnumValueDescriptors) []string {
	names := make([]string, of.Len())
	for i := range names {
		if v := of.Get(i); v.Number() != 0 {
			names[v.Number()] = strings.ToLower(string(v.Name()))
		}
	}
	return names
}

// Pool gives out empty messages, and the same ones again after a Reset. The messages of a chunk lie side by side.
type Pool struct {
	Of *Message

	chunks []reflect.Value // of Go slices
	used   int
}

const perChunk = 64

// New is an empty message, until the next Reset.
func (p *Pool) New() unsafe.Pointer {
	chunk, place := p.used/perChunk, p.used%perChunk
	if chunk == len(p.chunks) {
		p.chunks = append(p.chunks, reflect.MakeSlice(reflect.SliceOf(p.Of.of), perChunk, perChunk))
	}
	p.used++
	return unsafe.Add(p.chunks[chunk].UnsafePointer(), uintptr(place)*p.Of.of.Size())
}

// Reset ends the life of all messages. It keeps memory for about this many.
func (p *Pool) Reset(keep int) {
	if chunks := (keep + perChunk - 1) / perChunk; len(p.chunks) > chunks {
		clear(p.chunks[chunks:])
		p.chunks = p.chunks[:chunks]
	}
	for _, chunk := range p.chunks {
		if p.used <= 0 {
			break
		}
		chunk.Slice(0, min(p.used, perChunk)).Clear()
		p.used -= perChunk
	}
	p.used = 0
}
