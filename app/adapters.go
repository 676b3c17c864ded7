package app

import (
	"context"
	"time"

	"sluice/demo/web"
	"sluice/features/history"
	"sluice/features/record"
	"sluice/ingest/collector"
	"sluice/internal/catalog"
	"sluice/internal/httpx"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
	"sluice/privacyfilter/filter"
	"sluice/privacyfilter/settings"
	"sluice/risk"
)

// keeps tells the collector how long each purpose keeps events, and of which types.
func keeps(register *privacyfilter.Register) (all []collector.Keeping) {
	for _, p := range register.Purposes() {
		k := collector.Keeping{Purpose: p.Name, Duty: p.Tier == privacyfilter.Legal, Kept: register.Retention(p.Retention)}
		for t := range vocab.Type(64) {
			if p.Takes(t) {
				k.Types |= 1 << t
			}
		}
		if k.Types != 0 {
			all = append(all, k)
		}
	}
	return all
}

// shelves is the catalogue as the pages show it.
type shelves struct{ view *catalog.View }

// Item finds an item.
func (s shelves) Item(id string) (web.Item, bool) {
	item := s.view.Item(id)
	if item == nil {
		return web.Item{}, false
	}
	return card(item), true
}

// Search finds items by words.
func (s shelves) Search(query string, limit int) []web.Item {
	return cards(s.view.Search(query, limit))
}

// InCategory lists a category.
func (s shelves) InCategory(name string, limit int) []web.Item {
	return cards(s.view.InCategory(name, limit))
}

// Categories lists the broadest categories.
func (s shelves) Categories() []string { return s.view.Categories() }

func cards(items []*catalog.Item) []web.Item {
	out := make([]web.Item, len(items))
	for i, item := range items {
		out[i] = card(item)
	}
	return out
}

func card(item *catalog.Item) web.Item {
	c := web.Item{ID: item.ItemId, Title: item.Title, Price: item.PriceText(), Currency: item.Currency}
	if len(item.Categories) > 0 {
		names := item.Categories[0].Names
		c.Category, c.Subcategory = names[0], names[len(names)-1]
	}
	return c
}

// offers are the lists that items stand on, of this process and of all others.
type offers struct {
	catalogue *catalog.View // nil: this process makes no lists
	others    *consent.View
}

// Offer tells whether lists of this process may hold the item.
func (o offers) Offer(id string, now int64) bool {
	return o.catalogue != nil && o.catalogue.Snapshot().Offers(id, now)
}

// Obey waits until all lists obey the catalogue's topic up to the offset.
func (o offers) Obey(ctx context.Context, partition int32, next int64) error {
	if o.catalogue != nil {
		if err := o.catalogue.Wait(ctx, partition, next); err != nil {
			return err
		}
	}
	return o.others.Listed(ctx, partition, next)
}

// footprints is the history view as the settings ask it: pages of what a person did, the newest first.
type footprints struct{ view *history.View }

// Footprints lists at most limit footprints below the position, and tells whether there are more.
func (f footprints) Footprints(id consent.Identity, limit int, before settings.Position) (page []settings.Footprint, more bool, err error) {
	var end *record.Entry
	if !before.IsZero() {
		end = &record.Entry{Time: before.Time, ID: before.Event}
	}
	found, more, err := f.view.Page(id, end, limit)
	if err != nil {
		return nil, false, err
	}
	for _, e := range found {
		page = append(page, settings.Footprint{Event: e.Event, Type: e.Type.Name(), Time: e.Time, ItemIDs: e.ItemIDs, SearchTerm: e.SearchTerm})
	}
	return page, more, nil
}

// intake is the collector as the decisions API uses it: it projects an accepted event as the filter will.
type intake struct {
	collector *collector.Collector
	projector *filter.Projector
	now       func() time.Time
}

// Prepare decodes, validates, admits and projects an event.
func (i *intake) Prepare(body []byte, role httpx.Role) (*risk.Pending, *httpx.Problem) {
	received := i.now()
	p, problem := i.collector.Prepare(body, role, received)
	if problem != nil {
		return nil, problem
	}
	pending := &risk.Pending{
		Event: i.projector.Risk(p.Event, received.UnixMicro()), BodyHash: p.Hash,
		Collect: func(ctx context.Context, decision []byte) error {
			return i.collector.Collect(ctx, p.Event, received, role == httpx.RoleServer, decision)
		},
	}
	for _, w := range p.Warnings {
		pending.Warnings = append(pending.Warnings, httpx.FieldError{Pointer: w.Pointer, Code: w.Code, Detail: w.Detail})
	}
	return pending, nil
}
