package items

import (
	"cmp"
	"slices"
)

// cutter is the writer's scratch: two versions of one history, cut into sessions.
type cutter struct {
	runs       []run    // of the new version
	of         []uint16 // by interaction of the new version: its run
	dirty      []bool   // by run of the old version: whether it changes
	old, fresh []stay
	items      int // that are in some history
}

// run is one session of the new version.
type run struct {
	key    uint64
	named  bool
	last   int64
	number uint32 // the session of the old version that it goes on, 0 = none
	dirty  bool
}

// stay is an item's posting.
type stay struct {
	item uint32
	at   posting
}

// replace folds a change of one person's history. It costs a comparison of the versions, and work for the sessions that differ.
func (m *Model) replace(subject Subject, interactions []Interaction) {
	number := m.numbers[subject]
	if number == 0 {
		if len(interactions) == 0 {
			return
		}
		number = m.join(subject)
	}
	p := &m.people[number]
	c := &m.cutter
	c.cut(interactions, m.o.Gap)
	m.compare(p, interactions)
	m.settle(number, p, interactions)
	m.keep(p, interactions)
	if len(interactions) == 0 {
		delete(m.numbers, subject)
		m.people[number] = person{}
		m.absent = append(m.absent, number)
	}
}

func (m *Model) join(subject Subject) uint32 {
	var number uint32
	if n := len(m.absent); n > 0 {
		number, m.absent = m.absent[n-1], m.absent[:n-1]
	} else {
		number = uint32(len(m.people))
		m.people = append(m.people, person{})
	}
	m.people[number].subject = subject
	m.numbers[subject] = number
	return number
}

// cut tells which interactions are of one session: those that name it; of those that name none, all without a pause longer than gap between them.
func (c *cutter) cut(interactions []Interaction, gap int64) {
	c.runs, c.of = c.runs[:0], c.of[:0]
	for i := range interactions {
		t := &interactions[i]
		at := len(c.runs) - 1
		for ; at >= 0; at-- {
			if r := &c.runs[at]; r.named == (t.Session != 0) && (!r.named || r.key == t.Session) {
				break
			}
		}
		if at >= 0 && !c.runs[at].named && t.Time-c.runs[at].last > gap {
			at = -1
		}
		if at < 0 {
			at = len(c.runs)
			r := run{key: t.Event, named: t.Session != 0}
			if r.named {
				r.key = t.Session
			}
			c.runs = append(c.runs, r)
		}
		c.runs[at].last = t.Time
		c.of = append(c.of, uint16(at))
	}
}

// compare finds the sessions that go on, and those that differ. A session differs if it has an interaction that only one version has, or that has changed its
// session.
func (m *Model) compare(p *person, interactions []Interaction) {
	c := &m.cutter
	old, runs := m.interactions.At(p.interactions, int(p.n)), m.runs.At(p.sessions, int(p.m))
	c.dirty = append(c.dirty[:0], make([]bool, len(runs))...)
	for i := range c.runs {
		r := &c.runs[i]
		for _, number := range runs {
			if s := &m.sessions[number]; s.key == r.key && s.named == r.named {
				r.number = number
				break
			}
		}
	}
	i, j := 0, 0
	for i < len(old) || j < len(interactions) {
		switch order := compareInteractions(old[i:], interactions[j:]); {
		case order < 0:
			c.dirty[old[i].run] = true
			i++
		case order > 0:
			c.runs[c.of[j]].dirty = true
			j++
		default:
			if before, r := runs[old[i].run], &c.runs[c.of[j]]; before != r.number {
				c.dirty[old[i].run], r.dirty = true, true
			}
			i, j = i+1, j+1
		}
	}
	for i := range c.runs { // both sides of a session that goes on
		if r := &c.runs[i]; r.number != 0 {
			at := slices.Index(runs, r.number)
			r.dirty = r.dirty || c.dirty[at]
			c.dirty[at] = r.dirty
		}
	}
}

