package replay

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"sluice/ingest"
	"sluice/internal/config"
	"sluice/internal/field"
)

// Map says how a file's columns become events. Make one with LoadMap, ParseMap, Columns or Events.
type Map struct {
	set    map[string]string            // path → constant
	fields map[string]string            // path → column, or "$id"
	values map[string]map[string]string // path → a column's word → ours
	time   timeRule
	ignore map[string]bool
	layout layout
	events bool     // the columns are the fields of events as the API takes them
	exact  bool     // every column named in fields must be in the file
	given  []string // constants of the command line
	table  string   // the table of the warehouse that it is made for, "" = none

	file     string // as errors show it
	sections map[string]config.Section
}

// idReference on the right of a map stands for the event's own id.
const idReference = "$id"

// LoadMap reads a map file, or takes the built-in map of a table of the warehouse ("warehouse:risk_events"). set has entries of the form field=value, which
// override the file's `set`. Errors are config.Errors: file, line, column, field, and what it must be.
func LoadMap(file string, set []string) (*Map, error) {
	if name, ok := strings.CutPrefix(file, TablePrefix); ok {
		return tableMap(name, set)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, &config.Error{File: file, Message: "must be a readable map file: " + reason(err)}
	}
	return ParseMap(file, data, set)
}

// ParseMap is LoadMap for a file that is in memory.
func ParseMap(file string, data []byte, set []string) (*Map, error) {
	parsed, err := config.Parse(file, data)
	if err != nil {
		return nil, err
	}
	if err := parsed.Allow("set", "fields", "values", "time", "ignore", "separator", "encoding"); err != nil {
		return nil, err
	}
	m := newMap(file)
	m.exact = true
	for _, s := range parsed.Sections() {
		m.sections[s.Name] = s
	}
	if err := m.decode(); err != nil {
		return nil, err
	}
	if err := m.override(set); err != nil {
		return nil, err
	}
	return m, m.check()
}

// Columns is the map's short form: entries "field=column" and "field=value". Numbers in time fields are Unix seconds, dates are UTC.
func Columns(columns, set []string) (*Map, error) {
	m := newMap("--columns")
	m.exact = true
	for _, entry := range columns {
		field, column, ok := strings.Cut(entry, "=")
		if !ok || field == "" || column == "" {
			return nil, &config.Error{File: "--columns", Message: "must be field=column,…"}
		}
		if _, twice := m.fields[field]; twice {
			return nil, &config.Error{File: "--columns", Path: field, Message: "must be given once"}
		}
		m.fields[field] = column
	}
	if err := m.override(set); err != nil {
		return nil, err
	}
	return m, m.check()
}

// Events is the map of JSON lines and Parquet files that hold events as the API takes them: every field is its own column.
func Events(set []string) (*Map, error) {
	m := newMap("--events")
	m.given, m.events = set, true
	if err := m.override(set); err != nil {
		return nil, err
	}
	for i := range paths {
		if _, ok := m.set[paths[i].name]; !ok {
			m.fields[paths[i].name] = paths[i].name
		}
	}
	return m, m.check()
}

// fits refuses a file that needs a map if none is given. Rows of JSON lines say themselves what they hold. A table is taken for events only if it has the
// columns that every event has: the columns of a CSV file are somebody's export.
func (m *Map) fits(name string, s *source) error {
	if m.table != "" && !s.empty() && (s.table == nil || s.table.name != m.table) {
		return fileError(name, "must hold rows of the warehouse's table "+m.table)
	}
	if s.table != nil && !m.exact {
		return fileError(name, "needs --map: not all that is read are rows of the warehouse's table "+s.table.name)
	}
	if m.exact || s.growing || s.empty() {
		return nil
	}
	if s.format != ".parquet" && s.format != isTable {
		return fileError(name, "needs --map or --columns; without them only .json, .jsonl, .ndjson and .parquet files that hold events are read")
	}
	has := func(field string) bool {
		_, constant := m.set[field]
		return constant || slices.Contains(s.Columns(), field)
	}
	if has("type") && has("time") && has("jurisdiction") && (has("user_id") || has("anonymous_id")) {
		return nil
	}
	return fileError(name, "needs --map or --columns; a file of events has the columns type, time, jurisdiction (or --set jurisdiction=CN), and user_id or anonymous_id")
}

func newMap(file string) *Map {
	return &Map{
		file: file, set: make(map[string]string), fields: make(map[string]string), ignore: make(map[string]bool),
		sections: make(map[string]config.Section), time: newTimeRule(),
	}
}

