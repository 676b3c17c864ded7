package canonical

import "strings"

// LongestPlaceholder is how many bytes a placeholder may have.
const LongestPlaceholder = 64

// Placeholders are words that programs write where they have no value, in any case and with space around them. Whoever is identified by one of them is nobody, or
// everybody at once. They are immutable; nil has no word.
type Placeholders struct {
	words   map[string]struct{}
	begins  [256]bool // first bytes of words, in small letters
	longest int
}

// NewPlaceholders makes a set of words, each of at most LongestPlaceholder bytes.
func NewPlaceholders(words []string) *Placeholders {
	p := &Placeholders{words: make(map[string]struct{}, len(words))}
	for _, word := range words {
		word = strings.ToLower(strings.TrimSpace(word))
		if word == "" {
			continue
		}
		p.words[word] = struct{}{}
		p.begins[word[0]] = true
		p.longest = max(p.longest, len(word))
	}
	return p
}

// Has tells whether s stands for no value: one of the words, or nothing but space.
func (p *Placeholders) Has(s string) bool {
	if s == "" || p == nil {
		return false
	}
	if c := s[0]; c > ' ' && !p.begins[lower(c)] && c < 0x80 {
		return false // as nearly every identifier
	}
	if s = strings.TrimSpace(s); s == "" {
		return true
	}
	if len(s) > p.longest {
		return false
	}
	var buf [LongestPlaceholder]byte
	folded := buf[:0]
	for i := range len(s) {
		folded = append(folded, lower(s[i]))
	}
	_, is := p.words[string(folded)]
	return is
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
