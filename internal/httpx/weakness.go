package httpx

import (
	"fmt"
	"slices"
	"strings"
)

// The least that a key must have, so that it cannot be guessed.
const (
	minKey         = 16 // characters
	minKeyDistinct = 8  // of them
)

// standIns are in keys that were copied from an example.
var standIns = []string{"replace", "changeme", "change-me", "change_me", "example", "placeholder", "your-key", "your_key", "insert-", "<"}

// Weakness says what an API key must be and is not, empty if it will do.
func Weakness(key string) string {
	var seen ['~' + 1]bool
	distinct := 0
	for _, r := range key {
		if r <= ' ' || r > '~' {
			return "must be visible ASCII characters without spaces"
		}
		if !seen[r] {
			seen[r] = true
			distinct++
		}
	}
	if len(key) < minKey || distinct < minKeyDistinct {
		return fmt.Sprintf("must have at least %d characters, %d different ones among them; `sluice keys generate` makes a key", minKey, minKeyDistinct)
	}
	if low := strings.ToLower(key); slices.ContainsFunc(standIns, func(word string) bool { return strings.Contains(low, word) }) {
		return "must be a key of your own, not an example's; `sluice keys generate` makes one"
	}
	return ""
}
