package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// By says how a user's section is merged over the built-in one.
type By struct {
	Name  string   // key that names a list's entries, such as id; empty: the section is no list of named entries
	Whole []string // keys of an entry: a user's mapping there replaces the built-in one as a whole
	// Secret entries may not be shown, and neither may names below them. A change or an error names the entry, and no more.
	Secret bool
}

// The kinds of a change.
const (
	Added   = "added"
	Changed = "changed"
	Removed = "removed"
)

// Change is how one entry of a section differs from what is built in.
type Change struct {
	Section string   `json:"section"`
	Name    string   `json:"name,omitempty"` // of the entry, empty where the section is one value
	Kind    string   `json:"kind"`           // added, changed or removed
	Keys    []string `json:"keys,omitempty"` // of the entry that differ, sorted
}

func (c Change) String() string {
	name := c.Section
	if c.Name != "" {
		name += "." + c.Name
	}
	if len(c.Keys) > 0 {
		return name + " " + c.Kind + ": " + strings.Join(c.Keys, ", ")
	}
	return name + " " + c.Kind
}

// Merge puts the user's section over the built-in one: it merges entries by name and mappings by key, and replaces lists and scalars. Null removes. Errors of
// the result name the user's file wherever it has a part in them.
func Merge(builtin, own Section, by By) (Section, []Change, error) {
	if _, nothing := own.node.(*ast.NullNode); nothing {
		return builtin, nil, nil
	}
	m := merging{own: own, by: by}
	s := Section{Name: own.Name, file: own.file, own: make(map[*token.Token]bool), secret: by.Secret}
	tokens(own.node, s.own)
	_, listed := builtin.node.(*ast.SequenceNode)
	switch {
	case listed && by.Name != "":
		s.node, s.labels = m.list(builtin.node, own.node)
	default:
		s.node = m.value(builtin.node, own.node, "", true)
	}
	return s, m.changes(builtin, s), m.faults.Err()
}

// tokens gathers where the nodes of a tree begin.
func tokens(node ast.Node, into map[*token.Token]bool) {
	into[node.GetToken()], into[first(node)] = true, true
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, pair := range n.Values {
			into[pair.Key.GetToken()] = true
			tokens(pair.Value, into)
		}
	case *ast.SequenceNode:
		for _, value := range n.Values {
			tokens(value, into)
		}
	}
}

type merging struct {
	own    Section
	by     By
	faults Faults
}

// value merges two mappings; of anything else the user's holds. At the top, null must remove something.
func (m *merging) value(builtin, own ast.Node, path string, top bool) ast.Node {
	under, ok := builtin.(*ast.MappingNode)
	over, too := own.(*ast.MappingNode)
	if !ok || !too {
		return own
	}
	merged := ast.Mapping(first(over), true, under.Values...) // in flow style a mapping begins where the user's does
	for _, pair := range over.Values {
		key := keyOf(pair)
		place := slices.IndexFunc(merged.Values, func(v *ast.MappingValueNode) bool { return keyOf(v) == key })
		_, removes := pair.Value.(*ast.NullNode)
		switch {
		case removes && place >= 0:
			merged.Values = slices.Delete(merged.Values, place, place+1)
		case removes && top:
			m.faults.Add(at(m.own.file, m.own.Name+m.told(path+Key(key)), pair.Key.GetToken(), noneToRemove(key, under)))
		case removes:
		case place < 0:
			merged.Values = append(merged.Values, pair)
		case slices.Contains(m.by.Whole, key):
			merged.Values[place] = pair
		default:
			merged.Values[place] = ast.MappingValue(pair.Start, pair.Key, m.value(merged.Values[place].Value, pair.Value, path+Key(key), false))
		}
	}
	return merged
}

// told is the path, or nothing where it must not be shown.
func (m *merging) told(path string) string {
	if m.by.Secret {
		return ""
	}
	return path
}

func noneToRemove(name string, builtin *ast.MappingNode) string {
	names := make([]string, len(builtin.Values))
	for i, pair := range builtin.Values {
		names[i] = keyOf(pair)
	}
	return "null removes what is built in, and must name that" + suggest(name, names)
}

// list merges entries by their names. Labels are how errors call them.
func (m *merging) list(builtin, own ast.Node) (merged ast.Node, labels []string) {
	named := ast.Mapping(builtin.GetToken(), true)             // the built-in entries by name
	for _, entry := range builtin.(*ast.SequenceNode).Values { //nolint:forcetypeassert // the caller has looked
		name := m.nameOf(entry)
		named.Values = append(named.Values, ast.MappingValue(entry.GetToken(), ast.String(token.New(name, name, entry.GetToken().Position)), entry))
	}
	over, unnamed, ok := m.entries(own)
	if !ok {
		return own, nil // of a wrong type, which decoding will say
	}
	result, _ := m.value(named, over, "", true).(*ast.MappingNode)
	list := ast.Sequence(first(own), true)
	for _, pair := range result.Values {
		list.Values, labels = append(list.Values, pair.Value), append(labels, Key(keyOf(pair)))
	}
	for _, i := range slices.Sorted(maps.Keys(unnamed)) {
		list.Values, labels = append(list.Values, unnamed[i]), append(labels, fmt.Sprintf("[%d]", i))
	}
	return list, labels
}

