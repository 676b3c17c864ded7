package privacyfilter

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"sluice/privacyfilter/purposepb"
)

// A row of consent is written in two parts, since people differ in little but the time: its shape (policy, jurisdiction, choices, what holds), which many share,
// and the person's own (places in the log, times). Whoever decides looks the shape up, compiled, and reads a few numbers:
//
//	length ‖ shape ‖ revision ‖ grants ‖ numbers of blocks ‖ newest restrictions
//	shape = incarnation ‖ policy ‖ jurisdiction ‖ (purpose ‖ flags ‖ reason ‖ number of the grant, 0 = none)*

// Grant is where and when an uninterrupted allow began.
type Grant struct {
	Floor Revision
	Time  int64 // Unix microseconds
}

// words are written as their number, from 1. A number stands for its word for ever.
var words = [...]string{
	History, Trending, Personalize, Risk, BecausePolicyNotAccepted, BecausePolicySuperseded, BecauseChoice, BecauseDefault, BecauseGPC, BecauseDevice, BecauseAccount,
	BecauseUnregistered, "marketing.first_party", "marketing.third_party", "marketing.sms", "marketing.push", "CN", "EU", "US",
}

// Flags of a purpose's state, above the two bits of the choice.
const (
	flagAllow    = 1 << 2
	flagImported = 1 << 3
	choiceBits   = 3
)

const maxGrants = 1 << 16 // of a row; a purpose has one at most

// AppendRow writes a row. Equal rows are equal bytes.
func AppendRow(b []byte, row *purposepb.ConsentRow) []byte {
	shape, grants := appendShape(make([]byte, 0, 128), row)
	b = binary.AppendUvarint(b, uint64(len(shape)))
	b = append(b, shape...)
	b = appendRevision(b, row.Revision)
	b = binary.AppendUvarint(b, uint64(len(grants)))
	for _, g := range grants {
		b = binary.AppendVarint(appendRevision(b, g.Floor.PB()), g.Time)
	}
	b = binary.AppendUvarint(b, uint64(row.BlockedItems))
	b = binary.AppendUvarint(b, uint64(row.BlockedCategories))
	b = appendRevision(b, row.PolicyAt)
	for _, s := range row.Purposes {
		b = appendRevision(b, s.Denied)
	}
	return b
}

func appendShape(b []byte, row *purposepb.ConsentRow) (shape []byte, grants []Grant) {
	b = binary.AppendUvarint(b, uint64(row.Incarnation))
	b = appendWord(b, row.PolicyVersion)
	b = appendWord(b, row.Jurisdiction)
	for _, s := range row.Purposes {
		b = appendWord(b, s.Purpose)
		flags := byte(s.Choice) & choiceBits
		if s.Allow {
			flags |= flagAllow
		}
		if s.Imported {
			flags |= flagImported
		}
		b = appendWord(append(b, flags), s.Because)
		number := 0
		if g := (Grant{RevisionFromPB(s.Floor), s.FloorTime}); g != (Grant{}) {
			if number = slices.Index(grants, g) + 1; number == 0 {
				grants = append(grants, g)
				number = len(grants)
			}
		}
		b = binary.AppendUvarint(b, uint64(number))
	}
	return b, grants
}

func appendWord(b []byte, word string) []byte {
	if i := slices.Index(words[:], word); i >= 0 {
		return binary.AppendUvarint(b, uint64(i+1))
	}
	return appendText(append(b, 0), word)
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendTexts(b []byte, texts []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(texts)))
	for _, text := range texts {
		b = appendText(b, text)
	}
	return b
}

// appendRevision writes a single zero byte for none: generations count from 1.
func appendRevision(b []byte, r *purposepb.Revision) []byte {
	if r.GetGeneration() == 0 {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(r.Generation))
	b = binary.AppendUvarint(b, uint64(uint32(r.Partition)))
	return binary.AppendUvarint(b, uint64(r.Offset))
}

var errRow = errors.New("a row of consent must be as this version writes it")

// rowReader reads a row's parts one after the other. After the first that cannot be read there is nothing but zeros.
type rowReader struct {
	data   []byte
	broken bool
}

func (r *rowReader) fail() { r.data, r.broken = nil, true }

func (r *rowReader) number() uint64 {
	if len(r.data) > 0 && r.data[0] < 0x80 {
		v := r.data[0]
		r.data = r.data[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *rowReader) signed() int64 {
	v := r.number() // zigzag, as binary.AppendVarint writes it
	return int64(v>>1) ^ -int64(v&1)
}

// bytes reads a length and that many bytes, in the row's own memory.
func (r *rowReader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.data)) {
		r.fail()
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

// count is how many things follow, of at least one byte each.
func (r *rowReader) count() int {
	n := r.number()
	if n > uint64(len(r.data)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *rowReader) word() string {
	n := r.number()
	switch {
	case n == 0:
		return string(r.bytes())
	case n > uint64(len(words)):
		r.fail()
		return ""
	default:
		return words[n-1]
	}
}

func (r *rowReader) texts() []string {
	n := r.count()
	if n == 0 {
		return nil
	}
	all := make([]string, n)
	for i := range all {
		all[i] = string(r.bytes())
	}
	return all
}

func (r *rowReader) revision() Revision {
	generation := r.number()
	if generation > math.MaxUint32 {
		r.fail()
	}
	if generation == 0 || r.broken {
		return Revision{}
	}
	return Revision{Generation: uint32(generation), Partition: int32(r.number()), Offset: int64(r.number())}
}

func (r *rowReader) flag() byte {
	if len(r.data) == 0 {
		r.fail()
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

// shape reads a shape into a row without places and times, and the numbers of its purposes' grants.
func (r *rowReader) shape(row *purposepb.ConsentRow) (grants []int) {
	row.Incarnation, row.PolicyVersion, row.Jurisdiction = uint32(r.number()), r.word(), r.word()
	for len(r.data) > 0 {
		s := &purposepb.PurposeState{Purpose: r.word()}
		flags := r.flag()
		s.Choice, s.Allow, s.Imported = purposepb.Choice(flags&choiceBits), flags&flagAllow != 0, flags&flagImported != 0
		s.Because = r.word()
		row.Purposes, grants = append(row.Purposes, s), append(grants, int(min(r.number(), maxGrants)))
	}
	return grants
}

// ParseRow reads a row whole.
func ParseRow(data []byte) (*purposepb.ConsentRow, error) {
	r, row := &rowReader{data: data}, new(purposepb.ConsentRow)
	shape := &rowReader{data: r.bytes()}
	numbers := shape.shape(row)
	row.Revision = r.revision().PB()
	grants := r.grants(nil)
	for i, n := range numbers {
		switch {
		case n > len(grants):
			return nil, errRow
		case n > 0:
			row.Purposes[i].Floor, row.Purposes[i].FloorTime = grants[n-1].Floor.PB(), grants[n-1].Time
		}
	}
	row.BlockedItems, row.BlockedCategories = r.small(), r.small()
	row.PolicyAt = r.revision().PB()
	for _, s := range row.Purposes {
		s.Denied = r.revision().PB()
	}
	if r.broken || shape.broken || len(r.data) > 0 {
		return nil, errRow
	}
	return row, nil
}

// small is a number of 32 bits.
func (r *rowReader) small() uint32 {
	n := r.number()
	if n > math.MaxUint32 {
		r.fail()
		return 0
	}
	return uint32(n)
}

func (r *rowReader) grants(into []Grant) []Grant {
	for range r.count() {
		into = append(into, Grant{r.revision(), r.signed()})
	}
	return into
}