func (m *Map) decode() error {
	var faults config.Faults
	for _, key := range []struct {
		name string
		into any
	}{{"set", &m.set}, {"fields", &m.fields}, {"values", &m.values}} {
		if s, ok := m.sections[key.name]; ok {
			faults.Add(s.Decode(key.into))
		}
	}
	if faults.Any() {
		return faults.Err()
	}
	if s, ok := m.sections["ignore"]; ok {
		var names []string
		if err := s.Decode(&names); err != nil {
			return err
		}
		for _, n := range names {
			m.ignore[n] = true
		}
	}
	if err := m.decodeLayout(); err != nil {
		return err
	}
	return m.decodeTime()
}

// decodeLayout reads how the files are written.
func (m *Map) decodeLayout() error {
	var faults config.Faults
	for _, key := range []struct {
		name string
		read func(value string) error
	}{{"separator", m.layout.separate}, {"encoding", m.layout.encode}} {
		s, ok := m.sections[key.name]
		if !ok {
			continue
		}
		var value string
		if err := s.Decode(&value); err != nil {
			faults.Add(err)
			continue
		}
		if err := key.read(value); err != nil {
			faults.Add(s.Errorf("", "%s", err))
		}
	}
	return faults.Err()
}

func (l *layout) separate(value string) error {
	if len(value) != 1 || value[0] > '~' || strings.ContainsAny(value, "\"\r\n") {
		return errors.New(`must be one ASCII character such as ";" or "\t"`)
	}
	l.separator = value[0]
	return nil
}

func (l *layout) encode(value string) error {
	_, _, err := encodingOf(value)
	l.encoding = value
	return err
}

func (m *Map) decodeTime() error {
	s, ok := m.sections["time"]
	if !ok {
		return nil
	}
	var t struct {
		Zone     string `yaml:"zone"`
		Unit     string `yaml:"unit"`
		Layout   string `yaml:"layout"`
		Earliest string `yaml:"earliest"`
		Latest   string `yaml:"latest"`
	}
	if err := s.Decode(&t); err != nil {
		return err
	}
	if t.Unit != "" && t.Layout != "" {
		return s.Errorf(".layout", "must be unit (of numbers) or layout (of dates), not both")
	}
	if t.Unit != "" {
		if m.time.exponent, ok = exponents[t.Unit]; !ok {
			return s.Errorf(".unit", "must be one of s, ms, us, ns")
		}
		m.time.unit = t.Unit
	}
	if t.Layout != "" && !strings.Contains(t.Layout, "06") {
		return s.Errorf(".layout", "must be the reference time 2006-01-02 15:04:05 written as the file writes times, as in Go (not %%Y-%%m-%%d)")
	}
	m.time.layout = t.Layout
	if t.Zone != "" {
		zone, err := time.LoadLocation(t.Zone)
		if err != nil {
			return s.Errorf(".zone", "must be a time zone such as UTC or Asia/Shanghai")
		}
		m.time.zone = zone
	}
	for _, bound := range []struct {
		name, value string
		into        *int64
	}{{".earliest", t.Earliest, &m.time.earliest}, {".latest", t.Latest, &m.time.latest}} {
		if bound.value == "" {
			continue
		}
		at, ok := m.time.date(bound.value)
		if !ok {
			return s.Errorf(bound.name, "must be a date such as 1995-01-01")
		}
		*bound.into = at.UnixMicro()
	}
	m.time.fixed = t.Latest != ""
	if m.time.fixed && m.time.latest <= m.time.earliest {
		return s.Errorf(".latest", "must be after earliest, which is %s", time.UnixMicro(m.time.earliest).UTC().Format(time.DateOnly))
	}
	return nil
}

// override applies --set.
func (m *Map) override(set []string) error {
	for _, entry := range set {
		field, value, ok := strings.Cut(entry, "=")
		if !ok || field == "" {
			return &config.Error{File: "--set", Message: "must be field=value,…"}
		}
		if findPath(field) < 0 {
			return &config.Error{File: "--set", Path: field, Message: unknownPath(field)}
		}
		if _, mapped := m.fields[field]; mapped {
			return &config.Error{File: "--set", Path: field, Message: "must not be mapped to a column, too"}
		}
		m.set[field] = value
	}
	return nil
}

