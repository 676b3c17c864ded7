package canonical

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Search is the form in which texts are searched: small letters, without the accents of Latin and Greek letters, and without differences of width. The signs of
// other scripts stay, since they are vowels there.
func Search(s string) string {
	if isPlain(s) {
		return s
	}
	decomposed := norm.NFKD.String(s)
	folded := make([]byte, 0, len(decomposed))
	accented := false // the letter before may carry accents that do not count
	for _, r := range decomposed {
		if unicode.Is(unicode.Mn, r) {
			if !accented {
				folded = utf8.AppendRune(folded, r)
			}
			continue
		}
		accented = unicode.In(r, unicode.Latin, unicode.Greek)
		r = unicode.ToLower(r)
		if spelled, special := letters[r]; special {
			folded = append(folded, spelled...)
			continue
		}
		folded = utf8.AppendRune(folded, r)
	}
	return norm.NFC.String(string(folded))
}

// letters are Latin letters that no accent makes, and how people write them who have not got them.
var letters = map[rune]string{
	'ß': "ss", 'æ': "ae", 'œ': "oe", 'ø': "o", 'ł': "l", 'đ': "d", 'ð': "d", 'þ': "th", 'ħ': "h", 'ı': "i", 'ŧ': "t", 'ŋ': "n", 'ĸ': "k", 'ς': "σ",
}

// isPlain tells whether s is ASCII without capital letters.
func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf || 'A' <= r && r <= 'Z' })
}