// compareInteractions tells which version goes on: 0 both with the same interaction, −1 the old one, +1 the new one.
func compareInteractions(old []interaction, fresh []Interaction) int {
	if len(fresh) == 0 {
		return -1
	}
	if len(old) == 0 {
		return 1
	}
	a, b := &old[0], &fresh[0]
	return cmp.Or(cmp.Compare(a.time, b.Time), cmp.Compare(a.event, b.Event), cmp.Compare(a.item, b.Item), cmp.Compare(a.typ, b.Type))
}

// settle brings sessions and postings of a person to the new version.
func (m *Model) settle(number uint32, p *person, interactions []Interaction) {
	c := &m.cutter
	c.old, c.fresh = c.old[:0], c.fresh[:0]
	old, runs := m.interactions.At(p.interactions, int(p.n)), m.runs.At(p.sessions, int(p.m))
	for i := len(old) - 1; i >= 0; i-- {
		if t := &old[i]; c.dirty[t.run] {
			c.old = stand(c.old, t.item, newPosting(t.time, runs[t.run]))
		}
	}
	for i := range c.runs {
		if c.runs[i].dirty {
			m.session(&c.runs[i], number, uint16(i), interactions)
		}
	}
	for i := len(interactions) - 1; i >= 0; i-- {
		if r := &c.runs[c.of[i]]; r.dirty {
			c.fresh = stand(c.fresh, interactions[i].Item, newPosting(interactions[i].Time, r.number))
		}
	}
	for _, s := range c.fresh {
		if !slices.Contains(c.old, s) && m.postings.insert(s.item, s.at) {
			m.ids.Retain(s.item)
			c.items++
		}
	}
	for _, s := range c.old {
		if !slices.Contains(c.fresh, s) && m.postings.remove(s.item, s.at) {
			m.ids.Release(s.item)
			c.items--
		}
	}
	for _, number := range runs {
		if !slices.ContainsFunc(c.runs, func(r run) bool { return r.number == number }) {
			m.end(number)
		}
	}
}

// stand notes that an item stands in a session, at its newest interaction, which comes first.
func stand(list []stay, item uint32, at posting) []stay {
	for i := range list {
		if list[i].item == item && list[i].at.session() == at.session() {
			return list
		}
	}
	return append(list, stay{item, at})
}

// session writes a session's items anew.
func (m *Model) session(r *run, owner uint32, place uint16, interactions []Interaction) {
	if r.number == 0 {
		r.number = m.begin()
	}
	s, h := &m.sessions[r.number], &m.heads[r.number]
	s.key, s.named = r.key, r.named
	n := 0
	for _, at := range m.cutter.of {
		if at == place {
			n++
		}
	}
	h.items = m.places.Resize(h.items, int(h.n), n)
	h.second, h.person, h.n = seconds(r.last), owner, uint32(n)
	block := m.places.At(h.items, n)[:0]
	for i, at := range m.cutter.of {
		if at == place {
			block = append(block, interactions[i].Item)
		}
	}
}

func (m *Model) begin() uint32 {
	if n := len(m.ended); n > 0 {
		number := m.ended[n-1]
		m.ended = m.ended[:n-1]
		return number
	}
	m.sessions, m.heads = append(m.sessions, session{}), append(m.heads, head{})
	return uint32(len(m.sessions) - 1)
}

func (m *Model) end(number uint32) {
	m.places.Release(m.heads[number].items, int(m.heads[number].n))
	m.sessions[number], m.heads[number] = session{}, head{}
	m.ended = append(m.ended, number)
}

// keep stores the new version.
func (m *Model) keep(p *person, interactions []Interaction) {
	c := &m.cutter
	m.count += len(interactions) - int(p.n)
	p.interactions = m.interactions.Resize(p.interactions, int(p.n), len(interactions))
	p.n = uint32(len(interactions))
	kept := m.interactions.At(p.interactions, len(interactions))
	for i := range interactions {
		t := &interactions[i]
		kept[i] = interaction{event: t.Event, time: t.Time, item: t.Item, run: c.of[i], typ: t.Type}
	}
	p.sessions = m.runs.Resize(p.sessions, int(p.m), len(c.runs))
	p.m = uint32(len(c.runs))
	runs := m.runs.At(p.sessions, len(c.runs))
	for i := range c.runs {
		runs[i] = c.runs[i].number
	}
}
