package profile

import (
	"bytes"
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

// Engine keeps each subject's newest touches and searches, under the floor that holds. Metrics go to reg, nil = nowhere.
func Engine(c *spec.Config, reg prometheus.Registerer) stream.Engine {
	metrics := record.NewEngineMetrics(reg, "personal")
	return stream.Engine{Name: "personal", Inputs: []string{"personalize"}, Open: func(t *stream.Task) (stream.Processor, error) {
		return &engine{
			c: c.Personal, metrics: metrics, people: record.OpenPeople[profile, *profile](t, "profiles", &profileCodec{}, c.Personal, metrics),
		}, nil
	}}
}

type engine struct {
	c       spec.Profile
	metrics *record.EngineMetrics
	people  *record.People[profile, *profile]
}

// Process folds one record of the purpose's stream.
func (e *engine) Process(rec *stream.Record) error {
	var r purposepb.PersonalRecord
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

func (e *engine) event(ev *purposepb.PersonalEvent) {
	isSearch := ev.Type == vocab.Type_SEARCH && ev.SearchTerm != ""
	if !e.c.Types.Has(ev.Type) || !isSearch && !record.AnyItem(ev.Items) {
		e.metrics.Unused.Inc()
		return
	}
	if !e.people.Admit(ev.Subject, ev.Floor, ev.Time) {
		return
	}
	touch := record.Touch{Event: record.Hash64(ev.Event), Type: ev.Type, Time: ev.Time, Session: record.Hash64(ev.Session)}
	if current := e.people.Table.Get(ev.Subject); current != nil && bytes.Equal(current.floor, ev.Floor) && current.isFull(&touch, isSearch, e.c.Keep) {
		e.metrics.Older.Inc() // written nowhere: the record stays as it is
		return
	}
	p := e.people.Record(ev.Subject, ev.Floor)
	var changed bool
	if isSearch {
		changed = p.search(Search{Event: touch.Event, Time: ev.Time, Term: ev.SearchTerm}, e.c.Keep)
	} else {
		changed = p.touches.Insert(touch, ev.Items, e.c.Keep)
	}
	if changed {
		e.metrics.Kept.Inc()
	} else {
		e.metrics.Older.Inc()
	}
}

// Search is one search of a person.
type Search struct {
	Event uint64 // first 8 bytes of the event's pseudonym
	Time  int64  // Unix microseconds
	Term  string
}

// profile is one subject's kept history for personalization.
type profile struct {
	floor    []byte
	since    int64
	touches  record.Touches
	searches []Search // by (time, event)
}

func (p *profile) Bound() ([]byte, int64) { return p.floor, p.since }

func (p *profile) Bind(floor []byte, since int64) {
	if !bytes.Equal(p.floor, floor) {
		*p = profile{floor: floor}
	}
	p.since = since
}

func (p *profile) Empty() bool { return len(p.touches) == 0 && len(p.searches) == 0 }

func (p *profile) Oldest() int64 {
	oldest := int64(1<<63 - 1)
	if p.Empty() {
		return p.since
	}
	if len(p.touches) > 0 {
		oldest = p.touches[0].Time
	}
	if len(p.searches) > 0 {
		oldest = min(oldest, p.searches[0].Time)
	}
	return oldest
}

func (p *profile) Expire(horizon int64) int {
	n := sort.Search(len(p.searches), func(i int) bool { return p.searches[i].Time >= horizon })
	p.searches = slices.Delete(p.searches, 0, n)
	return n + p.touches.Expire(horizon)
}

func (p *profile) Remove(event []byte) {
	hash := record.Hash64(event)
	p.touches.Remove(hash)
	p.searches = slices.DeleteFunc(p.searches, func(s Search) bool { return s.Event == hash })
}

// isFull tells whether an event is older than everything that a full list keeps.
func (p *profile) isFull(event *record.Touch, isSearch bool, keep int) bool {
	if isSearch {
		return len(p.searches) >= keep && record.CompareEvents(event.Time, event.Event, p.searches[0].Time, p.searches[0].Event) < 0
	}
	return len(p.touches) >= keep && record.CompareEvents(event.Time, event.Event, p.touches[0].Time, p.touches[0].Event) < 0
}

// search keeps a search, as touches.insert keeps touches.
func (p *profile) search(s Search, keep int) bool {
	at, found := slices.BinarySearchFunc(p.searches, s, func(a, b Search) int { return record.CompareEvents(a.Time, a.Event, b.Time, b.Event) })
	if found || at == 0 && len(p.searches) >= keep {
		return false
	}
	p.searches = slices.Insert(p.searches, at, s)
	p.searches = slices.Delete(p.searches, 0, max(0, len(p.searches)-keep))
	return true
}

// profileCodec writes profiles in columns. It belongs to one goroutine: the message is used again and again.
type profileCodec struct {
	scratch statepb.Profile
	columns record.ColumnWriter
}

func (c *profileCodec) Encode(buf []byte, p *profile) ([]byte, error) {
	m := &c.scratch
	m.Floor, m.Since = p.floor, p.since
	m.Touches = c.columns.Write(p.touches)
	m.Searches = m.Searches[:0]
	for i := range p.searches {
		s := &p.searches[i]
		m.Searches = append(m.Searches, &statepb.Search{Event: s.Event, Time: s.Time, Term: s.Term})
	}
	return record.AppendMessage(buf, m)
}

func (c *profileCodec) Decode(data []byte) (*profile, error) {
	var m statepb.Profile
	if err := m.UnmarshalVT(data); err != nil {
		return nil, err
	}
	ts, err := record.TouchesOf(m.Touches)
	if err != nil {
		return nil, err
	}
	return &profile{floor: m.Floor, since: m.Since, touches: ts, searches: searchesOf(m.Searches)}, nil
}

func searchesOf(ms []*statepb.Search) []Search {
	var out []Search
	for _, s := range ms {
		out = append(out, Search{Event: s.Event, Time: s.Time, Term: s.Term})
	}
	return out
}

// Projection compares profiles without their floors.
func Projection() stream.Projection {
	return record.Only("profiles", record.Table, record.WithoutFloor(func(m *statepb.Profile) bool {
		m.Floor, m.Since = nil, 0
		return len(m.GetTouches().GetEvents())+len(m.Searches) > 0
	}))
}
