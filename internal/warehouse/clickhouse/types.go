package clickhouse

import (
	"slices"
	"strings"

	"sluice/internal/warehouse"
)

// fitting are the column types that hold a kind's values, the one to choose first. FixedString is none of them: it would give a missing value back as zeros.
var fitting = map[warehouse.Kind][]string{
	warehouse.String:  {"String", "LowCardinality(String)"},
	warehouse.Bytes:   {"String"},
	warehouse.Int64:   {"Int64"},
	warehouse.Uint64:  {"UInt64"},
	warehouse.Bool:    {"Bool"},
	warehouse.Time:    {"DateTime64(6, 'UTC')"},
	warehouse.Strings: {"Array(String)", "Array(LowCardinality(String))"},
	warehouse.Int64s:  {"Array(Int64)"},
}

// fits tells whether a column of the type, as the engine writes it, holds values of the kind.
func fits(k warehouse.Kind, typ string) bool { return slices.Contains(fitting[k], typ) }

// expected are the types that fit, for messages.
func expected(k warehouse.Kind) string { return strings.Join(fitting[k], " or ") }
