package settings

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"sluice/ingest/eventpb"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
)

// HistoryPage is one page of a history.
type HistoryPage struct {
	Items      []HistoryItem `json:"items"`
	NextCursor *string       `json:"next_cursor" doc:"Opaque; null on the last page."`
}

// HistoryItem is one footprint.
type HistoryItem struct {
	EventID    string    `json:"event_id" doc:"What DELETE history/{event_id} takes."`
	Type       string    `json:"type"`
	Time       time.Time `json:"time"`
	ItemIDs    []string  `json:"item_ids"`
	SearchTerm string    `json:"search_term,omitempty"`
}

type historyInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor string `query:"cursor" maxLength:"2048" doc:"next_cursor of the page before."`
}

func (s *service) getHistory(ctx context.Context, in *historyInput) (*answer[HistoryPage], error) {
	who := subjectOf(ctx)
	from, err := s.openCursor(who.key(), in.Cursor)
	if err != nil {
		return nil, invalid("invalid_cursor", "/cursor", "cursor must be the one that the page before gave")
	}
	return read(s, who.person(), func(a *consent.Access) (*answer[HistoryPage], error) {
		page := HistoryPage{Items: []HistoryItem{}}
		for _, id := range a.Identities(privacyfilter.History) { // of one subject there is at most one
			last, more, err := s.fill(&page, a, id, in.Limit, from)
			if err != nil {
				s.Logger.Error("could not read a history", "error", err)
				return nil, problemHistory()
			}
			if more {
				cursor := s.sealCursor(who.key(), last)
				page.NextCursor = &cursor
			}
		}
		return private(page), nil
	})
}

// fill adds footprints to the page until it is full or there are no more, and leaves out those that were deleted just now.
func (s *service) fill(page *HistoryPage, a *consent.Access, id consent.Identity, limit int, from Position) (last Position, more bool, err error) {
	for {
		found, more, err := s.History.Footprints(id, limit-len(page.Items), from)
		if err != nil {
			return from, false, err
		}
		for i := range found {
			f := &found[i]
			from = Position{Time: f.Time, Event: f.Event}
			if a.HidesHistory(f.Event) {
				continue
			}
			page.Items = append(page.Items, f.item())
		}
		if !more || len(found) == 0 {
			return from, false, nil
		}
		if len(page.Items) >= limit {
			return from, true, nil
		}
	}
}

func (f *Footprint) item() HistoryItem {
	item := HistoryItem{
		EventID: base64.RawURLEncoding.EncodeToString(f.Event), Type: f.Type, Time: time.UnixMicro(f.Time).UTC(), ItemIDs: f.ItemIDs, SearchTerm: f.SearchTerm,
	}
	if item.ItemIDs == nil {
		item.ItemIDs = []string{}
	}
	return item
}

// cursorUse is what a cursor is sealed for, beside its subject: nothing else that is sealed can be handed in as one.
const cursorUse = "settings/history/cursor\x00"

var errCursor = errors.New("not a cursor of this history")

// sealCursor hides a position: an event id is nobody else's business, and a made-up position is refused.
func (s *service) sealCursor(subject string, p Position) string {
	plain := append(binary.BigEndian.AppendUint64(nil, uint64(p.Time)), p.Event...)
	keyID, sealed := s.Ring.Seal(plain, []byte(cursorUse+subject))
	return base64.RawURLEncoding.EncodeToString(append(binary.BigEndian.AppendUint32(nil, keyID), sealed...))
}

func (s *service) openCursor(subject, cursor string) (Position, error) {
	if cursor == "" {
		return Position{}, nil
	}
	data, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(data) < 4 || binary.BigEndian.Uint32(data) == 0 { // key 0 would be plain text
		return Position{}, errCursor
	}
	plain, err := s.Ring.Unseal(binary.BigEndian.Uint32(data), data[4:], []byte(cursorUse+subject))
	if err != nil || len(plain) < 8 {
		return Position{}, errCursor
	}
	return Position{Time: int64(binary.BigEndian.Uint64(plain)), Event: plain[8:]}, nil
}

type deleteInput struct{ Origin }

func (s *service) deleteHistory(ctx context.Context, in *deleteInput) (*answer[Written], error) {
	return s.change(ctx, change{act: "delete_history", refuses: true, restrict: &restriction{HideHistory: true}, control: deletion(in.Surface, nil)})
}

type footprintInput struct {
	Origin
	EventID string `path:"event_id"`
}

func (s *service) deleteFootprint(ctx context.Context, in *footprintInput) (*answer[Written], error) {
	event, err := base64.RawURLEncoding.Strict().DecodeString(in.EventID)
	if err != nil {
		return nil, problemEvent()
	}
	if _, err := s.Keys.OpenEvent(privacyfilter.History, subjectOf(ctx).key(), event); err != nil {
		return nil, problemEvent()
	}
	return s.change(ctx, change{act: "delete_footprint", refuses: true, restrict: &restriction{HideEvent: event}, control: deletion(in.Surface, event)})
}

func deletion(told string, event []byte) *eventpb.Control {
	return &eventpb.Control{Surface: surface(told), Act: &eventpb.Control_DeleteHistory_{DeleteHistory: &eventpb.Control_DeleteHistory{Event: event}}}
}
