package replay

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sluice/ingest"
	"sluice/internal/config"
)

// Mapper turns rows into events. It remembers which rows it has seen, so one Mapper serves a whole run. It is not safe for concurrent use.
type Mapper struct {
	m   *Map
	ops []op

	encoding string // that the file at hand was decoded from, empty for UTF-8

	unclear []int               // columns that say something of consent, and fill no field
	columns int                 // how many columns the operations were bound to
	seen    map[[16]byte]uint32 // hash of an event without its id → how many came before
	arena   []byte              // encoded values of the row at hand
	spans   []span              // one an operation
	event   []byte
}

// op fills one path.
type op struct {
	path     *path
	key      string // `"order_id":`
	column   string // empty for a constant
	index    int    // of the column in the row; -1 = not there
	constant []byte // encoded, nil if the op reads a column
	isID     bool   // the value is the event's id
	values   map[string]string
}

// maxEvent is the size of an event that the server takes.
const maxEvent = 32 << 10

// span is a value in the arena; from = to means that it is absent.
type span struct{ from, to int }

// Mapped is a row that became an event. Event is valid until the next call.
type Mapped struct {
	Event []byte
	About
	Time int64 // Unix microseconds
}

// About is what may be told of a row without its payload: its person, its type and its jurisdiction. Empty where it cannot be read.
type About struct {
	UserID       string `json:"user_id,omitempty"`
	AnonymousID  string `json:"anonymous_id,omitempty"`
	Type         string `json:"type,omitempty"`
	Jurisdiction string `json:"jurisdiction,omitempty"`
}

// NewMapper makes a mapper. Bind it to a file's columns before the first row.
func NewMapper(m *Map) *Mapper {
	return &Mapper{m: m, seen: make(map[[16]byte]uint32)}
}

// Bind looks the map's columns up in a file's. With final set, a mapped column that is not there is an error of the map; else it may still come.
func (mp *Mapper) Bind(file string, columns []string, final bool) error {
	m := mp.m
	mp.ops, mp.columns = mp.ops[:0], len(columns)
	for i := range paths {
		p := &paths[i]
		o := op{path: p, key: `"` + p.field + `":`, index: -1, values: m.values[p.name]}
		constant, isSet := m.set[p.name]
		column, isField := m.fields[p.name]
		switch {
		case isSet && constant == idReference || isField && column == idReference:
			o.isID = true
		case isSet:
			o.constant, _ = m.encode(nil, p, constant) // check has tried it
		case isField:
			o.column, o.index = column, slices.Index(columns, column)
		case p.name != "id":
			continue
		}
		if isField && !o.isID && o.index < 0 && final && m.exact {
			return m.fault("fields", p.name, "column %q is not in %s, which has %s", column, file, strings.Join(columns, ", "))
		}
		mp.ops = append(mp.ops, o)
	}
	mp.spans = make([]span, len(mp.ops))
	mp.unclear = m.unclear(mp.unclear[:0], columns)
	return nil
}

// unclear finds the columns of events as the API takes them that say something of consent in words that no field has. A map of one's own says itself what counts.
func (m *Map) unclear(at []int, columns []string) []int {
	if !m.events {
		return at
	}
	for i, column := range columns {
		name, _, _ := strings.Cut(column, ".")
		_, constant := m.set[column]
		if strings.EqualFold(name, "consent") && m.fields[column] != column && !constant {
			at = append(at, i)
		}
	}
	return at
}

// unread is the fault of a row that says something of consent which cannot be read: it may be a denial, and to drop it would be to use what was denied.
func (mp *Mapper) unread(row []string) *Fault {
	for _, i := range mp.unclear {
		if i < len(row) && row[i] != "" {
			return &Fault{Code: ingest.WarnConsentUnclear, Pointer: "/consent", Detail: "must be consent.revision, consent.denied or consent.gpc; a row is not used if its consent cannot be read"}
		}
	}
	return nil
}

// bind is Bind for an open input.
func (mp *Mapper) bind(name string, file *source) error {
	mp.encoding = file.encoding
	return mp.Bind(name, file.Columns(), !file.growing)
}

