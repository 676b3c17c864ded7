package recommend

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"sluice/features/trending"
	"sluice/internal/catalog"
	"sluice/internal/itemid"
	"sluice/recommend/cursor"
	"sluice/recommend/rank"
)

// noLists stands for lists that have not been published yet.
var noLists = new(trending.Lists)

// making is one answer on its way.
type making struct {
	*service
	query   *query
	visitor *visitor
	because string // why it is not personal; empty: it is

	now      time.Time
	snapshot *catalog.Snapshot
	lists    *published
	*scratch
}

// outcome is an answer with what the metrics say of it.
type outcome struct {
	body           []byte
	because        string
	relaxed        bool
	shared         bool // it had been made for others
	candidates     int
	retrieve, rank time.Duration
}

// make makes the answer for a visitor.
func (s *service) make(q *query, v *visitor) (*outcome, error) {
	m := &making{service: s, query: q, visitor: v, now: s.Now(), snapshot: s.Catalogue.Snapshot(), scratch: s.pool.get()}
	defer s.pool.put(m.scratch)
	m.begin()
	lists := s.Trending.Lists()
	if lists == nil {
		lists = noLists
	}
	m.lists = s.lists.of(lists, m.snapshot)
	m.decide()
	if m.because == "" {
		if r := m.personal(); r != nil {
			list, err := m.choose(r, randomID())
			if err != nil {
				return nil, err
			}
			return list.outcome, nil
		}
		m.begin()
		m.because = becauseDegraded
	}
	return m.everybodys()
}

// everybodys is the list that is not personal. It is made once for all who ask for it within a tick; a cursor is sealed for each of them.
func (m *making) everybodys() (*outcome, error) {
	key := sharedKey{m.query.surface, m.inputsID(), m.because}
	if list := m.shared.get(key, m.lists.lists.Tick); list != nil {
		return list.again(m), nil
	}
	r := m.retrieval()
	r.run(m.query.surface.NonPersonal, func() bool { return false })
	list, err := m.choose(r, key.id)
	if err != nil {
		return nil, err
	}
	m.shared.keep(key, m.lists.lists.Tick, list)
	return list.outcome, nil
}

// choose makes the answer of what was retrieved.
func (m *making) choose(r *retrieval, id string) (*made, error) {
	retrieved := m.Now()
	list := rank.Make(m.plan(r))
	next := m.next(r, &list)
	answer := m.answer(r, &list, id)
	text := ""
	if next != nil {
		text = m.cursors.Seal(next, m.now)
		answer.NextCursor = &text
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return nil, errors.Join(errEncoding, err)
	}
	return &made{next: next, text: text, outcome: &outcome{
		body: body, because: m.because, relaxed: len(answer.Relaxed) > 0, candidates: len(r.entries), retrieve: retrieved.Sub(m.now), rank: m.Now().Sub(retrieved),
	}}, nil
}

// decide settles whether the list is personal. A later page is personal only under the very grants of the first one.
func (m *making) decide() {
	m.because = m.visitor.because
	if c := m.query.cursor; m.because == "" && c != nil {
		switch {
		case c.Because != 0:
			m.because = becauses[c.Because]
		case c.Grant != m.visitor.grant():
			m.because = becauseDegraded
		}
	}
	if m.because != "" {
		return
	}
	if !m.read() {
		m.because = becauseNoHistory
	}
}

// personal gathers the person's candidates; nil if that is not done in time.
func (m *making) personal() *retrieval {
	r := m.retrieval()
	r.see(m.interactions, m.query.surface)
	for _, id := range m.visitor.identities {
		r.own = append(r.own, id.Subject)
	}
	if !r.run(m.query.surface.Personal, m.late) {
		return nil
	}
	return r
}

func (m *making) late() bool { return m.Now().Sub(m.now) >= m.query.timeout }

func (m *making) retrieval() *retrieval {
	return &retrieval{service: m.service, query: m.query, gate: m.gate(), lists: m.lists, clock: m.Personal.Now(), scratch: m.scratch}
}

