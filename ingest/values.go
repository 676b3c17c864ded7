package ingest

import (
	"math"
	"strings"
	"time"
)

// parseTime reads an RFC 3339 time, strictly, as Unix microseconds. Times before 1970 are none that a client's clock can show.
func parseTime(s string) (int64, bool) {
	if micros, ok := parseUTC(s); ok {
		return micros, true
	}
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

// parseUTC reads the form that browsers write, 2026-03-01T10:00:00.123Z with or without milliseconds, from 1970 on. Days that not every month has are left to the library.
func parseUTC(s string) (int64, bool) {
	millis := 0
	switch {
	case len(s) == 24 && s[19] == '.' && s[23] == 'Z':
		n, ok := digits3(s[20:23])
		if !ok {
			return 0, false
		}
		millis = n
	case len(s) == 20 && s[19] == 'Z':
	default:
		return 0, false
	}
	century, a := digits2(s[0:2])
	year, b := digits2(s[2:4])
	month, c := digits2(s[5:7])
	day, d := digits2(s[8:10])
	hour, e := digits2(s[11:13])
	minute, f := digits2(s[14:16])
	second, g := digits2(s[17:19])
	year += 100 * century
	if !a || !b || !c || !d || !e || !f || !g || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' ||
		year < 1970 || month < 1 || month > 12 || day < 1 || day > 28 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	// The year begins in March, so that the leap day is its last: 153 days are five months.
	if month < 3 {
		year, month = year-1, month+12
	}
	const daysTo1970 = 719_469 // from March 1st of the year 0, counted so
	days := 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - daysTo1970
	return ((int64(days)*24+int64(hour))*60+int64(minute))*60_000_000 + int64(second)*1_000_000 + int64(millis)*1_000, true
}

func digits2(s string) (int, bool) {
	a, b := s[0]-'0', s[1]-'0'
	return int(a)*10 + int(b), a <= 9 && b <= 9
}

func digits3(s string) (int, bool) {
	n, ok := digits2(s)
	c := s[2] - '0'
	return n*10 + int(c), ok && c <= 9
}

// decimals is how many decimals money and counts may have: one micro is the last.
const decimals = 6

// parseDecimal reads a number in JSON's notation as micros. What is finer than a micro is rounded half away from zero, and told by exact:
// prices that went through floating point come with digits of noise (47.129999999999995). It fails on what is greater than an int64 of micros.
func parseDecimal(s string) (micros int64, exact, ok bool) {
	if micros, ok := parseShort(s); ok {
		return micros, true, true
	}
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

// parseShort reads what prices and counts mostly look like: at most twelve digits before the point, six behind it, nothing else.
func parseShort(s string) (micros int64, ok bool) {
	if len(s) > 19 {
		return 0, false
	}
	point := len(s)
	for i := range len(s) {
		switch c := s[i] - '0'; {
		case c <= 9:
			micros = 10*micros + int64(c)
		case s[i] == '.' && point == len(s):
			point = i
		default:
			return 0, false
		}
	}
	fraction := len(s) - point - 1
	if point == len(s) {
		fraction = 0
	}
	if point > 12 || fraction > decimals {
		return 0, false
	}
	return micros * powers[decimals-fraction], true
}

var powers = [decimals + 1]int64{1, 10, 100, 1_000, 10_000, 100_000, 1_000_000}

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

// hasControl tells whether s holds a control character. Only an escape can bring one in.
func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}
