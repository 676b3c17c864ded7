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

// codeTimeUnit is the fault that condemns the map rather than the row: a number of seconds beyond the year 5138 is one of milliseconds.
const codeTimeUnit = "time_unit"

// maxSeconds is the greatest time in seconds that is believed.
const maxSeconds = 100_000_000_000

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

// timeRule is how the map says that times are written.
type timeRule struct {
	zone     *time.Location
	exponent int    // of a number's unit: 0 s, -3 ms, -6 us, -9 ns
	unit     string // the unit's name
	layout   string // Go's reference time; empty: numbers in the unit, and ISO 8601 dates
}

// isoLayouts are the dates that are understood without a layout, those with their own offset first. Fractions of seconds are understood in all.
var isoLayouts = []string{
	time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly,
}

// parse reads a time as Unix microseconds. The code is empty, invalid_time or time_unit.
func (r *timeRule) parse(s string) (micros int64, code string) {
	if r.layout != "" {
		return within(time.ParseInLocation(r.layout, s, r.zone))
	}
	if d, ok := parseDecimal(s); ok {
		n, ok := d.micros(r.exponent)
		if !ok || n > maxSeconds*1_000_000 {
			return 0, codeTimeUnit
		}
		return within(time.UnixMicro(n), nil)
	}
	if t, ok := r.plain(s); ok {
		return t.UnixMicro(), ""
	}
	for _, layout := range isoLayouts {
		if t, err := time.ParseInLocation(layout, s, r.zone); err == nil {
			return within(t, nil)
		}
	}
	return 0, "invalid_time"
}

// expected says in words what parse reads.
func (r *timeRule) expected() string {
	if r.layout != "" {
		return "must be a time in the map's layout"
	}
	return "must be a number (unit " + r.unit + ") or a date such as 2018-04-01 00:00:31"
}

// within keeps a time that RFC 3339 can write.
func within(t time.Time, err error) (int64, string) {
	if year := t.UTC().Year(); err != nil || year < 1 || year > 9999 {
		return 0, "invalid_time"
	}
	return t.UnixMicro(), ""
}

// plain reads YYYY-MM-DD hh:mm:ss, the usual form in exports, six times faster than the layouts.
func (r *timeRule) plain(s string) (time.Time, bool) {
	if len(s) != 19 || s[4] != '-' || s[7] != '-' || s[10] != ' ' || s[13] != ':' || s[16] != ':' {
		return time.Time{}, false
	}
	year, a := number(s[0:4])
	month, b := number(s[5:7])
	day, c := number(s[8:10])
	hour, d := number(s[11:13])
	minute, e := number(s[14:16])
	second, f := number(s[17:19])
	// Days beyond 28 take the slow way, which knows the months.
	if !a || !b || !c || !d || !e || !f || year < 1 || month < 1 || month > 12 || day < 1 || day > 28 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, 0, r.zone), true
}

func number(s string) (int, bool) {
	n := 0
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = 10*n + int(c)
	}
	return n, true
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
