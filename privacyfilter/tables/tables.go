// Package tables lays out what passed the consent filter as tables of the warehouse. Each purpose has a table of its events; there is one of what was shown and
// one of what people chose. A table has the fields of its purpose's type as columns, and no others. No two purposes' tables share an identifier.
package tables

import (
	"errors"
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

// itemColumns are the order lines of an event, as lists in parallel.
var itemColumns = []warehouse.Column{
	{Name: "item_ids", Kind: warehouse.Strings, Doc: "Items of the event, one entry per line."},
	{Name: "item_indexes", Kind: warehouse.Int64s, Doc: "Each line's place in the list that was shown, from 0."},
	{Name: "item_quantity_micros", Kind: warehouse.Int64s, Doc: "Each line's quantity in micros, so that 750000 is 0.75; 0 = not told."},
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
		b.AddInt(item.Quantity)
	}
	b.EndList()
	for _, item := range items {
		b.AddInt(item.Price)
	}
	b.EndList()
}

// errNeither is the error of a record that holds neither an event nor a purge.
var errNeither = errors.New("must hold an event or a purge")
