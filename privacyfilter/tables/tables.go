// Package tables lays out what passed the consent filter as tables of the warehouse: one for each purpose's events, one for what was shown, one for what
// people chose. A table's columns are the fields of its purpose's type, no more: two purposes' tables have no identifier in common.
package tables

import (
	"errors"
	"slices"
	"time"

	"sluice/internal/seal"
	"sluice/internal/vocab"
	"sluice/internal/warehouse"
	"sluice/privacyfilter"
)

// Sources are the purposes' streams and the ledger. The register says how long each table keeps its rows; the ring opens the ledger's sealed records.
func Sources(reg *privacyfilter.Register, ring *seal.Keyring) []*warehouse.Source {
	return []*warehouse.Source{
		historySource(keepOf(reg, privacyfilter.History)),
		personalSource(keepOf(reg, privacyfilter.Personalize)),
		trendingSource(keepOf(reg, privacyfilter.Trending)),
		riskSource(keepOf(reg, privacyfilter.Risk)),
		ledgerSource(longest(reg), ring),
	}
}

// keepOf is how long a purpose's rows stay. Of a purpose that the register no longer has, old rows may still be there: they go with the last others.
func keepOf(reg *privacyfilter.Register, purpose string) time.Duration {
	if p, ok := reg.Purpose(purpose); ok {
		return reg.Retention(p.Retention)
	}
	return longest(reg)
}

// longest is the longest that anything is kept: the proof of a choice must outlive what the choice allowed.
func longest(reg *privacyfilter.Register) time.Duration {
	var most time.Duration
	for _, p := range reg.Purposes() {
		most = max(most, reg.Retention(p.Retention))
	}
	return most
}

// Docs of columns that several tables have.
const (
	docType       = "What the person did, such as `view_item` or `purchase`."
	docTime       = "When it happened, by the client's clock, at the latest when it was received."
	docSearchTerm = "What was searched for."
	docLocale     = "Language and region of the page, such as `zh-CN`."
	docFloor      = "Which uninterrupted consent the row rests on; opaque. When the consent ends, every row under its floor is deleted."
)

// columns joins lists of columns.
func columns(lists ...[]warehouse.Column) []warehouse.Column { return slices.Concat(lists...) }

// itemColumns are the order lines of an event, as lists in parallel.
var itemColumns = []warehouse.Column{
	{Name: "item_ids", Kind: warehouse.Strings, Doc: "Items of the event, one entry a line."},
	{Name: "item_indexes", Kind: warehouse.Int64s, Doc: "Each line's place in the list that was shown, from 0."},
	{Name: "item_quantities", Kind: warehouse.Int64s, Doc: "Each line's quantity; 0 = not told."},
	{Name: "item_prices", Kind: warehouse.Int64s, Doc: "Each line's price, in micros of the order's currency."},
}

// putItems appends the values of itemColumns.
func putItems(b *warehouse.Batch, items []*vocab.Item) {
	for _, item := range items {
		b.AddString(item.ItemId)
	}
	b.EndList()
	for _, item := range items {
		b.AddInt(int64(item.Index))
	}
	b.EndList()
	for _, item := range items {
		b.AddInt(int64(item.Quantity))
	}
	b.EndList()
	for _, item := range items {
		b.AddInt(item.Price)
	}
	b.EndList()
}

// idSize is what most pseudonyms and floors have room in.
const idSize = 16

// lend points fields at parts of the buffer, so that decoding into them allocates nothing. What is longer gets memory of its own.
func lend(buffer []byte, fields ...*[]byte) {
	for i, field := range fields {
		*field = buffer[i*idSize : i*idSize : (i+1)*idSize]
	}
}

// errNeither is the error of a record that holds neither an event nor a purge.
var errNeither = errors.New("an event or a purge expected")