// condemn is the map's fault where a number is a time in another unit or layout than the map's; nil where the row may be to blame.
func (mp *Mapper) condemn(place string, row []string, fault *Fault) error {
	if fault.Code != codeTimeUnit {
		return nil
	}
	for i := range mp.ops {
		if o := &mp.ops[i]; o.path.name == "time" && o.index >= 0 && o.index < len(row) && fault.Pointer == o.path.pointer() && len(mp.m.time.fitting(row[o.index])) > 0 {
			return mp.m.fault("time", "", "%s, %v", place, fault)
		}
	}
	return nil
}

// Unmapped lists the columns that the map neither uses nor ignores, in their order.
func (m *Map) Unmapped(columns []string) []string {
	used := make(map[string]bool)
	for column := range maps.Values(m.fields) {
		used[column] = true
	}
	return slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return used[c] || m.ignore[c] })
}

// Map makes the row's event. The error is a *Fault.
func (mp *Mapper) Map(row []string) (Mapped, *Fault) {
	var out Mapped
	mp.arena = mp.arena[:0]
	for i := range mp.ops {
		if fault := mp.evaluate(&mp.ops[i], &mp.spans[i], row, &out); fault != nil {
			out.About = mp.About(row)
			return out, fault
		}
	}
	if fault := mp.unread(row); fault != nil {
		out.About = mp.About(row)
		return out, fault
	}
	if out.Jurisdiction == "" {
		return out, &Fault{Code: "missing_field", Pointer: "/jurisdiction", Detail: "must have a jurisdiction: set it with --set jurisdiction=CN or in the map"}
	}
	id := mp.spans[0] // paths starts with the id
	if id.from == id.to {
		id = mp.derive()
	}
	mp.event = mp.assemble(mp.event[:0], id)
	if len(mp.event) > maxEvent {
		return out, &Fault{Code: "too_large", Detail: "an event must be of at most 32 KiB"}
	}
	out.Event = mp.event
	return out, nil
}

// About reads what it can of a row that could not be mapped or was rejected.
func (mp *Mapper) About(row []string) About {
	var a About
	for i := range mp.ops {
		o := &mp.ops[i]
		if raw, ok := o.word(row, mp.m); ok && isText(mp.encoding, raw) {
			a.note(o.path.name, raw)
		}
	}
	return a
}

func (a *About) note(name, raw string) {
	switch name {
	case "user_id":
		a.UserID = raw
	case "anonymous_id":
		a.AnonymousID = raw
	case "type":
		a.Type = raw
	case "jurisdiction":
		a.Jurisdiction = raw
	}
}

// word is the operation's value before it is encoded, in our words; it fails if a column's word has no translation.
func (o *op) word(row []string, m *Map) (string, bool) {
	if o.constant != nil {
		return m.set[o.path.name], true
	}
	raw := ""
	if o.index >= 0 && o.index < len(row) {
		raw = row[o.index]
	}
	if o.values == nil {
		return raw, true
	}
	ours, ok := o.values[raw]
	return ours, ok || raw == ""
}

// evaluate encodes the operation's value into the arena.
func (mp *Mapper) evaluate(o *op, at *span, row []string, out *Mapped) *Fault {
	at.from, at.to = len(mp.arena), len(mp.arena)
	if o.isID {
		return nil
	}
	raw, ok := o.word(row, mp.m)
	if !ok {
		if !isText(mp.encoding, row[o.index]) {
			return mp.notText(o, row[o.index])
		}
		return &Fault{Code: "unknown_value", Pointer: o.path.pointer(), Column: o.column, Detail: "must be a word that the map's values." + o.path.name + " lists"}
	}
	if raw == "" {
		return nil
	}
	if o.path.group == "" {
		out.note(o.path.name, raw)
	}
	if o.constant != nil {
		mp.arena = append(mp.arena, o.constant...)
		at.to = len(mp.arena)
		return nil
	}
	if mp.encoding != "" && !isText(mp.encoding, raw) {
		return mp.notText(o, raw)
	}
	var code string
	if o.path.name == "time" {
		if out.Time, code = mp.m.time.parse(raw); code == "" {
			mp.arena = appendTime(mp.arena, out.Time)
		}
	} else {
		mp.arena, code = mp.m.encode(mp.arena, o.path, raw)
	}
	switch code {
	case "":
	case codeNotText:
		return mp.notText(o, raw)
	case codeTime, codeTimeUnit, codeImplausible:
		return &Fault{Code: code, Pointer: o.path.pointer(), Column: o.column, Detail: mp.m.time.fault(raw, code)}
	default:
		return &Fault{Code: code, Pointer: o.path.pointer(), Column: o.column, Detail: mp.m.expected(o.path)}
	}
	at.to = len(mp.arena)
	return nil
}

