package replay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

var byteOrderMark = []byte("\ufeff")

// marks are the byte order marks of texts that are not UTF-8.
var marks = []struct {
	bytes []byte
	name  string
}{{[]byte{0xff, 0xfe}, "utf-16le"}, {[]byte{0xfe, 0xff}, "utf-16be"}}

// encodingOf finds an encoding by its name on the web, and tells the name that is usual there. UTF-8 is no encoding: it needs no decoding.
func encodingOf(name string) (encoding.Encoding, string, error) {
	e, err := htmlindex.Get(name)
	if err == nil && e != encoding.Replacement {
		if name, err = htmlindex.Name(e); err == nil && name != "utf-8" {
			return e, name, nil
		}
	}
	if err != nil || name != "utf-8" {
		return nil, "", errors.New("must be an encoding such as utf-8, utf-16le, windows-1252 (which holds Latin-1), gb18030, big5, shift_jis or euc-kr")
	}
	return nil, "", nil
}

// decoded is a text in UTF-8 without its byte order mark. A mark says more about the encoding than the name that the map has; the name of what is
// decoded is returned, empty for UTF-8.
func decoded(plain io.Reader, name string) (io.Reader, string, error) {
	buffered := bufio.NewReaderSize(plain, 1<<16)
	start, err := buffered.Peek(64)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	if bytes.HasPrefix(start, byteOrderMark) {
		_, err := buffered.Discard(len(byteOrderMark))
		return buffered, "", err
	}
	for _, mark := range marks {
		if bytes.HasPrefix(start, mark.bytes) {
			if _, err := buffered.Discard(len(mark.bytes)); err != nil {
				return nil, "", err
			}
			name = mark.name
		}
	}
	if name == "" {
		if looks := looksWide(start); looks != "" {
			return nil, "", fmt.Errorf("line 1: must be UTF-8, and looks like UTF-16: set `encoding: %s` in the map", looks)
		}
		return buffered, "", nil
	}
	e, name, err := encodingOf(name)
	if err != nil || e == nil {
		return buffered, "", err
	}
	if name == "utf-16le" || name == "utf-16be" { // its decoder would look for a mark of its own
		order := unicode.LittleEndian
		if name == "utf-16be" {
			order = unicode.BigEndian
		}
		e = unicode.UTF16(order, unicode.IgnoreBOM)
	}
	return transform.NewReader(buffered, e.NewDecoder()), name, nil
}

// looksWide tells UTF-16 without a mark by the zero bytes beside its ASCII letters.
func looksWide(start []byte) string {
	even, odd := 0, 0
	for i, c := range start {
		if c == 0 {
			even, odd = even+(i+1)%2, odd+i%2
		}
	}
	switch half := len(start) / 4; {
	case len(start) < 4:
		return ""
	case odd > half && even == 0:
		return "utf-16le"
	case even > half && odd == 0:
		return "utf-16be"
	default:
		return ""
	}
}

// isText tells whether what was read in an encoding is text; the decoders put U+FFFD for what is none.
func isText(encoding, s string) bool {
	if encoding == "" {
		return utf8.ValidString(s)
	}
	for _, c := range s {
		if c == utf8.RuneError {
			return false
		}
	}
	return true
}

// notText says what text must be that isText refuses, and what it looks like.
func notText(encoding, s string) string {
	if encoding != "" {
		return "must be text in " + encoding + ", which the map's `encoding` or the file's byte order mark says"
	}
	return "must be UTF-8, and looks like " + looksLike(s) + " in the map"
}

// looksLike guesses the encoding of what is not UTF-8. Letters of western Europe stand among ASCII letters; those of Asia stand together, two bytes each.
func looksLike(s string) string {
	run, longest := 0, 0
	for i := range len(s) {
		if s[i] < 0x80 {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	if longest >= 4 {
		return "gb18030 or another encoding of Asia: set `encoding: gb18030`, say,"
	}
	return "windows-1252 (Latin-1): set `encoding: windows-1252`"
}
