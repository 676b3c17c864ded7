package httpx

import (
	"net/http"
	"slices"
	"strings"
)

// HasGPC tells whether the request carries Global Privacy Control. A signal that comes twice, or is not clear, restricts: only 0 and nothing do not.
func HasGPC(r *http.Request) bool {
	return slices.ContainsFunc(r.Header.Values("Sec-GPC"), func(value string) bool {
		value = strings.TrimSpace(value)
		return value != "" && value != "0"
	})
}