func (m *merging) nameOf(entry ast.Node) string {
	mapping, ok := entry.(*ast.MappingNode)
	if !ok {
		return ""
	}
	if pair := find(mapping, m.by.Name); pair != nil {
		if _, scalar := pair.Value.(ast.ScalarNode); scalar {
			return pair.Value.GetToken().Value
		}
	}
	return ""
}

// entries are the user's entries as a mapping by name: they may be a list, or a mapping already. Entries without a name come with their index.
func (m *merging) entries(own ast.Node) (named *ast.MappingNode, unnamed map[int]ast.Node, ok bool) {
	if mapping, is := own.(*ast.MappingNode); is {
		return m.nameEach(mapping), nil, true
	}
	list, is := own.(*ast.SequenceNode)
	if !is {
		return nil, nil, false
	}
	named, unnamed = ast.Mapping(first(list), true), make(map[int]ast.Node)
	for i, entry := range list.Values {
		pair := m.entry(entry)
		switch {
		case pair == nil:
			unnamed[i] = entry
		case find(named, keyOf(pair)) != nil:
			m.faults.Add(m.own.Errorf(fmt.Sprintf("[%d]%s", i, Key(m.by.Name)), "must be of one entry alone; %s stands here twice", keyOf(pair)))
		default:
			named.Values = append(named.Values, pair)
		}
	}
	return named, unnamed, true
}

// entry is an entry of a list with its name: one that has it, or `name: null`, which removes. Nil: it has none.
func (m *merging) entry(entry ast.Node) *ast.MappingValueNode {
	mapping, ok := entry.(*ast.MappingNode)
	if !ok {
		return nil
	}
	if name := m.nameOf(entry); name != "" {
		return ast.MappingValue(entry.GetToken(), keyNode(name, first(entry)), entry)
	}
	if len(mapping.Values) == 1 {
		if _, null := mapping.Values[0].Value.(*ast.NullNode); null && keyOf(mapping.Values[0]) != m.by.Name {
			return mapping.Values[0]
		}
	}
	return nil
}

// nameEach gives the entries of a mapping their names as the key that the section's lists have.
func (m *merging) nameEach(mapping *ast.MappingNode) *ast.MappingNode {
	named := ast.Mapping(first(mapping), true)
	for _, pair := range mapping.Values {
		if entry, ok := pair.Value.(*ast.MappingNode); ok && find(entry, m.by.Name) == nil {
			with := ast.Mapping(first(entry), true, ast.MappingValue(pair.Start, keyNode(m.by.Name, pair.Key.GetToken()), keyNode(keyOf(pair), pair.Key.GetToken())))
			with.Values = append(with.Values, entry.Values...)
			pair = ast.MappingValue(pair.Start, pair.Key, with)
		}
		named.Values = append(named.Values, pair)
	}
	return named
}

func keyNode(name string, at *token.Token) *ast.StringNode {
	return ast.String(token.New(name, name, at.Position))
}

// changes compares the entries of the two sections.
func (m *merging) changes(builtin, merged Section) (changes []Change) {
	before, names := m.entriesOf(builtin.node)
	after, more := m.entriesOf(merged.node)
	if before == nil || after == nil {
		if !reflect.DeepEqual(valueOf(builtin.node), valueOf(merged.node)) {
			changes = append(changes, Change{Section: merged.Name, Kind: Changed})
		}
		return changes
	}
	for _, name := range more {
		if before[name] == nil {
			names = append(names, name)
		}
	}
	for _, name := range names {
		was, is := before[name], after[name]
		change := Change{Section: merged.Name, Name: name, Kind: Changed}
		switch {
		case was == nil:
			change.Kind = Added
		case is == nil:
			change.Kind = Removed
		case reflect.DeepEqual(valueOf(was), valueOf(is)):
			continue
		case !m.by.Secret:
			change.Keys = differing(was, is)
		}
		changes = append(changes, change)
	}
	return changes
}

// entriesOf are the entries of a section by name, and their names in order; nil where it is one value.
func (m *merging) entriesOf(node ast.Node) (entries map[string]ast.Node, order []string) {
	switch n := node.(type) {
	case *ast.MappingNode:
		entries = make(map[string]ast.Node, len(n.Values))
		for _, pair := range n.Values {
			entries[keyOf(pair)], order = pair.Value, append(order, keyOf(pair))
		}
	case *ast.SequenceNode:
		if m.by.Name == "" {
			return nil, nil
		}
		entries = make(map[string]ast.Node, len(n.Values))
		for _, entry := range n.Values {
			if name := m.nameOf(entry); name != "" {
				entries[name], order = entry, append(order, name)
			}
		}
	}
	return entries, order
}

// differing lists the keys that have different values in the two mappings.
func differing(was, is ast.Node) []string {
	before, ok := was.(*ast.MappingNode)
	after, too := is.(*ast.MappingNode)
	if !ok || !too {
		return nil
	}
	keys := make(map[string]bool)
	for _, pair := range slices.Concat(before.Values, after.Values) {
		b, a := find(before, keyOf(pair)), find(after, keyOf(pair))
		if b == nil || a == nil || !reflect.DeepEqual(valueOf(b.Value), valueOf(a.Value)) {
			keys[keyOf(pair)] = true
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

// valueOf is what a node holds, nil if it cannot be read.
func valueOf(node ast.Node) (v any) {
	if err := yaml.NodeToValue(node, &v); err != nil {
		return nil
	}
	return v
}
