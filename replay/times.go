package replay

import (
	"slices"
	"strings"
	"time"
)

// timeRule is how the map says that times are written, and which ones are believed.
type timeRule struct {
	zone     *time.Location
	exponent int    // of a number's unit: 0 s, -3 ms, -6 us, -9 ns
	unit     string // the unit's name
	layout   string // Go's reference time; empty: numbers in the unit, and ISO 8601 dates

	earliest, latest int64 // Unix microseconds; anything else is implausible
	fixed            bool  // latest is the map's, and not a day ahead of now
	now              func() time.Time
}

const (
	codeTime        = "invalid_time"     // no time
	codeTimeUnit    = "time_unit"        // a number that is no plausible time in the map's unit
	codeImplausible = "implausible_time" // a date that is no plausible time
)

var exponents = map[string]int{"s": 0, "ms": -3, "us": -6, "ns": -9}

// units are the exponents' names, the coarsest first.
var units = []struct{ name, long string }{{"s", "seconds"}, {"ms", "milliseconds"}, {"us", "microseconds"}, {"ns", "nanoseconds"}}

// newTimeRule is the rule of a map that says nothing of times.
func newTimeRule() timeRule {
	return timeRule{zone: time.UTC, unit: "s", earliest: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro(), now: time.Now}
}

// parse reads a time as Unix microseconds. The code is empty or one of those above; with time_unit and implausible_time the time is what was read.
func (r *timeRule) parse(s string) (micros int64, code string) {
	t, number, ok := r.read(s)
	switch {
	case number && (!ok || !r.plausible(t)):
		return t, codeTimeUnit
	case !ok:
		return 0, codeTime
	case !r.plausible(t):
		return t, codeImplausible
	default:
		return t, ""
	}
}

// read reads a time, plausible or not, and tells whether it is a number.
func (r *timeRule) read(s string) (micros int64, number, ok bool) {
	if r.layout != "" {
		t, err := time.ParseInLocation(r.layout, s, r.zone)
		return t.UnixMicro(), false, err == nil && writable(t)
	}
	if d, isNumber := parseDecimal(s); isNumber {
		micros, ok = d.micros(r.exponent)
		return micros, true, ok && writable(time.UnixMicro(micros))
	}
	t, ok := r.date(s)
	return t.UnixMicro(), false, ok && writable(t)
}

// writable tells whether RFC 3339 can write a time.
func writable(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 1 && year <= 9999
}

// plausible tells whether a time is believed.
func (r *timeRule) plausible(micros int64) bool {
	if micros > r.latest && !r.fixed {
		r.latest = r.now().Add(24 * time.Hour).UnixMicro()
	}
	return micros >= r.earliest && micros <= r.latest
}

// bounds says in words what is believed.
func (r *timeRule) bounds() string {
	first := time.UnixMicro(r.earliest).UTC().Format(time.DateOnly)
	if r.fixed {
		return "from " + first + " to " + time.UnixMicro(r.latest).UTC().Format(time.DateOnly)
	}
	return "from " + first + " on and at most a day ahead of now"
}

// fault says what a time must be that parse refuses, what it was taken for, and which unit or layout would make a time of it.
func (r *timeRule) fault(s, code string) string {
	fits := ""
	if found := r.fitting(s); len(found) > 0 {
		fits = "; `time: {" + strings.Join(found, "}` or `{") + "}` in the map would fit"
	}
	if code == codeTime {
		return r.expected() + fits
	}
	taken := ""
	if micros, number, ok := r.read(s); ok {
		taken = ", not " + time.UnixMicro(micros).UTC().Format(time.DateOnly)
		if number {
			taken += ", which it is in " + r.longUnit()
		}
		if number && isSheetDay(s) {
			fits += "; if it is a spreadsheet's number of a day, save the column as text"
		}
	} else {
		taken = ", not one beyond the year 9999, which it is in " + r.longUnit()
	}
	return "must be a time " + r.bounds() + taken + fits
}

