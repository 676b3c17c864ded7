// Package config reads YAML strictly. Every error names file, line, column and field, and says what must be there. All errors of a file come at once.
package config

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxFile bounds a document in bytes, so that parsing it cannot take much memory or depth.
const maxFile = 1 << 20

// File is a parsed document: a mapping of sections.
type File struct {
	name     string
	sections []Section
}

// Section is one top-level entry.
type Section struct {
	Name   string
	file   string
	node   ast.Node
	own    map[*token.Token]bool // where nodes of the user's file begin, in a section that was merged over a built-in one
	labels []string              // names of a list's entries, as errors show them; nil: their indexes
	secret bool                  // names below its own keys may not be told
}

// Parse reads a document. An empty one has no sections. A byte order mark is passed over.
func Parse(name string, data []byte) (*File, error) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if len(data) > maxFile {
		return nil, &Error{File: name, Message: "must be at most 1 MiB"}
	}
	if depth(data) > maxDepth {
		return nil, &Error{File: name, Message: fmt.Sprintf("must not be nested more than %d deep", maxDepth)}
	}
	parsed, err := parser.ParseBytes(data, parser.ParseComments)
	if err != nil {
		return nil, convert(name, "", err)
	}
	f := &File{name: name}
	if len(parsed.Docs) > 1 {
		return nil, &Error{File: name, Message: "must be one document, not several"}
	}
	if len(parsed.Docs) == 0 || parsed.Docs[0].Body == nil {
		return f, nil
	}
	if _, only := parsed.Docs[0].Body.(*ast.CommentGroupNode); only {
		return f, nil
	}
	body, err := plain(name, parsed.Docs[0].Body)
	if err != nil {
		return nil, err
	}
	mapping, ok := body.(*ast.MappingNode)
	if !ok {
		return nil, at(name, "", body.GetToken(), "must be a mapping of sections")
	}
	for _, v := range mapping.Values {
		f.sections = append(f.sections, Section{Name: keyOf(v), file: name, node: v.Value})
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

// Allow returns an error for each section with a name that is not among names.
func (f *File) Allow(names ...string) error {
	var faults Faults
	for _, s := range f.sections {
		if !contains(names, s.Name) {
			faults.Add(s.Errorf("", "unknown section; it must be one of %s%s", strings.Join(names, ", "), suggest(s.Name, names)))
		}
	}
	return faults.Err()
}

// Errorf makes an error at the path below the section ("" is the section itself; ".home.personal[0].retriever", ".'device.mac'.clause").
// Where the path leads nowhere, the nearest node above it is named; in a merged section, the nearest that the user's file has.
func (s Section) Errorf(path, format string, args ...any) *Error {
	tk, builtin := s.tokenAt(path)
	e := at(s.file, s.Name+s.shown(path), tk, fmt.Sprintf(format, args...))
	if builtin {
		e.Message += " (what stands there is built in)"
	}
	return e
}

// Absent is a section that the file does not have. Its errors name the file, and no line.
func Absent(file, name string) Section { return Section{Name: name, file: file} }

// hides tells whether the path holds a name that must not be shown.
func (s Section) hides(path string) bool {
	if !s.secret || path == "" {
		return false
	}
	_, below := cutStep(path)
	return strings.Contains(below, ".")
}

// shown is the path as errors show it: an entry's name for its index, and no secret names.
func (s Section) shown(path string) string {
	if s.hides(path) {
		path, _ = cutStep(path)
	}
	index, rest, ok := strings.Cut(strings.TrimPrefix(path, "["), "]")
	i, err := strconv.Atoi(index)
	if !ok || err != nil || i < 0 || i >= len(s.labels) {
		return path
	}
	return s.labels[i] + rest
}

// Named is the section with errors that call a list's entries by the key that names them.
func (s Section) Named(key string) Section {
	list, ok := s.node.(*ast.SequenceNode)
	if !ok || key == "" {
		return s
	}
	m := merging{by: By{Name: key}}
	s.labels = make([]string, len(list.Values))
	for i, entry := range list.Values {
		s.labels[i] = fmt.Sprintf("[%d]", i)
		if name := m.nameOf(entry); name != "" {
			s.labels[i] = Key(name)
		}
	}
	return s
}

// Keys lists the keys of a section that is a mapping, in the file's order.
func (s Section) Keys() []string {
	mapping, ok := s.node.(*ast.MappingNode)
	if !ok {
		return nil
	}
	keys := make([]string, len(mapping.Values))
	for i, pair := range mapping.Values {
		keys[i] = keyOf(pair)
	}
	return keys
}

// Line is the line of the node at path, 0 if there is none.
func (s Section) Line(path string) int {
	if tk, _ := s.tokenAt(path); tk != nil && tk.Position != nil {
		return tk.Position.Line
	}
	return 0
}

// tokenAt is where the path leads, or the nearest place above it in the user's file. Builtin tells that something stands there that is built in.
func (s Section) tokenAt(path string) (tk *token.Token, builtin bool) {
	for _, node := range nodesOn(s.node, path) {
		found := first(node)
		theirs := s.own != nil && !s.own[found]
		if builtin = theirs && !empty(node); !theirs || tk == nil {
			tk = found
		}
	}
	return tk, builtin
}

// first is the token where a node begins: for a block mapping that is its first key, not the colon behind it.
func first(node ast.Node) *token.Token {
	switch n := node.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return n.Values[0].Key.GetToken()
		}
	case *ast.SequenceNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return first(n.Values[0])
		}
	}
	return node.GetToken()
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}
