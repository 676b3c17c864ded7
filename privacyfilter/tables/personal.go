package tables

import (
	"fmt"
	"sync"
	"time"

	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/internal/warehouse"
	"sluice/privacyfilter/purposepb"
)

// Columns that both of personalization's tables have.
var (
	personalSubject = warehouse.Column{
		Name: "subject", Kind: warehouse.Bytes, Doc: "Whose event it is: personalization's pseudonym of the account, or of the device that has none.",
	}
	personalEvent   = warehouse.Column{Name: "event", Kind: warehouse.Bytes, Doc: "The event: personalization's pseudonym of its id."}
	personalSession = warehouse.Column{Name: "session", Kind: warehouse.Bytes, Doc: "The session: personalization's pseudonym. Empty = not told."}
	personalSurface = warehouse.Column{Name: "surface", Kind: warehouse.String, Doc: "The place in the shop, such as `home`. Empty = not told."}
	recommendation  = warehouse.Column{
		Name: "recommendation", Kind: warehouse.Bytes, Doc: "The answer of the ranker that led here: personalization's pseudonym of its `recommendation_id`. Empty = none.",
	}
	personalFloor = warehouse.Column{Name: "floor", Kind: warehouse.Bytes, Doc: docFloor}
)

func personalSource(keep time.Duration) *warehouse.Source {
	return &warehouse.Source{Topic: topics.Personalize, Decode: decodePersonal, Tables: []*warehouse.Table{{
		Name: "personal_events",
		Doc:  "What people did who let it shape their recommendations.",
		Columns: columns([]warehouse.Column{
			personalSubject,
			personalEvent,
			personalSession,
			{Name: "type", Kind: warehouse.String, Doc: docType},
			{Name: "time", Kind: warehouse.Time, Doc: docTime},
		}, itemColumns, []warehouse.Column{
			{Name: "search_term", Kind: warehouse.String, Doc: docSearchTerm},
			personalSurface,
			recommendation,
			{Name: "locale", Kind: warehouse.String, Doc: docLocale},
			personalFloor,
		}),
		Time: "time", Keep: keep, Key: []string{"subject", "event"}, Subject: "subject", Event: "event", Floor: "floor",
	}, {
		Name: "impressions",
		Doc: "What was shown, one row an item: the lines of `view_item_list` events that name a surface or a recommendation. The same events, unfolded, are in " +
			"personal_events, where `select_item`, `add_to_cart` and `purchase` with the same recommendation say what came of it.",
		Columns: []warehouse.Column{
			personalSubject,
			personalEvent,
			personalSession,
			{Name: "time", Kind: warehouse.Time, Doc: docTime},
			personalSurface,
			recommendation,
			{Name: "line", Kind: warehouse.Int64, Doc: "The item's line in the event, from 0."},
			{Name: "item_id", Kind: warehouse.String, Doc: "The item that was shown."},
			{Name: "position", Kind: warehouse.Int64, Doc: "Where it was shown, from 0: the line's index, or the line where the event tells none."},
			{Name: "locale", Kind: warehouse.String, Doc: docLocale},
			personalFloor,
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
	lend(d.ids[:], &e.Subject, &e.Event, &e.Session, &e.Recommendation, &e.Floor)
	d.of.Event, d.record.Of = e, &d.of
	if err := d.record.UnmarshalVT(rec.Value); err != nil {
		return fmt.Errorf("a PersonalRecord expected: %w", err)
	}
	if p := d.record.GetPurge(); p != nil {
		return putPurge(out, p)
	}
	if len(e.Subject) == 0 {
		return errNeither
	}
	ids := personalIDs{e.Subject, e.Event, e.Session, e.Recommendation, e.Floor}
	b := out.Batches[0]
	b.Bytes(ids.subject)
	b.Bytes(ids.event)
	b.Bytes(ids.session)
	b.String(e.Type.Name())
	b.Int(e.Time)
	putItems(b, e.Items)
	b.String(e.SearchTerm)
	b.String(e.Surface)
	b.Bytes(ids.recommendation)
	b.String(e.Locale)
	b.Bytes(ids.floor)
	if err := b.End(); err != nil {
		return err
	}
	return putImpressions(out.Batches[1], e, &ids)
}

// personalIDs are an event's pseudonyms, kept.
type personalIDs struct{ subject, event, session, recommendation, floor []byte }

// putImpressions appends a row for each item that the event says was shown somewhere.
func putImpressions(b *warehouse.Batch, e *purposepb.PersonalEvent, ids *personalIDs) error {
	if e.Type != vocab.Type_VIEW_ITEM_LIST || e.Surface == "" && len(ids.recommendation) == 0 {
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
		b.Bytes(ids.subject)
		b.Bytes(ids.event)
		b.Bytes(ids.session)
		b.Int(e.Time)
		b.String(e.Surface)
		b.Bytes(ids.recommendation)
		b.Int(int64(line))
		b.String(item.ItemId)
		b.Int(position)
		b.String(e.Locale)
		b.Bytes(ids.floor)
		if err := b.End(); err != nil {
			return err
		}
	}
	return nil
}
