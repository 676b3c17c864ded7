package catalog

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"unicode"

	"sluice/internal/canonical"
	"sluice/internal/itemid"
)

const (
	// maxQueryWords bounds the work of a search; further words are not looked at.
	maxQueryWords = 16
	// maxPrefixWords bounds how many words the beginning of one stands for, in the order of the alphabet.
	maxPrefixWords = 256
)

// index finds items by word, as ascending positions in the catalogue order, and by category.
type index struct {
	postings   map[string][]int32
	words      []string   // sorted
	categories [][]uint32 // by number: numbers of items, in catalogue order
	broadest   []string
	common     sync.Map // category number → []uint32, see Snapshot.Common; made when they are asked for
}

func (x *index) category(number uint32) []uint32 {
	if number == itemid.None || int(number) >= len(x.categories) {
		return nil
	}
	return x.categories[number]
}

// sameWords tells whether an index made with a serves b too: it lies at the same place and has the same words and categories.
func sameWords(a, b *Item) bool {
	return a.AvailableFrom == b.AvailableFrom && a.Title == b.Title && a.Brand == b.Brand &&
		slices.EqualFunc(a.Categories, b.Categories, func(p, q *CategoryPath) bool { return slices.Equal(p.Names, q.Names) })
}

func newIndex(order []*Entry, categories int) *index {
	x := &index{postings: make(map[string][]int32), categories: make([][]uint32, categories)}
	roots := make(map[string]uint32)
	for i, entry := range order {
		position, item := int32(i), entry.Item()
		add(x.postings, position, words(item.Title)...)
		add(x.postings, position, words(item.Brand)...)
		for _, category := range entry.Flat {
			x.categories[category] = append(x.categories[category], entry.Number)
		}
		place := 0
		for path := range entry.Paths {
			for _, name := range item.Categories[place].Names {
				add(x.postings, position, words(name)...)
			}
			if len(path) > 0 {
				roots[item.Categories[place].Names[0]] = path[0]
			}
			place++
		}
	}
	x.words = slices.Sorted(maps.Keys(x.postings))
	x.broadest = slices.SortedFunc(maps.Keys(roots), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(x.categories[roots[b]]), len(x.categories[roots[a]])), strings.Compare(a, b))
	})
	return x
}

// add notes a position once under each name.
func add(lists map[string][]int32, position int32, names ...string) {
	for _, name := range names {
		list := lists[name]
		if len(list) == 0 || list[len(list)-1] != position {
			lists[name] = append(list, position)
		}
	}
}

func (x *index) search(query string, limit int) []int32 {
	asked := words(query)
	if len(asked) == 0 || limit <= 0 {
		return nil
	}
	matched := make(map[int32]int)
	asked = asked[:min(len(asked), maxQueryWords)]
	for _, word := range asked[:len(asked)-1] {
		for _, position := range x.postings[word] {
			matched[position]++
		}
	}
	for position := range x.prefixed(asked[len(asked)-1]) {
		matched[position]++
	}
	found := slices.SortedFunc(maps.Keys(matched), func(a, b int32) int {
		return cmp.Or(cmp.Compare(matched[b], matched[a]), cmp.Compare(a, b))
	})
	return found[:min(len(found), limit)]
}

// prefixed is the set of items that have a word which begins with prefix.
func (x *index) prefixed(prefix string) map[int32]struct{} {
	found := make(map[int32]struct{})
	from := sort.SearchStrings(x.words, prefix)
	for i := from; i < len(x.words) && i < from+maxPrefixWords && strings.HasPrefix(x.words[i], prefix); i++ {
		for _, position := range x.postings[x.words[i]] {
			found[position] = struct{}{}
		}
	}
	return found
}

var apostrophes = strings.NewReplacer("'", "", "’", "")

// words splits a text into words of the form that texts are searched in, each once: letters with their signs, and digits. A character of a script that is written
// without spaces is a word.
func words(text string) []string {
	text = canonical.Search(text)
	var found []string
	start := -1
	end := func(at int) {
		if start < 0 {
			return
		}
		word := text[start:at]
		if strings.ContainsAny(word, "'’") {
			word = apostrophes.Replace(word)
		}
		if !slices.Contains(found, word) {
			found = append(found, word)
		}
		start = -1
	}
	for i, r := range text {
		switch {
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana):
			end(i)
			start = i
			end(i + len(string(r)))
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r):
			if start < 0 {
				start = i
			}
		case r == '\'' || r == '’': // within a word: "children's" is "childrens"
		default:
			end(i)
		}
	}
	end(len(text))
	return found
}
