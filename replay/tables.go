package replay

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"sluice/ingest"
	"sluice/internal/config"
	"sluice/internal/field"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
)

// TablePrefix before the name of a table of the warehouse is its built-in map: --map warehouse:risk_events.
const TablePrefix = "warehouse:"

// table is a table of the warehouse with events as rows. Its columns are the fields of its purpose's type.
type table struct {
	name    string
	derived []derived

	columns []string          // by which it is recognized
	later   []string          // further ones, which older rows do not have
	binary  []string          // of them, those that hold bytes
	fields  map[string]string // path of the event → column
	ignore  map[string]bool   // columns that say nothing that an event could hold
}

// derived is a column made of others, for what one cell of the table does not say. It takes the place of the column with its name, or comes at the end.
type derived struct {
	name  string
	path  string // in the event, of a column that the table itself does not have
	from  []string
	cell  func(cells []string) string // of those columns
	folds bool                        // those columns are left out
}

var (
	itemLists = []string{"item_ids", "item_indexes", "item_quantity_micros", "item_prices"}
	items     = derived{name: "items", path: "items", from: itemLists, cell: itemsOf, folds: true}
	// orderID is the event's own: a purchase must have one, and neither the history nor personalization knows it.
	orderID = derived{
		name: "order_id", path: "order.order_id", from: []string{"type", "event"},
		cell: func(c []string) string { return when(takesOrder(c[0]), shortID(c[1:])) },
	}
)

// tables are known by their columns. If one table has all the columns of another and more, it comes first.
var tables = []*table{
	newTable("risk_events", privacyfilter.Risk,
		derived{name: "value", from: []string{"value", "has_value"}, cell: func(c []string) string { return when(c[1] == "true", moneyOf(c[0])) }},
		// The pseudonym, at the address's own domain.
		derived{name: "email", from: []string{"email", "email_domain"}, cell: func(c []string) string { return when(c[0] != "", c[0]+"@"+c[1]) }},
		derived{name: "signup_time", from: []string{"signup_time"}, cell: func(c []string) string { return when(!strings.HasPrefix(c[0], notTold), c[0]) }},
		// Fraud control knows neither what was bought nor what was searched for, and some events must tell it.
		derived{name: "items", path: "items", from: []string{"type"}, cell: func(c []string) string { return when(takesItems(c[0]), `[{"item_id":"unknown"}]`) }},
		derived{name: "search_term", path: "search_term", from: []string{"type"}, cell: func(c []string) string { return when(c[0] == "search", "unknown") }},
	),
	newTable("personal_events", privacyfilter.Personalize, items, orderID),
	newTable("history_events", privacyfilter.History, items, derived{name: "event", from: []string{"event"}, cell: shortID}, orderID),
}

// newTable reads the definition of the purpose's type: its columns, and those that an event is made from. Pseudonyms stand for the identifiers.
func newTable(name, purpose string, with ...derived) *table {
	t := &table{name: name, derived: with, fields: make(map[string]string), ignore: make(map[string]bool)}
	for _, f := range privacyfilter.Type(purpose).Fields {
		if f.Kind == field.Many {
			t.columns = append(t.columns, itemLists...)
			t.ignore["item_quantities"] = true // in whole units, in ClickHouse tables of before; item_quantity_micros has it too
			continue
		}
		if f.Later {
			t.later = append(t.later, f.Name)
		} else {
			t.columns = append(t.columns, f.Name)
		}
		if f.Kind == field.Bytes {
			t.binary = append(t.binary, f.Name)
		}
		if f.Part == field.Part_TOLD || f.Part == field.Part_DOMAIN || len(f.From) == 0 || t.fields[f.From[0]] != "" {
			t.ignore[f.Name] = true
			continue
		}
		t.fields[f.From[0]] = f.Name
	}
	for _, d := range with {
		if d.path != "" {
			t.fields[d.path] = d.name
		}
	}
	return t
}

// tableMap is the built-in map of a table of the warehouse.
func tableMap(name string, set []string) (*Map, error) {
	at := slices.IndexFunc(tables, func(t *table) bool { return t.name == name })
	if at < 0 {
		names := make([]string, len(tables))
		for i, t := range tables {
			names[i] = TablePrefix + t.name
		}
		return nil, &config.Error{File: "--map", Message: "must be one of " + strings.Join(names, ", ") + ", the tables that hold events"}
	}
	if !slices.ContainsFunc(set, func(entry string) bool { return strings.HasPrefix(entry, "jurisdiction=") }) {
		return nil, &config.Error{File: TablePrefix + name, Message: "needs --set jurisdiction=CN: the warehouse does not tell it, and it decides what a person's silence means"}
	}
	m := newMap(TablePrefix + name)
	m.exact, m.table = true, name
	m.fields, m.ignore = maps.Clone(tables[at].fields), tables[at].ignore
	if err := m.override(set); err != nil {
		return nil, err
	}
	return m, m.check()
}

// forTable is the map for rows of a table of the warehouse: the map itself where it says which columns it reads, else the built-in one.
func (m *Map) forTable(t *table) (*Map, error) {
	if m.exact {
		return m, nil
	}
	return tableMap(t.name, m.given)
}

// binaryReader is a reader that needs to know which columns hold bytes.
type binaryReader interface {
	Reader
	Binary(columns ...string)
}

