package features

import (
	"bytes"
	"fmt"
	"slices"
	"sort"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/statepb"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// PersonalEngine keeps each subject's newest touches and searches, under the floor that holds. Metrics go to reg, nil = nowhere.
func PersonalEngine(c *Config, reg prometheus.Registerer) stream.Engine {
	metrics := newEngineMetrics(reg, "personal")
	return stream.Engine{Name: "personal", Inputs: []string{"personalize"}, Open: func(t *stream.Task) (stream.Processor, error) {
		return &personalEngine{
			c: c.personal, metrics: metrics, people: openPeople[profile, *profile](t, "profiles", &profileCodec{}, c.personal, metrics),
		}, nil
	}}
}

type personalEngine struct {
	c       profileConfig
	metrics *engineMetrics
	people  *people[profile, *profile]
}

// Process folds one record of the purpose's stream.
func (e *personalEngine) Process(rec *stream.Record) error {
	var r purposepb.PersonalRecord
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

func (e *personalEngine) event(ev *purposepb.PersonalEvent) {
	isSearch := ev.Type == vocab.Type_SEARCH && ev.SearchTerm != ""
	if !e.c.types.has(ev.Type) || !isSearch && !anyItem(ev.Items) {
		e.metrics.unused.Inc()
		return
	}
	if !e.people.admit(ev.Subject, ev.Floor, ev.Time) {
		return
	}
	touch := Touch{Event: hash64(ev.Event), Type: ev.Type, Time: ev.Time, Session: hash64(ev.Session)}
	if current := e.people.table.Get(ev.Subject); current != nil && bytes.Equal(current.floor, ev.Floor) && current.isFull(&touch, isSearch, e.c.keep) {
		e.metrics.older.Inc() // written nowhere: the record stays as it is
		return
	}
	p := e.people.record(ev.Subject, ev.Floor)
	var changed bool
	if isSearch {
		changed = p.search(Search{Event: touch.Event, Time: ev.Time, Term: ev.SearchTerm}, e.c.keep)
	} else {
		changed = p.touches.insert(touch, ev.Items, e.c.keep)
	}
	if changed {
		e.metrics.kept.Inc()
	} else {
		e.metrics.older.Inc()
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
	touches  touches
	searches []Search // by (time, event)
}

func (p *profile) bound() ([]byte, int64) { return p.floor, p.since }

func (p *profile) bind(floor []byte, since int64) {
	if !bytes.Equal(p.floor, floor) {
		*p = profile{floor: floor}
	}
	p.since = since
}

func (p *profile) empty() bool { return len(p.touches) == 0 && len(p.searches) == 0 }

func (p *profile) oldest() int64 {
	oldest := int64(1<<63 - 1)
	if p.empty() {
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

func (p *profile) expire(horizon int64) int {
	n := sort.Search(len(p.searches), func(i int) bool { return p.searches[i].Time >= horizon })
	p.searches = slices.Delete(p.searches, 0, n)
	return n + p.touches.expire(horizon)
}

func (p *profile) remove(event []byte) {
	hash := hash64(event)
	p.touches.remove(hash)
	p.searches = slices.DeleteFunc(p.searches, func(s Search) bool { return s.Event == hash })
}

// isFull tells whether an event is older than everything that a full list keeps.
func (p *profile) isFull(event *Touch, isSearch bool, keep int) bool {
	if isSearch {
		return len(p.searches) >= keep && compareEvents(event.Time, event.Event, p.searches[0].Time, p.searches[0].Event) < 0
	}
	return len(p.touches) >= keep && compareEvents(event.Time, event.Event, p.touches[0].Time, p.touches[0].Event) < 0
}

// search keeps a search, as touches.insert keeps touches.
func (p *profile) search(s Search, keep int) bool {
	at, found := slices.BinarySearchFunc(p.searches, s, func(a, b Search) int { return compareEvents(a.Time, a.Event, b.Time, b.Event) })
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
	columns columnWriter
}

func (c *profileCodec) Encode(buf []byte, p *profile) ([]byte, error) {
	m := &c.scratch
	m.Floor, m.Since = p.floor, p.since
	m.Touches = c.columns.write(p.touches)
	m.Searches = m.Searches[:0]
	for i := range p.searches {
		s := &p.searches[i]
		m.Searches = append(m.Searches, &statepb.Search{Event: s.Event, Time: s.Time, Term: s.Term})
	}
	return appendMessage(buf, m)
}

func (c *profileCodec) Decode(data []byte) (*profile, error) {
	var m statepb.Profile
	if err := m.UnmarshalVT(data); err != nil {
		return nil, err
	}
	ts, err := touchesOf(m.Touches)
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

// personalProjection compares profiles without their floors.
func personalProjection() stream.Projection {
	return only("profiles", recordTable, withoutFloor(func(m *statepb.Profile) bool {
		m.Floor, m.Since = nil, 0
		return len(m.GetTouches().GetEvents())+len(m.Searches) > 0
	}))
}
