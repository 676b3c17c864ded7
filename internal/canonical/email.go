package canonical

import (
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Email is an e-mail address in small letters, its domain as DNS has it (xn--…). It takes a mailto: in front and a name around it ("Ada <ada@example.com>").
// False: it is no address, or longer than one can be. What follows a plus and dots in the name stay: whether they matter is each provider's own affair.
func Email(s string) (address string, ok bool) {
	if isPlainEmail(s) {
		return s, true
	}
	s = strings.TrimSpace(norm.NFKC.String(s))
	if open := strings.LastIndexByte(s, '<'); open >= 0 && strings.HasSuffix(s, ">") {
		s = s[open+1 : len(s)-1]
	}
	if scheme := "mailto:"; len(s) > len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
		s = s[len(scheme):]
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return "", false
	}
	local := norm.NFKC.String(strings.ToLower(strings.TrimSpace(s[:at])))
	domain, err := domains.ToASCII(strings.Trim(strings.TrimSpace(s[at+1:]), "."))
	if err != nil || !isLocal(local) || !isDomain(domain) || len(local)+len("@")+len(domain) > longestEmail {
		return "", false
	}
	return local + "@" + domain, true
}

// longestEmail is how many bytes an address may have (RFC 5321). The canonical form of a shorter text may be longer: xn-- and composed characters take room.
const longestEmail = 254

// domains maps a domain as a browser does before it looks it up.
var domains = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.StrictDomainName(false))

// isPlainEmail tells whether s has the canonical form and is written in ASCII without anything rare.
func isPlainEmail(s string) bool {
	at := strings.IndexByte(s, '@')
	if at < 1 || len(s) > longestEmail || !isDomain(s[at+1:]) || strings.Contains(s[at+1:], "xn--") {
		return false
	}
	for i := range at {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '_', c == '-', c == '+':
		default:
			return false
		}
	}
	return true
}

// isLocal tells whether an address may have s before its @.
func isLocal(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`@<>,;:"()[]`, r)
	})
}

// isDomain tells whether s is a domain in small ASCII letters.
func isDomain(s string) bool {
	if s == "" || len(s) > 253 || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
