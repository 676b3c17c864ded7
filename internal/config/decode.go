package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Decode reads the section into a value. The error tells every unknown key and every wrong type; all else is read, so that it can be checked too.
func (s Section) Decode(into any) error {
	if s.node == nil {
		return &Error{File: s.file, Path: s.Name, Message: "this section must be there", whole: true}
	}
	d := decoding{section: s}
	readable := d.check(s.node, reflect.TypeOf(into).Elem(), "")
	if readable == nil {
		return d.faults.Err()
	}
	if err := yaml.NodeToValue(readable, into); err != nil {
		fault := convert(s.file, s.Name, err)
		fault.whole = true
		d.faults.Add(fault)
	}
	return d.faults.Err()
}

// decoding checks a section against the type that it is read into.
type decoding struct {
	section Section
	faults  Faults
}

func (d *decoding) fault(path, format string, args ...any) {
	e := d.section.Errorf(path, format, args...)
	e.whole = !d.section.hides(path) // else others with the same path would be left out
	d.faults.Add(e)
}

// check is the node without what cannot be read into the type, nil if nothing can.
func (d *decoding) check(node ast.Node, t reflect.Type, path string) ast.Node {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if _, null := node.(*ast.NullNode); null || t.Kind() == reflect.Interface || t == reflect.TypeFor[yaml.MapSlice]() {
		return node
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return d.checkMapping(node, t, path)
	case reflect.Slice:
		return d.checkList(node, t, path)
	default:
		return d.checkScalar(node, t, path)
	}
}

func (d *decoding) checkMapping(node ast.Node, t reflect.Type, path string) ast.Node {
	mapping, ok := node.(*ast.MappingNode)
	if !ok {
		d.fault(path, "%s", mismatch(aMapping, foundKind(node)))
		return nil
	}
	fields := fieldsOf(t)
	readable := ast.Mapping(mapping.Start, mapping.IsFlowStyle)
	for _, pair := range mapping.Values {
		below := path + Key(keyOf(pair))
		of, known := fields[keyOf(pair)]
		switch {
		case t.Kind() == reflect.Map:
			of = t.Elem()
		case !known:
			d.unknownKey(pair, fields, path)
			continue
		}
		if value := d.check(pair.Value, of, below); value != nil {
			readable.Values = append(readable.Values, ast.MappingValue(pair.Start, pair.Key, value))
		}
	}
	return readable
}

// unknownKey notes the fault at the key, not at its value.
func (d *decoding) unknownKey(pair *ast.MappingValueNode, fields map[string]reflect.Type, path string) {
	known := slices.Sorted(maps.Keys(fields))
	meant := nearest(keyOf(pair), known)
	named := path + Key(keyOf(pair))
	if d.section.secret {
		named = path // the unknown key may be a secret in the wrong place
	}
	e := d.section.Errorf(named, "unknown key; it must be one of %s", strings.Join(known, ", "))
	if meant != "" {
		e.Message = "unknown key; did you mean " + meant + "?"
		e.missing = d.section.Errorf(path+Key(meant), "").Path
	}
	if tk := pair.Key.GetToken(); tk.Position != nil {
		e.Line, e.Column = tk.Position.Line, tk.Position.Column
	}
	e.whole = !d.section.secret
	d.faults.Add(e)
}

// fieldsOf are the keys of a struct, by their yaml tags.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if t.Kind() != reflect.Struct {
		return nil
	}
	fields := make(map[string]reflect.Type, t.NumField())
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); name != "" && name != "-" {
			fields[name] = t.Field(i).Type
		}
	}
	return fields
}

func (d *decoding) checkList(node ast.Node, t reflect.Type, path string) ast.Node {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		d.fault(path, "%s", mismatch(aList, foundKind(node)))
		return nil
	}
	readable := ast.Sequence(list.Start, list.IsFlowStyle)
	for i, value := range list.Values {
		kept := d.check(value, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
		if kept == nil {
			kept = ast.Null(list.Start) // indexes stay
		}
		readable.Values = append(readable.Values, kept)
	}
	return readable
}

func (d *decoding) checkScalar(node ast.Node, t reflect.Type, path string) ast.Node {
	switch node.(type) {
	case *ast.MappingNode, *ast.SequenceNode:
		d.fault(path, "%s", mismatch(kindOf(t), foundKind(node)))
		return nil
	}
	if err := yaml.NodeToValue(node, reflect.New(t).Interface()); err != nil {
		fault := convert("", "", err)
		if !strings.HasPrefix(fault.Message, "must be ") { // a number too large for its place, for one
			fault.Message = "must be " + kindOf(t) + " that fits here"
		}
		d.fault(path, "%s", fault.Message)
		return nil
	}
	return node
}

func foundKind(node ast.Node) string {
	switch node.(type) {
	case *ast.MappingNode:
		return aMapping
	case *ast.SequenceNode:
		return aList
	case *ast.BoolNode:
		return "true or false"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	default:
		return "text"
	}
}
