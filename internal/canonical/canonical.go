// Package canonical gives each thing that has many spellings one form: an address, an e-mail address, a telephone number, a country, a currency, a text. Two
// spellings of one thing then are one identifier. Package ingest applies the forms before an event is accepted, so that everything behind it sees one form.
//
// Every function returns its argument, and allocates nothing, where that has the canonical form already.
package canonical

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// Text is a text in Unicode's composed form (NFC): an accented letter is one character, however it was typed.
func Text(s string) string {
	if isASCII(s) {
		return s
	}
	return norm.NFC.String(s)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// Country is the ISO 3166 code of two capital letters of a country that is written as such a code, as one of three letters or digits, in any case.
// False: it is none. A name is none: it has too many spellings.
func Country(s string) (code string, ok bool) {
	if len(s) == 2 && known[s] {
		return s, true
	}
	region, err := language.ParseRegion(strings.TrimSpace(s))
	if err != nil {
		return "", false
	}
	if code = region.Canonicalize().String(); !known[code] { // UK becomes GB
		return "", false
	}
	return code, true
}

// known are the countries' codes.
var known = func() map[string]bool {
	codes := make(map[string]bool, 300)
	for a := byte('A'); a <= 'Z'; a++ {
		for b := byte('A'); b <= 'Z'; b++ {
			region, err := language.ParseRegion(string([]byte{a, b}))
			if err == nil && region.IsCountry() {
				codes[region.Canonicalize().String()] = true
			}
		}
	}
	return codes
}()

// RegionOf is the country that a locale names ("en-GB", "zh_Hans_CN"), empty where it names none.
func RegionOf(locale string) string {
	_, rest, _ := strings.Cut(strings.ReplaceAll(locale, "_", "-"), "-")
	for part := range strings.SplitSeq(rest, "-") {
		if len(part) == 2 {
			code, _ := Country(part)
			return code
		}
	}
	return ""
}

// Currency is an ISO 4217 code in capital letters. It takes small letters, and not both: GBp is a penny to some, not a pound. False: it is no such code.
func Currency(s string) (code string, ok bool) {
	if len(s) == 3 && isUpper(s) {
		return s, true
	}
	s = strings.TrimSpace(s)
	if len(s) != 3 || !isUpper(s) && !isLower(s) {
		return "", false
	}
	return strings.ToUpper(s), true
}

func isUpper(s string) bool { return within(s, 'A', 'Z') }

func isLower(s string) bool { return within(s, 'a', 'z') }

func within(s string, low, high byte) bool {
	for i := range len(s) {
		if s[i] < low || s[i] > high {
			return false
		}
	}
	return true
}
