package ingest

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"sluice/ingest/eventpb"
	"sluice/internal/field"
	"sluice/internal/vocab"
)

// Decode reads one JSON event: strict JSON, strict types; null is the same as absent. An unknown field, or an order that the type does not take, is set aside
// with a warning, at most 32 an event. With a fault, the event holds what could be read, or is nil where data is no object. data is not kept.
func Decode(data []byte) (ev *Event, warnings []Warning, fault *Fault) {
	d := newDecoder(string(data))
	defer d.free()
	return d.event(true)
}

// event reads the event at hand, which is all there is if it is alone.
func (d *decoder) event(alone bool) (*Event, []Warning, *Fault) {
	if d.next() != '{' {
		return nil, nil, d.notObject(detailEvent, alone)
	}
	into := d.message(Fields)
	ev := (*Event)(into)
	told := d.object(eventMembers, into)
	size := d.at
	if alone {
		d.end()
		size = len(d.src)
	}
	if d.unclear {
		d.denyUnclear(ev)
	}
	if ev.Order != nil && ev.Type != vocab.Type_TYPE_UNSPECIFIED && !TakesOrder(ev.Type) {
		ev.Order = nil
		d.warn(Warning{Code: WarnOrderNotTaken, Pointer: "/order", Detail: "this type takes no order; it was set aside"})
	}
	switch {
	case size > MaxEvent:
		d.fault = &Fault{Code: CodeTooLarge, Detail: detailEventSize}
	case d.fault == nil && told&timeBit == 0:
		d.fault = &Fault{Code: CodeMissingField, Pointer: "/time", Detail: detailTime}
	case d.fault == nil:
		d.fault = Validate(ev)
	}
	return ev, d.warnings, d.fault
}

// timeBit says that the event has a time. The value alone does not say so: 0 is a time, too.
var timeBit = uint32(1) << slices.Index(Fields.Fields, Fields.Field("time"))

// Decoder decodes the events of a request one after the other. They live in its memory, and their strings lie in what was decoded, until Reset.
type Decoder struct{ decoder }

// Decode is the function Decode for data that does not change before Reset.
func (d *Decoder) Decode(data []byte) (ev *Event, warnings []Warning, fault *Fault) {
	d.begin(data)
	return d.event(true)
}

// Next is Decode for the event at the beginning of data, where more may follow. It tells how much of data the event is: 0 if it is no JSON.
func (d *Decoder) Next(data []byte) (ev *Event, warnings []Warning, fault *Fault, size int) {
	d.begin(data)
	ev, warnings, fault = d.event(false)
	if d.broken {
		return ev, warnings, fault, 0
	}
	return ev, warnings, fault, d.at
}

func (d *Decoder) begin(data []byte) {
	d.scanner = scanner{src: unsafe.String(unsafe.SliceData(data), len(data))}
	d.depth, d.fault, d.warnings, d.broken, d.again, d.strict, d.unclear = 0, nil, nil, false, true, false, false
}

// maxKept is how many messages of a kind a Decoder keeps for the next request.
const maxKept = 1024

// Reset ends the life of all events that the Decoder has given.
func (d *Decoder) Reset() {
	for i := range d.spare {
		d.spare[i].Reset(maxKept)
	}
	clear(d.pointers)
	d.pointers = d.pointers[:0]
	if cap(d.pointers) > maxKept {
		d.pointers = nil
	}
	d.decoder = decoder{spare: d.spare, pointers: d.pointers}
}

// decoder reads one document. It notes a fault and goes on behind it, so that it reads as much as possible. Broken JSON ends it.
type decoder struct {
	scanner

	path     [4]step // where the value at hand stands, from 1
	depth    int
	fault    *Fault
	warnings []Warning
	broken   bool
	strict   bool // within what restricts: an unknown member may be a restriction
	unclear  bool // what restricts could not be read as a whole

	pointers []unsafe.Pointer // what slices of messages are made of
	again    bool             // messages come from spare
	spare    []*field.Pool
}

