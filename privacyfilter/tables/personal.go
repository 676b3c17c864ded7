package tables

import (
	"fmt"
	"sync"
	"time"
	"unsafe"

	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/internal/warehouse"
	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
)

var personalShape = shapeOf(privacyfilter.Personalize)

func personalSource(keep time.Duration) *warehouse.Source {
	return &warehouse.Source{Topic: topics.Personalize, Decode: decodePersonal, Tables: []*warehouse.Table{{
		Name:    "personal_events",
		Doc:     "What people did who let it shape their recommendations.",
		Columns: personalShape.columns,
		Time:    "time", Keep: keep, Key: []string{"subject", "event"}, Subject: "subject", Event: "event", Floor: "floor",
	}, {
		Name: "impressions",
		Doc: "What was shown, one row per item: the lines of `view_item_list` events that name a surface or a recommendation. The same events, unfolded, are in " +
			"personal_events, where `select_item`, `add_to_cart` and `purchase` with the same recommendation say what came of it.",
		Columns: []warehouse.Column{
			personalShape.column("subject"),
			personalShape.column("event"),
			personalShape.column("session"),
			personalShape.column("time"),
			personalShape.column("surface"),
			personalShape.column("recommendation"),
			{Name: "line", Kind: warehouse.Int64, Doc: "The item's line in the event, from 0."},
			{Name: "item_id", Kind: warehouse.String, Doc: "The item that was shown."},
			{Name: "position", Kind: warehouse.Int64, Doc: "Where it was shown, from 0: the line's index, or the line where the event tells none."},
			personalShape.column("locale"),
			personalShape.column("floor"),
		},
		Time: "time", Keep: keep, Key: []string{"subject", "event", "line"}, Subject: "subject", Event: "event", Floor: "floor",
	}}}
}

// personalDecoder is the memory of one record.
type personalDecoder struct {
	record purposepb.PersonalRecord
	of     purposepb.PersonalRecord_Event
	event  purposepb.PersonalEvent
	ids    [5 * idSize]byte
}

var personalDecoders = sync.Pool{New: func() any { return new(personalDecoder) }}

func decodePersonal(rec *stream.Record, out *warehouse.Rows) error {
	d := personalDecoders.Get().(*personalDecoder) //nolint:forcetypeassert // the pool's New makes nothing else
	defer personalDecoders.Put(d)
	e := &d.event
	e.Reset()
	personalShape.lend(d.ids[:], unsafe.Pointer(e))
	d.of.Event, d.record.Of = e, &d.of
	if err := d.record.UnmarshalVT(rec.Value); err != nil {
		return fmt.Errorf("must be a PersonalRecord: %w", err)
	}
	if p := d.record.GetPurge(); p != nil {
		return putPurge(out, p)
	}
	if len(e.Subject) == 0 {
		return errNeither
	}
	if err := personalShape.put(out.Batches[0], unsafe.Pointer(e)); err != nil {
		return err
	}
	return putImpressions(out.Batches[1], e)
}

// putImpressions appends a row for each item that the event says was shown somewhere.
func putImpressions(b *warehouse.Batch, e *purposepb.PersonalEvent) error {
	if e.Type != vocab.Type_VIEW_ITEM_LIST || e.Surface == "" && len(e.Recommendation) == 0 {
		return nil
	}
	told := false
	for _, item := range e.Items {
		told = told || item.Index > 0
	}
	for line, item := range e.Items {
		position := int64(line)
		if told {
			position = int64(item.Index)
		}
		b.Bytes(e.Subject)
		b.Bytes(e.Event)
		b.Bytes(e.Session)
		b.Int(e.Time)
		b.String(e.Surface)
		b.Bytes(e.Recommendation)
		b.Int(int64(line))
		b.String(item.ItemId)
		b.Int(position)
		b.String(e.Locale)
		b.Bytes(e.Floor)
		if err := b.End(); err != nil {
			return err
		}
	}
	return nil
}
