package features

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"sort"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/statepb"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// HistoryEngine keeps each subject's newest footprints, under the floor that holds. Metrics go to reg, nil = nowhere.
func HistoryEngine(c *Config, reg prometheus.Registerer) stream.Engine {
	metrics := newEngineMetrics(reg, "history")
	return stream.Engine{Name: "history", Inputs: []string{"history"}, Open: func(t *stream.Task) (stream.Processor, error) {
		return &historyEngine{
			c: c.history, metrics: metrics, people: openPeople[footprints](t, "footprints", stream.ProtoCodec[footprints](), c.history, metrics),
		}, nil
	}}
}

type historyEngine struct {
	c       profileConfig
	metrics *engineMetrics
	people  *people[footprints, *footprints]
}

// Process folds one record of the purpose's stream.
func (e *historyEngine) Process(rec *stream.Record) error {
	var r purposepb.HistoryRecord
	if err := r.UnmarshalVT(rec.Value); err != nil {
		return fmt.Errorf("decoding a record of %s: %w", rec.Topic, err)
	}
	if purge := r.GetPurge(); purge != nil {
		e.people.purge(purge)
		return nil
	}
	if ev := r.GetEvent(); ev != nil {
		e.event(ev)
	}
	return nil
}

func (e *historyEngine) event(ev *purposepb.HistoryEvent) {
	entry := footprintOf(ev)
	if !e.c.types.has(ev.Type) || entry.SearchTerm == "" && len(entry.ItemIds) == 0 {
		e.metrics.unused.Inc()
		return
	}
	if !e.people.admit(ev.Subject, ev.Floor, ev.Time) {
		return
	}
	if current := e.people.table.Get(ev.Subject); current != nil && bytes.Equal(current.Floor, ev.Floor) && !current.takes(entry, e.c.keep) {
		e.metrics.older.Inc() // written nowhere: the record stays as it is
		return
	}
	e.people.record(ev.Subject, ev.Floor).insert(entry, e.c.keep)
	e.metrics.kept.Inc()
}

func footprintOf(ev *purposepb.HistoryEvent) *statepb.Footprint {
	entry := &statepb.Footprint{Event: ev.Event, Type: ev.Type, Time: ev.Time}
	for _, item := range ev.Items {
		if item.GetItemId() != "" && !slices.Contains(entry.ItemIds, item.ItemId) {
			entry.ItemIds = append(entry.ItemIds, item.ItemId)
		}
	}
	if ev.Type == vocab.Type_SEARCH {
		entry.SearchTerm = ev.SearchTerm
	}
	return entry
}

// footprints is one subject's kept history for display.
type footprints struct{ statepb.Footprints }

func (f *footprints) bound() ([]byte, int64) { return f.Floor, f.Since }

func (f *footprints) bind(floor []byte, since int64) {
	if !bytes.Equal(f.Floor, floor) {
		f.Floor, f.Entries = floor, nil
	}
	f.Since = since
}

func (f *footprints) empty() bool { return len(f.Entries) == 0 }

func (f *footprints) oldest() int64 {
	if f.empty() {
		return f.Since
	}
	return f.Entries[0].Time
}

func (f *footprints) expire(horizon int64) int {
	n := sort.Search(len(f.Entries), func(i int) bool { return f.Entries[i].Time >= horizon })
	f.Entries = slices.Delete(f.Entries, 0, n)
	return n
}

func (f *footprints) remove(event []byte) {
	f.Entries = slices.DeleteFunc(f.Entries, func(e *statepb.Footprint) bool { return bytes.Equal(e.Event, event) })
}

// takes tells whether insert would change anything: an entry that is there already, or older than all of a full list, does not.
func (f *footprints) takes(entry *statepb.Footprint, keep int) bool {
	at, found := slices.BinarySearchFunc(f.Entries, entry, compareFootprints)
	return !found && (at > 0 || len(f.Entries) < keep)
}

// insert puts an entry in its place and keeps the newest so many.
func (f *footprints) insert(entry *statepb.Footprint, keep int) {
	at, _ := slices.BinarySearchFunc(f.Entries, entry, compareFootprints)
	f.Entries = slices.Insert(f.Entries, at, entry)
	f.Entries = slices.Delete(f.Entries, 0, max(0, len(f.Entries)-keep))
}

func compareFootprints(a, b *statepb.Footprint) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), bytes.Compare(a.Event, b.Event))
}

// historyProjection compares footprints without their floors.
func historyProjection() stream.Projection {
	return only("footprints", recordTable, withoutFloor(func(m *statepb.Footprints) bool {
		m.Floor, m.Since = nil, 0
		return len(m.Entries) > 0
	}))
}
