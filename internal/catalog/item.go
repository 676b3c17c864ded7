package catalog

import (
	"slices"
	"strconv"
	"strings"
)

// Values of Item.Availability. Empty means in stock.
const (
	InStock      = "in_stock"
	OutOfStock   = "out_of_stock"
	Preorder     = "preorder"
	Discontinued = "discontinued"
)

// AvailableAt tells whether the item may be offered at a time (Unix microseconds): it can be ordered, and its day has come.
func (x *Item) AvailableAt(now int64) bool {
	return x.AvailableFrom <= now && x.Availability != OutOfStock && x.Availability != Discontinued
}

// PriceText is the price as a decimal with at least two places.
func (x *Item) PriceText() string {
	price := float64(x.Price) / 1e6
	text := strconv.FormatFloat(price, 'f', -1, 64)
	if _, fraction, _ := strings.Cut(text, "."); len(fraction) < 2 {
		return strconv.FormatFloat(price, 'f', 2, 64)
	}
	return text
}

// InCategory tells whether the category is on one of the item's paths, at any depth.
func (x *Item) InCategory(name string) bool {
	for _, path := range x.Categories {
		if slices.Contains(path.Names, name) {
			return true
		}
	}
	return false
}

// CategoryNames lists every category of the item once, each path from the broadest to the narrowest.
func (x *Item) CategoryNames() []string {
	if len(x.Categories) == 1 && len(x.Categories[0].Names) < 3 { // the common case allocates nothing
		if names := x.Categories[0].Names; len(names) < 2 || names[0] != names[1] {
			return names
		}
	}
	var names []string
	for _, path := range x.Categories {
		for _, name := range path.Names {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// NarrowestCategories lists the last name of every path once.
func (x *Item) NarrowestCategories() []string {
	names := make([]string, 0, len(x.Categories))
	for _, path := range x.Categories {
		if n := len(path.Names); n > 0 && !slices.Contains(names, path.Names[n-1]) {
			names = append(names, path.Names[n-1])
		}
	}
	return names
}

// compareEntries is the catalogue order: the newest available_from first, ties by id.
func compareEntries(a, b *Entry) int {
	if a.AvailableFrom != b.AvailableFrom {
		if a.AvailableFrom > b.AvailableFrom {
			return -1
		}
		return 1
	}
	return strings.Compare(a.ItemId, b.ItemId)
}
