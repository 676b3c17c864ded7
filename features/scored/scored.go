// Package scored is items in the order of a score.
package scored

import (
	"cmp"
	"slices"
	"strings"
)

// Item is an item with a score: higher is better, comparable within one answer.
type Item struct {
	ItemID string
	Score  float64
	Cause  string // item id that brought it, may be empty
}

// compareScored orders by (score, descending; id).
func compareScored(a, b Item) int {
	return cmp.Or(cmp.Compare(b.Score, a.Score), strings.Compare(a.ItemID, b.ItemID))
}

// Top keeps the n that come first in an order.
type Top[T any] struct {
	N       int
	Compare func(a, b T) int
	Best    []T // in order
}

// Offer takes x if it is among the first n.
func (t *Top[T]) Offer(x T) {
	if len(t.Best) == t.N && (t.N == 0 || t.Compare(x, t.Best[t.N-1]) > 0) {
		return
	}
	at, _ := slices.BinarySearchFunc(t.Best, x, t.Compare)
	if len(t.Best) == t.N {
		t.Best = t.Best[:t.N-1]
	}
	t.Best = slices.Insert(t.Best, at, x)
}

// Best keeps the n best items.
func Best(n int) Top[Item] { return Top[Item]{N: n, Compare: compareScored} }
