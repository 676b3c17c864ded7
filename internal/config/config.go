// Package config reads YAML strictly: every error names file, line, column and field, and says what was expected.
package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Error is one fault of a file. Line and Column count from 1; 0 = unknown.
type Error struct {
	File    string
	Line    int
	Column  int
	Path    string // of the field ("features[0].name"), empty where the whole file is meant
	Message string
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

// File is a parsed document whose top level is a mapping of sections.
type File struct {
	name     string
	sections []Section
}

// Section is one top-level entry.
type Section struct {
	Name string
	file string
	node ast.Node
}

// Parse reads a document. An empty one has no sections.
func Parse(name string, data []byte) (*File, error) {
	parsed, err := parser.ParseBytes(data, parser.ParseComments)
	if err != nil {
		return nil, convert(name, "", err)
	}
	f := &File{name: name}
	if len(parsed.Docs) > 1 {
		return nil, &Error{File: name, Message: "one document expected, several found"}
	}
	if len(parsed.Docs) == 0 || parsed.Docs[0].Body == nil {
		return f, nil
	}
	if _, only := parsed.Docs[0].Body.(*ast.CommentGroupNode); only {
		return f, nil
	}
	mapping, ok := parsed.Docs[0].Body.(ast.MapNode)
	if !ok {
		return nil, at(name, "", parsed.Docs[0].Body.GetToken(), "a mapping of sections expected")
	}
	for it := mapping.MapRange(); it.Next(); {
		f.sections = append(f.sections, Section{Name: it.Key().GetToken().Value, file: name, node: it.Value()})
	}
	return f, nil
}

// Name is the file's name, as errors show it.
func (f *File) Name() string { return f.name }

// Sections lists the document's sections in their order.
func (f *File) Sections() []Section { return f.sections }

// Section finds a section by name.
func (f *File) Section(name string) (Section, bool) {
	for _, s := range f.sections {
		if s.Name == name {
			return s, true
		}
	}
	return Section{}, false
}

// Allow fails at the first section whose name is not among names.
func (f *File) Allow(names ...string) error {
	for _, s := range f.sections {
		if !contains(names, s.Name) {
			return s.Errorf("", "unknown section; expected one of %s", strings.Join(names, ", "))
		}
	}
	return nil
}

// Decode reads the section into a value: unknown keys and wrong types are errors.
func (s Section) Decode(into any) error {
	if s.node == nil {
		return &Error{File: s.file, Path: s.Name, Message: "section is missing"}
	}
	if err := yaml.NodeToValue(s.node, into, yaml.Strict()); err != nil {
		return convert(s.file, s.Name, err)
	}
	return nil
}

// Errorf makes an error at the path below the section ("" is the section itself; ".home.personal[0].retriever").
// Where the path leads nowhere, the nearest node above it is named.
func (s Section) Errorf(path, format string, args ...any) error {
	e := &Error{File: s.file, Path: s.Name + path, Message: fmt.Sprintf(format, args...)}
	if tk := s.tokenAt(path); tk != nil && tk.Position != nil {
		e.Line, e.Column = tk.Position.Line, tk.Position.Column
	}
	return e
}

// Line is the line of the node at path, 0 if there is none.
func (s Section) Line(path string) int {
	if tk := s.tokenAt(path); tk != nil && tk.Position != nil {
		return tk.Position.Line
	}
	return 0
}

func (s Section) tokenAt(path string) *token.Token {
	if s.node == nil {
		return nil
	}
	for path != "" {
		if p, err := yaml.PathString("$" + path); err == nil {
			if node, err := p.FilterNode(s.node); err == nil && node != nil {
				return first(node)
			}
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			break
		}
		path = path[:cut]
	}
	return first(s.node)
}

// first is the token where a node begins: for a block mapping that is its first key, not the colon behind it.
func first(node ast.Node) *token.Token {
	switch n := node.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return n.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	case *ast.SequenceNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return first(n.Values[0])
		}
	}
	return node.GetToken()
}

func at(file, path string, tk *token.Token, message string) error {
	e := &Error{File: file, Path: path, Message: message}
	if tk != nil && tk.Position != nil {
		e.Line, e.Column = tk.Position.Line, tk.Position.Column
	}
	return e
}

// convert turns the library's errors, which carry a token, into ours.
func convert(file, path string, err error) error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	var mistyped *yaml.TypeError
	if errors.As(err, &mistyped) {
		return at(file, path, mistyped.Token, mismatch(mistyped))
	}
	var positioned yaml.Error
	if errors.As(err, &positioned) {
		message := strings.TrimSpace(positioned.GetMessage())
		if positioned.GetToken() != nil && strings.HasPrefix(message, "unknown field") {
			message += "; see `sluice config print` for the fields"
		}
		return at(file, path, positioned.GetToken(), message)
	}
	return &Error{File: file, Path: path, Message: err.Error()}
}

// mismatch says what was expected in a place and what stands there, in YAML's words.
func mismatch(e *yaml.TypeError) string {
	found := kindOf(e.SrcType)
	message := kindOf(e.DstType) + " expected, " + found + " found"
	if found == kindOf(reflect.TypeFor[map[string]any]()) {
		message += "; put text with a colon in quotes"
	}
	return message
}

func kindOf(t reflect.Type) string {
	if t == nil {
		return "nothing"
	}
	switch t.Kind() {
	case reflect.Map, reflect.Struct:
		return "a mapping"
	case reflect.Slice, reflect.Array:
		return "a list"
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

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}
