package engine

import (
	"bytes"
	"strings"
)

// statement is one SQL statement as a client sends it.
type statement struct {
	SQL    []byte // what the engine is to run; for an insert without the FORMAT clause
	Format string // named by the FORMAT clause: of the result, or of Data for an insert; empty if there is none
	Insert bool   // Data is to be inserted; an INSERT with VALUES or SELECT is a plain statement
	Data   []byte
}

// parseStatement finds what an HTTP server must know of a statement before the engine parses it: its format, and where inserted data begin.
// More than one statement is a syntax error, as it is for a server.
func parseStatement(text []byte) (statement, *exception) {
	s := scanner{text: text}
	first := s.next()
	if first.kind == end {
		return statement{}, newException(syntaxError, "Syntax error: Empty query")
	}
	// source: behind it no FORMAT clause begins the data of an insert.
	source := !first.is("INSERT")
	st := statement{SQL: text}
	for previous, t := first, s.next(); t.kind != end; previous, t = t, s.next() {
		switch {
		case s.depth > 0:
		case t.is(";"):
			if s.next().kind != end {
				return statement{}, newException(syntaxError, "Syntax error (Multi-statements are not allowed)")
			}
			return st, nil
		case t.is("SELECT"), t.is("WITH"), t.is("VALUES"), t.is("FROM"):
			source = true
		case t.is("FORMAT") && !previous.is("BY") && !previous.is("AS") && !previous.is(",") && !previous.is("."):
			after := s // a copy: a name that is followed by more is no clause
			name := after.next()
			if name.kind != word {
				continue
			}
			if !source {
				return statement{SQL: text[:t.start], Format: name.text, Insert: true, Data: inlineData(text[after.at:])}, nil
			}
			if follows := after.next(); follows.kind == end || follows.is(";") || follows.is("SETTINGS") {
				st.Format = name.text
			}
		}
	}
	return st, nil
}

// inlineData skips what may stand between the name of the format and the data: blanks and one line break.
func inlineData(text []byte) []byte {
	text = bytes.TrimLeft(text, " \t\f")
	text = bytes.TrimPrefix(text, []byte{'\r'})
	return bytes.TrimPrefix(text, []byte{'\n'})
}

type kind uint8

const (
	end kind = iota
	word
	mark   // one character
	quoted // a literal or a quoted name
)

type token struct {
	kind  kind
	start int
	text  string // of a word or a mark
}

// is compares a word, in any case, or a mark.
func (t token) is(text string) bool {
	return (t.kind == word || t.kind == mark) && strings.EqualFold(t.text, text)
}

// scanner splits SQL into tokens, as far as is needed to know which of them are at its top level.
type scanner struct {
	text  []byte
	at    int
	depth int // of brackets
}

func (s *scanner) next() token {
	s.skipBlanks()
	if s.at >= len(s.text) {
		return token{kind: end, start: s.at}
	}
	start := s.at
	switch c := s.text[start]; {
	case c == '\'' || c == '"' || c == '`':
		s.skipQuoted(c)
		return token{kind: quoted, start: start}
	case isWord(c):
		for s.at < len(s.text) && isWord(s.text[s.at]) {
			s.at++
		}
		return token{kind: word, start: start, text: string(s.text[start:s.at])}
	default:
		s.at++
		s.nest(c)
		return token{kind: mark, start: start, text: string(s.text[start:s.at])}
	}
}

func (s *scanner) nest(c byte) {
	switch c {
	case '(', '[', '{':
		s.depth++
	case ')', ']', '}':
		s.depth--
	}
}

func (s *scanner) skipBlanks() {
	for s.at < len(s.text) {
		rest := s.text[s.at:]
		switch {
		case rest[0] == ' ' || rest[0] >= '\t' && rest[0] <= '\r':
			s.at++
		case bytes.HasPrefix(rest, []byte("--")), bytes.HasPrefix(rest, []byte("# ")), bytes.HasPrefix(rest, []byte("#!")):
			s.skipTo(rest, "\n")
		case bytes.HasPrefix(rest, []byte("/*")):
			s.skipTo(rest, "*/")
		default:
			return
		}
	}
}

// skipTo moves behind the next mark, or to the end.
func (s *scanner) skipTo(rest []byte, mark string) {
	i := bytes.Index(rest, []byte(mark))
	if i < 0 {
		s.at = len(s.text)
		return
	}
	s.at += i + len(mark)
}

// skipQuoted moves behind a literal. A doubled quote reads as two literals, which comes to the same.
func (s *scanner) skipQuoted(quote byte) {
	for s.at++; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case '\\':
			s.at++
		case quote:
			s.at++
			return
		}
	}
	s.at = len(s.text)
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
