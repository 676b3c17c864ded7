package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

const (
	maxDepth = 200     // of nesting
	maxNodes = 100_000 // of a document, with each alias as what it stands for
)

// depth is how deep a document can be nested at most, by its brackets and by the dashes of a line: the parser takes stack for each.
func depth(data []byte) int {
	most, brackets, dashes := 0, 0, 0
	for i, b := range data {
		switch b {
		case '[', '{':
			brackets++
		case ']', '}':
			brackets = max(0, brackets-1)
		case '-', '?', ':':
			if i+1 < len(data) && (data[i+1] == ' ' || data[i+1] == '\t') {
				dashes++
			}
		case '\n', '\r':
			dashes = 0
		}
		most = max(most, brackets, dashes)
	}
	return most
}

// flattener makes a document's tree plain: mappings, lists and scalars, without anchors, aliases and merge keys.
type flattener struct {
	file    string
	anchors map[string]sized
}

// sized is a plain node, and how many nodes it has.
type sized struct {
	node ast.Node
	size int
}

func plain(file string, node ast.Node) (ast.Node, error) {
	f := &flattener{file: file, anchors: make(map[string]sized)}
	flat, err := f.flatten(node, nil, 0)
	return flat.node, err
}

// flatten makes a node plain. Above is the token in whose place nothing stands, where there is no node.
func (f *flattener) flatten(node ast.Node, above *token.Token, deep int) (sized, error) {
	if deep > maxDepth {
		return sized{}, at(f.file, "", above, fmt.Sprintf("must not be nested more than %d deep", maxDepth))
	}
	switch n := node.(type) {
	case nil:
		return sized{null(above), 1}, nil
	case *ast.AnchorNode:
		v, err := f.flatten(n.Value, n.Start, deep+1)
		if err == nil && n.Name != nil {
			f.anchors[n.Name.GetToken().Value] = v
		}
		return v, err
	case *ast.AliasNode:
		if n.Value == nil {
			return sized{}, at(f.file, "", n.Start, "an alias must name an anchor")
		}
		v, ok := f.anchors[n.Value.GetToken().Value]
		if !ok {
			return sized{}, at(f.file, "", n.Start, "an alias must name an anchor that stands before it")
		}
		return v, nil
	case *ast.TagNode:
		return f.tagged(n, deep)
	case *ast.MappingValueNode:
		return f.mapping(ast.Mapping(n.Start, false, n), deep)
	case *ast.MappingNode:
		return f.mapping(n, deep)
	case *ast.SequenceNode:
		return f.sequence(n, deep)
	case *ast.CommentGroupNode:
		return sized{null(n.GetToken()), 1}, nil
	default:
		return sized{node, 1}, nil
	}
}

func null(at *token.Token) ast.Node {
	if at == nil {
		at = token.New("null", "null", &token.Position{})
	}
	return ast.Null(at)
}

// tagged keeps the tag of a scalar; lists and mappings need none.
func (f *flattener) tagged(n *ast.TagNode, deep int) (sized, error) {
	v, err := f.flatten(n.Value, n.Start, deep+1)
	if err != nil {
		return v, err
	}
	if _, scalar := v.node.(ast.ScalarNode); !scalar {
		return v, nil
	}
	tag := *n
	tag.Value = v.node
	return sized{&tag, v.size}, nil
}

