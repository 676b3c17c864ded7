package profile

import (
	"encoding/binary"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/record"
	"sluice/features/spec"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// Lists of a person.
const (
	interactionList = iota
	searchList
	lists
)

// Engine keeps each subject's newest interactions and searches, under the floor that holds. Metrics go to reg, nil = nowhere.
func Engine(c *spec.Config, reg prometheus.Registerer) stream.Engine {
	metrics := record.NewEngineMetrics(reg, "personal")
	return stream.Engine{Name: "personal", Inputs: []string{"personalize"}, Open: func(t *stream.Task) (stream.Processor, error) {
		return &engine{types: c.Personal.Types, metrics: metrics, people: record.OpenPeople(t, record.Options{
			Name: "profiles", Keep: []int{interactionList: c.Personal.Keep, searchList: c.Personal.Keep}, Retention: c.Personal.Retention,
			ID: record.EventID, Suffix: 1, Metrics: metrics,
		})}, nil
	}}
}

type engine struct {
	types   spec.TypeSet
	metrics *record.EngineMetrics
	people  *record.People
	made    record.Builder
}

// Process folds one record of the purpose's stream. What is decoded are pieces of the record; whatever is kept is copied into tables.
func (e *engine) Process(rec *stream.Record) error {
	var r purposepb.PersonalRecord
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

func (e *engine) event(ev *purposepb.PersonalEvent) error {
	e.people.See(ev.Time)
	e.made.Reset()
	list := interactionList
	if ev.Type == vocab.Type_SEARCH && ev.SearchTerm != "" {
		list = searchList
		e.made.Add(ev.Event, ev.Time, nil, ev.SearchTerm)
	} else {
		e.interactions(ev)
	}
	if !e.types.Has(ev.Type) || len(e.made.Entries) == 0 {
		e.metrics.Unused.Inc()
		return nil
	}
	return e.people.Add(ev.Subject, ev.Floor, list, e.made.Entries...)
}

// interactions makes an entry of each item.
func (e *engine) interactions(ev *purposepb.PersonalEvent) {
	var head [interactionHead]byte
	binary.BigEndian.PutUint64(head[:], record.Hash64(ev.Session))
	head[interactionHead-1] = byte(ev.Type)
	for i, item := range ev.Items {
		if record.Named(ev.Items[:i], item) {
			e.made.Add(ev.Event, ev.Time, head[:], item.ItemId)
		}
	}
}

const interactionHead = 8 + 1 // session ‖ type; the item follows

// readInteraction reads an entry of interactionList; false if it cannot be read. The item is a piece of the entry.
func readInteraction(e *record.Entry) (t record.Interaction, item []byte, ok bool) {
	if len(e.ID) != record.EntryID || len(e.Body) < interactionHead {
		return t, nil, false
	}
	t = record.Interaction{
		Event: record.Hash64(e.ID), Time: e.Time, Session: record.Hash64(e.Body), Type: vocab.Type(e.Body[interactionHead-1]),
	}
	return t, e.Body[interactionHead:], true
}

// Projection compares interactions and searches without their floors.
func Projection() stream.Projection { return record.Projection("profiles", lists) }
