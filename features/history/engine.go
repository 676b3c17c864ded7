package history

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"sort"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/record"
	"sluice/features/spec"
	"sluice/features/statepb"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// Engine keeps each subject's newest footprints, under the floor that holds. Metrics go to reg, nil = nowhere.
func Engine(c *spec.Config, reg prometheus.Registerer) stream.Engine {
	metrics := record.NewEngineMetrics(reg, "history")
	return stream.Engine{Name: "history", Inputs: []string{"history"}, Open: func(t *stream.Task) (stream.Processor, error) {
		return &engine{
			c: c.History, metrics: metrics, people: record.OpenPeople[footprints](t, "footprints", stream.ProtoCodec[footprints](), c.History, metrics),
		}, nil
	}}
}

type engine struct {
	c       spec.Profile
	metrics *record.EngineMetrics
	people  *record.People[footprints, *footprints]
}

// Process folds one record of the purpose's stream.
func (e *engine) Process(rec *stream.Record) error {
	var r purposepb.HistoryRecord
	if err := r.UnmarshalVT(rec.Value); err != nil {
		return fmt.Errorf("decoding a record of %s: %w", rec.Topic, err)
	}
	if purge := r.GetPurge(); purge != nil {
		e.people.Purge(purge)
		return nil
	}
	if ev := r.GetEvent(); ev != nil {
		e.event(ev)
	}
	return nil
}

func (e *engine) event(ev *purposepb.HistoryEvent) {
	entry := footprintOf(ev)
	if !e.c.Types.Has(ev.Type) || entry.SearchTerm == "" && len(entry.ItemIds) == 0 {
		e.metrics.Unused.Inc()
		return
	}
	if !e.people.Admit(ev.Subject, ev.Floor, ev.Time) {
		return
	}
	if current := e.people.Table.Get(ev.Subject); current != nil && bytes.Equal(current.Floor, ev.Floor) && !current.takes(entry, e.c.Keep) {
		e.metrics.Older.Inc() // written nowhere: the record stays as it is
		return
	}
	e.people.Record(ev.Subject, ev.Floor).insert(entry, e.c.Keep)
	e.metrics.Kept.Inc()
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

func (f *footprints) Bound() ([]byte, int64) { return f.Floor, f.Since }

func (f *footprints) Bind(floor []byte, since int64) {
	if !bytes.Equal(f.Floor, floor) {
		f.Floor, f.Entries = floor, nil
	}
	f.Since = since
}

func (f *footprints) Empty() bool { return len(f.Entries) == 0 }

func (f *footprints) Oldest() int64 {
	if f.Empty() {
		return f.Since
	}
	return f.Entries[0].Time
}

func (f *footprints) Expire(horizon int64) int {
	n := sort.Search(len(f.Entries), func(i int) bool { return f.Entries[i].Time >= horizon })
	f.Entries = slices.Delete(f.Entries, 0, n)
	return n
}

func (f *footprints) Remove(event []byte) {
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

// Projection compares footprints without their floors.
func Projection() stream.Projection {
	return record.Only("footprints", record.Table, record.WithoutFloor(func(m *statepb.Footprints) bool {
		m.Floor, m.Since = nil, 0
		return len(m.Entries) > 0
	}))
}