// message is an empty message.
func (d *decoder) message(m *field.Message) unsafe.Pointer {
	if !d.again {
		return m.New()
	}
	for _, pool := range d.spare {
		if pool.Of == m {
			return pool.New()
		}
	}
	d.spare = append(d.spare, &field.Pool{Of: m})
	return d.spare[len(d.spare)-1].New()
}

// step is one reference token of a pointer: a name, or an index where the name is empty.
type step struct {
	name  string
	index int
}

const maxWarnings = 32

// token makes a reference token of a name (RFC 6901).
var token = strings.NewReplacer("~", "~0", "/", "~1")

var decoders = sync.Pool{New: func() any { return new(decoder) }}

func newDecoder(src string) *decoder {
	d := decoders.Get().(*decoder) //nolint:forcetypeassert // the pool's New makes nothing else
	d.src = src
	return d
}

func (d *decoder) free() {
	*d = decoder{}
	decoders.Put(d)
}

// notObject is the fault of what is not an object.
func (d *decoder) notObject(expected string, alone bool) *Fault {
	d.broken = d.skip() == stateBroken
	if d.broken || alone && !d.over() {
		return &Fault{Code: CodeBrokenJSON, Detail: expected}
	}
	return &Fault{Code: CodeInvalidType, Detail: expected}
}

// document reads an object that is all there is.
func (d *decoder) document(members []member, into unsafe.Pointer) (told uint32) {
	told = d.object(members, into)
	d.end()
	return told
}

// end sees to it that nothing follows.
func (d *decoder) end() {
	if !d.broken && !d.over() {
		d.breakOff()
	}
}

// over tells whether nothing but space follows.
func (d *decoder) over() bool {
	d.next()
	return d.at == len(d.src)
}

// object reads the members of the object at hand, and tells which of them had a value.
func (d *decoder) object(members []member, into unsafe.Pointer) (told uint32) {
	d.at++ // the brace
	d.depth++
	var seen uint32
	var others unknown
	i := 0
	for more := d.next() != '}'; more && !d.broken; more = d.more('}') {
		at := d.known(members, i)
		if at < 0 {
			name, ok := d.name()
			if !ok {
				return told
			}
			if at = find(members, name, i); at < 0 {
				i = 0
				d.setAside(name, &others)
				continue
			}
		}
		d.path[d.depth] = step{name: members[at].name}
		bit := uint32(1) << at
		switch {
		case seen&bit == 0:
		case members[at].restricts:
			d.unclear = true
		default:
			d.fail(CodeDuplicateName, detailDuplicate)
		}
		seen |= bit
		if members[at].read(d, into) {
			told |= bit
		}
		i = at + 1
	}
	d.depth--
	d.shut('}')
	return told
}

// known passes the name and the colon of a known member, if the name is written without escapes. It looks from the place after the last one on, since clients write
// their fields in one order.
func (d *decoder) known(members []member, from int) int {
	rest := d.src[d.at:]
	for range members {
		if from >= len(members) {
			from = 0
		}
		if key := members[from].key; len(rest) >= len(key) && rest[1] == key[1] && rest[:len(key)] == key {
			d.at += len(key)
			return from
		}
		from++
	}
	return -1
}

// find looks for a name that was not written plainly.
func find(members []member, name string, from int) int {
	for range members {
		if from >= len(members) {
			from = 0
		}
		if members[from].name == name {
			return from
		}
		from++
	}
	return -1
}

// name reads a member's name and the colon.
func (d *decoder) name() (string, bool) {
	if d.next() != '"' {
		d.breakOff()
		return "", false
	}
	name, st := d.str()
	if st == stateBroken || d.next() != ':' {
		d.breakOff()
		return "", false
	}
	if st == stateUTF8 {
		d.depth--
		d.fail(CodeInvalidUTF8, detailUTF8)
		d.depth++
	}
	d.at++
	return name, true
}