// isSheetDay tells whether a number could be a spreadsheet's for a day of this century.
func isSheetDay(s string) bool {
	whole, _, _ := strings.Cut(s, ".")
	n, ok := number(whole)
	return ok && len(whole) == 5 && n >= 36526 && n < 73051
}

func (r *timeRule) longUnit() string {
	return units[slices.IndexFunc(units, func(u struct{ name, long string }) bool { return u.name == r.unit })].long
}

// commonLayouts are those that exports have and ISO 8601 has not.
var commonLayouts = func() []string {
	var all []string
	for _, day := range []string{"01/02/2006", "02/01/2006", "02.01.2006", "01-02-2006", "02-01-2006", "2006/01/02", "02 Jan 2006", "Jan 2, 2006", "01/02/06", "02/01/06"} {
		for _, clock := range []string{"", " 15:04", " 15:04:05", " 3:04 PM", " 3:04:05 PM"} {
			all = append(all, day+clock)
		}
	}
	return append(all, "20060102", "200601021504", "20060102150405", "20060102T150405Z0700", time.RFC1123, time.RFC1123Z, time.ANSIC, time.UnixDate)
}()

// fitting are the entries of the map's `time` that make a plausible time of a text.
func (r *timeRule) fitting(s string) (found []string) {
	for _, u := range units {
		other := timeRule{zone: r.zone, unit: u.name, exponent: exponents[u.name]}
		if micros, number, ok := other.read(s); ok && (r.layout != "" || number && u.name != r.unit) && r.plausible(micros) {
			if !number {
				return []string{"zone: " + r.zone.String()} // without a layout
			}
			found = append(found, "unit: "+u.name)
		}
	}
	for _, layout := range commonLayouts {
		other := timeRule{zone: r.zone, layout: layout}
		if micros, _, ok := other.read(s); ok && layout != r.layout && r.plausible(micros) && len(found) < 3 {
			found = append(found, `layout: "`+layout+`"`)
		}
	}
	return found
}

// expected says in words what parse reads.
func (r *timeRule) expected() string {
	if r.layout != "" {
		return "must be a time in the map's layout"
	}
	return "must be a number (unit " + r.unit + ") or a date such as 2018-04-01 00:00:31"
}

// date reads a date of ISO 8601: a day, with a space or a T a time with or without seconds and their fraction, with or without an offset from UTC.
func (r *timeRule) date(s string) (time.Time, bool) {
	if t, ok := r.plain(s); ok {
		return t, true
	}
	const day = len(time.DateOnly)
	if len(s) <= day {
		t, err := time.ParseInLocation(time.DateOnly, s, r.zone)
		return t, err == nil
	}
	if s[day] != ' ' && s[day] != 'T' && s[day] != 't' {
		return time.Time{}, false
	}
	clock, zone, ok := offset(s[day+1:], r.zone)
	if !ok {
		return time.Time{}, false
	}
	text := s[:day] + " " + clock
	for _, layout := range [...]string{time.DateTime, "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// offset cuts the offset from UTC off the time of a day: Z, UTC, +02, +0200 or +02:00, behind a space or not. Without one the time is in the zone.
func offset(s string, zone *time.Location) (clock string, in *time.Location, ok bool) {
	for _, name := range [...]string{"Z", "z", "UTC", "GMT"} {
		if clock, cut := strings.CutSuffix(s, name); cut {
			return strings.TrimSuffix(clock, " "), time.UTC, true
		}
	}
	at := strings.LastIndexAny(s, "+-")
	if at < 0 {
		return s, zone, true
	}
	digits := s[at+1:]
	if len(digits) == 5 && digits[2] == ':' {
		digits = digits[:2] + digits[3:]
	}
	if len(digits) == 2 {
		digits += "00"
	}
	if len(digits) != 4 {
		return "", nil, false
	}
	hours, a := number(digits[:2])
	minutes, b := number(digits[2:])
	if !a || !b || hours > 23 || minutes > 59 {
		return "", nil, false
	}
	seconds := hours*3600 + minutes*60
	if s[at] == '-' {
		seconds = -seconds
	}
	return strings.TrimSuffix(s[:at], " "), time.FixedZone("", seconds), true
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
