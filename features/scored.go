package features

import (
	"cmp"
	"slices"
	"strings"
)

// Scored is an item with a score: higher is better, comparable within one answer.
type Scored struct {
	ItemID string
	Score  float64
	Cause  string // item id that brought it, may be empty
}

// compareScored orders by (score, descending; id).
func compareScored(a, b Scored) int {
	return cmp.Or(cmp.Compare(b.Score, a.Score), strings.Compare(a.ItemID, b.ItemID))
}

// top keeps the n that come first in an order.
type top[T any] struct {
	n       int
	compare func(a, b T) int
	best    []T // in order
}

func (t *top[T]) offer(x T) {
	if len(t.best) == t.n && (t.n == 0 || t.compare(x, t.best[t.n-1]) > 0) {
		return
	}
	at, _ := slices.BinarySearchFunc(t.best, x, t.compare)
	if len(t.best) == t.n {
		t.best = t.best[:t.n-1]
	}
	t.best = slices.Insert(t.best, at, x)
}

// best keeps the n best items.
func best(n int) top[Scored] { return top[Scored]{n: n, compare: compareScored} }