func (f *flattener) mapping(n *ast.MappingNode, deep int) (sized, error) {
	flat := ast.Mapping(n.Start, n.IsFlowStyle)
	total := 1
	var merged []*ast.MappingValueNode
	for _, pair := range n.Values {
		v, err := f.flatten(pair.Value, pair.Start, deep+1)
		if err != nil {
			return sized{}, err
		}
		if total += v.size + 1; total > maxNodes {
			return sized{}, at(f.file, "", pair.Start, fmt.Sprintf("must have at most %d entries, with what aliases stand for", maxNodes))
		}
		if pair.Key.IsMergeKey() {
			of, ok := v.node.(*ast.MappingNode)
			if !ok {
				return sized{}, at(f.file, "", pair.Start, "<< must stand before a mapping")
			}
			merged = append(merged, of.Values...)
			continue
		}
		if !scalarKey(pair.Key) {
			return sized{}, at(f.file, "", pair.Key.GetToken(), "a key must be text")
		}
		if find(flat, keyOf(pair)) != nil {
			return sized{}, at(f.file, "", pair.Key.GetToken(), "a key must stand once in its mapping")
		}
		flat.Values = append(flat.Values, ast.MappingValue(pair.Start, pair.Key, v.node))
	}
	for _, pair := range merged { // what the mapping says itself comes first
		if find(flat, keyOf(pair)) == nil {
			flat.Values = append(flat.Values, pair)
		}
	}
	return sized{flat, total}, nil
}

func (f *flattener) sequence(n *ast.SequenceNode, deep int) (sized, error) {
	flat := ast.Sequence(n.Start, n.IsFlowStyle)
	total := 1
	for _, value := range n.Values {
		v, err := f.flatten(value, n.Start, deep+1)
		if err != nil {
			return sized{}, err
		}
		if total += v.size; total > maxNodes {
			return sized{}, at(f.file, "", n.Start, fmt.Sprintf("must have at most %d entries, with what aliases stand for", maxNodes))
		}
		flat.Values = append(flat.Values, v.node)
	}
	return sized{flat, total}, nil
}

func scalarKey(key ast.MapKeyNode) bool {
	switch key.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		return true
	default:
		return false
	}
}

func keyOf(pair *ast.MappingValueNode) string { return pair.Key.GetToken().Value }

// find is the entry of a mapping with the key.
func find(mapping *ast.MappingNode, key string) *ast.MappingValueNode {
	for _, pair := range mapping.Values {
		if keyOf(pair) == key {
			return pair
		}
	}
	return nil
}

// Key is the path of a key below its mapping.
func Key(name string) string {
	if name == "" || strings.ContainsAny(name, ".['") {
		return ".'" + name + "'"
	}
	return "." + name
}

// nodesOn lists the nodes on a path from the root down to where it leads, or as far as there is something.
func nodesOn(root ast.Node, path string) []ast.Node {
	if root == nil {
		return nil
	}
	nodes := []ast.Node{root}
	for path != "" {
		var step string
		step, path = cutStep(path)
		next := child(nodes[len(nodes)-1], step)
		if next == nil {
			break
		}
		nodes = append(nodes, next)
	}
	return nodes
}

// cutStep cuts the first step off a path: ".name", ".'na.me'" or "[3]".
func cutStep(path string) (step, rest string) {
	end := len(path)
	switch {
	case strings.HasPrefix(path, ".'"):
		for i := 2; i < len(path); i++ {
			if path[i] == '\'' && (i+1 == len(path) || path[i+1] == '.' || path[i+1] == '[') {
				end = i + 1
				break
			}
		}
	default:
		if i := strings.IndexAny(path[1:], ".["); i >= 0 {
			end = i + 1
		}
	}
	return path[:end], path[end:]
}

func child(node ast.Node, step string) ast.Node {
	switch n := node.(type) {
	case *ast.MappingNode:
		name := strings.TrimPrefix(step, ".")
		if len(name) >= 2 && name[0] == '\'' {
			name = name[1 : len(name)-1]
		}
		if pair := find(n, name); pair != nil {
			return pair.Value
		}
	case *ast.SequenceNode:
		i, err := strconv.Atoi(strings.Trim(step, "[]"))
		if err == nil && i >= 0 && i < len(n.Values) {
			return n.Values[i]
		}
	}
	return nil
}

// empty tells whether a node holds nothing: no entry, no text.
func empty(node ast.Node) bool {
	switch n := node.(type) {
	case *ast.MappingNode:
		return len(n.Values) == 0
	case *ast.SequenceNode:
		return len(n.Values) == 0
	case *ast.StringNode:
		return n.Value == ""
	case *ast.NullNode:
		return true
	default:
		return false
	}
}
