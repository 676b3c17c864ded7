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

var historyShape = shapeOf(privacyfilter.History)

func historySource(keep time.Duration) *warehouse.Source {
	return &warehouse.Source{Topic: topics.History, Decode: decodeHistory, Tables: []*warehouse.Table{{
		Name:    "history_events",
		Doc:     "Footprints: what people did that they can find again in their own history.",
		Columns: historyShape.columns,
		Time:    "time", Keep: keep, Key: []string{"subject", "event"}, Subject: "subject", Event: "event", Floor: "floor",
	}}}
}

// historyDecoder is the memory of one record.
type historyDecoder struct {
	record purposepb.HistoryRecord
	of     purposepb.HistoryRecord_Event
	event  purposepb.HistoryEvent
	ids    [3 * idSize]byte
}

var historyDecoders = sync.Pool{New: func() any { return new(historyDecoder) }}

func decodeHistory(rec *stream.Record, out *warehouse.Rows) error {
	d := historyDecoders.Get().(*historyDecoder) //nolint:forcetypeassert // the pool's New makes nothing else
	defer historyDecoders.Put(d)
	e := &d.event
	e.Reset()
	historyShape.lend(d.ids[:], unsafe.Pointer(e))
	d.of.Event, d.record.Of = e, &d.of
	if err := d.record.UnmarshalVT(rec.Value); err != nil {
		return fmt.Errorf("must be a HistoryRecord: %w", err)
	}
	if p := d.record.GetPurge(); p != nil {
		return putPurge(out, p)
	}
	if len(e.Subject) == 0 {
		return errNeither
	}
	return historyShape.put(out.Batches[0], unsafe.Pointer(e))
}

// putPurge appends what a purge record deletes. The floor that comes with one event's purge says nothing about that event.
func putPurge(out *warehouse.Rows, p *purposepb.Purge) error {
	switch {
	case len(p.Subject) == 0:
		return errNeither
	case len(p.Event) > 0:
		out.Purge(warehouse.Purge{Subject: p.Subject, Event: p.Event})
	default:
		out.Purge(warehouse.Purge{Subject: p.Subject, Floor: p.Floor})
	}
	return nil
}
