package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/token"

	"sluice/internal/spell"
)

// Error is one fault of a file. Line and Column count from 1; 0 = unknown.
type Error struct {
	File    string
	Line    int
	Column  int
	Path    string // of the field ("features.payments.name"), empty where the whole file is meant
	Message string

	whole   bool   // nothing at or below Path can be read
	missing string // path that is missing for it: a misspelt key was meant for it
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// Errors are all faults that were found, a line each.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap is each fault.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// Faults collects errors, so that all of them can be told together. The zero value is empty.
type Faults struct{ found Errors }

// Add notes an error, and passes over nil. What follows from a fault that was noted already is left out: an error at or below a node that cannot be read.
func (f *Faults) Add(err error) {
	switch e := err.(type) { //nolint:errorlint // each kind is handed over as it is
	case nil:
	case *Error:
		f.add(e)
	case Errors:
		for _, one := range e {
			f.add(one)
		}
	default:
		var fault *Error
		if !errors.As(err, &fault) {
			fault = &Error{Message: err.Error()}
		}
		f.add(fault)
	}
}

func (f *Faults) add(e *Error) {
	if e == nil {
		return
	}
	for _, known := range f.found {
		follows := known.whole && under(e.Path, known.Path) || known.missing != "" && e.Path == known.missing
		if follows && known.File == e.File || *known == *e {
			return
		}
	}
	f.found = append(f.found, e)
}

// under tells whether a path is at or below another.
func under(path, above string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// Any tells whether there is an error.
func (f *Faults) Any() bool { return len(f.found) > 0 }

// Err is nil, or all errors as Errors.
func (f *Faults) Err() error {
	if len(f.found) == 0 {
		return nil
	}
	return slices.Clone(f.found)
}

func at(file, path string, tk *token.Token, message string) *Error {
	e := &Error{File: file, Path: path, Message: message}
	if tk != nil && tk.Position != nil {
		e.Line, e.Column = tk.Position.Line, tk.Position.Column
	}
	return e
}

// convert turns the library's errors, which carry a token, into ours.
func convert(file, path string, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	var mistyped *yaml.TypeError
	if errors.As(err, &mistyped) {
		return at(file, path, mistyped.Token, mismatch(kindOf(mistyped.DstType), kindOf(mistyped.SrcType)))
	}
	var positioned yaml.Error
	if errors.As(err, &positioned) {
		return at(file, path, positioned.GetToken(), message(positioned))
	}
	return &Error{File: file, Path: path, Message: err.Error()}
}

// twice is the library's message for a key that stands twice.
var twice = regexp.MustCompile(`^mapping key .* already defined at \[(\d+):(\d+)\]$`)

// message is the library's, without the key that stands twice: it may be a secret.
func message(err yaml.Error) string {
	return twice.ReplaceAllString(strings.TrimSpace(err.GetMessage()), "a key must stand once in its mapping; this one stands at $1:$2 already")
}

// mismatch says what must be in a place and what stands there, in YAML's words.
func mismatch(want, found string) string {
	message := "must be " + want + ", not " + found
	if found == aMapping && want != aList {
		message += "; put text with a colon in quotes"
	}
	return message
}

const (
	aMapping = "a mapping"
	aList    = "a list"
)

func kindOf(t reflect.Type) string {
	if t == nil {
		return "nothing"
	}
	switch t.Kind() {
	case reflect.Map, reflect.Struct:
		return aMapping
	case reflect.Slice, reflect.Array:
		return aList
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Pointer:
		return kindOf(t.Elem())
	default:
		return "a number"
	}
}

// suggest asks whether the known name that is nearest to an unknown one was meant, if one is near.
func suggest(name string, known []string) string {
	if meant := nearest(name, known); meant != "" {
		return "; did you mean " + meant + "?"
	}
	return ""
}

// nearest is the known name that is nearest to an unknown one, empty if none is near.
func nearest(name string, known []string) (best string) {
	distance := min(3, len(name)/2) + 1
	for _, k := range known {
		if d := spell.Distance(name, k); d < distance {
			best, distance = k, d
		}
	}
	return best
}
