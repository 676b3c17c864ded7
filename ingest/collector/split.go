package collector

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"sluice/internal/httpx"
)

// envelope is a body taken apart: its events as they came, and what it says about all of them.
type envelope struct {
	events  [][]byte
	sentAt  int64    // Unix microseconds, 0 = not told
	unknown []string // pointers of members that were set aside
}

// loose is how an envelope is read: what an event holds is the decoder's business, and one bad event must not spoil the others.
var loose = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// split takes a body apart: one object, an array, lines of objects, or an object with the members events and sent_at.
func split(b *body) (*envelope, *httpx.Problem) {
	data := trim(b.data)
	switch {
	case len(data) == 0:
		return nil, emptyBody()
	case b.lines:
		return splitLines(data)
	case data[0] == '[':
		e := new(envelope)
		r := newReader(data)
		return e, r.array(e)
	case data[0] != '{':
		return nil, unreadable()
	case looksLikeLines(data):
		return splitLines(data)
	}
	if bytes.Contains(data, []byte(`"events"`)) {
		if e, problem := splitEnvelope(data); e != nil || problem != nil {
			return e, problem
		}
	}
	if !jsontext.Value(data).IsValid(loose...) {
		return nil, unreadable()
	}
	return &envelope{events: [][]byte{data}}, nil
}

func unreadable() *httpx.Problem {
	return httpx.NewProblem(http.StatusBadRequest, "broken_json", "One event, an array of events, or one event a line expected, as JSON.")
}

func tooMany() *httpx.Problem {
	return httpx.NewProblem(http.StatusRequestEntityTooLarge, "too_many", "At most 10,000 entries a request expected.")
}

// splitLines takes NDJSON apart. Empty lines are none.
func splitLines(data []byte) (*envelope, *httpx.Problem) {
	e := &envelope{events: make([][]byte, 0, bytes.Count(data, []byte{'\n'})+1)}
	for line := range bytes.Lines(data) {
		if line = trim(line); len(line) == 0 {
			continue
		}
		if len(e.events) == maxEvents {
			return nil, tooMany()
		}
		e.events = append(e.events, line)
	}
	return e, nil
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

// array reads an array of events into e.
func (r *reader) array(e *envelope) *httpx.Problem {
	if _, err := r.ReadToken(); err != nil {
		return unreadable()
	}
	for r.PeekKind() != ']' {
		v, err := r.value()
		if err != nil {
			return unreadable()
		}
		if len(e.events) == maxEvents {
			return tooMany()
		}
		e.events = append(e.events, v)
	}
	if _, err := r.ReadToken(); err != nil {
		return unreadable()
	}
	if r.StackDepth() == 0 && len(trim(r.data[r.InputOffset():])) > 0 {
		return unreadable()
	}
	return nil
}

// splitEnvelope reads {"sent_at":…,"events":[…]}. It returns nothing if the object is an event.
func splitEnvelope(data []byte) (*envelope, *httpx.Problem) {
	r, e := newReader(data), new(envelope)
	found := false
	if _, err := r.ReadToken(); err != nil {
		return nil, unreadable()
	}
	for r.PeekKind() == '"' {
		name, err := r.ReadToken()
		if err != nil {
			return nil, unreadable()
		}
		switch member := name.String(); {
		case member == "type":
			return nil, nil
		case member == "events" && r.PeekKind() == '[':
			found, e.events = true, e.events[:0]
			if problem := r.array(e); problem != nil {
				return nil, problem
			}
		default:
			value, err := r.value()
			if err != nil {
				return nil, unreadable()
			}
			if problem := e.note(member, value); problem != nil {
				return nil, problem
			}
		}
	}
	if _, err := r.ReadToken(); err != nil || len(trim(r.data[r.InputOffset():])) > 0 {
		return nil, unreadable()
	}
	if !found {
		return nil, nil
	}
	return e, nil
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
			httpx.FieldError{Pointer: "/sent_at", Code: "invalid_value", Detail: "an RFC 3339 time expected"})
	}
	e.sentAt = t.UnixMicro()
	return nil
}