func (mp *Mapper) notText(o *op, raw string) *Fault {
	return &Fault{Code: codeNotText, Pointer: o.path.pointer(), Column: o.column, Detail: notText(mp.encoding, raw)}
}

// encode appends a value as JSON; the code is empty, or says what is wrong with it.
func (m *Map) encode(dst []byte, p *path, raw string) ([]byte, string) {
	var ok bool
	switch p.kind {
	case kindText:
		if dst, ok = appendText(dst, raw); !ok {
			return dst, codeNotText
		}
	case kindTime:
		t, code := m.time.parse(raw)
		if code != "" {
			return dst, code
		}
		dst = appendTime(dst, t)
	case kindMoney:
		d, ok := parseDecimal(raw)
		if !ok {
			return dst, "invalid_money"
		}
		dst = append(d.append(append(dst, '"')), '"')
	case kindDecimal:
		d, ok := parseDecimal(raw)
		if !ok {
			return dst, "invalid_number"
		}
		dst = d.append(dst)
	case kindInteger:
		d, ok := parseDecimal(raw)
		if !ok || d.fraction != "" {
			return dst, "invalid_number"
		}
		dst = d.append(dst)
	case kindBool:
		if dst, ok = appendBool(dst, raw); !ok {
			return dst, "invalid_bool"
		}
	case kindJSON:
		if dst, ok = appendJSON(dst, raw); !ok {
			return dst, "invalid_array"
		}
	}
	return dst, ""
}

// expected says in words what a path's values are.
func (m *Map) expected(p *path) string {
	switch p.kind {
	case kindTime:
		return m.time.expected()
	case kindMoney, kindDecimal:
		return "must be a decimal number with a point, such as 12.50"
	case kindInteger:
		return "must be a whole number"
	case kindBool:
		return "must be true or false"
	case kindJSON:
		return "must be a JSON array"
	default:
		return "must be UTF-8 text"
	}
}

// derive makes the id of a row without one: sha256(event mapped but for $id, n), n = how many equal rows came before it in this run.
func (mp *Mapper) derive() span {
	mp.event = mp.assemble(mp.event[:0], span{})
	whole := sha256.Sum256(mp.event)
	n := mp.seen[[16]byte(whole[:16])]
	mp.seen[[16]byte(whole[:16])] = n + 1
	mp.event = append(mp.event, '\n')
	mp.event = strconv.AppendUint(mp.event, uint64(n), 10)
	id := sha256.Sum256(mp.event)
	from := len(mp.arena)
	mp.arena = append(mp.arena, '"')
	mp.arena = hex.AppendEncode(mp.arena, id[:])
	mp.arena = append(mp.arena, '"')
	return span{from, len(mp.arena)}
}

// assemble writes the event from the arena. An empty id leaves the id and every $id out: the canonical form that ids are derived from.
func (mp *Mapper) assemble(dst []byte, id span) []byte {
	dst = append(dst, '{')
	group, first := "", true
	for i := range mp.ops {
		o, at := &mp.ops[i], mp.spans[i]
		if o.isID || i == 0 {
			at = id
		}
		if at.from == at.to {
			continue
		}
		if o.path.group != group {
			if group != "" {
				dst, first = append(dst, groups[group].shut...), false
			}
			if group = o.path.group; group != "" {
				if !first {
					dst = append(dst, ',')
				}
				dst, first = append(dst, groups[group].open...), true
			}
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, o.key...)
		dst = append(dst, mp.arena[at.from:at.to]...)
	}
	if group != "" {
		dst = append(dst, groups[group].shut...)
	}
	return append(dst, '}')
}

// reason says why a file could not be read, without its name.
func reason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

// fileError is a fault of an input file as a whole.
func fileError(file, message string) error { return &config.Error{File: file, Message: message} }