// unknown are the names of an object's unknown members: a list while they are few, which is nearly always.
type unknown struct {
	few  []string
	many map[string]struct{}
}

// add notes a name and tells whether it was new.
func (u *unknown) add(name string) bool {
	if u.many == nil {
		for _, n := range u.few {
			if n == name {
				return false
			}
		}
		if u.few = append(u.few, name); len(u.few) < 16 {
			return true
		}
		u.many = make(map[string]struct{}, 64)
		for _, n := range u.few {
			u.many[n] = struct{}{}
		}
		return true
	}
	_, known := u.many[name]
	u.many[name] = struct{}{}
	return !known
}

// setAside passes over an unknown member. A fault in it points to the object that holds it, and not to the name, which may be somebody's data.
func (d *decoder) setAside(name string, others *unknown) {
	d.depth--
	defer func() { d.depth++ }()
	if !others.add(name) {
		d.fail(CodeDuplicateName, detailDuplicate)
	}
	d.pass()
	d.unclear = d.unclear || d.strict || restrictive(name)
	if len(d.warnings) < maxWarnings {
		d.warn(Warning{Code: WarnUnknownField, Pointer: d.pointer() + "/" + token.Replace(name), Detail: "this field is not known; it was set aside"})
	}
}

// restrictive tells whether an unknown member is one that restricts, but for its case.
func restrictive(name string) bool {
	return len(name) == len("consent") && strings.EqualFold(name, "consent")
}

// denyUnclear denies all that can be denied. What the event says of consent could not be read, and it may have said that.
func (d *decoder) denyUnclear(ev *Event) {
	if ev.Consent == nil {
		ev.Consent = new(eventpb.Consent)
	}
	ev.Consent.Denied = append(ev.Consent.Denied, DenyAll)
	d.warn(Warning{Code: WarnConsentUnclear, Pointer: "/consent", Detail: detailUnclear})
}

func (d *decoder) warn(w Warning) {
	if len(d.warnings) < maxWarnings {
		d.warnings = append(d.warnings, w)
	}
}

// array calls each with every element of the array at hand.
func (d *decoder) array(each func(d *decoder)) {
	d.at++ // the bracket
	d.depth++
	i := 0
	for more := d.next() != ']'; more && !d.broken; more = d.more(']') {
		d.path[d.depth] = step{index: i}
		each(d)
		i++
	}
	d.depth--
	d.shut(']')
}

// more goes on to the next member or element, and tells whether there is one.
func (d *decoder) more(end byte) bool {
	if d.broken {
		return false
	}
	switch d.next() {
	case ',':
		d.at++
		if d.next() != end {
			return true
		}
		d.breakOff()
	case end:
	default:
		d.breakOff()
	}
	return false
}

// shut passes the closing bracket, which more has seen.
func (d *decoder) shut(end byte) {
	if !d.broken && d.next() == end {
		d.at++
	}
}

// pass goes over a value that is not wanted.
func (d *decoder) pass() {
	switch d.skip() {
	case stateBroken:
		d.breakOff()
	case stateUTF8:
		d.fail(CodeInvalidUTF8, detailUTF8)
	case stateDuplicate:
		d.fail(CodeDuplicateName, detailDuplicate)
	case stateGood:
	}
}

// breakOff ends the reading, since nothing tells where the next value begins.
func (d *decoder) breakOff() {
	d.broken = true
	d.fault = &Fault{Code: CodeBrokenJSON, Detail: detailJSON}
}

// fail notes a fault of the value at hand. The first one counts.
func (d *decoder) fail(code, detail string) {
	if d.fault == nil {
		d.fault = &Fault{Code: code, Pointer: d.pointer(), Detail: detail}
	}
}

