package ingest

import (
	"math"
	"strings"
	"time"
)

// parseTime reads an RFC 3339 time, strictly, as Unix microseconds. Times before 1970 are none that a client's clock can show.
func parseTime(s string) (int64, bool) {
	var buf [len("2006-01-02T15:04:05.999999999+07:00")]byte
	if len(s) > len(buf) {
		return 0, false
	}
	var t time.Time
	if err := t.UnmarshalText(append(buf[:0], s...)); err != nil {
		return 0, false
	}
	micros := t.UnixMicro()
	return micros, micros >= 0
}

// decimals is how many decimals money and counts may have: one micro is the last.
const decimals = 6

// parseDecimal reads a number in JSON's notation as micros, exactly: it fails on what is finer than a micro or greater than an int64 of micros.
func parseDecimal(s string) (int64, bool) {
	mantissa, exponent, ok := cutExponent(s)
	if !ok {
		return 0, false
	}
	magnitude, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(magnitude, ".")
	// The number is digits·10^shift micros; without the zeros at the end of digits, a negative shift means that it is too fine.
	digits := whole + fraction
	significant := strings.TrimRight(digits, "0")
	shift := decimals + exponent - len(fraction) + len(digits) - len(significant)
	var n uint64
	for i := range len(significant) {
		if n, ok = timesTen(n, uint64(significant[i]-'0')); !ok {
			return 0, false
		}
	}
	if n == 0 {
		return 0, true
	}
	for ; shift > 0; shift-- {
		if n, ok = timesTen(n, 0); !ok {
			return 0, false
		}
	}
	if shift < 0 || n > math.MaxInt64 {
		return 0, false
	}
	if negative {
		return -int64(n), true
	}
	return int64(n), true
}

// cutExponent splits a number at its e. An exponent of more than three digits is out of range, even of zero.
func cutExponent(s string) (mantissa string, exponent int, ok bool) {
	i := strings.IndexAny(s, "eE")
	if i < 0 {
		return s, 0, true
	}
	digits := s[i+1:]
	negative := digits[0] == '-'
	digits = strings.TrimLeft(strings.TrimLeft(digits, "+-"), "0")
	if len(digits) > 3 {
		return "", 0, false
	}
	for _, c := range []byte(digits) {
		exponent = 10*exponent + int(c-'0')
	}
	if negative {
		exponent = -exponent
	}
	return s[:i], exponent, true
}

func timesTen(n, digit uint64) (uint64, bool) {
	if n > (math.MaxUint64-9)/10 {
		return n, false
	}
	return 10*n + digit, true
}

// isCurrency tells whether s looks like an ISO 4217 code.
func isCurrency(s string) bool {
	return len(s) == 3 && isUpper(s[0]) && isUpper(s[1]) && isUpper(s[2])
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

// hasControl tells whether s holds a control character. Only an escape can bring one in.
func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}
