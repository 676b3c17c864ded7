package shop

import "math/rand/v2"

// favourites is how many kinds of things a shopper likes.
const favourites = 3

// shelves are the catalogue by its narrowest categories.
type shelves struct {
	all   []int
	kinds []string         // in the order of the catalogue
	items map[string][]int // by kind, the most ordered first
	place map[string]int   // of an item's id
}

func newShelves(items []Item) *shelves {
	s := &shelves{items: make(map[string][]int), place: make(map[string]int, len(items))}
	for i, item := range items {
		if len(s.items[item.Subcategory]) == 0 {
			s.kinds = append(s.kinds, item.Subcategory)
		}
		s.items[item.Subcategory] = append(s.items[item.Subcategory], i)
		s.place[item.ID], s.all = i, append(s.all, i)
	}
	return s
}

// taste is what a shopper likes: a few kinds of things, the first the most.
type taste [favourites]string

// tasteOf draws a shopper's taste.
func (s *shelves) tasteOf(random *rand.Rand) (t taste) {
	for i, k := range random.Perm(len(s.kinds))[:favourites] {
		t[i] = s.kinds[k]
	}
	return t
}

// pick draws an item: mostly of the taste, the favourite kind twice as often as the next, and of a kind the popular ones more often than the others.
func (s *shelves) pick(t taste, random *rand.Rand) int {
	switch n := random.IntN(16); {
	case n < 8:
		return popular(s.items[t[0]], random)
	case n < 12:
		return popular(s.items[t[1]], random)
	case n < 14:
		return popular(s.items[t[2]], random)
	default:
		return popular(s.all, random)
	}
}

// popular draws from a list, more often from its beginning.
func popular(list []int, random *rand.Rand) int {
	x := random.Float64()
	return list[int(x*x*float64(len(list)))]
}

// suits tells whether an item is of the taste.
func (t taste) suits(item *Item) bool {
	for _, kind := range t {
		if item.Subcategory == kind {
			return true
		}
	}
	return false
}
