package parquet

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"

	"sluice/internal/warehouse"
)

// columns is a group with its fields in the order of the table's columns, not of their names.
type columns struct {
	parquet.Group
	order []parquet.Field
}

// Fields overrides the group's.
func (c columns) Fields() []parquet.Field { return c.order }

// schemaOf is how a table's rows look in a file.
func schemaOf(t *warehouse.Table) *parquet.Schema {
	group := make(parquet.Group, len(t.Columns))
	for _, c := range t.Columns {
		group[c.Name] = nodeOf(c.Kind)
	}
	order := group.Fields()
	slices.SortFunc(order, func(a, b parquet.Field) int { return cmp.Compare(t.Column(a.Name()), t.Column(b.Name())) })
	return parquet.NewSchema(t.Name, columns{group, order})
}

func nodeOf(k warehouse.Kind) parquet.Node {
	switch k {
	case warehouse.String:
		return parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	case warehouse.Bytes:
		return parquet.Leaf(parquet.ByteArrayType)
	case warehouse.Int64:
		return parquet.Encoded(parquet.Int(64), &parquet.DeltaBinaryPacked)
	case warehouse.Uint64:
		return parquet.Uint(64)
	case warehouse.Bool:
		return parquet.Leaf(parquet.BooleanType)
	case warehouse.Time:
		return parquet.Encoded(parquet.Timestamp(parquet.Microsecond), &parquet.DeltaBinaryPacked)
	case warehouse.Strings:
		return parquet.List(parquet.Encoded(parquet.String(), &parquet.RLEDictionary))
	default:
		return parquet.List(parquet.Encoded(parquet.Int(64), &parquet.DeltaBinaryPacked))
	}
}

// kindOf is the physical type of a kind's leaf, to know a file of another shape.
func kindOf(k warehouse.Kind) parquet.Kind {
	switch k {
	case warehouse.String, warehouse.Bytes, warehouse.Strings:
		return parquet.ByteArray
	case warehouse.Bool:
		return parquet.Boolean
	default:
		return parquet.Int64
	}
}

func isList(c warehouse.Column) bool {
	return c.Kind == warehouse.Strings || c.Kind == warehouse.Int64s
}

// pathOf is the path of the column's leaf.
func pathOf(c warehouse.Column) []string {
	if isList(c) {
		return []string{c.Name, "list", "element"}
	}
	return []string{c.Name}
}

// leafOf finds the column's leaf in a file: its index, -1 if the file was written before the table had the column.
func leafOf(schema *parquet.Schema, c warehouse.Column) (int, error) {
	list := isList(c)
	leaf, ok := schema.Lookup(pathOf(c)...)
	if !ok {
		if _, other := schema.Lookup(c.Name); other || !list && hasGroup(schema, c.Name) {
			return 0, fmt.Errorf("column %s is no list in one of file and table", c.Name)
		}
		return -1, nil
	}
	if leaf.Node.Type().Kind() != kindOf(c.Kind) {
		return 0, fmt.Errorf("column %s has another type than the table's", c.Name)
	}
	return leaf.ColumnIndex, nil
}

func hasGroup(schema *parquet.Schema, name string) bool {
	return slices.ContainsFunc(schema.Columns(), func(path []string) bool { return path[0] == name })
}

const (
	groupRows    = 1 << 16   // rows of a row group: what a purge has to encode anew
	chunkRows    = 2048      // rows that are encoded or decoded in one go
	pageBytes    = 32 << 10  // before compression; a merge holds one of each column and file
	maxDictBytes = 256 << 10 // of a row group's column, beyond which values are written plainly
)

// writerOf makes a writer that can be used for many files of the table. Files that will soon be merged are compressed with what costs least.
func writerOf(t *warehouse.Table, schema *parquet.Schema, codec compress.Codec) *parquet.GenericWriter[any] {
	o := []parquet.WriterOption{
		schema, parquet.Compression(codec), parquet.PageBufferSize(pageBytes), parquet.DataPageVersion(1), parquet.DataPageStatistics(false), parquet.DictionaryMaxBytes(maxDictBytes),
		parquet.MaxRowsPerRowGroup(2 * groupRows), parquet.CreatedBy("sluice", "1", "0"),
		parquet.ColumnIndexSizeLimit(func([]string) int { return 32 }),
	}
	for _, c := range t.Columns {
		if c.Name != t.Subject && c.Name != t.Time { // nobody looks for the others by their bounds
			o = append(o, parquet.SkipPageBounds(pathOf(c)...))
		}
	}
	if t.Subject != "" {
		o = append(o, parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending(t.Subject), parquet.Ascending(t.Time))))
	} else {
		o = append(o, parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending(t.Time))))
	}
	return parquet.NewGenericWriter[any](nil, o...)
}
