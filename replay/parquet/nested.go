package parquet

import (
	"cmp"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// column is one cell of every row.
type column struct {
	name string
	node *node
}

// node is a part of the file's schema.
type node struct {
	name     string
	leaf     bool
	isMap    bool // its children are a key and a value, and it repeats
	wraps    bool // its one child is an element of the list
	repeats  bool
	optional bool

	// Levels of the format: a value with a lesser definition has nothing here; one with this repetition begins a further element here.
	definition, repetition int
	present                int // a lesser definition than this one is null; one that is less than the other is an empty list

	first    int // of its leaves: the column of the file
	text     func(parquet.Value) string
	boolean  bool
	bare     bool // JSON has its values without quotes
	children []*node
}

// columnsOf are the cells of a file's rows: its leaves, and what repeats as one.
func columnsOf(root *parquet.Column) []column {
	var all []column
	for _, child := range root.Columns() {
		all = appendColumns(all, "", nodeOf(child, 0, 0))
	}
	slices.SortFunc(all, func(a, b column) int { return cmp.Compare(a.node.first, b.node.first) })
	return all
}

func appendColumns(all []column, prefix string, n *node) []column {
	if n.leaf || n.repeats {
		return append(all, column{prefix + n.name, n})
	}
	for _, child := range n.children {
		all = appendColumns(all, prefix+n.name+".", child)
	}
	return all
}

// nodeOf reads a column of the schema below its outer one's levels. What a list or a map wraps its elements in is left out.
func nodeOf(c *parquet.Column, definition, repetition int) *node {
	n := &node{name: c.Name(), leaf: c.Leaf(), repeats: c.Repeated(), optional: c.Optional()}
	if n.optional || n.repeats {
		definition++
	}
	if n.repeats {
		repetition++
	}
	n.definition, n.repetition, n.present = definition, repetition, definition
	if n.repeats {
		n.present--
	}
	if n.leaf {
		n.first, n.text, n.bare = c.Index(), textOf(c.Type()), isBare(c.Type())
		n.boolean = c.Type().Kind() == parquet.Boolean
		return n
	}
	for _, child := range c.Columns() {
		n.children = append(n.children, nodeOf(child, definition, repetition))
	}
	if len(n.children) == 0 {
		n.repeats = false // and so no cell
		return n
	}
	n.first = n.children[0].first
	if list := n.unwrapped(c); list != nil {
		return list
	}
	return n
}

// begin makes the node's leaves ready for a row group.
func (n *node) begin(file io.ReaderAt, chunks []format.ColumnChunk) error {
	for _, child := range n.children {
		if err := child.begin(file, chunks); err != nil {
			return err
		}
	}
	if !n.boolean {
		return nil
	}
	n.text = plain
	if m := &chunks[n.first].MetaData; inRuns(m) {
		values, err := readRuns(file, m, n)
		if err != nil {
			return err
		}
		n.text = values.text
	}
	return nil
}

// unwrapped is what a list or a map repeats, under the name of the list; nil where the node is neither.
func (n *node) unwrapped(c *parquet.Column) *node {
	if n.repeats || len(n.children) != 1 || !n.children[0].repeats {
		return nil
	}
	inner := n.children[0]
	logical := c.Type().LogicalType()
	switch {
	case isType[*format.MapType](logical), inner.name == "key_value":
		inner.isMap = len(inner.children) == 2
	case isType[*format.ListType](logical):
	case inner.name != "list" && inner.name != "bag":
		return nil // a message with one member that repeats
	}
	inner.present = n.definition
	inner.wraps = !inner.leaf && !inner.isMap && len(inner.children) == 1 && inner.name != "array" && inner.name != n.name+"_tuple"
	inner.name = n.name
	return inner
}

func isType[T any](logical *format.LogicalType) bool {
	if logical == nil {
		return false
	}
	_, is := logical.Value.(T)
	return is
}

// values are a row's values not read yet, by the column of the file.
type values []parquet.Row

func (v values) split(row parquet.Row) {
	clear(v)
	for from := 0; from < len(row); {
		to := from + 1
		for to < len(row) && row[to].Column() == row[from].Column() {
			to++
		}
		v[row[from].Column()] = row[from:to]
		from = to
	}
}

// take is the next value of a column.
func (v values) take(column int) parquet.Value {
	value := v[column][0]
	v[column] = v[column][1:]
	return value
}

// has tells whether there is something at the node.
func (v values) has(n *node) bool {
	return len(v[n.first]) > 0 && v[n.first][0].DefinitionLevel() >= n.definition
}

// isPresent tells whether there is something at the node, be it an empty list.
func (v values) isPresent(n *node) bool {
	return len(v[n.first]) > 0 && v[n.first][0].DefinitionLevel() >= n.present
}

// cell is the text of what is at the node; empty where nothing is.
func (v values) cell(n *node) string {
	switch {
	case !v.has(n):
		return ""
	case n.repeats:
		return string(v.appendJSON(nil, n))
	default:
		return n.text(v.take(n.first))
	}
}

// appendJSON reads what is at the node.
func (v values) appendJSON(dst []byte, n *node) []byte {
	if null := !v.isPresent(n); null || !v.has(n) {
		v.skip(n)
		switch {
		case null:
			return append(dst, "null"...)
		case n.isMap:
			return append(dst, "{}"...)
		default:
			return append(dst, "[]"...)
		}
	}
	if !n.repeats {
		return v.appendOne(dst, n)
	}
	open, shut := byte('['), byte(']')
	if n.isMap {
		open, shut = '{', '}'
	}
	dst = append(dst, open)
	for first := true; first || len(v[n.first]) > 0 && v[n.first][0].RepetitionLevel() == n.repetition; first = false {
		if !first {
			dst = append(dst, ',')
		}
		dst = v.appendElement(dst, n)
	}
	return append(dst, shut)
}

// appendElement reads one element of what repeats.
func (v values) appendElement(dst []byte, n *node) []byte {
	switch {
	case n.isMap:
		key := n.children[0]
		dst = append(appendText(dst, key.text(v.take(key.first))), ':')
		return v.appendJSON(dst, n.children[1])
	case n.wraps:
		return v.appendJSON(dst, n.children[0])
	default:
		return v.appendOne(dst, n)
	}
}

// appendOne reads a value, or the members of an object that are there.
func (v values) appendOne(dst []byte, n *node) []byte {
	if n.leaf {
		text := n.text(v.take(n.first))
		if n.bare {
			return append(dst, text...)
		}
		return appendText(dst, text)
	}
	dst = append(dst, '{')
	for _, child := range n.children {
		if !v.isPresent(child) {
			v.skip(child)
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, child.name), ':')
		dst = v.appendJSON(dst, child)
	}
	return append(dst, '}')
}

// skip passes over the one value of each leaf that says that nothing is there.
func (v values) skip(n *node) {
	if n.leaf {
		v.take(n.first)
		return
	}
	for _, child := range n.children {
		v.skip(child)
	}
}

// appendText appends a JSON string. What is not UTF-8 makes an array that nobody can read, and the row says so.
func appendText(dst []byte, s string) []byte {
	if out, err := jsontext.AppendQuote(dst, s); err == nil {
		return out
	}
	return append(dst, s...)
}
