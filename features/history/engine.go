package history

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/record"
	"sluice/features/spec"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// Engine keeps each subject's newest footprints, under the floor that holds. Metrics go to reg, nil = nowhere.
func Engine(c *spec.Config, reg prometheus.Registerer) stream.Engine {
	metrics := record.NewEngineMetrics(reg, "history")
	return stream.Engine{Name: "history", Inputs: []string{"history"}, Open: func(t *stream.Task) (stream.Processor, error) {
		return &engine{types: c.History.Types, metrics: metrics, people: record.OpenPeople(t, record.Options{
			Name: "footprints", Keep: []int{c.History.Keep}, Retention: c.History.Retention, Metrics: metrics,
		})}, nil
	}}
}

type engine struct {
	types   spec.TypeSet
	metrics *record.EngineMetrics
	people  *record.People
	body    []byte
}

// Process folds one record of the purpose's stream. What is decoded are pieces of the record; whatever is kept is copied into tables.
func (e *engine) Process(rec *stream.Record) error {
	var r purposepb.HistoryRecord
	if err := r.UnmarshalVTUnsafe(rec.Value); err != nil {
		return fmt.Errorf("decoding a record of %s: %w", rec.Topic, err)
	}
	if purge := r.GetPurge(); purge != nil {
		return e.people.Purge(purge)
	}
	if ev := r.GetEvent(); ev != nil {
		return e.event(ev)
	}
	return nil
}

func (e *engine) event(ev *purposepb.HistoryEvent) error {
	e.people.See(ev.Time)
	e.body = appendBody(e.body[:0], ev)
	if !e.types.Has(ev.Type) || len(e.body) <= emptyBody {
		e.metrics.Unused.Inc()
		return nil
	}
	return e.people.Add(ev.Subject, ev.Floor, 0, record.Entry{Time: ev.Time, ID: ev.Event, Body: e.body})
}

// Footprint is one thing that a person did, as the person is shown it.
type Footprint struct {
	Event      []byte // pseudonym, by which the person can delete it
	Type       vocab.Type
	Time       int64 // Unix microseconds
	ItemIDs    []string
	SearchTerm string
}

// lists of a person: the footprints.
const lists = 1

const emptyBody = 2 // neither an item nor a search term

// appendBody writes what an entry holds: the type, the number of items, each item with its length, and the search term.
func appendBody(buf []byte, ev *purposepb.HistoryEvent) []byte {
	buf = append(buf, byte(ev.Type))
	n := 0
	for i, item := range ev.Items {
		if n == 0xff {
			break // more than an event may have
		}
		if record.Named(ev.Items[:i], item) {
			n++
		}
	}
	buf = append(buf, byte(n))
	for i, item := range ev.Items {
		if n > 0 && record.Named(ev.Items[:i], item) {
			buf = append(binary.AppendUvarint(buf, uint64(len(item.ItemId))), item.ItemId...)
			n--
		}
	}
	if ev.Type == vocab.Type_SEARCH {
		buf = append(buf, ev.SearchTerm...)
	}
	return buf
}

// footprintOf reads an entry; false if it cannot be read.
func footprintOf(e *record.Entry) (Footprint, bool) {
	f := Footprint{Event: slices.Clone(e.ID), Time: e.Time}
	if len(e.Body) < emptyBody {
		return f, false
	}
	f.Type = vocab.Type(e.Body[0])
	rest := e.Body[emptyBody:]
	for range e.Body[1] {
		length, n := binary.Uvarint(rest)
		if n <= 0 || length > uint64(len(rest)-n) {
			return f, false
		}
		f.ItemIDs = append(f.ItemIDs, string(rest[n:n+int(length)]))
		rest = rest[n+int(length):]
	}
	f.SearchTerm = string(rest)
	return f, true
}

// Projection compares footprints without their floors.
func Projection() stream.Projection { return record.Projection("footprints", lists) }
