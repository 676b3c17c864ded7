package clickhouse

import "strings"

// column is one column of the table.
type column struct{ name, typ string }

// quoted is the column's name in SQL.
func (c column) quoted() string { return quoteName(c.name) }

func quoteName(name string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(name) + "`"
}

func quoteText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// inner is what a type wraps: inner("Array(String)", "Array") is String.
func inner(typ, wrapper string) (string, bool) {
	rest, ok := strings.CutPrefix(typ, wrapper+"(")
	if !ok {
		return typ, false
	}
	return strings.CutSuffix(rest, ")")
}

// bare is the type without what only says how it is stored, or that it may be NULL.
func bare(typ string) (base string, nullable bool) {
	base, _ = inner(typ, "LowCardinality")
	return inner(base, "Nullable")
}

// isTime tells whether values of the type are points in time, and isDay whether they are whole days.
func isTime(typ string) bool { return strings.HasPrefix(typ, "DateTime") || isDay(typ) }

func isDay(typ string) bool { return typ == "Date" || typ == "Date32" }

// readable tells whether values of the type can be written as text: the states of aggregate functions cannot.
func (c column) readable() bool { return !strings.HasPrefix(c.typ, "AggregateFunction(") }

// expression writes the column as text. The same data then reads the same from every kind of file: times as RFC 3339, lists as JSON, bytes that are no text as
// hex digits, NULL and an empty list as nothing.
func (c column) expression(binary bool) string {
	name := c.quoted()
	base, nullable := bare(c.typ)
	text := textOf(name, base)
	if binary && (base == "String" || strings.HasPrefix(base, "FixedString(")) {
		text = "lower(hex(" + name + "))"
	}
	if nullable {
		return "ifNull(" + text + ", '')"
	}
	return text
}

func textOf(name, base string) string {
	switch element, isArray := inner(base, "Array"); {
	case isArray && (element == "Int64" || element == "UInt64"): // toJSONString writes them as strings, or not, as the server is set up
		return "if(empty(" + name + "), '', concat('[', arrayStringConcat(arrayMap(x -> toString(x), " + name + "), ','), ']'))"
	case isArray:
		return "if(empty(" + name + "), '', toJSONString(" + name + "))"
	case strings.HasPrefix(base, "DateTime"):
		return "concat(replaceOne(toString(toTimeZone(" + name + ", 'UTC')), ' ', 'T'), 'Z')"
	case strings.HasPrefix(base, "FixedString("):
		return "toStringCutToZero(" + name + ")"
	}
	for _, composite := range []string{"Map(", "Tuple(", "Nested(", "JSON", "Object(", "Variant(", "Dynamic"} {
		if strings.HasPrefix(base, composite) {
			return "toJSONString(" + name + ")"
		}
	}
	return "toString(" + name + ")"
}

// merges tells whether rows of a table with the engine are only complete once FINAL has merged them.
func merges(engine string) bool {
	for _, kind := range []string{"Replacing", "Collapsing", "Aggregating", "Summing", "Coalescing"} {
		if strings.Contains(engine, kind) && strings.HasSuffix(engine, "MergeTree") {
			return true
		}
	}
	return false
}
