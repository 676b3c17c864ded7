package engine

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// exception is an error as ClickHouse reports it.
type exception struct {
	Code int
	Text string // "Code: 60. DB::Exception: … (UNKNOWN_TABLE)", without the version
}

// Error implements error.
func (e *exception) Error() string { return e.Text }

// Codes of the exceptions that are found here and not in the engine.
const (
	badArguments         = 36
	cannotDecompress     = 271
	notImplemented       = 48
	queryTooLarge        = 229
	syntaxError          = 62
	unknownSetting       = 115
	authenticationFailed = 516
	std                  = 1001 // STD_EXCEPTION: anything without a code
)

var codeNames = map[int]string{
	badArguments:         "BAD_ARGUMENTS",
	cannotDecompress:     "CANNOT_DECOMPRESS",
	notImplemented:       "NOT_IMPLEMENTED",
	queryTooLarge:        "QUERY_IS_TOO_LARGE",
	syntaxError:          "SYNTAX_ERROR",
	unknownSetting:       "UNKNOWN_SETTING",
	authenticationFailed: "AUTHENTICATION_FAILED",
	std:                  "STD_EXCEPTION",
}

func newException(code int, format string, args ...any) *exception {
	return &exception{Code: code, Text: fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", code, fmt.Sprintf(format, args...), codeNames[code])}
}

var (
	exceptionStart   = regexp.MustCompile(`Code: (\d+)\. `)
	exceptionVersion = regexp.MustCompile(` \(version [^()]*(?:\([^()]*\))?\)$`)
)

// parseException reads what the library says, which may repeat the start and may end with the version.
func parseException(text string) *exception {
	text = exceptionVersion.ReplaceAllString(strings.TrimSpace(text), "")
	at := exceptionStart.FindStringSubmatchIndex(text)
	if at == nil {
		return newException(std, "%s", text)
	}
	code, err := strconv.Atoi(text[at[2]:at[3]])
	if err != nil {
		return newException(std, "%s", text)
	}
	return &exception{Code: code, Text: text[at[0]:]}
}

// status is the HTTP status that a ClickHouse server answers with.
func (e *exception) status() int {
	switch e.Code {
	case 6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441, 675, 676:
		return http.StatusBadRequest // cannot parse, bad arguments, type mismatch, syntax error, …
	case 46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511:
		return http.StatusNotFound // unknown function, identifier, type, table, database, setting, format, …
	case 192, 193, 497, 512, 516:
		return http.StatusForbidden
	case 194:
		return http.StatusUnauthorized
	case 229:
		return http.StatusRequestEntityTooLarge
	case 48:
		return http.StatusNotImplemented
	case 76, 209, 439:
		return http.StatusServiceUnavailable
	case 159:
		return http.StatusRequestTimeout
	default:
		return http.StatusInternalServerError
	}
}
