package tables

import (
	"fmt"
	"sync"
	"time"
	"unsafe"

	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/warehouse"
	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
)

var trendingShape = shapeOf(privacyfilter.Trending)

func trendingSource(keep time.Duration) *warehouse.Source {
	return &warehouse.Source{Topic: topics.Trending, Decode: decodeTrending, Tables: []*warehouse.Table{{
		Name:    "trending_events",
		Doc:     "What the lists of popular items count. Count contributors, not rows, and show nothing of which fewer than the lists' own minimum are counted.",
		Columns: trendingShape.columns,
		Time:    "time", Keep: keep, Key: []string{"contributor", "event"}, Subject: "contributor", Event: "event",
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
	trendingShape.lend(d.ids[:], unsafe.Pointer(e))
	d.of.Event, d.record.Of = e, &d.of
	if err := d.record.UnmarshalVT(rec.Value); err != nil {
		return fmt.Errorf("must be a TrendingRecord: %w", err)
	}
	if p := d.record.GetPurge(); p != nil {
		return putTrendingPurges(out, p)
	}
	if len(e.Contributor) == 0 {
		return errNeither
	}
	return trendingShape.put(out.Batches[0], unsafe.Pointer(e))
}

// putTrendingPurges deletes under each key that the person had. An event lies in one window, but the record does not name the window.
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