// recognize finds out whether the rows are those of a table of the warehouse, and then reads them as such.
func (s *source) recognize(r binaryReader) {
	columns := r.Columns()
	for _, t := range tables {
		if !slices.ContainsFunc(t.columns, func(c string) bool { return !slices.Contains(columns, c) }) {
			r.Binary(slices.DeleteFunc(slices.Clone(t.binary), func(c string) bool { return !slices.Contains(columns, c) })...)
			s.table, s.Reader = t, newTableReader(r, t)
			return
		}
	}
}

// tableReader reads rows of a table of the warehouse, with the columns that are derived.
type tableReader struct {
	Reader
	columns []string
	copied  []int // by column: where its cell stands in the table's row, -1 if it is derived or was not there yet
	derived []derivedColumn
	cells   []string
	args    []string
}

// derivedColumn is a derived column with its places.
type derivedColumn struct {
	derived
	to   int
	args []int
}

func newTableReader(r Reader, t *table) *tableReader {
	tr := &tableReader{Reader: r}
	have := r.Columns()
	folded := make(map[string]bool)
	for _, d := range t.derived {
		for _, name := range d.from {
			folded[name] = d.folds || folded[name]
		}
	}
	for i, name := range have {
		if !folded[name] {
			tr.columns, tr.copied = append(tr.columns, name), append(tr.copied, i)
		}
	}
	for _, name := range t.later {
		if !slices.Contains(have, name) {
			tr.columns, tr.copied = append(tr.columns, name), append(tr.copied, -1)
		}
	}
	for _, d := range t.derived {
		c := derivedColumn{derived: d, to: slices.Index(tr.columns, d.name)}
		if c.to < 0 {
			c.to = len(tr.columns)
			tr.columns, tr.copied = append(tr.columns, d.name), append(tr.copied, -1)
		}
		for _, name := range d.from {
			c.args = append(c.args, slices.Index(have, name))
		}
		tr.derived = append(tr.derived, c)
	}
	tr.cells = make([]string, len(tr.columns))
	return tr
}

// Columns are the table's, and those that are derived.
func (r *tableReader) Columns() []string { return r.columns }

// Read returns the next row's cells. The slice is valid until the next call.
func (r *tableReader) Read() ([]string, error) {
	row, err := r.Reader.Read()
	if err != nil {
		return nil, err
	}
	for i, from := range r.copied {
		if from >= 0 {
			r.cells[i] = row[from]
		}
	}
	for i := range r.derived {
		d := &r.derived[i]
		r.args = r.args[:0]
		for _, from := range d.args {
			r.args = append(r.args, row[from])
		}
		r.cells[d.to] = d.cell(r.args)
	}
	return r.cells, nil
}

// notTold is how a time that was not told begins.
const notTold = "1970-01-01T00:00:00"

// when is the cell if it holds, else nothing.
func when(holds bool, cell string) string {
	if holds {
		return cell
	}
	return ""
}

func takesItems(name string) bool {
	t, ok := vocab.ParseType(name)
	return ok && ingest.TakesItems(t)
}

func takesOrder(name string) bool {
	t, ok := vocab.ParseType(name)
	return ok && ingest.TakesOrder(t)
}

// shortID keeps an id within what an event may have.
func shortID(cells []string) string {
	const longest = 256
	if len(cells[0]) <= longest {
		return cells[0]
	}
	sum := sha256.Sum256([]byte(cells[0]))
	return hex.EncodeToString(sum[:])
}

// moneyOf writes micros in units. What is no number of micros stays as it is, for the map to refuse.
func moneyOf(micros string) string {
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil {
		return micros
	}
	const unit = 1_000_000
	whole := strconv.FormatInt(n/unit, 10)
	fraction := n % unit
	if fraction == 0 {
		return whole
	}
	if fraction < 0 {
		fraction = -fraction
		whole = "-" + strings.TrimPrefix(whole, "-")
	}
	return whole + "." + strings.TrimRight(strconv.FormatInt(unit+fraction, 10)[1:], "0")
}

// itemsOf makes the event's items of the table's parallel lists. Lists that do not fit together are no array at all, which the map refuses.
func itemsOf(lists []string) string {
	if lists[0] == "" {
		return ""
	}
	var columns [4][]string
	for i := range columns {
		columns[i] = elements(lists[i])
		if len(columns[i]) != len(columns[0]) {
			return "lists must be of one length"
		}
	}
	items := []byte{'['}
	for i, id := range columns[0] {
		if i > 0 {
			items = append(items, ',')
		}
		items = append(append(items, `{"item_id":`...), id...)
		for k, name := range []string{"index", "quantity", "price"} {
			cell := columns[k+1][i]
			if cell == "0" {
				continue // not told, or what it is where nothing is told
			}
			items = append(append(items, `,"`...), name...)
			switch name {
			case "quantity":
				cell = moneyOf(cell)
			case "price":
				cell = `"` + moneyOf(cell) + `"`
			}
			items = append(append(items, `":`...), cell...)
		}
		items = append(items, '}')
	}
	return string(append(items, ']'))
}

// elements are the elements of a JSON array, each as JSON; none if it is no array.
func elements(array string) []string {
	d := jsontext.NewDecoder(strings.NewReader(array))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '[' {
		return nil
	}
	var all []string
	for d.PeekKind() != ']' {
		v, err := d.ReadValue()
		if err != nil {
			return nil
		}
		all = append(all, string(v))
	}
	return all
}
