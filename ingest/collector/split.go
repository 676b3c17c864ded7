package collector

import (
	"bytes"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"sluice/ingest"
	"sluice/internal/httpx"
)

// envelope is a body taken apart: its events, decoded, and what it says about all of them.
type envelope struct {
	entries []entry
	sentAt  int64    // Unix microseconds, 0 = not told
	unknown []string // pointers of members that were set aside
}

// entry is one event as it was decoded.
type entry struct {
	event    *ingest.Event
	warnings []ingest.Warning
	fault    *ingest.Fault
}

// loose is how the rest of an envelope is read: names may come twice.
var loose = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// split takes a body apart and decodes its events: one object, an array, lines of objects, or an object with the members events and sent_at. One bad event does not
// spoil the others, as long as it is JSON or stands on a line of its own. The events live as long as the body.
func split(b *body) (*envelope, *httpx.Problem) {
	data, e := b.text(), &envelope{entries: b.entries[:0]}
	defer func() { b.entries = e.entries }()
	switch {
	case len(data) == 0:
		return nil, emptyBody()
	case b.lines:
		return e, e.lines(b, data)
	case data[0] == '[':
		rest, problem := e.array(b, data)
		if problem == nil && len(rest) > 0 {
			problem = unreadable()
		}
		return e, problem
	case data[0] != '{':
		return nil, unreadable()
	case looksLikeLines(data):
		return e, e.lines(b, data)
	}
	if bytes.Contains(data, []byte(`"events"`)) {
		if found, problem := e.members(b, data); found || problem != nil {
			return e, problem
		}
		*e = envelope{entries: e.entries[:0]}
	}
	rest, problem := e.next(b, data)
	if problem == nil && len(rest) > 0 {
		problem = unreadable()
	}
	return e, problem
}

func unreadable() *httpx.Problem {
	return httpx.NewProblem(http.StatusBadRequest, "broken_json", "The body must be one event, an array of events, or one event a line, as JSON.")
}

func tooMany() *httpx.Problem {
	return httpx.NewProblem(http.StatusRequestEntityTooLarge, "too_many", "A request must have at most 10,000 entries.")
}

// lines decodes NDJSON.
func (e *envelope) lines(b *body, data []byte) *httpx.Problem {
	for line := range linesOf(data) {
		if len(e.entries) == maxEvents {
			return tooMany()
		}
		ev, warnings, fault := b.decoder.Decode(line)
		e.entries = append(e.entries, entry{ev, warnings, fault})
	}
	return nil
}

// linesOf are the lines of NDJSON. Empty ones are none. Each may begin with a BOM: files are joined.
func linesOf(data []byte) iter.Seq[[]byte] {
	return func(yield func(line []byte) bool) {
		for line := range bytes.Lines(data) {
			if line = trim(bytes.TrimPrefix(line, bom)); len(line) > 0 && !yield(line) {
				return
			}
		}
	}
}

// splitLines takes NDJSON apart.
func splitLines(data []byte) ([][]byte, *httpx.Problem) {
	all := make([][]byte, 0, bytes.Count(data, []byte{'\n'})+1)
	for line := range linesOf(data) {
		if len(all) == maxEvents {
			return nil, tooMany()
		}
		all = append(all, line)
	}
	return all, nil
}

// looksLikeLines tells NDJSON that is not declared as such (sendBeacon cannot) from one object over several lines.
func looksLikeLines(data []byte) bool {
	first, rest, _ := bytes.Cut(data, []byte{'\n'})
	rest = trim(rest)
	if len(rest) == 0 || rest[0] != '{' {
		return false
	}
	return jsontext.Value(trim(first)).IsValid(loose...) || !jsontext.Value(data).IsValid(loose...)
}

// reader reads an envelope and knows where its values lie.
type reader struct {
	data []byte
	*jsontext.Decoder
}

func newReader(data []byte) *reader {
	return &reader{data, jsontext.NewDecoder(bytes.NewBuffer(data), loose...)}
}

// value is the next value, as a part of the data.
func (r *reader) value() ([]byte, error) {
	v, err := r.ReadValue()
	end := int(r.InputOffset())
	return r.data[end-len(v) : end], err
}

// next decodes the event at the beginning of data. It returns what follows.
func (e *envelope) next(b *body, data []byte) ([]byte, *httpx.Problem) {
	ev, warnings, fault, size := b.decoder.Next(data)
	switch {
	case size == 0:
		return nil, unreadable()
	case len(e.entries) == maxEvents:
		return nil, tooMany()
	}
	e.entries = append(e.entries, entry{ev, warnings, fault})
	return trim(data[size:]), nil
}

// array decodes the array at the beginning of data. It returns what follows.
func (e *envelope) array(b *body, data []byte) (rest []byte, problem *httpx.Problem) {
	if rest = trim(data[1:]); starts(rest, ']') {
		return trim(rest[1:]), nil
	}
	for {
		if rest, problem = e.next(b, rest); problem != nil {
			return nil, problem
		}
		switch {
		case starts(rest, ','):
			rest = trim(rest[1:])
		case starts(rest, ']'):
			return trim(rest[1:]), nil
		default:
			return nil, unreadable()
		}
	}
}

func starts(data []byte, c byte) bool { return len(data) > 0 && data[0] == c }

// members reads {"sent_at":…,"events":[…]}. It does not find that if the object is an event.
func (e *envelope) members(b *body, data []byte) (found bool, problem *httpx.Problem) {
	rest := trim(data[1:])
	for {
		name, after, ok := member(rest)
		switch {
		case !ok:
			return false, unreadable()
		case name == "type":
			return false, nil
		case name == "events" && starts(after, '['):
			found, e.entries = true, e.entries[:0]
			rest, problem = e.array(b, after)
		default:
			rest, problem = e.other(name, after)
		}
		switch {
		case problem != nil:
			return false, problem
		case starts(rest, ','):
			rest = trim(rest[1:])
		case starts(rest, '}') && len(trim(rest[1:])) == 0:
			return found, nil
		default:
			return false, unreadable()
		}
	}
}

// member reads the name of a member and its colon.
func member(data []byte) (name string, rest []byte, ok bool) {
	if !starts(data, '"') {
		return "", nil, false
	}
	r := newReader(data)
	token, err := r.ReadToken()
	if err != nil {
		return "", nil, false
	}
	name, rest = token.String(), trim(data[r.InputOffset():])
	if !starts(rest, ':') {
		return "", nil, false
	}
	return name, trim(rest[1:]), true
}

// other reads a member of the envelope that does not hold its events.
func (e *envelope) other(name string, data []byte) (rest []byte, problem *httpx.Problem) {
	r := newReader(data)
	value, err := r.value()
	if err != nil {
		return nil, unreadable()
	}
	return trim(data[r.InputOffset():]), e.note(name, value)
}

var pointerToken = strings.NewReplacer("~", "~0", "/", "~1")

// note reads a member of the envelope other than its events.
func (e *envelope) note(member string, value []byte) *httpx.Problem {
	if member != "sent_at" {
		e.unknown = append(e.unknown, "/"+pointerToken.Replace(member))
		return nil
	}
	if string(value) == "null" {
		return nil
	}
	var t time.Time
	text, err := jsontext.AppendUnquote(nil, value)
	if err == nil {
		err = t.UnmarshalText(text)
	}
	if err != nil {
		return httpx.NewProblem(http.StatusBadRequest, "invalid_envelope", "The envelope of the events is not valid.",
			httpx.FieldError{Pointer: "/sent_at", Code: "invalid_value", Detail: "must be an RFC 3339 time"})
	}
	e.sentAt = t.UnixMicro()
	return nil
}