func (m *making) plan(r *retrieval) *rank.Plan {
	s := m.query.surface
	p := &rank.Plan{
		Limit: m.query.limit, Catalogue: m.snapshot, ID: r.gate.id, Candidates: r.candidates(), Filler: r.filler(), Rules: s.Rules, Exempt: m.exempt(r.gate.category),
		Memory: &m.ranking, Lambda: s.Diversity.Lambda,
	}
	if m.query.cursor != nil {
		p.Before = m.query.cursor.Slots
		p.Limit = min(p.Limit, cursor.MaxShown-len(m.query.cursor.Shown))
	}
	if s.Diversity.Method == "mmr" {
		p.Similarity = rank.ByCategory(m.snapshot)
		if s.Diversity.Similarity == "co_visitation" {
			p.Similarity = r.coVisitationSimilarity
		}
	}
	return p
}

// exempt are the categories that say nothing about diversity here: those that every item of the page's category has, or every item of the catalogue.
func (m *making) exempt(category uint32) []uint32 {
	if len(m.query.surface.Rules) == 0 {
		return nil
	}
	return m.snapshot.Common(category)
}

func (m *making) answer(r *retrieval, list *rank.List, id string) *Recommendations {
	a := &Recommendations{RecommendationID: id, Personalized: m.because == "", Items: make([]RecommendedItem, len(list.Picks)), ConfigVersion: m.Config.Version()}
	for i := range list.Picks {
		pick := &list.Picks[i]
		a.Items[i] = RecommendedItem{ItemID: r.gate.id(pick.Number), Score: math.Round(pick.Score*1e6) / 1e6, Reasons: m.reasons(r, pick)}
	}
	a.Relaxed = m.relaxedBy(r, list)
	if !a.Personalized {
		a.NotPersonalizedBecause = &m.because
	}
	return a
}

func (m *making) inputsID() string {
	return m.query.id(&inputs{
		config: m.Config.Version(), blocks: m.visitor.blocks.Digest(), tick: m.lists.lists.Tick,
		catalogue: m.snapshot.Version(), begun: len(m.snapshot.Order(m.now.UnixMicro())),
	})
}

// relaxedBy names what could not be kept.
func (m *making) relaxedBy(r *retrieval, list *rank.List) []RelaxedConstraint {
	relaxed := []RelaxedConstraint{}
	if m.query.context.Category != "" && r.gate.category == itemid.None {
		relaxed = append(relaxed, RelaxedConstraint{Code: "category", Text: "The catalogue has no such category, so the list is not limited to it."})
	}
	for number, rule := range m.query.surface.Rules {
		var slots []int
		for slot := range list.Picks {
			for _, broken := range list.Picks[slot].Broken {
				if broken == number {
					slots = append(slots, slot)
				}
			}
		}
		if len(slots) > 0 {
			relaxed = append(relaxed, relaxedRule(rule, slots))
		}
	}
	return relaxed
}

func relaxedRule(rule rank.Rule, slots []int) RelaxedConstraint {
	same := "category"
	switch rule.Same {
	case rank.Brand:
		same = "brand"
	case rank.Seller:
		same = "seller"
	}
	return RelaxedConstraint{
		Code: "at_most", AtMost: rule.AtMost, Same: same, Within: rule.Within, Slots: slots,
		Text: "At most " + strconv.Itoa(rule.AtMost) + " of the same " + same + " in any " + strconv.Itoa(rule.Within) + " could not be kept with what the catalogue has.",
	}
}

// next is what the next page must know; nil where the list ends: it fell short, or a cursor can remember no more.
func (m *making) next(r *retrieval, list *rank.List) *cursor.State {
	next := &cursor.State{Page: m.query.pageHash, Slots: list.Slots}
	if m.query.cursor != nil {
		next.Shown = append(next.Shown, m.query.cursor.Shown...)
	}
	for i := range list.Picks {
		next.Shown = append(next.Shown, catalog.Hash(r.gate.id(list.Picks[i].Number)))
	}
	if len(list.Picks) < m.query.limit || len(next.Shown) >= cursor.MaxShown {
		return nil
	}
	next.Because = uint8(slices.Index(becauses, m.because))
	if m.because == "" {
		next.Grant = m.visitor.grant()
	}
	return next
}