// check holds what a map must say, whatever the file.
func (m *Map) check() error {
	for _, section := range []string{"set", "fields", "values"} {
		if err := m.checkSection(section); err != nil {
			return err
		}
	}
	for _, column := range slices.Sorted(maps.Values(m.fields)) {
		if m.ignore[column] {
			return m.fault("ignore", "", "column %q is both mapped and ignored", column)
		}
	}
	for _, needed := range []struct{ path, how string }{
		{"type", ", by set: {type: payment} or a column"},
		{"time", ", by a column"},
		{"jurisdiction", ", by set: {jurisdiction: CN} or a column; it decides what a person's silence means"},
	} {
		if !m.fills(needed.path) {
			return m.fault("fields", "", "%s must be set%s", needed.path, needed.how)
		}
	}
	if !m.fills("user_id") && !m.fills("anonymous_id") {
		return m.fault("fields", "", "user_id or anonymous_id must be mapped: each event must be a person's")
	}
	return nil
}

func (m *Map) fills(name string) bool {
	_, constant := m.set[name]
	_, column := m.fields[name]
	return constant || column
}

func (m *Map) checkSection(section string) error {
	for _, name := range m.names(section) {
		if findPath(name) < 0 {
			return m.fault(section, name, "%s", unknownPath(name))
		}
		var err error
		switch section {
		case "set":
			err = m.checkConstant(name)
		case "fields":
			err = m.checkField(name)
		case "values":
			err = m.checkValues(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *Map) names(section string) []string {
	switch section {
	case "set":
		return slices.Sorted(maps.Keys(m.set))
	case "fields":
		return slices.Sorted(maps.Keys(m.fields))
	default:
		return slices.Sorted(maps.Keys(m.values))
	}
}

func (m *Map) checkConstant(name string) error {
	value := m.set[name]
	switch {
	case name == "id":
		return m.fault("set", name, "must be a column: every event needs its own id (left out, one is derived)")
	case value == "":
		return m.fault("set", name, "must not be empty")
	case value == idReference:
		return nil
	}
	if expected := wordFault(name, value); expected != "" {
		return m.fault("set", name, "%s", expected)
	}
	if _, code := m.encode(nil, &paths[findPath(name)], value); code != "" {
		return m.fault("set", name, "%s", m.expected(&paths[findPath(name)]))
	}
	return nil
}

func (m *Map) checkField(name string) error {
	column := m.fields[name]
	switch {
	case column == "":
		return m.fault("fields", name, "must be the name of a column")
	case column == idReference && name == "id":
		return m.fault("fields", name, "must be a column: $id is the event's own id")
	case column == idReference && paths[findPath(name)].kind != kindText:
		return m.fault("fields", name, "must be a column: the id is a string")
	}
	if _, also := m.set[name]; also {
		return m.fault("fields", name, "must be a column or a constant: the field is in `set` too")
	}
	if strings.HasPrefix(name, "items.") && m.fills("items") && m.file != "--events" {
		return m.fault("fields", name, "must be items (a JSON array) or items.… (the row's one item), not both")
	}
	return nil
}

func (m *Map) checkValues(name string) error {
	if _, ok := m.fields[name]; !ok {
		return m.fault("values", name, "the field is not in `fields`")
	}
	if m.fields[name] == idReference {
		return m.fault("values", name, "must be a field with a column of its own")
	}
	table := m.values[name]
	for _, word := range slices.Sorted(maps.Keys(table)) {
		if expected := wordFault(name, table[word]); expected != "" {
			return m.fault("values", name, "%q: %s", word, expected)
		}
	}
	return nil
}

// wordFault says what a closed vocabulary expects, empty if value is one of its words or the field takes any.
func wordFault(name, value string) string {
	for _, leaf := range ingest.Fields.Leaves() {
		if leaf.Path != name || leaf.Kind != field.Enum || slices.Contains(leaf.Values[1:], value) {
			continue
		}
		what := leaf.Name
		if leaf.Group == nil && what == "type" {
			what = "event type"
		}
		return "unknown " + what + "; it must be one of " + strings.Join(leaf.Values[1:], " ")
	}
	return ""
}

func unknownPath(name string) string {
	if near := nearestPath(name); near != "" {
		return fmt.Sprintf("unknown field of the event; did you mean %s?", near)
	}
	return "unknown field of the event; see the table of fields in the API's description"
}

// fault places a fault at an entry of a section, or at the section, or at the map as a whole.
func (m *Map) fault(section, name, format string, args ...any) error {
	s, ok := m.sections[section]
	if !ok {
		path := name
		if section != "fields" && section != "" && name != "" && m.file != "--columns" {
			path = section + "." + name
		}
		return &config.Error{File: m.file, Path: path, Message: fmt.Sprintf(format, args...)}
	}
	if name == "" {
		return s.Errorf("", format, args...)
	}
	err := s.Errorf(".'"+name+"'", format, args...)
	if placed := new(config.Error); errors.As(err, &placed) {
		placed.Path = section + "." + name // without the quotes that the lookup needs
	}
	return err
}
