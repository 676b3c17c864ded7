package tables

import (
	"fmt"
	"sync"
	"time"

	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/warehouse"
	"sluice/privacyfilter/purposepb"
)

func trendingSource(keep time.Duration) *warehouse.Source {
	return &warehouse.Source{Topic: topics.Trending, Decode: decodeTrending, Tables: []*warehouse.Table{{
		Name: "trending_events",
		Doc:  "What the lists of popular items count. Count contributors, not rows, and show nothing of which fewer than the lists' own minimum are counted.",
		Columns: columns([]warehouse.Column{
			{Name: "contributor", Kind: warehouse.Bytes, Doc: "A pseudonym that lasts for one window: the same person is somebody else in the next one."},
			{Name: "event", Kind: warehouse.Bytes, Doc: "The event: the lists' own pseudonym of its id."},
			{Name: "window", Kind: warehouse.Int64, Doc: "Number of the window since 1970 that the time lies in."},
			{Name: "type", Kind: warehouse.String, Doc: docType},
			{Name: "time", Kind: warehouse.Time, Doc: docTime},
		}, itemColumns, []warehouse.Column{
			{Name: "locale", Kind: warehouse.String, Doc: docLocale},
		}),
		Time: "time", Keep: keep, Key: []string{"contributor", "event"}, Subject: "contributor", Event: "event",
	}}}
}

// trendingDecoder is the memory of one record.
type trendingDecoder struct {
	record purposepb.TrendingRecord
	of     purposepb.TrendingRecord_Event
	event  purposepb.TrendingEvent
	ids    [2 * idSize]byte
}

var trendingDecoders = sync.Pool{New: func() any { return new(trendingDecoder) }}

func decodeTrending(rec *stream.Record, out *warehouse.Rows) error {
	d := trendingDecoders.Get().(*trendingDecoder) //nolint:forcetypeassert // the pool's New makes nothing else
	defer trendingDecoders.Put(d)
	e := &d.event
	e.Reset()
	lend(d.ids[:], &e.Contributor, &e.Event)
	d.of.Event, d.record.Of = e, &d.of
	if err := d.record.UnmarshalVT(rec.Value); err != nil {
		return fmt.Errorf("a TrendingRecord expected: %w", err)
	}
	if p := d.record.GetPurge(); p != nil {
		return putTrendingPurges(out, p)
	}
	if len(e.Contributor) == 0 {
		return errNeither
	}
	b := out.Batches[0]
	b.Bytes(e.Contributor)
	b.Bytes(e.Event)
	b.Int(e.Window)
	b.String(e.Type.Name())
	b.Int(e.Time)
	putItems(b, e.Items)
	b.String(e.Locale)
	return b.End()
}

// putTrendingPurges deletes under each of the keys that the person had. An event lies in one window, but the record does not say in which.
func putTrendingPurges(out *warehouse.Rows, p *purposepb.TrendingPurge) error {
	if len(p.Contributors) == 0 {
		return errNeither
	}
	for _, c := range p.Contributors {
		if len(c.Key) == 0 {
			return errNeither
		}
		out.Purge(warehouse.Purge{Subject: c.Key, Event: p.Event})
	}
	return nil
}
