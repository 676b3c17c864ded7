package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	ch "github.com/ClickHouse/clickhouse-go/v2"
)

// SchemaError says what of the database's schema does not fit.
type SchemaError struct {
	Table, Column string // Column is "" if it is about the whole table; both are "" if about the database
	Problem       string
}

func (e *SchemaError) Error() string {
	where := "clickhouse: "
	switch {
	case e.Column != "":
		where += "table " + e.Table + ", column " + e.Column + ": "
	case e.Table != "":
		where += "table " + e.Table + ": "
	}
	return where + e.Problem + "; run `sluice migrate`"
}

// IsSchema tells whether an error is one that no retry mends: the database's tables are not as this program knows them.
func IsSchema(err error) bool {
	if _, ok := errors.AsType[*SchemaError](err); ok {
		return true
	}
	e, ok := errors.AsType[*engineError](err)
	return ok && schemaCodes[e.code] != ""
}

// engineError is what may be told of the engine's error. The error's text may not: it can quote rows and statements.
type engineError struct{ code int32 }

func (e *engineError) Error() string {
	for _, names := range []map[int32]string{schemaCodes, otherCodes} {
		if name := names[e.code]; name != "" {
			return "the engine answers " + name + " (" + strconv.Itoa(int(e.code)) + ")"
		}
	}
	return "the engine answers error " + strconv.Itoa(int(e.code))
}

// schemaCodes are the engine's errors about tables that are not as expected.
var schemaCodes = map[int32]string{
	8:   "THERE_IS_NO_COLUMN",
	10:  "NOT_FOUND_COLUMN_IN_BLOCK",
	16:  "NO_SUCH_COLUMN_IN_TABLE",
	20:  "NUMBER_OF_COLUMNS_DOESNT_MATCH",
	43:  "ILLEGAL_TYPE_OF_ARGUMENT",
	44:  "ILLEGAL_COLUMN",
	47:  "UNKNOWN_IDENTIFIER",
	50:  "UNKNOWN_TYPE",
	53:  "TYPE_MISMATCH",
	60:  "UNKNOWN_TABLE",
	70:  "CANNOT_CONVERT_TYPE",
	81:  "UNKNOWN_DATABASE",
	115: "UNKNOWN_SETTING",
	386: "NO_COMMON_TYPE",
}

// otherCodes are errors that operators meet. All others are told by number.
var otherCodes = map[int32]string{
	62:  "SYNTAX_ERROR",
	159: "TIMEOUT_EXCEEDED",
	164: "READONLY",
	202: "TOO_MANY_SIMULTANEOUS_QUERIES",
	210: "NETWORK_ERROR",
	241: "MEMORY_LIMIT_EXCEEDED",
	242: "TABLE_IS_READ_ONLY",
	243: "NOT_ENOUGH_SPACE",
	252: "TOO_MANY_PARTS",
	341: "UNFINISHED",
	394: "QUERY_WAS_CANCELLED",
	497: "ACCESS_DENIED",
	516: "AUTHENTICATION_FAILED",
}

// withoutText keeps of an error what holds no values: the engine's code, the end of the context, what the network says.
func withoutText(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*ch.Exception](err); ok {
		return &engineError{e.Code}
	}
	if e, ok := errors.AsType[*ch.HTTPError](err); ok {
		return fmt.Errorf("the engine answers HTTP status %d", e.StatusCode)
	}
	for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, end) {
			return end
		}
	}
	if e, ok := errors.AsType[*url.Error](err); ok { // its text is the whole address, and in it the statement
		return e.Err
	}
	return err
}
