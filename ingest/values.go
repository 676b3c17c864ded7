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

// parseDecimal reads a number in JSON's notation as micros. What is finer than a micro is rounded half away from zero, and told by exact:
// prices that went through floating point come with digits of noise (47.129999999999995). It fails on what is greater than an int64 of micros.
func parseDecimal(s string) (micros int64, exact, ok bool) {
	mantissa, exponent, ok := cutExponent(s)
	if !ok {
		return 0, false, false
	}
	magnitude, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(magnitude, ".")
	// The number is digits·10^shift micros. Digits beyond the last micro are cut off; the first of them rounds.
	digits := strings.TrimRight(whole+fraction, "0")
	shift := decimals + exponent + len(whole) - len(digits)
	up := false
	if shift < 0 {
		kept := max(0, len(digits)+shift)
		up = kept == len(digits)+shift && digits[kept] >= '5'
		digits = digits[:kept]
	}
	n := uint64(0)
	for i := range len(digits) {
		if n, ok = timesTen(n, uint64(digits[i]-'0')); !ok {
			return 0, false, false
		}
	}
	for left := shift; left > 0 && n > 0; left-- {
		if n, ok = timesTen(n, 0); !ok {
			return 0, false, false
		}
	}
	if up {
		n++
	}
	if n > math.MaxInt64 {
		return 0, false, false
	}
	micros = int64(n)
	if negative {
		micros = -micros
	}
	return micros, shift >= 0, true
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
