package ingest

import (
	"strconv"
	"strings"
	"unsafe"

	"sluice/internal/field"
)

// member is a field of an object and how its value is read into the message that the object becomes.
type member struct {
	name string
	key  string // the name as it mostly stands in JSON: quoted, with its colon
	read func(d *decoder, into unsafe.Pointer) (told bool)

	restricts bool // comes twice: unclear instead of a fault
}

func newMember(name string, read func(d *decoder, into unsafe.Pointer) bool) member {
	return member{name: name, key: strconv.Quote(name) + ":", read: read}
}

// Fields is the definition of an event's fields.
var Fields = field.Of(new(Event))

var eventMembers = membersOf(Fields)

// membersOf compiles the readers of a message's fields.
func membersOf(m *field.Message) []member {
	if len(m.Fields) > 32 {
		panic("ingest: " + m.Name + " has more members than the decoder counts")
	}
	members := make([]member, len(m.Fields))
	for i, f := range m.Fields {
		members[i] = newMember(f.Name, readerOf(f))
		if f.Restricts {
			members[i].restricts, members[i].read = true, leniently(members[i].read)
		}
	}
	return members
}

// leniently reads what restricts: a fault in it makes it unclear, and nothing else. Broken JSON stays broken.
func leniently(read func(d *decoder, into unsafe.Pointer) bool) func(d *decoder, into unsafe.Pointer) bool {
	return func(d *decoder, into unsafe.Pointer) bool {
		before := d.fault
		d.fault, d.strict = nil, true
		told := read(d, into)
		d.strict = false
		if d.broken {
			return told
		}
		d.unclear = d.unclear || d.fault != nil
		d.fault = before
		return told
	}
}

func readerOf(f *field.Field) func(d *decoder, into unsafe.Pointer) bool {
	switch f.Kind {
	case field.Text:
		return func(d *decoder, into unsafe.Pointer) bool { return d.text(field.At[string](f, into)) }
	case field.Texts:
		return func(d *decoder, into unsafe.Pointer) bool { return d.strings(field.At[[]string](f, into)) }
	case field.Count:
		return func(d *decoder, into unsafe.Pointer) bool { return d.count(field.At[uint32](f, into)) }
	case field.Bool:
		return func(d *decoder, into unsafe.Pointer) bool { return d.boolean(field.At[bool](f, into)) }
	case field.Int:
		return numberReader(f)
	case field.Enum:
		return enumReader(f)
	case field.One:
		members := membersOf(f.Message)
		return func(d *decoder, into unsafe.Pointer) bool {
			return d.opens('{', detailObject) && d.nested(f, members, field.At[unsafe.Pointer](f, into))
		}
	case field.Many:
		members := membersOf(f.Message)
		return func(d *decoder, into unsafe.Pointer) bool {
			return d.opens('[', detailItems) && d.lines(f, members, field.At[[]unsafe.Pointer](f, into))
		}
	}
	panic("ingest: no reader for " + f.Name)
}

func numberReader(f *field.Field) func(d *decoder, into unsafe.Pointer) bool {
	switch {
	case f.Form == field.Form_TIME:
		return func(d *decoder, into unsafe.Pointer) bool { return d.time(field.At[int64](f, into)) }
	case f.Form == field.Form_MONEY && f.Told != nil:
		return func(d *decoder, into unsafe.Pointer) bool {
			told := d.money(field.At[int64](f, into))
			*field.At[bool](f.Told, into) = told
			return told
		}
	case f.Form == field.Form_DECIMAL:
		return func(d *decoder, into unsafe.Pointer) bool { return d.decimal(field.At[int64](f, into)) }
	case f.Form == field.Form_MONEY:
		return func(d *decoder, into unsafe.Pointer) bool { return d.money(field.At[int64](f, into)) }
	}
	panic("ingest: no form for " + f.Name)
}

// enumReader reads one of a few words.
func enumReader(f *field.Field) func(d *decoder, into unsafe.Pointer) bool {
	code, detail := "unknown_"+f.Name, detailOf(f)
	numbers := make(map[string]int32, len(f.Values))
	for number, word := range f.Values {
		if word != "" {
			numbers[word] = int32(number)
		}
	}
	return func(d *decoder, into unsafe.Pointer) bool {
		var word string
		if !d.text(&word) {
			return false
		}
		number, known := numbers[word]
		if !known {
			d.fail(code, detail)
		}
		*field.At[int32](f, into) = number
		return known
	}
}

// detailOf says which words are expected of an enum.
func detailOf(f *field.Field) string {
	words := f.Values[1:]
	if last := len(words) - 1; last < 4 {
		return "must be " + strings.Join(words[:last], ", ") + " or " + words[last]
	}
	return "must be one of " + strings.Join(words, ", ")
}

// nested reads an object into a message of its own.
func (d *decoder) nested(f *field.Field, members []member, into *unsafe.Pointer) bool {
	*into = d.message(f.Message)
	d.object(members, *into)
	return true
}

// lines reads an array of objects into messages of their own.
func (d *decoder) lines(f *field.Field, members []member, into *[]unsafe.Pointer) bool {
	from := len(d.pointers)
	d.array(func(d *decoder) {
		if d.next() != '{' {
			d.wrongType(detailObject)
			return
		}
		line := d.message(f.Message)
		d.pointers = append(d.pointers, line)
		d.object(members, line)
	})
	if *into = nil; len(d.pointers) > from {
		*into = d.pointers[from:len(d.pointers):len(d.pointers)]
	}
	return true
}
