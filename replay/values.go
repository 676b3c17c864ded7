package replay

import (
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Fault is why a row could not be mapped. It never holds a value.
type Fault struct {
	Code    string // stable: invalid_time, invalid_number, unknown_value, …
	Pointer string // RFC 6901, the place in the event
	Column  string // of the file, empty where the fault is the whole row's
	Detail  string // what it must be
}

func (f *Fault) Error() string {
	if f.Column == "" {
		return f.Detail
	}
	return "column " + f.Column + ": " + f.Detail
}

// codeNotText is the code of a cell or row in another encoding than the one that is read.
const codeNotText = "invalid_utf8"

// appendText appends s as a JSON string. It fails on invalid UTF-8.
func appendText(dst []byte, s string) ([]byte, bool) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			out, err := jsontext.AppendQuote(dst, s)
			return out, err == nil
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"'), true
}

// decimal is a number split at its point, without superfluous zeros.
type decimal struct {
	negative        bool
	whole, fraction string // digits; whole is "0" at least, fraction may be empty
}

// parseDecimal reads a decimal number, also in scientific notation.
func parseDecimal(s string) (decimal, bool) {
	if strings.ContainsAny(s, "eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || f > 1e300 || f < -1e300 {
			return decimal{}, false
		}
		s = strconv.FormatFloat(f, 'f', -1, 64)
	}
	var d decimal
	if s != "" && (s[0] == '-' || s[0] == '+') {
		d.negative, s = s[0] == '-', s[1:]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	if whole == "" && fraction == "" || !digits(whole) || !digits(fraction) {
		return decimal{}, false
	}
	d.whole, d.fraction = strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")
	if d.whole == "" {
		d.whole = "0"
	}
	if d.whole == "0" && d.fraction == "" {
		d.negative = false
	}
	return d, true
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func (d decimal) append(dst []byte) []byte {
	if d.negative {
		dst = append(dst, '-')
	}
	dst = append(dst, d.whole...)
	if d.fraction != "" {
		dst = append(dst, '.')
		dst = append(dst, d.fraction...)
	}
	return dst
}

// micros is the number of microseconds in d units, each 10^exponent seconds. What is finer than a microsecond is cut off. It fails beyond int64.
func (d decimal) micros(exponent int) (int64, bool) {
	text := d.whole
	if shift := 6 + exponent; shift >= 0 {
		text += d.fraction[:min(shift, len(d.fraction))] + strings.Repeat("0", max(0, shift-len(d.fraction)))
	} else {
		text = text[:max(0, len(text)+shift)]
	}
	if text == "" {
		text = "0"
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if d.negative {
		n = -n
	}
	return n, err == nil
}

// appendTime appends a time in RFC 3339, in UTC, as a JSON string.
func appendTime(dst []byte, micros int64) []byte {
	dst = append(dst, '"')
	dst = time.UnixMicro(micros).UTC().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, '"')
}

// appendJSON appends a JSON array, compact.
func appendJSON(dst []byte, s string) ([]byte, bool) {
	v := jsontext.Value(s)
	if v.Kind() != '[' || v.Compact() != nil {
		return dst, false
	}
	return append(dst, v...), true
}

// appendBool appends a truth value: true, false, 1, 0.
func appendBool(dst []byte, s string) ([]byte, bool) {
	switch s {
	case "true", "True", "TRUE", "1":
		return append(dst, "true"...), true
	case "false", "False", "FALSE", "0":
		return append(dst, "false"...), true
	}
	return dst, false
}
