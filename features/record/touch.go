package record

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"sort"

	"sluice/features/statepb"
	"sluice/internal/vocab"
)

// Touch is one thing that a person did with one item. An event with several items makes several touches.
type Touch struct {
	Event   uint64 // first 8 bytes of the event's pseudonym
	Type    vocab.Type
	Time    int64 // Unix microseconds
	ItemID  string
	Session uint64 // first 8 bytes of the session's pseudonym, 0 = none
}

// Touches are ordered by (time, event, place in the event).
type Touches []Touch

// Insert puts an event's touches in their place, and keeps the newest so many of all. It tells whether anything changed: an event that is there already, or
// older than all of a full list, changes nothing. What is kept in the end does not depend on the order in which events came.
func (ts *Touches) Insert(event Touch, items []*vocab.Item, keep int) bool {
	list := *ts
	at := sort.Search(len(list), func(i int) bool { return CompareEvents(list[i].Time, list[i].Event, event.Time, event.Event) >= 0 })
	if at < len(list) && list[at].Time == event.Time && list[at].Event == event.Event || at == 0 && len(list) >= keep {
		return false
	}
	var fresh Touches
	for _, item := range items {
		if item.GetItemId() == "" || slices.ContainsFunc(fresh, func(t Touch) bool { return t.ItemID == item.ItemId }) {
			continue
		}
		event.ItemID = item.ItemId
		fresh = append(fresh, event)
	}
	if len(fresh) == 0 {
		return false
	}
	list = slices.Insert(list, at, fresh...)
	*ts = slices.Delete(list, 0, max(0, len(list)-keep))
	return true
}

// AnyItem tells whether an event names an item.
func AnyItem(items []*vocab.Item) bool {
	return slices.ContainsFunc(items, func(item *vocab.Item) bool { return item.GetItemId() != "" })
}

// Named tells whether an item has an id that none of those before it has.
func Named(before []*vocab.Item, item *vocab.Item) bool {
	return item.GetItemId() != "" && !slices.ContainsFunc(before, func(other *vocab.Item) bool { return other.GetItemId() == item.ItemId })
}

// Remove takes an event's touches away and tells how many there were.
func (ts *Touches) Remove(event uint64) int {
	before := len(*ts)
	*ts = slices.DeleteFunc(*ts, func(t Touch) bool { return t.Event == event })
	return before - len(*ts)
}

// CompareEvents orders by (time, event).
func CompareEvents(aTime int64, a uint64, bTime int64, b uint64) int {
	return cmp.Or(cmp.Compare(aTime, bTime), cmp.Compare(a, b))
}

// Hash64 is the 64-bit form of a pseudonym: its first 8 bytes, big endian; 0 if there is none.
func Hash64(pseudonym []byte) uint64 {
	if len(pseudonym) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(pseudonym)
}

// resetTouches empties a message and keeps its memory.
func resetTouches(m *statepb.Touches) {
	m.Events, m.Times, m.Types = m.Events[:0], m.Times[:0], m.Types[:0]
	m.Item, m.Items, m.Session, m.Sessions = m.Item[:0], m.Items[:0], m.Session[:0], m.Sessions[:0]
}

// ColumnWriter writes touches into a message, whose columns it uses again and again. It belongs to one goroutine.
type ColumnWriter struct {
	statepb.Touches
	places map[string]uint32 // of items
}

func (w *ColumnWriter) Write(ts Touches) *statepb.Touches {
	m := &w.Touches
	resetTouches(m)
	if w.places == nil {
		w.places = make(map[string]uint32)
	}
	clear(w.places)
	var last int64
	for i := range ts {
		t := &ts[i]
		m.Events = append(m.Events, t.Event)
		m.Times = append(m.Times, t.Time-last)
		m.Types = append(m.Types, byte(t.Type))
		last = t.Time
		item, known := w.places[t.ItemID]
		if !known {
			item = uint32(len(m.Items))
			w.places[t.ItemID] = item
			m.Items = append(m.Items, t.ItemID)
		}
		m.Item = append(m.Item, item)
		session := 0
		if t.Session != 0 {
			if session = 1 + slices.Index(m.Sessions, t.Session); session == 0 {
				m.Sessions = append(m.Sessions, t.Session)
				session = len(m.Sessions)
			}
		}
		m.Session = append(m.Session, uint32(session))
	}
	if len(m.Sessions) == 0 {
		m.Session = m.Session[:0]
	}
	return m
}

var errColumns = errors.New("the columns do not fit together")

// CheckColumns tells whether a message's columns have one length and lead somewhere, so that readers may index them.
func CheckColumns(m *statepb.Touches) error {
	n := len(m.GetEvents())
	if len(m.GetTimes()) != n || len(m.GetTypes()) != n || len(m.GetItem()) != n || len(m.GetSession()) != n && len(m.GetSession()) != 0 {
		return errColumns
	}
	for _, i := range m.GetItem() {
		if int(i) >= len(m.Items) {
			return errColumns
		}
	}
	for _, i := range m.GetSession() {
		if int(i) > len(m.Sessions) {
			return errColumns
		}
	}
	return nil
}

// TouchesOf reads columns.
func TouchesOf(m *statepb.Touches) (Touches, error) {
	if err := CheckColumns(m); err != nil || len(m.GetEvents()) == 0 {
		return nil, err
	}
	ts := make(Touches, len(m.Events))
	var last int64
	for i := range ts {
		last += m.Times[i]
		ts[i] = Touch{Event: m.Events[i], Type: vocab.Type(m.Types[i]), Time: last, ItemID: m.Items[m.Item[i]], Session: sessionAt(m, i)}
	}
	return ts, nil
}

// sessionAt is the session of a touch, 0 = none.
func sessionAt(m *statepb.Touches, i int) uint64 {
	if len(m.Session) == 0 || m.Session[i] == 0 {
		return 0
	}
	return m.Sessions[m.Session[i]-1]
}
