package web

import (
	"fmt"
	"hash/fnv"
	"html"
	"net/http"
	"strings"
	"unicode/utf8"
)

// image draws a tile for an item: a colour of its category and the first letters of its title. The demo's data has no pictures.
func (s *site) image(w http.ResponseWriter, r *http.Request) {
	item, ok := s.Catalogue.Item(strings.TrimSuffix(r.PathValue("id"), ".svg"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := fnv.New32a()
	h.Write([]byte(item.Category))
	hue := h.Sum32() % 360
	h.Write([]byte(item.ID))
	turn := h.Sum32() % 360
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Cache-Control", "public, max-age=86400")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 90" role="img"><rect width="120" height="90" fill="hsl(%d 42%% 86%%)"/>`+
		`<g transform="rotate(%d 60 45)" fill="hsl(%d 45%% 72%%)"><circle cx="28" cy="30" r="22"/><rect x="66" y="40" width="34" height="34" rx="8"/></g>`+
		`<text x="60" y="56" font-family="Georgia,serif" font-size="30" text-anchor="middle" fill="hsl(%d 55%% 26%%)">%s</text></svg>`,
		hue, turn, (hue+24)%360, hue, html.EscapeString(initials(item.Title)))
}

func initials(title string) string {
	var b strings.Builder
	for word := range strings.FieldsSeq(title) {
		first, _ := utf8.DecodeRuneInString(word)
		if first < 'A' || first > 'Z' {
			continue
		}
		b.WriteRune(first)
		if b.Len() == 2 {
			break
		}
	}
	return b.String()
}