// wrongType notes that the value at hand is of another type, and passes over it.
func (d *decoder) wrongType(detail string) {
	d.fail(CodeInvalidType, detail)
	d.pass()
}

// pointer is the RFC 6901 pointer of the value at hand.
func (d *decoder) pointer() string {
	var b strings.Builder
	for _, s := range d.path[1 : d.depth+1] {
		b.WriteByte('/')
		if s.name != "" {
			b.WriteString(s.name)
		} else {
			b.WriteString(strconv.Itoa(s.index))
		}
	}
	return b.String()
}

// opens tells whether the value at hand begins with c. Null is absent; anything else is passed over, as a fault.
func (d *decoder) opens(c byte, detail string) bool {
	switch d.next() {
	case c:
		return true
	case 'n':
		if d.word("null") {
			return false
		}
	}
	d.wrongType(detail)
	return false
}

// text reads a string.
func (d *decoder) text(into *string) bool {
	if !d.opens('"', detailString) {
		return false
	}
	s, st := d.str()
	switch st {
	case stateGood:
		*into = s
		return true
	case stateUTF8:
		d.fail(CodeInvalidUTF8, detailUTF8)
	default:
		d.breakOff()
	}
	return false
}

// time reads an RFC 3339 time.
func (d *decoder) time(into *int64) bool {
	var s string
	if !d.opens('"', detailTime) || !d.text(&s) {
		return false
	}
	t, ok := parseTime(s)
	if !ok {
		d.fail(CodeInvalidValue, detailTime)
		return false
	}
	*into = t
	return true
}

// money reads a decimal string or a number.
func (d *decoder) money(into *int64) bool {
	var text string
	if d.next() == '"' {
		if !d.text(&text) {
			return false
		}
		inner := scanner{src: text}
		if n, ok := inner.number(); !ok || len(n) != len(text) || strings.ContainsAny(text, "eE") {
			d.fail(CodeInvalidValue, detailMoney)
			return false
		}
	} else if !d.numeral(&text, detailMoney) {
		return false
	}
	micros, _, ok := parseDecimal(text)
	if !ok {
		d.fail(CodeInvalidValue, detailMoney)
		return false
	}
	*into = micros
	return true
}

// numeral reads a number as it is written.
func (d *decoder) numeral(into *string, detail string) bool {
	c := d.next()
	if c != '-' && !isDigit(c) {
		return d.opens('-', detail)
	}
	n, ok := d.number()
	if !ok {
		d.breakOff()
	}
	*into = n
	return ok
}

// decimal reads a number from 0.
func (d *decoder) decimal(into *int64) bool {
	if !d.money(into) {
		return false
	}
	if *into < 0 {
		*into = 0
		d.fail(CodeInvalidValue, detailDecimal)
		return false
	}
	return true
}

// count reads a whole number from 0.
func (d *decoder) count(into *uint32) bool {
	var text string
	if !d.numeral(&text, detailCount) {
		return false
	}
	micros, exact, ok := parseDecimal(text)
	if n := micros / 1_000_000; ok && exact && n*1_000_000 == micros && n >= 0 && n <= 1<<32-1 {
		*into = uint32(n)
		return true
	}
	d.fail(CodeInvalidValue, detailCount)
	return false
}

func (d *decoder) boolean(into *bool) bool {
	switch c := d.next(); {
	case c == 't' && d.word("true"):
		*into = true
	case c == 'f' && d.word("false"):
		*into = false
	case c == 'n' && d.word("null"):
		return false
	default:
		d.wrongType(detailBool)
		return false
	}
	return true
}

// strings reads an array of strings.
func (d *decoder) strings(into *[]string) bool {
	if !d.opens('[', detailStrings) {
		return false
	}
	*into = nil
	d.array(func(d *decoder) {
		if d.next() != '"' {
			d.wrongType(detailString)
			return
		}
		var s string
		if d.text(&s) {
			*into = append(*into, s)
		}
	})
	return true
}
