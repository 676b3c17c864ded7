package ingest

import (
	"math/bits"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"sluice/internal/canonical"
)

// scanner reads JSON (RFC 8259) from a string. Its strings are parts of that string where nothing is escaped, so that an event costs one copy, not one a field.
type scanner struct {
	src string
	at  int
}

// state is how reading a string or a value went.
type state uint8

const (
	stateGood      state = iota
	stateBroken          // not JSON
	stateUTF8            // JSON, but not UTF-8
	stateDuplicate       // JSON, but one name twice in one object
)

// next skips space and returns the byte that follows, 0 at the end.
func (s *scanner) next() byte {
	for ; s.at < len(s.src); s.at++ {
		switch c := s.src[s.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// str reads the string at hand, as NFC: the next byte is its opening quote.
func (s *scanner) str() (string, state) {
	from := s.at + 1
	ascii, escaped := true, false
	for i := from + plain(s.src[from:]); i < len(s.src); i += plain(s.src[i:]) {
		switch c := s.src[i]; {
		case c == '"':
			s.at = i + 1
			if escaped {
				return unquote(s.src[from-1 : s.at])
			}
			raw := s.src[from:i]
			switch {
			case ascii:
				return raw, stateGood
			case !utf8.ValidString(raw):
				return "", stateUTF8
			}
			return canonical.Text(raw), stateGood
		case c == '\\':
			escaped = true
			i++ // an escaped quote ends nothing
		case c >= utf8.RuneSelf:
			ascii = false
		default:
			return "", stateBroken
		}
		if i++; i >= len(s.src) {
			break
		}
	}
	return "", stateBroken
}

// plain counts the bytes at the beginning that a string has as they are: ASCII without quotes, backslashes and control characters. It looks at eight at once.
func plain(s string) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		word := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 | uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, slash := word^'"'*ones, word^'\\'*ones
		// A byte that is 0 borrows from the one above when 1 is taken from it; one below a space does when a space is.
		if found := ((quote-ones)&^quote | (slash-ones)&^slash | (word-' '*ones)&^word | word) & highs; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// unquote decodes a quoted string with escapes.
func unquote(quoted string) (string, state) {
	text, err := jsontext.AppendUnquote(nil, quoted)
	if err == nil {
		return canonical.Text(string(text)), stateGood
	}
	if jsontext.Value(quoted).IsValid(jsontext.AllowInvalidUTF8(true)) {
		return "", stateUTF8
	}
	return "", stateBroken
}

// number reads the number at hand, as JSON writes it: no leading zeros, no plus, digits on both sides of the point.
func (s *scanner) number() (string, bool) {
	from := s.at
	if s.is('-') {
		s.at++
	}
	if s.is('0') {
		s.at++
	} else if !s.digits() {
		return "", false
	}
	if s.is('.') {
		s.at++
		if !s.digits() {
			return "", false
		}
	}
	if s.is('e') || s.is('E') {
		s.at++
		if s.is('+') || s.is('-') {
			s.at++
		}
		if !s.digits() {
			return "", false
		}
	}
	return s.src[from:s.at], true
}

func (s *scanner) is(c byte) bool { return s.at < len(s.src) && s.src[s.at] == c }

// digits skips digits and tells whether there was one.
func (s *scanner) digits() bool {
	from := s.at
	for s.at < len(s.src) && isDigit(s.src[s.at]) {
		s.at++
	}
	return s.at > from
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// word skips a literal (true, false, null) if it is at hand.
func (s *scanner) word(literal string) bool {
	end := s.at + len(literal)
	if end > len(s.src) || s.src[s.at:end] != literal {
		return false
	}
	s.at = end
	return true
}

// skip reads any value at hand and checks it as strictly as if it were wanted.
func (s *scanner) skip() state {
	switch c := s.next(); {
	case c == '"':
		_, st := s.str()
		return st
	case c == '{' || c == '[':
		return s.skipNested()
	case s.word("null") || s.word("true") || s.word("false"):
		return stateGood
	}
	if _, ok := s.number(); ok {
		return stateGood
	}
	return stateBroken
}

// skipNested finds the end of an object or array by counting brackets, and lets the library judge what is between.
func (s *scanner) skipNested() state {
	from, depth := s.at, 0
	for s.at < len(s.src) {
		switch s.src[s.at] {
		case '"':
			if _, st := s.str(); st == stateBroken {
				return st
			}
			continue // str may have left a string that is not UTF-8 behind: it has moved on all the same
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		s.at++
		if depth == 0 {
			return judge(jsontext.Value(s.src[from:s.at]))
		}
	}
	return stateBroken
}

func judge(v jsontext.Value) state {
	switch {
	case v.IsValid():
		return stateGood
	case v.IsValid(jsontext.AllowInvalidUTF8(true)):
		return stateUTF8
	case v.IsValid(jsontext.AllowDuplicateNames(true)):
		return stateDuplicate
	case v.IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)):
		return stateUTF8
	}
	return stateBroken
}
